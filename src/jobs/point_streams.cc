#include "jobs/point_streams.h"

#include "base/error.h"

#include <string>

namespace holdfast::jobs {
namespace {

class Reader final : public postgres::StreamReader {
public:
    explicit Reader(std::unique_ptr<vault::StreamReader> stream) : stream_{std::move(stream)} {}
    [[nodiscard]] std::uint64_t size() const override { return stream_->size_bytes(); }
    std::size_t read(MutableByteSpan out) override { return stream_->read(out); }

private:
    std::unique_ptr<vault::StreamReader> stream_;
};

postgres::StreamInfo to_postgres(const vault::StreamSummary& stored) {
    postgres::StreamInfo info;
    info.spec.name = stored.info.name;
    const auto kind = postgres::parse_stream_kind(stored.info.kind);
    if (!kind) {
        throw Error{
            ErrorKind::kVaultFormatUnsupported,
            ErrorText{
                .message =
                    "The recovery point holds a stream of a kind that this version does not know.",
                .internal = stored.info.kind,
                .target = stored.info.name,
                .recommended_actions =
                    {"Restore it with the version of Holdfast that made it, or a newer one."},
            }
        };
    }
    info.spec.kind = *kind;
    for (const auto& [name, value] : stored.info.attributes) {
        info.spec.attributes[name] = value;
    }
    info.size = stored.size_bytes;
    return info;
}

}  // namespace

void PointSink::begin(const postgres::StreamSpec& spec) {
    HOLDFAST_CHECK(stream_ == nullptr);
    vault::StreamInfo info{
        .name = spec.name, .kind = std::string{postgres::to_string(spec.kind)}, .attributes = {}
    };
    info.attributes.assign(spec.attributes.begin(), spec.attributes.end());  // Sorted: it is a map.
    stream_ = writer_.open_stream(std::move(info));
}

void PointSink::write(ByteSpan bytes) {
    HOLDFAST_CHECK(stream_ != nullptr);
    stream_->write(bytes);
}

void PointSink::end() {
    HOLDFAST_CHECK(stream_ != nullptr);
    stream_->close();
    stream_.reset();
}

void PointSource::list(
    std::string_view prefix, const std::function<void(const postgres::StreamInfo&)>& visit
) const {
    reader_.list_streams_below(
        prefix,
        [&](const vault::StreamSummary& stored) {
            visit(to_postgres(stored));
            return true;
        },
        stop_
    );
}

std::unique_ptr<postgres::StreamReader> PointSource::open(std::string_view name) const {
    return std::make_unique<Reader>(reader_.open_stream(name, stop_));
}

}  // namespace holdfast::jobs
