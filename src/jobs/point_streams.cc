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
    [[nodiscard]] std::size_t next_piece_bytes() override { return stream_->next_piece_bytes(); }
    [[nodiscard]] bool skip_if_equal(ByteSpan have) override {
        return stream_->skip_if_equal(have);
    }

private:
    std::unique_ptr<vault::StreamReader> stream_;
};

class Writer final : public postgres::StreamWriter {
public:
    explicit Writer(std::unique_ptr<vault::StreamWriter> stream) : stream_{std::move(stream)} {}
    void write(ByteSpan bytes) override { stream_->write(bytes); }
    void close() override { stream_->close(); }

private:
    std::unique_ptr<vault::StreamWriter> stream_;
};

vault::StreamInfo to_vault(const postgres::StreamSpec& spec) {
    vault::StreamInfo info{
        .name = spec.name,
        .kind = std::string{postgres::to_string(spec.kind)},
        .attributes = {},
        .layout = spec.layout == postgres::StreamLayout::kPages ? vault::StreamLayout::kPages
                                                                : vault::StreamLayout::kBytes,
        .size_hint_bytes = spec.size_hint_bytes,
    };
    info.attributes.assign(spec.attributes.begin(), spec.attributes.end());  // Sorted: it is a map.
    return info;
}

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
    stream_ = writer_.open_stream(to_vault(spec));
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

std::unique_ptr<postgres::StreamWriter> PointStreams::open(const postgres::StreamSpec& spec) {
    return std::make_unique<Writer>(writer_.open_stream(to_vault(spec)));
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
