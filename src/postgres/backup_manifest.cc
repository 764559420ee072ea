#include "postgres/backup_manifest.h"

#include "base/error.h"
#include "base/json.h"
#include "base/sha256.h"

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

[[noreturn]] void fail(const std::string& problem) {
    throw Error{
        ErrorKind::kBaseBackupFailed,
        {.message = fmt::format("The server's backup manifest is not usable: {}.", problem),
         .recommended_actions = {"Back up again; if it happens again, look at the server's log."}}
    };
}

/// The last line holds the SHA-256 of everything before it.
void require_own_checksum(std::string_view text) {
    constexpr std::string_view kMark = "\"Manifest-Checksum\"";
    const std::size_t at = text.rfind(kMark);
    if (at == std::string_view::npos || at == 0 || text[at - 1] != '\n') {
        fail("it has no checksum of its own");
    }
    const std::string_view last = text.substr(at);
    const std::size_t colon = last.find(':');
    const std::size_t open = colon == std::string_view::npos ? colon : last.find('"', colon);
    const std::size_t close = open == std::string_view::npos ? open : last.find('"', open + 1);
    if (close == std::string_view::npos) {
        fail("its own checksum is cut off");
    }
    if (last.substr(open + 1, close - open - 1) != to_hex(sha256(as_bytes(text.substr(0, at))))) {
        fail("its own checksum does not match");
    }
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

BackupManifest read(const Json& json) {
    const JsonReader reader{json, "manifest", ErrorKind::kBaseBackupFailed};
    BackupManifest manifest;
    manifest.version =
        static_cast<int>(read_count(reader.member("PostgreSQL-Backup-Manifest-Version")));
    if (manifest.version != 1 && manifest.version != 2) {
        fail(fmt::format("its version {} is unknown to this program", manifest.version));
    }
    for (const JsonReader& file : reader.member("Files").elements()) {
        std::string path = path_of(file);
        if (!manifest.files.emplace(path, read_file(file)).second) {
            fail(fmt::format("it lists \"{}\" twice", path));
        }
    }
    for (const JsonReader& range : reader.member("WAL-Ranges").elements()) {
        manifest.wal_ranges.push_back({
            .timeline = static_cast<std::uint32_t>(read_count(range.member("Timeline"))),
            .start = read_lsn(range, "Start-LSN"),
            .end = read_lsn(range, "End-LSN"),
        });
    }
    return manifest;
}

}  // namespace

BackupManifest parse_backup_manifest(ByteSpan json) {
    require_own_checksum(as_text(json));
    const Json document =
        parse_json(as_text(json), ErrorKind::kBaseBackupFailed, "The server's backup manifest");
    return read(document);
}

}  // namespace holdfast::postgres
