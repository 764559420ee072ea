#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "postgres/streams.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

// How the streams of a recovery point travel to `holdfast restore`: a sequence of frames, made as
// the receiver takes them. The layout of a frame: its kind (1 byte), the length of its payload (4
// bytes, little endian, at most kFramePayloadMax), the payload.
//
//   listing:  Stream*  End
//   contents: (Stream Data* StreamEnd)*  End
//
// A sequence without its End is not whole. A fault of the sender comes as an Error frame.
namespace holdfast::jobs {

inline constexpr std::size_t kFramePayloadMax = 1 * kMiB;
/// Streams that one request for contents may name.
inline constexpr std::size_t kStreamsPerRequestMax = 4096;

enum class FrameKind : char {
    kStream = 'S',     ///< JSON: name, kind, size, attributes.
    kData = 'D',       ///< Bytes of the stream.
    kStreamEnd = 'F',  ///< The stream is whole.
    kError = 'X',      ///< JSON: code, message, target.
    kEnd = 'E',        ///< Nothing follows; the payload is empty.
};

struct Frame {
    FrameKind kind = FrameKind::kEnd;
    Bytes payload;
};

/// Appends a frame. REQUIRES: payload.size() <= kFramePayloadMax.
void append_frame(std::string& out, FrameKind kind, ByteSpan payload);

/// Takes frames apart. What it reads comes from a server that may be anybody's: checked, bounded.
class FrameReader {
public:
    /// Fills the front of the span; 0 at the end. Throws what ends the transfer.
    using Read = std::function<std::size_t(MutableByteSpan)>;
    explicit FrameReader(Read read) : read_{std::move(read)} {}
    /// Throws kServerNotReachable when the bytes end within or before a frame, kVaultCorrupt
    /// for what is no frame, and what an Error frame says.
    [[nodiscard]] Frame next();

private:
    void fill(MutableByteSpan out);
    const Read read_;
};

/// What a Stream frame says. Throws kVaultCorrupt.
[[nodiscard]] postgres::StreamInfo parse_stream_frame(const Frame& frame);

/// The sender's side: blocks of whole frames, about 1 MiB each, until an empty one. Faults become
/// an Error frame, after which nothing follows. One thread at a time.
class FrameSource {
public:
    virtual ~FrameSource() = default;
    [[nodiscard]] virtual std::string next() = 0;
};

/// `keep` holds alive what `source` reads from.
struct TransferSource {
    std::shared_ptr<void> keep;
    /// Makes the source with the token that the destructor of the FrameSource stops.
    std::function<std::unique_ptr<postgres::StreamSource>(std::stop_token)> open;
};
/// The listing of the streams below `prefix`. It runs on a thread of its own, a few blocks ahead of
/// the receiver.
[[nodiscard]] std::unique_ptr<FrameSource> send_listing(TransferSource source, std::string prefix);
/// The contents of the named streams, in that order. REQUIRES: at most kStreamsPerRequestMax.
[[nodiscard]] std::unique_ptr<FrameSource> send_streams(
    TransferSource source, std::vector<std::string> names
);

}  // namespace holdfast::jobs
