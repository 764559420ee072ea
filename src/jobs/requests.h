#pragma once

#include "base/clock.h"
#include "base/json.h"

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// What a job is asked to do, as kept in JobRecord::request. No secrets, only references to them.
namespace holdfast::jobs {

/// Who asked, for the job row and the audit trail.
struct Requester {
    std::string principal_id;  ///< Empty: the service itself.
    std::string correlation_id;
};

/// `{"backupRuleOptions":{"ruleName","triggerOption":{"retentionTagOverride"}}}` of adhocBackup.
struct AdhocBackupRequest {
    std::string instance_id;
    std::string rule_name;
    std::string tag_override;  ///< Empty: none.
    Requester requester;
};
/// Reads the body. Throws kInvalidRequestContent with the JSON path.
[[nodiscard]] AdhocBackupRequest parse_adhoc_backup(
    const Json& body, std::string instance_id, Requester requester
);

enum class RolePasswordFiles { kLeaveOut, kInclude };

/// RestoreFilesTargetInfo.
struct FilesTarget {
    std::string url;
    std::string file_prefix;
    RolePasswordFiles role_passwords = RolePasswordFiles::kLeaveOut;
};

/// RestoreTargetInfo: databases on a registered server.
struct ServerTarget {
    std::string datasource_id;  ///< Of the target: a database, or a server for all databases.
    std::string secret_uri;     ///< From datasourceAuthCredentials; empty: the registration's.
    std::string
        source_database;  ///< Which one of the point; empty: the only one, or of the same name.
    bool skip_ownership = false;  ///< Everything belongs to the role that restores.
};

/// One ItemPathBasedRestoreCriteria: `db`, `db/schema` or `db/schema/table`, parts percent-encoded
/// where they hold a slash.
struct ItemPath {
    std::string database;
    std::string schema;        ///< Empty: the whole database.
    std::string table;         ///< Empty: the whole schema.
    std::string target_table;  ///< From renameTo; empty: the same.
};

/// ItemLevelRestoreTargetInfo.
struct ItemsTarget {
    std::string datasource_id;
    std::string secret_uri;
    std::vector<ItemPath> items;
    bool skip_ownership = false;
};

struct RestoreRequest {
    std::string instance_id;
    std::string point_id;  ///< 32 hex digits.
    std::variant<FilesTarget, ServerTarget, ItemsTarget> target;
    Requester requester;
};
/// Reads the restore request object (the body of `restore`, the `restoreRequestObject` of
/// `validateRestore`, with `path` where it stands). Throws kInvalidRequestContent with the JSON
/// path; kUnsupportedOperation for a kind of restore that this datasource does not have;
/// kPluginInvalidInput for a bad filePrefix.
[[nodiscard]] RestoreRequest parse_restore_request(
    const Json& body, std::string_view path, std::string instance_id, Requester requester
);

/// The durable forms.
[[nodiscard]] Json to_json(const RestoreRequest& request);
[[nodiscard]] RestoreRequest restore_request_from_json(const Json& json);

enum class VerifyTrigger { kOnDemand, kPolicy };

/// A test restore.
struct VerifyRequest {
    std::string instance_id;
    std::string point_id;  ///< 32 hex digits; empty when asked for the newest.
    VerifyTrigger trigger = VerifyTrigger::kOnDemand;
    Requester requester;
};
/// Reads the body of `verify`: `{"recoveryPointId"}`, or nothing. Throws kInvalidRequestContent with
/// the JSON path.
[[nodiscard]] VerifyRequest parse_verify(
    const Json& body, std::string instance_id, Requester requester
);
[[nodiscard]] Json to_json(const VerifyRequest& request);
[[nodiscard]] VerifyRequest verify_request_from_json(const Json& json);

/// A backup as queued: everything decided when it was queued.
struct QueuedBackup {
    std::string instance_id;
    std::string rule_name;  ///< The backup rule.
    std::string tag;        ///< Decided already for on demand; empty: judged at the end.
    std::optional<Instant> scheduled_at;  ///< Absent: on demand.
};
[[nodiscard]] Json to_json(const QueuedBackup& backup);
[[nodiscard]] QueuedBackup queued_backup_from_json(const Json& json);

}  // namespace holdfast::jobs
