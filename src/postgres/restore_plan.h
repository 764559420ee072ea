#pragma once

#include "postgres/archive_composer.h"
#include "postgres/connection.h"
#include "postgres/logical_restore.h"
#include "postgres/server_info.h"
#include "postgres/streams.h"
#include "postgres/toc_selection.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace holdfast::postgres {

/// An object that a restore makes in a database that others use already: it can be taken away
/// again, and only it.
struct PlannedObject {
    std::string desc;       ///< `TABLE`, `TYPE`…
    std::string reference;  ///< As SQL has it: `app.orders`, `app.f(integer)`.
};

/// What the target looks like before the restore.
struct TargetState {
    int server_major = 0;
    RoleInfo role;
    std::optional<DatabaseInfo> database;  ///< The target database, when it exists.
    /// In that database, when this role may connect to it.
    std::unique_ptr<Connection> session;
};

/// Everything that is known before the first change: what to take from the archive, and what that
/// needs.
class RestorePlan {
public:
    /// Throws kObjectNotFound and kVaultCorrupt for a recovery point that lacks its streams,
    /// kRestoreItemNotFound, kUnsupportedOperation.
    RestorePlan(const StreamSource& source, const RestoreOptions& options, TargetState target);

    [[nodiscard]] const TargetState& target() const noexcept { return target_; }
    [[nodiscard]] const DatabaseInfo& settings() const noexcept { return settings_; }
    [[nodiscard]] int source_major() const noexcept { return source_major_; }
    /// The oldest pg_restore that reads the archive and knows the target.
    [[nodiscard]] int tool_major() const noexcept;
    [[nodiscard]] bool whole_database() const noexcept { return options_.items.empty(); }
    [[nodiscard]] bool creates_database() const noexcept { return !target_.database.has_value(); }

    /// Null for an archive that is kept as one piece.
    [[nodiscard]] const ArchiveComposer* composer() const noexcept { return composer_.get(); }
    [[nodiscard]] const std::string& archive_stream() const noexcept { return archive_stream_; }
    /// Entries to restore; nothing: all.
    [[nodiscard]] ComposePlan compose_plan(ComposeShape shape) const;
    [[nodiscard]] std::vector<RestoreShare> shares() const;
    [[nodiscard]] std::uint64_t data_bytes() const noexcept { return data_bytes_; }
    [[nodiscard]] std::size_t table_count() const noexcept { return table_count_; }

    [[nodiscard]] const std::vector<std::string>& warnings() const noexcept { return warnings_; }
    /// What comes with the items because they need it.
    [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }
    [[nodiscard]] std::set<std::string> owners() const;
    [[nodiscard]] std::set<std::string> mentioned_roles() const;
    [[nodiscard]] std::set<std::string> tablespaces() const;
    /// Extensions that the restore creates.
    [[nodiscard]] std::set<std::string> extensions() const;
    /// Schemas that items are to be put into and that the target has not.
    [[nodiscard]] const std::set<std::string>& new_schemas() const noexcept { return new_schemas_; }
    /// For items: what pre-data makes, in the order of making.
    [[nodiscard]] std::vector<PlannedObject> objects() const;

private:
    void select_items();
    void select_one(const RestoreItem& item, std::set<std::size_t>& chosen);
    void join_items(std::set<std::size_t>& chosen);
    [[nodiscard]] bool exists_in_target(const TocEntry& entry) const;
    void sum_up();
    [[nodiscard]] std::vector<std::size_t> chosen_entries() const;

    const RestoreOptions& options_;
    TargetState target_;
    DatabaseInfo settings_;
    int source_major_ = 0;
    std::unique_ptr<ArchiveComposer> composer_;
    std::string archive_stream_;
    std::optional<std::vector<std::size_t>> entries_;
    std::map<std::size_t, TocOverride> overrides_;
    std::vector<LeftOut> left_out_;
    std::vector<std::string> warnings_;
    std::vector<std::string> notes_;
    std::set<std::string> new_schemas_;
    std::string encoding_;
    std::uint64_t data_bytes_ = 0;
    std::size_t table_count_ = 0;
};

/// Looks at the target server. `database` may not exist.
[[nodiscard]] TargetState read_target(
    Connection& maintenance,
    const ConnectionParameters& target,
    const std::string& database,
    const std::stop_token& stop
);

/// The OID of the object in the database that `session` is connected to; nothing when there is
/// none.
[[nodiscard]] std::optional<std::uint32_t> object_oid(
    Connection& session, const PlannedObject& object
);

}  // namespace holdfast::postgres
