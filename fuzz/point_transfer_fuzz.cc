// What a server sends to `holdfast restore`.
#include "base/error.h"
#include "jobs/point_transfer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ByteSpan rest{reinterpret_cast<const std::byte*>(data), size};
    jobs::FrameReader reader{[&](MutableByteSpan out) {
        const std::size_t got = std::min(out.size(), rest.size());
        std::copy_n(rest.begin(), got, out.begin());
        rest = rest.subspan(got);
        return got;
    }};
    try {
        while (true) {
            const jobs::Frame frame = reader.next();
            if (frame.kind == jobs::FrameKind::kEnd) {
                break;
            }
            if (frame.kind == jobs::FrameKind::kStream) {
                (void)jobs::parse_stream_frame(frame);
            }
        }
    } catch (const Error&) {
        // Refused: that is what is to happen.
    }
    return 0;
}
