// What is read before any key is known: config objects, wrapped key sets, names, key lines.
#include "base/error.h"
#include "vault/detail/repository.h"
#include "vault_fuzz_keys.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast;  // NOLINT(google-build-using-namespace): a program of one function.
    using namespace holdfast::vault;  // NOLINT(google-build-using-namespace)
    const ByteSpan input{reinterpret_cast<const std::byte*>(data), size};
    const Secret key{ByteSpan{Bytes(kKeyBytes)}};
    try {
        if (parse_config(input)) {
            require_authentic_config(fuzz_keys(), config_key(1), input);
        }
    } catch (const Error&) {
    }
    try {
        if (KeyRing::wrapping_fingerprint(input)) {
            (void)KeyRing::unwrap(input, key, key_set_key(1, 1));
        }
    } catch (const Error&) {
    }
    try {
        (void)parse_key(as_text(input));
    } catch (const Error&) {
    }
    if (const auto name = ObjectKey::parse(as_text(input))) {
        (void)parse_pack_key(*name);
        (void)parse_index_key(*name);
        (void)parse_session_key(*name);
        (void)parse_point_key(*name);
        (void)parse_numbered_key(*name, kStatePrefix);
    }
    return 0;
}
