#include "base/error.h"
#include "base/text.h"
#include "cli/commands/common.h"
#include "cli/commands/jobs.h"
#include "cli/shorthand.h"

#include <charconv>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

/// The file of `backup-instance initialize` (or what `show` prints) as a request.
struct InstanceRequest {
    std::string name;  ///< "" when the file has none.
    Json properties;
    Json tags;
};

InstanceRequest load_instance(
    const Arguments& arguments, Session& session, ResourceIdSpelling spelling
) {
    const Json document = load_json_argument(arguments.string("--backup-instance"), session);
    const JsonReader reader{document, "backup-instance", ErrorKind::kInvalidInput};
    InstanceRequest out;
    out.name = reader.string_or("backup_instance_name", reader.string_or("name", ""));
    const Json* properties = find_member(document, "properties");
    out.properties = to_request_body(properties != nullptr ? *properties : document, spelling);
    if (const Json* tags = find_member(document, "tags"); tags != nullptr) {
        out.tags = *tags;
    }
    return out;
}

std::string vault_path(const Arguments& arguments, Session& session) {
    return resource_path(kVaultResource, arguments, session);
}

Json validate_for_backup(const Arguments& arguments, Session& session) {
    const InstanceRequest request = load_instance(arguments, session, ResourceIdSpelling::kLower);
    const Json body{{"backupInstance", request.properties}};
    return without_nulls(session.run_operation(
        "POST", vault_path(arguments, session) + "/validateForBackup", &body, wait_of(arguments)
    ));
}

/// As az: the server validates first, and nothing is written when it refuses.
Json create_instance(const Arguments& arguments, Session& session) {
    InstanceRequest request = load_instance(arguments, session, ResourceIdSpelling::kUpper);
    if (arguments.given("--backup-instance-name")) {
        request.name = arguments.string("--backup-instance-name");
    }
    if (request.name.empty()) {
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = "The backup instance file has no backup_instance_name.",
                .target = "backup_instance_name",
                .recommended_actions =
                    {"Make the file with: holdfast dataprotection backup-instance initialize"},
            }
        };
    }
    const std::string vault = vault_path(arguments, session);
    const Json check{{"backupInstance", request.properties}};
    (void)session.run_operation("POST", vault + "/validateForBackup", &check, Session::Wait::kYes);
    Json body{{"properties", request.properties}};
    if (!request.tags.is_null()) {
        body["tags"] = request.tags;
    }
    return without_nulls(session.run_operation(
        "PUT",
        fmt::format("{}/backupInstances/{}", vault, percent_encode(request.name)),
        &body,
        wait_of(arguments)
    ));
}

/// What the server keeps of an instance, as a request that changes nothing.
Json load_present(const std::string& path, Session& session) {
    Json instance = without_nulls(session.get(path));
    for (const char* name : {"id", "name", "type", "systemData"}) {
        instance.erase(name);
    }
    Json& properties = instance["properties"];
    for (const char* name :
         {"currentProtectionState",
          "protectionStatus",
          "protectionErrorDetails",
          "provisioningState",
          "holdfast"}) {
        properties.erase(name);
    }
    return instance;
}

/// What physical backups ask of the server: what was said before, and what is said now.
Json base_backup_parameters(const Arguments& arguments, const Json* before) {
    Json own = before == nullptr ? Json::object() : *before;
    if (const auto checkpoint = arguments.optional_string("--checkpoint")) {
        own["checkpoint"] = *checkpoint;
    }
    if (const auto compression = arguments.optional_string("--server-compression")) {
        own["compression"] = *compression;
    }
    if (const auto rate = arguments.optional_string("--transfer-rate-max")) {
        std::int64_t kib = 0;
        const auto [end, failed] = std::from_chars(rate->data(), rate->data() + rate->size(), kib);
        if (failed != std::errc{} || end != rate->data() + rate->size()) {
            throw Error{
                ErrorKind::kUsage,
                fmt::format("--transfer-rate-max: \"{}\" is not a number of KiB a second.", *rate)
            };
        }
        own["transferRateMaxKiB"] = kib;
    }
    return own;
}

/// The method, and how, from the next backup on; what there is already stays restorable.
Json update_instance(const Arguments& arguments, Session& session) {
    const std::string path = resource_path(kInstanceResource, arguments, session);
    Json instance = load_present(path, session);
    Json& info = instance["properties"]["policyInfo"];
    Json others = Json::array();
    Json ours = {{"objectType", "PostgreSqlFlexibleServerBackupDatasourceParameters"}};
    if (const Json* parameters = find_member(info, "policyParameters")) {
        if (const Json* list = find_member(*parameters, "backupDatasourceParametersList")) {
            for (const Json& entry : *list) {
                (find_member(entry, "backupSolutionType") == nullptr ? others.emplace_back() : ours
                ) = entry;
            }
        }
    }
    ours["backupSolutionType"] = arguments.string("--backup-solution-type");
    if (Json own = base_backup_parameters(arguments, find_member(ours, "holdfast")); !own.empty()) {
        ours["holdfast"] = std::move(own);
    }
    others.push_back(std::move(ours));
    info["policyParameters"]["backupDatasourceParametersList"] = std::move(others);
    return without_nulls(session.run_operation("PUT", path, &instance, wait_of(arguments)));
}

Json update_policy(const Arguments& arguments, Session& session) {
    const std::string path = resource_path(kInstanceResource, arguments, session);
    Json instance = load_present(path, session);
    Json& properties = instance["properties"];
    properties["policyInfo"]["policyId"] = arguments.string("--policy-id");
    if (const auto& requests = arguments.list("--operation-requests"); !requests.empty()) {
        properties["resourceGuardOperationRequests"] = requests;
    }
    return without_nulls(session.run_operation("PUT", path, &instance, wait_of(arguments)));
}

Json adhoc_backup(const Arguments& arguments, Session& session) {
    Json options{{"ruleName", arguments.string("--rule-name")}, {"triggerOption", Json::object()}};
    if (arguments.given("--retention-tag-override")) {
        options["triggerOption"]["retentionTagOverride"] =
            arguments.string("--retention-tag-override");
    }
    const Json body{{"backupRuleOptions", std::move(options)}};
    const std::string path = resource_path(kInstanceResource, arguments, session) + "/backup";
    Json result = session.run_operation("POST", path, &body, wait_of(arguments));
    return finish_job_verb(std::move(result), arguments, session);
}

Json verify_instance(const Arguments& arguments, Session& session) {
    Json body = Json::object();
    if (arguments.given("--recovery-point-id")) {
        body["recoveryPointId"] = arguments.string("--recovery-point-id");
    }
    const std::string path = resource_path(kInstanceResource, arguments, session) + "/verify";
    Json result = session.run_operation("POST", path, &body, wait_of(arguments));
    return finish_job_verb(std::move(result), arguments, session);
}

Option instance_file_option() {
    return required(
        {"--backup-instance"}, "The request of initialize: a file's path, @path or JSON."
    );
}

constexpr std::string_view kInstanceTable =
    "[].{Name: name, Datasource: properties.friendlyName, State: "
    "properties.currentProtectionState, Method: properties.holdfast.backupSolutionType, Policy: "
    "properties.policyInfo.policyId}";
constexpr std::string_view kDeletedTable =
    "[].{Name: name, Datasource: properties.friendlyName, Deleted: "
    "properties.deletionInfo.deletionTime, PurgedFrom: "
    "properties.deletionInfo.scheduledPurgeTime}";

void add_making_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "dataprotection backup-instance validate-for-backup",
        .summary = "Ask the server whether a datasource can be protected, and what is missing.",
        .options =
            {resource_group_option(), vault_name_option(), instance_file_option(), no_wait_option()
            },
        .examples =
            {{"Check before create",
              "holdfast dataprotection backup-instance validate-for-backup -g testBkpVaultRG -v "
              "TestBkpVault --backup-instance OSSBkpInstance.JSON"}},
        .handler = validate_for_backup,
    });
    table.push_back({
        .path = "dataprotection backup-instance create",
        .summary = "Protect a datasource: validate, then create the backup instance.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             instance_file_option(),
             optional(
                 {"--backup-instance-name", "--name", "-n"}, "Another name than the file has."
             ),
             no_wait_option()},
        .examples =
            {{"Protect a database",
              "holdfast dataprotection backup-instance create --resource-group testBkpVaultRG "
              "--vault-name TestBkpVault --backup-instance ./OSSBkpInstance.JSON"}},
        .handler = create_instance,
    });
    table.push_back({
        .path = "dataprotection backup-instance adhoc-backup",
        .summary = "Start a backup now.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             instance_name_option(),
             required(
                 {"--rule-name"}, "Backup rule of the policy, or a retention rule to keep it by."
             ),
             optional({"--retention-tag-override"}, "Retention rule to keep it by."),
             wait_for_job_option(),
             no_wait_option()},
        .examples =
            {{"Keep it as the monthly ones",
              "holdfast dataprotection backup-instance adhoc-backup --name \"ossrg-empdb11\" "
              "--rule-name \"Monthly\" --resource-group testBkpVaultRG --vault-name TestBkpVault"},
             {"Wait until it is done",
              "holdfast dataprotection backup-instance adhoc-backup -g testBkpVaultRG -v "
              "TestBkpVault -n \"ossrg-empdb11\" --rule-name BackupWeekly --wait"}},
        .handler = adhoc_backup,
        .resource = kInstanceResource,
        .table = kJobTable,
    });
    table.push_back({
        .path = "dataprotection backup-instance verify",
        .summary = "Test a physical recovery point: restore it, start a server on it, check it.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             instance_name_option(),
             optional({"--recovery-point-id"}, "The recovery point; default: the newest."),
             wait_for_job_option(),
             no_wait_option()},
        .examples =
            {{"Prove that the newest point restores",
              "holdfast dataprotection backup-instance verify -g testBkpVaultRG -v TestBkpVault -n "
              "\"ossserver-1\" --wait"}},
        .handler = verify_instance,
        .details = "The Holdfast server restores the point into a scratch directory, starts the "
                   "matching PostgreSQL in a sandbox, waits until it is consistent, runs "
                   "pg_amcheck and counts rows. Result and times stay on the recovery point.",
        .resource = kInstanceResource,
        .table = kJobTable,
    });
    table.push_back({
        .path = "dataprotection backup-instance update",
        .summary = "Change how a server is backed up, from its next backup on.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             instance_name_option(),
             as_required(backup_solution_type_option()),
             one_of(
                 {"--checkpoint"},
                 {"Fast", "Spread"},
                 "Physical backups begin with a checkpoint at once (default) or spread over time, "
                 "which spares the server's disks."
             ),
             optional(
                 {"--transfer-rate-max"},
                 "Physical backups: KiB a second that the server may send, 32 to 1048576; 0 for no "
                 "limit (default)."
             ),
             one_of(
                 {"--server-compression"},
                 {"None", "Zstd"},
                 "Physical backups: whether the server compresses what it sends, for slow links; "
                 "PostgreSQL 15 and later."
             ),
             no_wait_option()},
        .examples =
            {{"Physical backups from now on",
              "holdfast dataprotection backup-instance update -g testBkpVaultRG -v TestBkpVault -n "
              "\"ossserver-1\" --backup-solution-type PhysicalBackup"},
             {"Physical backups over a slow link",
              "holdfast dataprotection backup-instance update -g testBkpVaultRG -v TestBkpVault -n "
              "\"ossserver-1\" --backup-solution-type PhysicalBackup --server-compression Zstd"}},
        .handler = update_instance,
        .resource = kInstanceResource,
    });
    table.push_back({
        .path = "dataprotection backup-instance update-policy",
        .summary = "Give a backup instance another policy; points made before keep their expiry.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             instance_name_option(),
             required({"--policy-id"}, "Id of the policy."),
             operation_requests_option(),
             optional({"--tenant-id"}, "Tenant of the resource guard; not used here."),
             no_wait_option()},
        .examples =
            {{"Another policy",
              "holdfast dataprotection backup-instance update-policy -g testBkpVaultRG -v "
              "TestBkpVault -n \"ossrg-empdb11\" --policy-id \"$policyId\""}},
        .handler = update_policy,
        .resource = kInstanceResource,
    });
}

Command action_command(
    std::string_view path, std::string_view summary, std::string_view action, Example example
) {
    return {
        .path = path,
        .summary = summary,
        .options =
            {resource_group_option(),
             vault_name_option(),
             instance_name_option(),
             operation_requests_option(),
             optional({"--tenant-id"}, "Tenant of the resource guard; not used here."),
             no_wait_option()},
        .examples = {example},
        .handler = action_handler(kInstanceResource, action),
        .resource = kInstanceResource,
    };
}

void add_state_commands(std::vector<Command>& table) {
    table.push_back(action_command(
        "dataprotection backup-instance stop-protection",
        "Stop backups; all points are kept until protection is resumed or deleted.",
        "stopProtection",
        {"Stop protection",
         "holdfast dataprotection backup-instance stop-protection -g testBkpVaultRG -v "
         "TestBkpVault -n \"ossrg-empdb11\""}
    ));
    table.push_back(action_command(
        "dataprotection backup-instance suspend-backup",
        "Stop backups; points expire as the policy says, the latest one is kept.",
        "suspendBackups",
        {"Suspend backups",
         "holdfast dataprotection backup-instance suspend-backup -g testBkpVaultRG -v TestBkpVault "
         "-n \"ossrg-empdb11\""}
    ));
    table.push_back(action_command(
        "dataprotection backup-instance resume-protection",
        "Resume backups of a stopped or suspended instance.",
        "resumeProtection",
        {"Resume protection",
         "holdfast dataprotection backup-instance resume-protection -g testBkpVaultRG -v "
         "TestBkpVault -n \"ossrg-empdb11\""}
    ));
    table.push_back({
        .path = "dataprotection backup-instance delete",
        .summary = "Delete a backup instance and its points; soft delete keeps them for a while.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             instance_name_option(),
             yes_option(),
             no_wait_option()},
        .examples =
            {{"Delete an instance",
              "holdfast dataprotection backup-instance delete -g testBkpVaultRG -v TestBkpVault -n "
              "\"ossrg-empdb11\" -y"}},
        .handler = delete_handler(kInstanceResource),
        .resource = kInstanceResource,
    });
    table.push_back(wait_command({
        .path = "dataprotection backup-instance wait",
        .summary = "Wait until a backup instance is in a state.",
        .options = {resource_group_option(), vault_name_option(), instance_name_option()},
        .examples =
            {{"Until it is protected",
              "holdfast dataprotection backup-instance wait -g testBkpVaultRG -v TestBkpVault -n "
              "\"ossrg-empdb11\" --custom "
              "\"properties.protectionStatus.status=='ProtectionConfigured'\" --interval 1"}},
        .resource = kInstanceResource,
    }));
}

void add_deleted_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "dataprotection backup-instance deleted-backup-instance list",
        .summary = "List the soft-deleted backup instances of a vault.",
        .options = {resource_group_option(), vault_name_option(), max_items_option()},
        .examples =
            {{"What can be brought back",
              "holdfast dataprotection backup-instance deleted-backup-instance list -g "
              "testBkpVaultRG -v TestBkpVault"}},
        .handler = list_handler(kDeletedInstanceResource),
        .table = kDeletedTable,
    });
    table.push_back({
        .path = "dataprotection backup-instance deleted-backup-instance show",
        .summary = "Show a soft-deleted backup instance.",
        .options = {resource_group_option(), vault_name_option(), instance_name_option()},
        .examples =
            {{"When it will be purged",
              "holdfast dataprotection backup-instance deleted-backup-instance show -g "
              "testBkpVaultRG -v TestBkpVault -n \"ossrg-empdb11\" --query "
              "properties.deletionInfo.scheduledPurgeTime"}},
        .handler = show_handler(kDeletedInstanceResource),
        .resource = kDeletedInstanceResource,
    });
    table.push_back({
        .path = "dataprotection backup-instance deleted-backup-instance undelete",
        .summary = "Bring a soft-deleted backup instance back; resume-protection starts it again.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             instance_name_option(),
             operation_requests_option(),
             no_wait_option()},
        .examples =
            {{"Bring it back",
              "holdfast dataprotection backup-instance deleted-backup-instance undelete -g "
              "testBkpVaultRG -v TestBkpVault -n \"ossrg-empdb11\""}},
        .handler = action_handler(kDeletedInstanceResource, "undelete"),
        .resource = kDeletedInstanceResource,
    });
}

}  // namespace

void add_instance_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "dataprotection backup-instance show",
        .summary = "Show a backup instance.",
        .options = {resource_group_option(), vault_name_option(), instance_name_option()},
        .examples =
            {{"Show an instance",
              "holdfast dataprotection backup-instance show -g testBkpVaultRG -v TestBkpVault -n "
              "\"ossrg-empdb11\""}},
        .handler = show_handler(kInstanceResource),
        .resource = kInstanceResource,
    });
    table.push_back({
        .path = "dataprotection backup-instance list",
        .summary = "List the backup instances of a vault.",
        .options = {resource_group_option(), vault_name_option(), max_items_option()},
        .examples =
            {{"The instances' names",
              "holdfast dataprotection backup-instance list -g testBkpVaultRG -v TestBkpVault "
              "--query [].name -o tsv"}},
        .handler = list_handler(kInstanceResource),
        .table = kInstanceTable,
    });
    add_making_commands(table);
    add_state_commands(table);
    add_deleted_commands(table);
}

}  // namespace holdfast::cli
