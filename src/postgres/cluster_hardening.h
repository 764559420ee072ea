#pragma once

#include "postgres/sandbox.h"
#include "postgres/scratch_directory.h"

#include <cstdint>
#include <string>
#include <string_view>

// What is done to a restored data directory before a program of PostgreSQL sees it. The directory's
// contents are somebody else's: files are replaced, never written into, and no link is followed.

namespace holdfast::postgres {

/// What pg_control says, as far as a start needs it.
struct ControlFacts {
    std::uint32_t prepared_transactions_max = 0;
    std::uint32_t locks_per_transaction_max = 64;
    bool data_checksums = false;
    std::string system_identifier;
    std::string state;  ///< `in production`, `shut down`
};
/// Reads what `pg_controldata` prints in the C locale. Throws kScratchServerFailed.
[[nodiscard]] ControlFacts parse_control_data(std::string_view output);

struct ClearedCluster {
    int major = 0;
    bool has_backup_label = false;
    bool has_in_place_tablespaces = false;
};

/// Removes what decides about a server from inside its data directory: configuration, access rules,
/// signal files, a running server's traces, replication slots. Links of tablespaces are made anew
/// and lead to `directory.tablespace(oid)` as the sandbox sees it; the original places are
/// forgotten. Throws kScratchServerFailed when this is no data directory, or a tablespace is
/// missing.
[[nodiscard]] ClearedCluster clear_cluster(const ScratchDirectory& directory);

struct ScratchConfiguration {
    int major = 0;
    ControlFacts control;
    SandboxLimits limits;
    std::string role;  ///< The only one that may connect.
    bool in_place_tablespaces = false;
};
/// The whole of postgresql.conf. No network, no archive, no library that is not asked for, no
/// workers of subscriptions, no autovacuum, no event triggers where the version can do without;
/// what recovery demands is taken from pg_control.
[[nodiscard]] std::string scratch_configuration(const ScratchConfiguration& facts);

/// Writes postgresql.conf, pg_hba.conf and pg_ident.conf, for the sandbox's programs to read.
void write_configuration(
    const ScratchDirectory& directory, const Sandbox& sandbox, const ScratchConfiguration& facts
);

}  // namespace holdfast::postgres
