#include "cli/client_side/commands.h"

#include "base/error.h"
#include "base/ids.h"
#include "cli/client_side/policy_edit.h"
#include "cli/client_side/requests.h"
#include "cli/commands/common.h"
#include "cli/session.h"

#include <charconv>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

using Words = std::vector<std::string_view>;

const Words kDatasourceTypes{
    "AzureDisk",
    "AzureBlob",
    "AzureDatabaseForPostgreSQL",
    "AzureKubernetesService",
    "AzureDatabaseForPostgreSQLFlexibleServer",
    "AzureDatabaseForMySQL",
};
const Words kDatastores{"ArchiveStore", "OperationalStore", "VaultStore"};
const Words kDaysOfWeek{
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"
};
const Words kMonths{
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December"
};

Option list_of(Words names, Words allowed, std::string_view help) {
    Option option = list(std::move(names), help);
    option.allowed = std::move(allowed);
    return option;
}

Option policy_option() {
    return required({"--policy"}, "The policy: a JSON file, @file or JSON text.");
}

Option required_datasource_type() {
    return as_required(one_of(
        {"--datasource-type"},
        kDatasourceTypes,
        "Type of the datasource. AzureDatabaseForPostgreSQLFlexibleServer is any PostgreSQL server."
    ));
}

Option any_frequency_option() {
    return flag(
        {"--allow-any-frequency"},
        "Also allow daily and hourly schedules and the name Daily, which the Azure CLI refuses for "
        "PostgreSQL and the server here supports."
    );
}

Breadth breadth(const Arguments& arguments) {
    return arguments.flag("--allow-any-frequency") ? Breadth::kHoldfast : Breadth::kAzure;
}

std::int64_t whole_number(const Arguments& arguments, std::string_view name) {
    const std::string& text = arguments.string(name);
    std::int64_t value = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (fault != std::errc{} || end != text.data() + text.size()) {
        throw Error{
            ErrorKind::kUsage, fmt::format("argument {}: invalid int value: '{}'", name, text)
        };
    }
    return value;
}

std::vector<Json> load_all(const Arguments& arguments, std::string_view name, Session& session) {
    std::vector<Json> out;
    for (const std::string& text : arguments.list(name)) {
        out.push_back(load_json_argument(text, session));
    }
    return out;
}

std::optional<std::vector<std::string>> optional_list(
    const Arguments& arguments, std::string_view name
) {
    return arguments.given(name) ? std::optional{arguments.list(name)} : std::nullopt;
}

// Policy files.

Command template_command() {
    return {
        .path = "dataprotection backup-policy get-default-policy-template",
        .summary = "Print a policy to begin with: weekly, kept for three months.",
        .options = {required_datasource_type()},
        .examples =
            {{"Make a policy file",
              "holdfast backup-policy get-default-policy-template --datasource-type "
              "AzureDatabaseForPostgreSQLFlexibleServer > policy.json"}},
        .handler =
            [](const Arguments& arguments, Session&) {
                return default_policy_template(arguments.string("--datasource-type"));
            },
    };
}

Command create_schedule_command() {
    return {
        .path = "dataprotection backup-policy trigger create-schedule",
        .summary = "Print the repeating intervals of a schedule.",
        .options =
            {as_required(one_of(
                 {"--interval-type"}, {"Daily", "Weekly", "Hourly"}, "Frequency of the backups."
             )),
             required({"--interval-count"}, "1 for Daily and Weekly; 4, 6, 8 or 12 for Hourly."),
             required_list(
                 {"--schedule-days"},
                 "First date and time of each interval in UTC, yyyy-mm-ddTHH:MM:SS. For Weekly "
                 "they "
                 "give the days of the week."
             )},
        .examples =
            {{"Twice a week",
              "holdfast backup-policy trigger create-schedule --interval-type Weekly "
              "--interval-count 1 --schedule-days 2021-08-15T22:00:00 2021-08-18T22:00:00"}},
        .handler =
            [](const Arguments& arguments, Session&) {
                return create_schedule({
                    .interval_type = arguments.string("--interval-type"),
                    .interval_count = whole_number(arguments, "--interval-count"),
                    .schedule_days = arguments.list("--schedule-days"),
                });
            },
    };
}

Command trigger_set_command() {
    return {
        .path = "dataprotection backup-policy trigger set",
        .summary = "Replace the schedule of a policy file; prints the new policy.",
        .options =
            {policy_option(),
             required_list({"--schedule"}, "Repeating intervals, R/start/P1W and the like."),
             any_frequency_option()},
        .examples =
            {{"Every Sunday at 22:00",
              "holdfast backup-policy trigger set --policy policy.json --schedule "
              "R/2021-08-15T22:00:00+00:00/P1W > edited.json"},
             {"Every day at 01:30",
              "holdfast backup-policy trigger set --policy policy.json --schedule "
              "R/2021-08-15T01:30:00+00:00/P1D --allow-any-frequency > edited.json"}},
        .handler =
            [](const Arguments& arguments, Session& session) {
                return set_trigger({
                    .policy = load_json_argument(arguments.string("--policy"), session),
                    .schedule = arguments.list("--schedule"),
                    .breadth = breadth(arguments),
                });
            },
    };
}

Command create_lifecycle_command() {
    return {
        .path = "dataprotection backup-policy retention-rule create-lifecycle",
        .summary = "Print a lifecycle: how long points stay in a data store.",
        .options =
            {required(
                 {"--retention-duration-count", "--count"}, "How many days, weeks, months or years."
             ),
             as_required(one_of(
                 {"--retention-duration-type", "--type"},
                 {"Days", "Weeks", "Months", "Years"},
                 "The unit of the count."
             )),
             as_required(one_of({"--source-datastore"}, kDatastores, "Where the points lie.")),
             one_of({"--target-datastore"}, kDatastores, "Where they are copied to."),
             one_of(
                 {"--copy-option"},
                 {"CustomCopyOption", "ImmediateCopyOption", "CopyOnExpiryOption"},
                 "When they are copied."
             )},
        .examples =
            {{"Keep points for six months",
              "holdfast backup-policy retention-rule create-lifecycle --retention-duration-count 6 "
              "--retention-duration-type Months --source-datastore VaultStore > lifecycle.json"}},
        .handler =
            [](const Arguments& arguments, Session&) {
                return create_lifecycle({
                    .source_datastore = arguments.string("--source-datastore"),
                    .retention_duration_type = arguments.string("--retention-duration-type"),
                    .retention_duration_count =
                        whole_number(arguments, "--retention-duration-count"),
                    .target_datastore = arguments.optional_string("--target-datastore"),
                    .copy_option = arguments.optional_string("--copy-option"),
                });
            },
    };
}

Option retention_rule_name() {
    return as_required(one_of(
        {"--name", "-n"}, {"Default", "Daily", "Weekly", "Monthly", "Yearly"}, "The retention rule."
    ));
}

Command retention_set_command() {
    return {
        .path = "dataprotection backup-policy retention-rule set",
        .summary = "Add a retention rule to a policy file or replace one; prints the new policy.",
        .options =
            {policy_option(),
             retention_rule_name(),
             required_list({"--lifecycles"}, "Lifecycles: JSON files, @files or JSON texts."),
             any_frequency_option()},
        .examples =
            {{"Add a monthly rule",
              "holdfast backup-policy retention-rule set --lifecycles lifecycle.json --name "
              "Monthly "
              "--policy policy.json > edited.json"}},
        .handler =
            [](const Arguments& arguments, Session& session) {
                return set_retention_rule({
                    .policy = load_json_argument(arguments.string("--policy"), session),
                    .name = arguments.string("--name"),
                    .lifecycles = load_all(arguments, "--lifecycles", session),
                    .breadth = breadth(arguments),
                });
            },
    };
}

Command retention_remove_command() {
    return {
        .path = "dataprotection backup-policy retention-rule remove",
        .summary = "Drop a retention rule from a policy file; prints the new policy.",
        .options = {policy_option(), retention_rule_name()},
        .examples =
            {{"Drop the monthly rule",
              "holdfast backup-policy retention-rule remove --name Monthly --policy policy.json"}},
        .handler =
            [](const Arguments& arguments, Session& session) {
                return remove_retention_rule(
                    load_json_argument(arguments.string("--policy"), session),
                    arguments.string("--name")
                );
            },
    };
}

Command absolute_criteria_command() {
    return {
        .path = "dataprotection backup-policy tag create-absolute-criteria",
        .summary = "Print criteria for the first successful backup of a period.",
        .options = {as_required(one_of(
            {"--absolute-criteria"},
            {"AllBackup", "FirstOfDay", "FirstOfMonth", "FirstOfWeek", "FirstOfYear"},
            "Which backups."
        ))},
        .examples =
            {{"The first of every month",
              "holdfast backup-policy tag create-absolute-criteria --absolute-criteria "
              "FirstOfMonth "
              "> criteria.json"}},
        .handler =
            [](const Arguments& arguments, Session&) {
                return create_absolute_criteria(arguments.string("--absolute-criteria"));
            },
    };
}

Command generic_criteria_command() {
    return {
        .path = "dataprotection backup-policy tag create-generic-criteria",
        .summary = "Print criteria by day, week or month. All that are given must hold.",
        .options =
            {list_of({"--days-of-week"}, kDaysOfWeek, "Days of the week."),
             list_of(
                 {"--weeks-of-month"},
                 {"First", "Second", "Third", "Fourth", "Last"},
                 "First is days 1 to 7 and so on; Last is the last seven days."
             ),
             list_of({"--months-of-year"}, kMonths, "Months."),
             list({"--days-of-month"}, "1 to 28, or Last.")},
        .examples =
            {{"Sundays and Fridays",
              "holdfast backup-policy tag create-generic-criteria --days-of-week Sunday Friday > "
              "criteria.json"}},
        .handler =
            [](const Arguments& arguments, Session&) {
                return create_generic_criteria({
                    .days_of_week = optional_list(arguments, "--days-of-week"),
                    .weeks_of_month = optional_list(arguments, "--weeks-of-month"),
                    .months_of_year = optional_list(arguments, "--months-of-year"),
                    .days_of_month = optional_list(arguments, "--days-of-month"),
                });
            },
    };
}

Option tag_name() {
    return as_required(
        one_of({"--name", "-n"}, {"Daily", "Weekly", "Monthly", "Yearly"}, "The tag.")
    );
}

Command tag_set_command() {
    return {
        .path = "dataprotection backup-policy tag set",
        .summary = "Add a tag to a policy file or replace its criteria; prints the new policy.",
        .options =
            {policy_option(),
             tag_name(),
             required_list({"--criteria"}, "Criteria: JSON files, @files or JSON texts."),
             any_frequency_option()},
        .examples =
            {{"Tag what criteria.json says as Monthly",
              "holdfast backup-policy tag set --criteria criteria.json --name Monthly --policy "
              "policy.json > edited.json"}},
        .handler =
            [](const Arguments& arguments, Session& session) {
                return set_tag({
                    .policy = load_json_argument(arguments.string("--policy"), session),
                    .name = arguments.string("--name"),
                    .criteria = load_all(arguments, "--criteria", session),
                    .breadth = breadth(arguments),
                });
            },
    };
}

Command tag_remove_command() {
    return {
        .path = "dataprotection backup-policy tag remove",
        .summary = "Drop a tag from a policy file; prints the new policy.",
        .options = {policy_option(), tag_name()},
        .examples =
            {{"Drop the monthly tag",
              "holdfast backup-policy tag remove --name Monthly --policy policy.json"}},
        .handler =
            [](const Arguments& arguments, Session& session) {
                return remove_tag(
                    load_json_argument(arguments.string("--policy"), session),
                    arguments.string("--name")
                );
            },
    };
}

// Requests.

std::vector<Option> secret_store_options() {
    return {
        one_of(
            {"--secret-store-type"},
            {"AzureKeyVault"},
            "Where the credentials are: AzureKeyVault is also the server's built-in store."
        ),
        optional({"--secret-store-uri"}, "The secret with the credentials."),
        flag({"--az-exact"}, "Drop the credentials of a flexible server, as the Azure CLI does."),
    };
}

SecretStore secret_store(const Arguments& arguments) {
    return {
        .type = arguments.optional_string("--secret-store-type"),
        .uri = arguments.optional_string("--secret-store-uri"),
    };
}

AzCompatibility compatibility(const Arguments& arguments) {
    return arguments.flag("--az-exact") ? AzCompatibility::kExact : AzCompatibility::kExtended;
}

/// `a=b c`: a tag without a value is empty; `""` alone means no tags, not "not given".
Json tags(const Arguments& arguments) {
    if (!arguments.given("--tags")) {
        return nullptr;
    }
    Json out = Json::object();
    for (const std::string& word : arguments.list("--tags")) {
        const std::size_t equals = word.find('=');
        if (!word.empty()) {
            out[word.substr(0, equals)] =
                equals == std::string::npos ? "" : word.substr(equals + 1);
        }
    }
    return out;
}

std::vector<Option> joined(std::vector<Option> first, std::vector<Option> second) {
    std::move(second.begin(), second.end(), std::back_inserter(first));
    return first;
}

Command initialize_instance_command() {
    return {
        .path = "dataprotection backup-instance initialize",
        .summary = "Print the request that puts a datasource under a policy.",
        .options = joined(
            {required_datasource_type(),
             required({"--datasource-id"}, "Id of the server or of one database."),
             required({"--datasource-location", "--location", "-l"}, "Location of the vault."),
             required({"--policy-id"}, "Id of the backup policy."),
             optional({"--friendly-name"}, "Not used for PostgreSQL."),
             optional({"--backup-configuration"}, "Not used for PostgreSQL."),
             optional(
                 {"--snapshot-resource-group-name", "--snapshot-rg"}, "Not used for PostgreSQL."
             ),
             backup_solution_type_option(),
             list({"--tags"}, "Tags: key=value …; \"\" for none.")},
            secret_store_options()
        ),
        .examples =
            {{"Protect one database",
              "holdfast backup-instance initialize --datasource-type "
              "AzureDatabaseForPostgreSQLFlexibleServer -l westus --datasource-id $ossId "
              "--policy-id $policyId > instance.json"},
             {"Protect a whole server by physical backups",
              "holdfast backup-instance initialize --datasource-type "
              "AzureDatabaseForPostgreSQLFlexibleServer -l westus --datasource-id $ossId "
              "--policy-id $policyId --backup-solution-type PhysicalBackup > instance.json"}},
        .handler =
            [](const Arguments& arguments, Session& session) {
                InitializedInstance made = initialize_backup_instance({
                    .datasource_type = arguments.string("--datasource-type"),
                    .datasource_id = arguments.string("--datasource-id"),
                    .datasource_location = arguments.string("--datasource-location"),
                    .policy_id = arguments.string("--policy-id"),
                    .guid = new_guid(),
                    .secret_store = secret_store(arguments),
                    .friendly_name = arguments.optional_string("--friendly-name"),
                    .has_backup_configuration = arguments.given("--backup-configuration"),
                    .backup_solution_type = arguments.optional_string("--backup-solution-type"),
                    .tags = tags(arguments),
                    .compatibility = compatibility(arguments),
                });
                for (const std::string& warning : made.warnings) {
                    session.warn(warning);
                }
                return std::move(made.request);
            },
    };
}

std::vector<Option> point_options() {
    return {
        required_datasource_type(),
        as_required(one_of({"--source-datastore"}, kDatastores, "Where the recovery point lies.")),
        required({"--restore-location"}, "Location of the target."),
        optional({"--recovery-point-id"}, "The recovery point."),
        optional({"--point-in-time"}, "UTC, yyyy-mm-ddTHH:MM:SS."),
    };
}

std::vector<Option> rehydration_options() {
    return {
        one_of({"--rehydration-priority"}, {"Standard"}, "For points in the archive."),
        with_default(optional({"--rehydration-duration"}, "10 to 30 days."), "15"),
    };
}

std::vector<Option> target_options() {
    return {
        optional({"--target-resource-id"}, "Id of the database or server to restore to."),
        optional({"--backup-instance-id"}, "Restore to where this backup instance came from."),
        flag({"--skip-ownership"}, "Everything restored belongs to the role that restores."),
    };
}

enum class Rehydration { kOffered, kNotOffered };

RestorePoint restore_point(const Arguments& arguments, Rehydration rehydration) {
    RestorePoint point{
        .datasource_type = arguments.string("--datasource-type"),
        .source_datastore = arguments.string("--source-datastore"),
        .restore_location = arguments.string("--restore-location"),
        .recovery_point_id = arguments.optional_string("--recovery-point-id"),
        .point_in_time = arguments.optional_string("--point-in-time"),
    };
    if (rehydration == Rehydration::kOffered) {
        point.rehydration_priority = arguments.optional_string("--rehydration-priority");
        point.rehydration_days = whole_number(arguments, "--rehydration-duration");
    }
    return point;
}

RestoreTarget restore_target(const Arguments& arguments, Session& session) {
    return {
        .target_resource_id = arguments.optional_string("--target-resource-id"),
        .backup_instance_id = arguments.optional_string("--backup-instance-id"),
        .datasource_of =
            [&session](const std::string& id) {
                const Json instance = session.get(id);
                const JsonReader reader{instance, "", ErrorKind::kInvalidInput};
                return reader.member("properties").member("dataSourceInfo").string("resourceID");
            },
    };
}

Command data_recovery_command() {
    return {
        .path = "dataprotection backup-instance restore initialize-for-data-recovery",
        .summary = "Print the request that restores a database into a new one.",
        .options = joined(
            joined(point_options(), target_options()),
            joined(
                joined(rehydration_options(), secret_store_options()),
                {optional(
                     {"--source-database"},
                     "Which database of a server's recovery point; needed when the target has "
                     "another name."
                 ),
                 optional({"--restore-configuration"}, "Not used for PostgreSQL.")}
            )
        ),
        .examples =
            {{"Restore into a new database",
              "holdfast backup-instance restore initialize-for-data-recovery --datasource-type "
              "AzureDatabaseForPostgreSQLFlexibleServer --restore-location westus "
              "--source-datastore VaultStore --recovery-point-id $point --target-resource-id "
              "$serverId/databases/empdb11_restored > restore.json"}},
        .handler =
            [](const Arguments& arguments, Session& session) {
                return initialize_for_data_recovery({
                    .point = restore_point(arguments, Rehydration::kOffered),
                    .target = restore_target(arguments, session),
                    .secret_store = secret_store(arguments),
                    .compatibility = compatibility(arguments),
                    .source_database = arguments.string("--source-database"),
                    .skip_ownership = arguments.flag("--skip-ownership"),
                });
            },
    };
}

Command files_recovery_command() {
    return {
        .path = "dataprotection backup-instance restore initialize-for-data-recovery-as-files",
        .summary = "Print the request that restores as files.",
        .options = joined(
            joined(point_options(), rehydration_options()),
            {required(
                 {"--target-blob-container-url"},
                 "A container of the server's configuration: https://SERVER/restore/NAME, or "
                 "file:///… beneath a configured root."
             ),
             required({"--target-file-name"}, "Prefix of the files' names."),
             optional({"--target-resource-id"}, "Id of a storage container; not needed here."),
             flag(
                 {"--include-role-passwords"},
                 "Also write the password hashes of the roles; off by default."
             )}
        ),
        .examples =
            {{"Restore as files",
              "holdfast backup-instance restore initialize-for-data-recovery-as-files "
              "--datasource-type AzureDatabaseForPostgreSQLFlexibleServer --restore-location "
              "westus "
              "--source-datastore VaultStore --recovery-point-id $point "
              "--target-blob-container-url https://localhost:8443/restore/default "
              "--target-file-name dump1 > restore.json"}},
        .handler =
            [](const Arguments& arguments, Session&) {
                return initialize_for_data_recovery_as_files({
                    .point = restore_point(arguments, Rehydration::kOffered),
                    .target_blob_container_url = arguments.string("--target-blob-container-url"),
                    .target_file_name = arguments.string("--target-file-name"),
                    .target_resource_id = arguments.optional_string("--target-resource-id"),
                    .include_role_passwords = arguments.flag("--include-role-passwords"),
                });
            },
    };
}

Command item_recovery_command() {
    return {
        .path = "dataprotection backup-instance restore initialize-for-item-recovery",
        .summary = "Print the request that restores single schemas or tables.",
        .options = joined(
            joined(joined(point_options(), target_options()), secret_store_options()),
            {list(
                 {"--items"},
                 "database, database/schema or database/schema/table; a table may get another "
                 "name: "
                 "database/schema/table=new_name."
             ),
             list({"--container-list"}, "Not used for PostgreSQL."),
             list({"--from-prefix-pattern"}, "Not used for PostgreSQL."),
             list({"--to-prefix-pattern"}, "Not used for PostgreSQL."),
             optional({"--restore-configuration"}, "Not used for PostgreSQL.")}
        ),
        .examples =
            {{"Restore one table beside the original",
              "holdfast backup-instance restore initialize-for-item-recovery --datasource-type "
              "AzureDatabaseForPostgreSQLFlexibleServer --restore-location westus "
              "--source-datastore VaultStore --recovery-point-id $point --target-resource-id "
              "$ossId "
              "--items empdb11/public/orders=orders_of_yesterday > restore.json"}},
        .handler =
            [](const Arguments& arguments, Session& session) {
                return initialize_for_item_recovery({
                    .point = restore_point(arguments, Rehydration::kNotOffered),
                    .target = restore_target(arguments, session),
                    .secret_store = secret_store(arguments),
                    .compatibility = compatibility(arguments),
                    .items = arguments.list("--items"),
                    .skip_ownership = arguments.flag("--skip-ownership"),
                });
            },
    };
}

/// The Azure CLI has two verbs for the configuration of Kubernetes backups and refuses PostgreSQL
/// in them; a script that calls them hears the same here.
Command configuration_command(std::string_view path, std::string_view summary, Example example) {
    return {
        .path = path,
        .summary = summary,
        .options = {required_datasource_type()},
        .examples = {example},
        .handler = [](const Arguments&, Session&) -> Json {
            throw Error{
                ErrorKind::kInvalidInput,
                ErrorText{
                    .message = "This command is currently not supported for datasource types other "
                               "than AzureKubernetesService",
                    .recommended_actions = {"PostgreSQL needs no configuration: leave the file out."
                    },
                }
            };
        },
    };
}

Command backup_configuration_command() {
    return configuration_command(
        "dataprotection backup-instance initialize-backupconfig",
        "Not for PostgreSQL: refused, as by the Azure CLI.",
        {"Refused",
         "holdfast backup-instance initialize-backupconfig --datasource-type "
         "AzureDatabaseForPostgreSQLFlexibleServer"}
    );
}

Command restore_configuration_command() {
    return configuration_command(
        "dataprotection backup-instance initialize-restoreconfig",
        "Not for PostgreSQL: refused, as by the Azure CLI.",
        {"Refused",
         "holdfast backup-instance initialize-restoreconfig --datasource-type "
         "AzureDatabaseForPostgreSQLFlexibleServer"}
    );
}

}  // namespace

void add_client_side_commands(std::vector<Command>& table) {
    for (Command (*make)() : {
             template_command,
             create_schedule_command,
             trigger_set_command,
             create_lifecycle_command,
             retention_set_command,
             retention_remove_command,
             absolute_criteria_command,
             generic_criteria_command,
             tag_set_command,
             tag_remove_command,
             initialize_instance_command,
             backup_configuration_command,
             restore_configuration_command,
             data_recovery_command,
             files_recovery_command,
             item_recovery_command,
         }) {
        table.push_back(make());
    }
}

}  // namespace holdfast::cli
