#include "postgres/backup_manifest.h"

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

constexpr std::size_t kElementBytesMax = 64 * kKiB;
constexpr std::string_view kWhat = "The server's backup manifest";

[[noreturn]] void fail(const std::string& problem) {
    throw Error{
        ErrorKind::kBaseBackupFailed,
        {.message = fmt::format("{} is not usable: {}.", kWhat, problem),
         .recommended_actions = {"Back up again; if it happens again, look at the server's log."}}
    };
}

std::string path_of(const JsonReader& file) {
    if (auto path = file.optional_string("Path")) {
        return *path;
    }
    // Names that are not UTF-8 come in hexadecimal.
    const std::string encoded = file.string("Encoded-Path");
    const auto bytes = from_hex(encoded);
    if (!bytes) {
        fail(fmt::format("the path \"{}\" is not hexadecimal", encoded));
    }
    return std::string{as_text(*bytes)};
}

std::uint64_t read_count(const JsonReader& value) {
    const std::int64_t number = value.as_integer();
    if (number < 0) {
        fail(fmt::format("{} at {} is negative", number, value.path()));
    }
    return static_cast<std::uint64_t>(number);
}

ManifestFile read_file(const JsonReader& file) {
    ManifestFile out;
    out.size = read_count(file.member("Size"));
    if (file.string_or("Checksum-Algorithm", "NONE") == "CRC32C") {
        const std::string hex = file.string("Checksum");
        const auto bytes = from_hex(hex);
        if (!bytes || bytes->size() != sizeof(std::uint32_t)) {
            fail(fmt::format("\"{}\" is not a CRC-32C", hex));
        }
        // Written as it lies in the server's memory.
        out.crc32c = get_little_endian<std::uint32_t>(bytes->data());
    }
    return out;
}

Lsn read_lsn(const JsonReader& range, std::string_view name) {
    const std::string text = range.string(name);
    const auto lsn = parse_lsn(text);
    if (!lsn) {
        fail(fmt::format("\"{}\" is not a position in the log", text));
    }
    return *lsn;
}

}  // namespace

void BackupManifestReader::write(ByteSpan bytes) {
    const std::string_view text = as_text(bytes);
    hash(text);
    for (const char c : text) {
        take(c);
    }
}

/// The last line holds the checksum, and what is before it goes into it: the last line so far is
/// held back.
void BackupManifestReader::hash(std::string_view text) {
    while (!text.empty()) {
        const std::size_t newline = text.find('\n');
        const std::string_view part = text.substr(0, newline);
        if (last_line_.ends_with('\n')) {
            sha256_.update(as_bytes(last_line_));
            last_line_.clear();
        }
        last_line_ += part;
        if (last_line_.size() > kElementBytesMax) {
            fail("it has a line that is too long");
        }
        if (newline == std::string_view::npos) {
            return;
        }
        last_line_ += '\n';
        text.remove_prefix(newline + 1);
    }
}

void BackupManifestReader::append(char c) {
    if (depth_ == 0 || done_) {
        fail("it is not one JSON object");
    }
    if (text_.size() >= kElementBytesMax) {
        fail("it has an element that is too long");
    }
    text_ += c;
}

void BackupManifestReader::take(char c) {
    if (in_string_) {
        append(c);
        if (escaped_) {
            escaped_ = false;
        } else if (c == '\\') {
            escaped_ = true;
        } else if (c == '"') {
            in_string_ = false;
        }
        return;
    }
    switch (c) {
        case ' ':
        case '\t':
        case '\r':
        case '\n':
            return;
        case '"':
            in_string_ = true;
            append(c);
            return;
        case '{':
        case '[':
            open(c);
            return;
        case '}':
        case ']':
            close(c);
            return;
        case ',':
            if (depth_ == 1) {
                end_member();
            } else if (depth_ == 2 && !list_.empty()) {
                end_element();
            } else {
                append(c);
            }
            return;
        default:
            append(c);
    }
}

void BackupManifestReader::open(char c) {
    if (depth_ == 0) {
        if (c != '{' || done_) {
            fail("it is not one JSON object");
        }
        ++depth_;
        return;
    }
    if (depth_ == 1 && c == '[') {
        // `"Files":` has come.
        constexpr std::size_t kShortest = 4;
        if (text_.size() < kShortest || !text_.starts_with('"') || !text_.ends_with("\":")) {
            fail("it has a list without a name");
        }
        list_ = text_.substr(1, text_.size() - 3);
        has_files_ = has_files_ || list_ == "Files";
        text_.clear();
        ++depth_;
        return;
    }
    constexpr int kDepthMax = 16;
    if (depth_ == kDepthMax) {
        fail("it is nested too deeply");
    }
    append(c);
    ++depth_;
}

void BackupManifestReader::close(char c) {
    if (depth_ == 0) {
        fail("it is not one JSON object");
    }
    if (depth_ == 1) {
        if (c != '}') {
            fail("a bracket does not match");
        }
        end_member();
        depth_ = 0;
        done_ = true;
    } else if (depth_ == 2 && !list_.empty()) {
        if (c != ']') {
            fail("a bracket does not match");
        }
        end_element();
        list_.clear();
        depth_ = 1;
    } else {
        append(c);  // Its like is checked with the whole element.
        --depth_;
    }
}

void BackupManifestReader::end_member() {
    const std::string text = std::exchange(text_, {});
    if (text.empty()) {  // After a list.
        return;
    }
    const Json json = parse_json('{' + text + '}', ErrorKind::kBaseBackupFailed, kWhat);
    const JsonReader reader{json, "manifest", ErrorKind::kBaseBackupFailed};
    if (const auto version = reader.optional_integer("PostgreSQL-Backup-Manifest-Version")) {
        if (*version != 1 && *version != 2) {
            fail(fmt::format("its version {} is unknown to this program", *version));
        }
        version_ = static_cast<int>(*version);
    }
    if (auto checksum = reader.optional_string("Manifest-Checksum")) {
        checksum_ = std::move(*checksum);
    }
}

void BackupManifestReader::end_element() {
    const std::string text = std::exchange(text_, {});
    if (text.empty()) {
        return;
    }
    const Json json = parse_json(text, ErrorKind::kBaseBackupFailed, kWhat);
    const JsonReader reader{json, "manifest." + list_, ErrorKind::kBaseBackupFailed};
    if (list_ == "Files") {
        handler_.file(path_of(reader), read_file(reader));
    } else if (list_ == "WAL-Ranges") {
        handler_.wal_range({
            .timeline = static_cast<std::uint32_t>(read_count(reader.member("Timeline"))),
            .start = read_lsn(reader, "Start-LSN"),
            .end = read_lsn(reader, "End-LSN"),
        });
    }
}

void BackupManifestReader::finish() {
    if (!done_) {
        fail("it is cut off");
    }
    if (checksum_.empty() || !last_line_.starts_with("\"Manifest-Checksum\"")) {
        fail("it has no checksum of its own");
    }
    if (checksum_ != to_hex(sha256_.finish())) {
        fail("its own checksum does not match");
    }
    if (version_ == 0 || !has_files_) {
        fail("it does not say its version and files");
    }
}

BackupManifest parse_backup_manifest(ByteSpan json) {
    struct Collector final : ManifestHandler {
        BackupManifest manifest;
        void file(const std::string& path, const ManifestFile& file) override {
            if (!manifest.files.emplace(path, file).second) {
                fail(fmt::format("it lists \"{}\" twice", path));
            }
        }
        void wal_range(const ManifestWalRange& range) override {
            manifest.wal_ranges.push_back(range);
        }
    } collector;
    BackupManifestReader reader{collector};
    reader.write(json);
    reader.finish();
    collector.manifest.version = reader.version();
    return std::move(collector.manifest);
}

}  // namespace holdfast::postgres
