#pragma once

#include "postgres/cluster_description.h"

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::postgres {

class ByteSink;      // postgres/streams.h
class StreamSource;  // postgres/streams.h

/// A file of a physical recovery point's form as files, as pg_basebackup's tar format has it:
/// `base.tar`, `<oid>.tar` for each tablespace, `pg_wal.tar`, `backup_manifest`; and, where the
/// server kept its configuration outside the data directory, `configuration.tar`.
struct ClusterArchive {
    std::string name;
    std::uint64_t size = 0;  ///< Bytes, exactly.
};

/// Lists every stream of the point once.
[[nodiscard]] std::vector<ClusterArchive> list_cluster_archives(const StreamSource& source);

/// Writes one of them. Extracted (base.tar into a directory, pg_wal.tar into its pg_wal,
/// backup_manifest beside), pg_verifybackup accepts them. Throws kRestoreItemNotFound for a name
/// that list_cluster_archives() does not give, kCancelled, and what source and sink throw.
void write_cluster_archive(
    const StreamSource& source, const std::string& name, ByteSink& sink, std::stop_token stop = {}
);

}  // namespace holdfast::postgres
