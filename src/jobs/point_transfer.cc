#include "jobs/point_transfer.h"

#include "base/json.h"
#include "base/threads.h"

#include <array>
#include <optional>
#include <thread>

namespace holdfast::jobs {
namespace {

constexpr std::size_t kBlockBytes = 1 * kMiB;  // Frames are gathered up to about this size.
constexpr std::size_t kDataFrameBytes = 256 * kKiB;
constexpr std::size_t kBlocksAhead = 4;  // Of a listing.
constexpr std::size_t kHeaderBytes = 5;

void append_json(std::string& out, FrameKind kind, const Json& json) {
    append_frame(
        out, kind, as_bytes(json.dump(-1, ' ', false, Json::error_handler_t::replace))
    );
}

void append_error(std::string& out, const Error& error) {
    // Of our own faults only that there was one.
    const bool ours = error.kind() == ErrorKind::kInternal;
    append_json(
        out,
        FrameKind::kError,
        Json{
            {"code", error.code()},
            {"message", ours ? "The service hit an internal error." : error.text().message},
            {"target", ours ? std::string{} : error.text().target},
        }
    );
}

Json describe(const postgres::StreamInfo& info) {
    Json json{
        {"name", info.spec.name},
        {"kind", postgres::to_string(info.spec.kind)},
        {"size", info.size},
    };
    if (!info.spec.attributes.empty()) {
        json["attributes"] = info.spec.attributes;
    }
    return json;
}

[[noreturn]] void malformed(std::string what) {
    throw Error{
        ErrorKind::kVaultCorrupt,
        ErrorText{
            .message = "The server's answer is not a transfer of recovery point streams: " + what,
            .recommended_actions = {"Use the same version of Holdfast here and on the server."},
        }
    };
}

[[noreturn]] void rethrow(const Frame& frame) {
    const Json json = parse_json(as_text(frame.payload), ErrorKind::kVaultCorrupt, "The fault");
    const JsonReader reader{json, "fault", ErrorKind::kVaultCorrupt};
    const std::string code = reader.string_or("code", "");
    ErrorKind found = ErrorKind::kVaultCorrupt;
    for (const ErrorKind kind : all_error_kinds()) {
        if (traits(kind).arm_code == code) {
            found = kind;
            break;
        }
    }
    throw Error{
        found,
        ErrorText{
            .message = reader.string_or("message", "The server could not read the recovery point."),
            .target = reader.string_or("target", ""),
            .recommended_actions = {"Look at the server's log, and check the vault there: holdfast "
                                    "vault check."},
        }
    };
}

/// Lists on a thread of its own: the listing pushes, the receiver pulls.
class Listing final : public FrameSource {
public:
    Listing(TransferSource source, std::string prefix)
        : source_{std::move(source)},
          thread_{[this, prefix = std::move(prefix)](const std::stop_token& stop) {
              name_this_thread("listing");
              run(prefix, stop);
          }} {}
    ~Listing() override {
        thread_.request_stop();
        thread_.join();
    }
    Listing(const Listing&) = delete;
    Listing& operator=(const Listing&) = delete;

    std::string next() override { return blocks_.pop({}).value_or(std::string{}); }

private:
    void run(const std::string& prefix, const std::stop_token& stop) {
        std::string block;
        run_boundary(
            [&] {
                const auto streams = source_.open(stop);
                streams->list(prefix, [&](const postgres::StreamInfo& info) {
                    append_json(block, FrameKind::kStream, describe(info));
                    if (block.size() >= kBlockBytes && !give(block, stop)) {
                        throw Error{ErrorKind::kCancelled, "The receiver left."};
                    }
                });
                append_frame(block, FrameKind::kEnd, {});
            },
            [&](const Error& error) { append_error(block, error); }
        );
        (void)give(block, stop);
        blocks_.close();
    }
    bool give(std::string& block, const std::stop_token& stop) {
        return blocks_.push(std::exchange(block, std::string{}), stop);
    }

    const TransferSource source_;
    BoundedQueue<std::string> blocks_{kBlocksAhead};
    std::jthread thread_;  // Last: it uses the others.
};

class Contents final : public FrameSource {
public:
    Contents(TransferSource source, std::vector<std::string> names)
        : source_{std::move(source)}, names_{std::move(names)}, buffer_(kDataFrameBytes) {}
    ~Contents() override { stop_.request_stop(); }
    Contents(const Contents&) = delete;
    Contents& operator=(const Contents&) = delete;

    std::string next() override {
        std::string block;
        if (ended_) {
            return block;
        }
        run_boundary(
            [&] { fill(block); },
            [&](const Error& error) {
                append_error(block, error);
                ended_ = true;
            }
        );
        return block;
    }

private:
    void fill(std::string& block) {
        if (!streams_) {
            streams_ = source_.open(stop_.get_token());
        }
        while (block.size() < kBlockBytes && !ended_) {
            if (!reader_ && next_ == names_.size()) {
                append_frame(block, FrameKind::kEnd, {});
                ended_ = true;
            } else if (!reader_) {
                const std::string& name = names_[next_++];
                reader_ = streams_->open(name);
                append_json(
                    block, FrameKind::kStream, Json{{"name", name}, {"size", reader_->size()}}
                );
            } else if (const std::size_t got = reader_->read(buffer_)) {
                append_frame(block, FrameKind::kData, ByteSpan{buffer_}.first(got));
            } else {
                append_frame(block, FrameKind::kStreamEnd, {});
                reader_.reset();
            }
        }
    }

    const TransferSource source_;
    const std::vector<std::string> names_;
    std::stop_source stop_;
    Bytes buffer_;
    std::unique_ptr<postgres::StreamSource> streams_;
    std::unique_ptr<postgres::StreamReader> reader_;
    std::size_t next_ = 0;
    bool ended_ = false;
};

}  // namespace

void append_frame(std::string& out, FrameKind kind, ByteSpan payload) {
    HOLDFAST_CHECK(payload.size() <= kFramePayloadMax);
    std::array<std::byte, 4> length{};
    put_little_endian(length.data(), static_cast<std::uint32_t>(payload.size()));
    out.push_back(static_cast<char>(kind));
    out.append(as_text(length));
    out.append(as_text(payload));
}

void FrameReader::fill(MutableByteSpan out) {
    while (!out.empty()) {
        const std::size_t got = read_(out);
        if (got == 0) {
            throw Error{
                ErrorKind::kServerNotReachable,
                ErrorText{
                    .message = "The connection to the server ended in the middle of the transfer.",
                    .recommended_actions = {"Look at the server, then start the restore again."},
                }
            };
        }
        out = out.subspan(got);
    }
}

Frame FrameReader::next() {
    std::array<std::byte, kHeaderBytes> header{};
    fill(header);
    Frame frame;
    frame.kind = static_cast<FrameKind>(header[0]);
    switch (frame.kind) {
        case FrameKind::kStream:
        case FrameKind::kData:
        case FrameKind::kStreamEnd:
        case FrameKind::kError:
        case FrameKind::kEnd:
            break;
        default:
            malformed("an unknown frame.");
    }
    const auto length = get_little_endian<std::uint32_t>(header.data() + 1);
    if (length > kFramePayloadMax) {
        malformed("a frame that is too long.");
    }
    frame.payload.resize(length);
    fill(frame.payload);
    if (frame.kind == FrameKind::kError) {
        rethrow(frame);
    }
    return frame;
}

postgres::StreamInfo parse_stream_frame(const Frame& frame) {
    if (frame.kind != FrameKind::kStream) {
        malformed("a stream's description is missing.");
    }
    const Json json = parse_json(as_text(frame.payload), ErrorKind::kVaultCorrupt, "A stream");
    const JsonReader reader{json, "stream", ErrorKind::kVaultCorrupt};
    postgres::StreamInfo info;
    info.spec.name = reader.string("name");
    const std::int64_t size = reader.member("size").as_integer();
    if (size < 0) {
        reader.member("size").fail("is negative");
    }
    info.size = static_cast<std::uint64_t>(size);
    if (const auto kind = reader.optional_member("kind")) {
        const auto known = postgres::parse_stream_kind(kind->as_string());
        if (!known) {
            kind->fail("is a kind of stream that this version does not know");
        }
        info.spec.kind = *known;
    }
    if (const auto attributes = reader.optional_member("attributes")) {
        attributes->require_object();
        for (const auto& [name, value] : attributes->value().items()) {
            const JsonReader attribute{value, name, ErrorKind::kVaultCorrupt};
            info.spec.attributes[name] = attribute.as_string();
        }
    }
    return info;
}

std::unique_ptr<FrameSource> send_listing(TransferSource source, std::string prefix) {
    return std::make_unique<Listing>(std::move(source), std::move(prefix));
}

std::unique_ptr<FrameSource> send_streams(TransferSource source, std::vector<std::string> names) {
    HOLDFAST_CHECK(names.size() <= kStreamsPerRequestMax);
    return std::make_unique<Contents>(std::move(source), std::move(names));
}

}  // namespace holdfast::jobs
