#pragma once

#include "base/bytes.h"
#include "postgres/page.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
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

/// PostgreSQL's `backup_manifest` (13 and later), read and proven: its own checksum is verified.
struct BackupManifest {
    int version = 0;
    std::map<std::string, ManifestFile> files;  ///< By path, relative to the data directory.
    std::vector<ManifestWalRange> wal_ranges;
};

/// Throws kBaseBackupFailed, saying what is wrong.
[[nodiscard]] BackupManifest parse_backup_manifest(ByteSpan json);

}  // namespace holdfast::postgres
