#include "postgres/streams.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

constexpr std::array<std::pair<StreamKind, std::string_view>, 14> kKindNames{{
    {StreamKind::kManifest, "manifest"},
    {StreamKind::kGlobals, "globals"},
    {StreamKind::kSettings, "settings"},
    {StreamKind::kToc, "toc"},
    {StreamKind::kTableData, "tableData"},
    {StreamKind::kLargeObjects, "largeObjects"},
    {StreamKind::kArchive, "archive"},
    {StreamKind::kCluster, "cluster"},
    {StreamKind::kFile, "file"},
    {StreamKind::kDirectory, "directory"},
    {StreamKind::kSymbolicLink, "symlink"},
    {StreamKind::kWal, "wal"},
    {StreamKind::kBackupManifest, "backup-manifest"},
    {StreamKind::kConfiguration, "configuration"},
}};

class MemoryReader final : public StreamReader {
public:
    explicit MemoryReader(const Bytes& bytes) : bytes_{bytes} {}

    [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
    std::size_t read(MutableByteSpan out) override {
        const std::size_t count = std::min(out.size(), bytes_.size() - position_);
        const ByteSpan part = ByteSpan{bytes_}.subspan(position_, count);
        std::copy(part.begin(), part.end(), out.begin());
        position_ += count;
        return count;
    }

private:
    const Bytes& bytes_;
    std::size_t position_ = 0;
};

}  // namespace

std::string_view to_string(StreamKind kind) noexcept {
    for (const auto& [value, name] : kKindNames) {
        if (value == kind) {
            return name;
        }
    }
    return "unknown";
}

std::optional<StreamKind> parse_stream_kind(std::string_view text) noexcept {
    for (const auto& [value, name] : kKindNames) {
        if (name == text) {
            return value;
        }
    }
    return std::nullopt;
}

bool StreamReader::skip_if_equal(ByteSpan) {
    return false;
}

Bytes read_stream(const StreamSource& source, std::string_view name, std::uint64_t size_max) {
    const auto reader = source.open(name);
    if (reader->size() > size_max) {
        throw Error{
            ErrorKind::kPayloadTooLarge,
            fmt::format(
                "Stream {} has {} bytes; at most {} can be read at once.",
                name,
                reader->size(),
                size_max
            )
        };
    }
    Bytes bytes(reader->size());
    std::size_t filled = 0;
    while (filled < bytes.size()) {
        const std::size_t count = reader->read(MutableByteSpan{bytes}.subspan(filled));
        if (count == 0) {
            throw Error{
                ErrorKind::kVaultCorrupt,
                fmt::format(
                    "Stream {} ends after {} of its {} bytes.", name, filled, bytes.size()
                )
        };
        }
        filled += count;
    }
    return bytes;
}

std::string stream_name_part(std::string_view text) {
    if (text.empty()) {
        return "%00";  // No PostgreSQL name holds a NUL.
    }
    if (text.find_first_not_of('.') == std::string_view::npos) {
        std::string dots;
        for (std::size_t i = 0; i < text.size(); ++i) {
            dots += "%2E";
        }
        return dots;
    }
    return percent_encode(text);
}

std::string database_prefix(std::string_view database) {
    return "databases/" + stream_name_part(database) + "/";
}

void MemoryStreams::begin(const StreamSpec& spec) {
    HOLDFAST_CHECK(!current_.has_value());
    HOLDFAST_CHECK(!streams_.contains(spec.name));
    current_.emplace(Stream{spec, {}});
}

void MemoryStreams::write(ByteSpan bytes) {
    HOLDFAST_CHECK(current_.has_value());
    current_->bytes.insert(current_->bytes.end(), bytes.begin(), bytes.end());
}

void MemoryStreams::end() {
    HOLDFAST_CHECK(current_.has_value());
    add(std::move(*current_));
    current_.reset();
}

void MemoryStreams::add(Stream stream) {
    const std::lock_guard lock{*mutex_};
    std::string name = stream.spec.name;
    HOLDFAST_CHECK(streams_.emplace(std::move(name), std::move(stream)).second);
}

class MemoryStreams::Writer final : public StreamWriter {
public:
    Writer(MemoryStreams& streams, const StreamSpec& spec)
        : streams_{streams}, stream_{Stream{spec, {}}} {}
    void write(ByteSpan bytes) override {
        stream_.bytes.insert(stream_.bytes.end(), bytes.begin(), bytes.end());
    }
    void close() override { streams_.add(std::move(stream_)); }

private:
    MemoryStreams& streams_;
    Stream stream_;
};

std::unique_ptr<StreamWriter> MemoryStreams::open(const StreamSpec& spec) {
    return std::make_unique<Writer>(*this, spec);
}

void MemoryStreams::list(
    std::string_view prefix, const std::function<void(const StreamInfo&)>& visit
) const {
    for (auto it = streams_.lower_bound(prefix); it != streams_.end(); ++it) {
        if (!std::string_view{it->first}.starts_with(prefix)) {
            break;
        }
        visit(StreamInfo{it->second.spec, it->second.bytes.size()});
    }
}

std::unique_ptr<StreamReader> MemoryStreams::open(std::string_view name) const {
    const auto it = streams_.find(name);
    if (it == streams_.end()) {
        throw Error{
            ErrorKind::kObjectNotFound, fmt::format("The recovery point has no stream {}.", name)
        };
    }
    return std::make_unique<MemoryReader>(it->second.bytes);
}

}  // namespace holdfast::postgres
