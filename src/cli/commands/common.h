#pragma once

#include "cli/command.h"
#include "cli/session.h"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

/// What the verbs share: options with az's names, and the handlers that many rows have in common.
namespace holdfast::cli {

inline constexpr std::string_view kVaultResource =
    "Microsoft.DataProtection/backupVaults/--vault-name";
inline constexpr std::string_view kPolicyResource =
    "Microsoft.DataProtection/backupVaults/--vault-name/backupPolicies/--backup-policy-name";
inline constexpr std::string_view kInstanceResource =
    "Microsoft.DataProtection/backupVaults/--vault-name/backupInstances/--backup-instance-name";
inline constexpr std::string_view kDeletedInstanceResource =
    "Microsoft.DataProtection/backupVaults/--vault-name/deletedBackupInstances/"
    "--backup-instance-name";
inline constexpr std::string_view kPointResource =
    "Microsoft.DataProtection/backupVaults/--vault-name/backupInstances/--backup-instance-name/"
    "recoveryPoints/--recovery-point-id";
inline constexpr std::string_view kJobResource =
    "Microsoft.DataProtection/backupVaults/--vault-name/backupJobs/--job-id";
inline constexpr std::string_view kServerResource =
    "Microsoft.DBforPostgreSQL/flexibleServers/--name";
inline constexpr std::string_view kDatabaseResource =
    "Microsoft.DBforPostgreSQL/flexibleServers/--server-name/databases/--database-name";

[[nodiscard]] Option resource_group_option();
[[nodiscard]] Option vault_name_option();
[[nodiscard]] Option policy_name_option();
[[nodiscard]] Option instance_name_option();
[[nodiscard]] Option job_id_option();
[[nodiscard]] Option no_wait_option();
[[nodiscard]] Option yes_option();
[[nodiscard]] Option max_items_option();
[[nodiscard]] Option operation_requests_option();
[[nodiscard]] Option datasource_type_option();
[[nodiscard]] Option backup_solution_type_option();

[[nodiscard]] Session::Wait wait_of(const Arguments& arguments);

/// Returns after `--yes` or a "y" at the prompt. Throws kCancelled for another answer,
/// kInvalidInput without a terminal.
void confirm(const Arguments& arguments, Session& session);

/// GET of the resource.
[[nodiscard]] Handler show_handler(std::string_view resource);
/// GET of the collection that the resource is in; `--max-items` cuts it.
[[nodiscard]] Handler list_handler(std::string_view resource);
/// DELETE after confirm(); prints nothing.
[[nodiscard]] Handler delete_handler(std::string_view resource);
/// POST of an action without a body but for `--operation-requests`; prints nothing.
[[nodiscard]] Handler action_handler(std::string_view resource, std::string_view action);

/// The row and handler of a `wait` verb for the resource. `command` brings path, summary, name
/// options and example.
[[nodiscard]] Command wait_command(Command command);

/// The list cut to `--max-items`.
[[nodiscard]] Json cut_to_max_items(Json list, const Arguments& arguments);

/// A whole number from 1 to `max`; the default when not given. Throws kUsage naming the option.
struct WholeNumber {
    std::string_view option;
    std::int64_t fallback;
    std::int64_t max;
};
[[nodiscard]] std::int64_t whole_number(const Arguments& arguments, const WholeNumber& number);

/// ISO 8601; a date alone is its midnight (UTC). Throws kInvalidInput in az's words.
[[nodiscard]] Instant instant_argument(const std::string& text);

/// The secret in a file ("-": standard input), without the line end that editors add.
[[nodiscard]] Secret secret_from_file(const std::string& path, Session& session);

/// `key=value` words as an object; a word without `=` is a key with "". For `--tags`.
[[nodiscard]] Json tags_of(const std::vector<std::string>& words);

// The rows, by file.
void add_account_commands(std::vector<Command>& table);
void add_alert_commands(std::vector<Command>& table);
void add_audit_commands(std::vector<Command>& table);
void add_az_setup_commands(std::vector<Command>& table);
void add_directory_commands(std::vector<Command>& table);
void add_group_commands(std::vector<Command>& table);
void add_instance_commands(std::vector<Command>& table);
void add_job_commands(std::vector<Command>& table);
void add_keyvault_commands(std::vector<Command>& table);
void add_login_commands(std::vector<Command>& table);
void add_point_commands(std::vector<Command>& table);
void add_policy_commands(std::vector<Command>& table);
void add_postgres_commands(std::vector<Command>& table);
void add_resource_graph_commands(std::vector<Command>& table);
void add_rest_commands(std::vector<Command>& table);
void add_restore_commands(std::vector<Command>& table);
void add_restore_directory_commands(std::vector<Command>& table);
void add_role_commands(std::vector<Command>& table);
void add_status_commands(std::vector<Command>& table);
void add_vault_commands(std::vector<Command>& table);

}  // namespace holdfast::cli
