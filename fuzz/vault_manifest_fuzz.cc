// Nodes of a manifest, and walks over trees whose every node is the input.
#include "base/error.h"
#include "vault/detail/manifest.h"
#include "vault/detail/point_reader.h"
#include "vault/detail/point_writer.h"
#include "vault_fuzz_keys.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast;  // NOLINT(google-build-using-namespace): a program of one function.
    using namespace holdfast::vault;  // NOLINT(google-build-using-namespace)
    const ByteSpan input{reinterpret_cast<const std::byte*>(data), size};
    (void)parse_tree_node(input);
    const auto directory = parse_directory_node(input);
    int fetched = 0;
    const NodeSource source = [&](BlobType, const ChunkId&) {
        constexpr int kFetchesMax = 64;
        if (++fetched > kFetchesMax) {
            throw Error{ErrorKind::kVaultCorrupt, "enough"};
        }
        return Bytes(input.begin(), input.end());
    };
    try {
        const std::uint32_t level = directory ? directory->level() : 0;
        walk_directory(
            source,
            ContentRef{.id = {}, .level = level},
            "m",
            [](const format::StreamEntry& entry) {
                (void)content_of(entry);
                return true;
            }
        );
    } catch (const Error&) {
    }
    try {
        ContentTreeWalker walker{source, ContentRef{.id = {}, .level = 1}, 1};
        while (walker.next()) {
        }
    } catch (const Error&) {
    }
    try {
        (void)open_commit(fuzz_keys(), commit_key({}, {}), {}, input);
    } catch (const Error&) {
    }
    try {
        (void)open_manifest(fuzz_keys(), manifest_key({}, {}), {}, input);
    } catch (const Error&) {
    }
    return 0;
}
