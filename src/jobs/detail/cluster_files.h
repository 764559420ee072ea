#pragma once

#include "jobs/files_restore.h"

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast::jobs {

class FileSet;

/// True when the streams are those of a physical backup.
[[nodiscard]] bool is_cluster(const postgres::StreamSource& source);

// A physical recovery point as files: `<prefix>_base.tar`, `<prefix>_<oid>.tar` for each
// tablespace, `<prefix>_pg_wal.tar`, `<prefix>_backup_manifest` and, last,
// `<prefix>_manifest.json` with the SHA-256 of each and the steps that make a data directory of
// them.

[[nodiscard]] std::vector<std::string> cluster_file_names(const FilesRestore& restore);
[[nodiscard]] std::uint64_t cluster_files_size(const FilesRestore& restore);
void write_cluster_files(const FilesRestore& restore, FileSet& set);

}  // namespace holdfast::jobs
