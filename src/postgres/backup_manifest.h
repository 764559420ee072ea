#pragma once

#include "base/bytes.h"
#include "base/sha256.h"
#include "postgres/page.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

/// What the server says of one file of a base backup.
struct ManifestFile {
    std::uint64_t size = 0;
    std::optional<std::uint32_t> crc32c;  ///< Nothing: the server gave none, or another kind.
};

struct ManifestWalRange {
    std::uint32_t timeline = 0;
    Lsn start = 0;
    Lsn end = 0;
};

/// Takes what a manifest lists, in its order.
class ManifestHandler {
public:
    virtual ~ManifestHandler() = default;
    /// `path` is relative to the data directory.
    virtual void file(const std::string& path, const ManifestFile& file) = 0;
    virtual void wal_range(const ManifestWalRange& /*range*/) {}
};

/// Reads PostgreSQL's `backup_manifest` (13 and later) while it streams by. Its own checksum is
/// verified last of all: what the handler was given is proven when finish() has returned.
///
/// Memory: one element of a list, 64 KiB at most. Threads: one at a time. Throws kBaseBackupFailed,
/// saying what is wrong, and what the handler throws.
class BackupManifestReader {
public:
    explicit BackupManifestReader(ManifestHandler& handler) : handler_{handler} {}
    void write(ByteSpan bytes);
    void finish();
    /// After finish().
    [[nodiscard]] int version() const noexcept { return version_; }

private:
    void take(char c);
    void open(char c);
    void close(char c);
    void append(char c);
    void end_member();
    void end_element();
    void hash(std::string_view text);

    ManifestHandler& handler_;
    // The document: an object whose members are plain, or lists of objects.
    int depth_ = 0;
    bool in_string_ = false;
    bool escaped_ = false;
    bool done_ = false;
    std::string list_;  ///< The member whose elements are coming; empty: none.
    std::string text_;  ///< Of the member or element that is coming.
    int version_ = 0;
    bool has_files_ = false;
    // Its checksum is of all lines before the last.
    Sha256 sha256_;
    std::string last_line_;  ///< And what follows it.
    std::string checksum_;
};

/// A manifest in memory, for small ones: PostgreSQL lists millions of files where it has them.
struct BackupManifest {
    int version = 0;
    std::map<std::string, ManifestFile> files;  ///< By path, relative to the data directory.
    std::vector<ManifestWalRange> wal_ranges;
};
[[nodiscard]] BackupManifest parse_backup_manifest(ByteSpan json);

}  // namespace holdfast::postgres
