// Lists of extents, walks over lists whose every node is the input, and page deltas.
#include "base/error.h"
#include "vault/detail/extent_list.h"
#include "vault/detail/page_delta.h"

#include <algorithm>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast;  // NOLINT(google-build-using-namespace): a program of one function.
    using namespace holdfast::vault;  // NOLINT(google-build-using-namespace)
    const ByteSpan input{reinterpret_cast<const std::byte*>(data), size};
    const auto list = parse_extent_list(input);
    int fetched = 0;
    const NodeSource source = [&](BlobType, const ChunkId&) {
        constexpr int kFetchesMax = 64;
        if (++fetched > kFetchesMax) {
            throw Error{ErrorKind::kVaultCorrupt, "enough"};
        }
        return Bytes(input.begin(), input.end());
    };
    try {
        format::StreamEntry entry;
        entry.set_name("s");
        entry.set_extent_log2(kExtentLog2Min);
        entry.set_size_bytes(10 * kMiB);
        entry.mutable_content()->set_id(std::string(kHashBytes, 'i'));
        entry.mutable_content()->set_level(list ? list->level() + 1 : 1);
        ExtentListWalker walker{source, entry};
        while (walker.next()) {
        }
    } catch (const Error&) {
    }
    // The input as a delta of extents of several lengths, and as one that is made and undone.
    for (const std::size_t length : {std::size_t{1}, kPageBytes, 8 * kPageBytes + 1}) {
        Bytes extent(length);
        (void)apply_page_delta(input, extent);
        Buffer buffer;
        Bytes base(size / 2);
        std::copy_n(input.begin(), base.size(), base.begin());
        extent.assign(input.begin(), input.end());
        extent.resize(length);
        const ByteSpan delta = make_page_delta(base, extent, buffer);
        base.resize(length);
        if (!apply_page_delta(delta, base) || base != extent) {
            std::abort();
        }
    }
    return 0;
}
