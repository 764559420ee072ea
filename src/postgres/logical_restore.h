#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "postgres/client_tools.h"
#include "postgres/connection.h"
#include "postgres/database_sql.h"
#include "postgres/server_info.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::postgres {

class StreamSource;  // postgres/streams.h

struct RestoreProgress {
    std::string step;  ///< `checks`, `pre-data`, `data`, `post-data`, `properties`, `analyze`
    std::uint64_t bytes_done = 0;
    std::uint64_t bytes_total = 0;  ///< Of the data streams to be restored.
};

/// One table (with what belongs to it), one schema (`table` empty), or a whole database (`schema`
/// empty too).
struct RestoreItem {
    std::string schema;
    std::string table;
    /// Another schema (made when missing) and another name for the table in the target; empty: its
    /// own.
    std::string target_schema = {};
    std::string target_table = {};
};

enum class Ownership {
    kRestore,  ///< Owners and grants as in the source; roles that are missing are an error.
    kSkip,     ///< Everything belongs to the role that restores (pg_restore --no-owner --no-acl).
};
enum class Analyze { kNo, kYes };

struct RestoreOptions {
    std::string source_database;
    std::string target_database;     ///< Must not exist for a whole database; may exist for items.
    std::vector<RestoreItem> items;  ///< Empty: the whole database.
    Ownership ownership = Ownership::kRestore;
    Tablespaces tablespaces = Tablespaces::kRestore;
    Analyze analyze = Analyze::kNo;
    std::size_t workers = 2;  ///< pg_restore processes for data and for post-data.
    std::function<void(const RestoreProgress&)>
        progress;  ///< At most every 100 ms; from any of the worker threads, one at a time.
    std::stop_token stop;
};

struct LogicalRestore {
    std::string database;
    std::uint32_t database_oid = 0;
    bool database_created = false;
    std::uint64_t bytes = 0;
    std::vector<std::string>
        warnings;  ///< E.g. foreign keys left out because their table is not in the selection.
    std::vector<std::string>
        done;  ///< Steps in words: `created database "x"`, `restored 12 tables`.
};

/// What a restore needs and the target has not. Nothing is changed.
struct RestoreCheck {
    std::vector<ErrorDetail>
        missing;  ///< Empty: it can start. Codes: `MissingRole`, `MissingExtension`…
    std::vector<std::string> remedies;  ///< Statements that cure, in the order to run them.
    std::vector<std::string> warnings;
    /// Throws kRestorePrerequisites with all of it unless empty.
    void throw_if_failed() const;
};

/// Databases held in a recovery point, in the order of their names.
[[nodiscard]] std::vector<std::string> databases_in(const StreamSource& source);

/// Checks the target: kDatabaseExists, kRestoreToLowerVersion, kClientToolMissing,
/// kRestoreItemNotFound are thrown; what can be cured by statements is returned.
[[nodiscard]] RestoreCheck check_restore(
    const ConnectionParameters& target,
    const StreamSource& source,
    const ClientTools& tools,
    const RestoreOptions& options
);

/// Runs check_restore, then restores. A failure throws kRestoreFailed (or the more precise kind)
/// whose details say what was done; everything this call created is dropped again, checked by OID,
/// and nothing else.
[[nodiscard]] LogicalRestore run_logical_restore(
    const ConnectionParameters& target,
    const StreamSource& source,
    const ClientTools& tools,
    const RestoreOptions& options
);

}  // namespace holdfast::postgres
