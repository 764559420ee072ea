// An index segment, and its footer as if it had been authentic.
#include "base/error.h"
#include "vault/detail/index_segment.h"
#include "vault_fuzz_keys.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast;  // NOLINT(google-build-using-namespace): a program of one function.
    using namespace holdfast::vault;  // NOLINT(google-build-using-namespace)
    const ByteSpan input{reinterpret_cast<const std::byte*>(data), size};
    if (size >= 8) {
        (void)parse_index_footer(input.subspan(8), get_little_endian<std::uint64_t>(input.data()));
    }
    const SegmentId id{};
    try {
        const IndexSegment segment{
            fuzz_keys(),
            id,
            size,
            [&](std::uint64_t offset, std::uint64_t bytes) {
                return fuzz_range(input, index_key(id), offset, bytes);
            }
        };
        (void)segment.may_contain(ChunkKey{});
    } catch (const Error&) {
    }
    return 0;
}
