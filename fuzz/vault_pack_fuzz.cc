// Headers, trailer, footer and frames of a pack.
#include "base/error.h"
#include "vault/detail/pack.h"
#include "vault_fuzz_keys.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast;  // NOLINT(google-build-using-namespace): a program of one function.
    using namespace holdfast::vault;  // NOLINT(google-build-using-namespace)
    const ByteSpan input{reinterpret_cast<const std::byte*>(data), size};
    (void)decode_frame_header(input);
    if (size >= Trailer::kBytes) {
        (void)decode_trailer(input.last(Trailer::kBytes));
    }
    if (size >= 8) {
        (void)decode_pack_footer(input.subspan(8), get_little_endian<std::uint64_t>(input.data()));
    }
    const ObjectKey key = pack_key(Sha256{});
    try {
        (void
        )read_pack_contents(fuzz_keys(), key, size, [&](std::uint64_t offset, std::uint64_t bytes) {
            return fuzz_range(input, key, offset, bytes);
        });
    } catch (const Error&) {
    }
    return 0;
}
