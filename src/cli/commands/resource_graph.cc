#include "cli/commands/resource_graph.h"

#include "base/error.h"
#include "cli/commands/common.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::string_view kVaultsPrefix =
    "resources | where type =~ 'microsoft.dataprotection/backupvaults'";
constexpr std::string_view kInstancesPrefix =
    "RecoveryServicesResources | where type =~ "
    "'microsoft.dataprotection/backupvaults/backupinstances'| extend vaultName = split(split(id, "
    "'/Microsoft.DataProtection/backupVaults/')[1],'/')[0]| extend protectionState = "
    "properties.currentProtectionState| extend datasourceId = "
    "properties.dataSourceInfo.resourceID";
constexpr std::string_view kJobsPrefix =
    "RecoveryServicesResources | where type =~ 'microsoft.dataprotection/backupvaults/backupjobs'| "
    "extend vaultName = properties.vaultName| extend status = properties.status| extend operation "
    "= case( tolower(properties.operationCategory) startswith 'backup' and "
    "properties.isUserTriggered == 'true', strcat('OnDemand',properties.operationCategory), "
    "tolower(properties.operationCategory) startswith 'backup' and properties.isUserTriggered == "
    "'false', strcat('Scheduled', properties.operationCategory), type =~ "
    "'microsoft.dataprotection/backupVaults/backupJobs', properties.operationCategory, "
    "'Invalid')| extend datasourceId = properties.dataSourceId";

/// What the Azure CLI's manifests call a type is not what the resources call it.
std::string_view resource_type_of(std::string_view datasource_type) {
    struct Row {
        std::string_view name;
        std::string_view type;
    };
    static constexpr std::array kTypes{
        Row{"AzureDatabaseForPostgreSQLFlexibleServer", "Microsoft.DBforPostgreSQL/flexibleServers"
        },
        Row{"AzureDatabaseForPostgreSQL", "Microsoft.DBforPostgreSQL/servers/databases"},
        Row{"AzureBlob", "Microsoft.Storage/storageAccounts/blobServices"},
        Row{"AzureDatabaseForMySQL", "Microsoft.DBforMySQL/flexibleServers"},
        Row{"AzureDisk", "Microsoft.Compute/disks"},
        Row{"AzureKubernetesService", "Microsoft.ContainerService/managedClusters"},
    };
    for (const Row& row : kTypes) {
        if (row.name == datasource_type) {
            return row.type;
        }
    }
    return datasource_type;
}

/// " | where column in~ ('a','b')", or "" when nothing was given. The text cannot quote: neither
/// can az's.
std::string where_in(std::string_view column, const std::vector<std::string>& values) {
    if (values.empty()) {
        return {};
    }
    std::string listed;
    for (const std::string& value : values) {
        if (value.find('\'') != std::string::npos) {
            throw Error{
                ErrorKind::kInvalidInput,
                fmt::format("'{}' contains a quote, which a query cannot hold.", value)
            };
        }
        listed += fmt::format("{}'{}'", listed.empty() ? "" : ",", value);
    }
    return fmt::format(" | where {} in~ ({})", column, listed);
}

/// The query appends a Z, as az does; a typed one gives way.
std::string without_zone(std::string time) {
    if (time.ends_with('Z') || time.ends_with('z')) {
        time.pop_back();
    }
    return time;
}

std::vector<std::string> datasource_types(const Arguments& arguments) {
    if (!arguments.given("--datasource-type")) {
        return {};
    }
    return {std::string{resource_type_of(arguments.string("--datasource-type"))}};
}

Json run_query(const std::string& query, const Arguments& arguments, Session& session) {
    std::vector<std::string> subscriptions = arguments.list("--subscriptions");
    if (subscriptions.empty()) {
        subscriptions.push_back(session.subscription());
    }
    const Json body{
        {"subscriptions", subscriptions},
        {"query", query},
        {"options",
         {{"$top", 1000},
          {"$skip", 0},
          {"resultFormat", "objectArray"},
          {"allowPartialScopes", false}}}
    };
    const Response response = session.call(
        "POST", "/providers/Microsoft.ResourceGraph/resources?api-version=2021-03-01", &body
    );
    const Json answer = parse_json(response.body, ErrorKind::kInternal, "The server's answer");
    return JsonReader{answer, "answer", ErrorKind::kInternal}.member("data").value();
}

Option groups_option() {
    return list({"--resource-groups"}, "Names of resource groups.");
}

Option vaults_option() {
    return list({"--vaults"}, "Names of vaults.");
}

Option subscriptions_option() {
    return list({"--subscriptions"}, "Ids of subscriptions; the selected one when left out.");
}

}  // namespace

std::string vaults_query(const Arguments& arguments) {
    return std::string{kVaultsPrefix} +
           where_in("resourceGroup", arguments.list("--resource-groups")) +
           where_in("name", arguments.list("--vaults")) +
           where_in("id", arguments.list("--vault-id"));
}

std::string instances_query(const Arguments& arguments) {
    return std::string{kInstancesPrefix} +
           where_in("properties.dataSourceInfo.datasourceType", datasource_types(arguments)) +
           where_in("resourceGroup", arguments.list("--resource-groups")) +
           where_in("vaultName", arguments.list("--vaults")) +
           where_in("protectionState", arguments.list("--protection-status")) +
           where_in("datasourceId", arguments.list("--datasource-id")) +
           where_in("id", arguments.list("--backup-instance-id")) +
           where_in("name", arguments.list("--backup-instance-name"));
}

std::string jobs_query(const Arguments& arguments) {
    std::string query = std::string{kJobsPrefix} +
                        where_in("properties.dataSourceType", datasource_types(arguments)) +
                        where_in("resourceGroup", arguments.list("--resource-groups")) +
                        where_in("vaultName", arguments.list("--vaults")) +
                        where_in("operation", arguments.list("--operation")) +
                        where_in("status", arguments.list("--status")) +
                        where_in("datasourceId", arguments.list("--datasource-id"));
    if (arguments.given("--start-time")) {
        query += fmt::format(
            "| where properties.startTime > datetime({}Z)",
            without_zone(arguments.string("--start-time"))
        );
    }
    if (arguments.given("--end-time")) {
        query += fmt::format(
            "| where properties.endTime > datetime({}Z)",
            without_zone(arguments.string("--end-time"))
        );
    }
    return query;
}

void add_resource_graph_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "dataprotection backup-vault list-from-resourcegraph",
        .summary = "Find backup vaults across resource groups and subscriptions.",
        .options =
            {groups_option(),
             vaults_option(),
             list({"--vault-id"}, "Ids of vaults."),
             subscriptions_option()},
        .examples =
            {{"By name",
              "holdfast dataprotection backup-vault list-from-resourcegraph --vaults TestBkpVault"}
            },
        .handler = [](const Arguments& a, Session& s) { return run_query(vaults_query(a), a, s); },
    });
    Option states = one_of(
        {"--protection-status"},
        {"ProtectionError", "ProtectionConfigured", "ProtectionStopped"},
        "States of protection."
    );
    states.kind = OptionKind::kList;
    table.push_back({
        .path = "dataprotection backup-instance list-from-resourcegraph",
        .summary = "Find backup instances across vaults.",
        .options =
            {as_required(datasource_type_option()),
             groups_option(),
             vaults_option(),
             states,
             list({"--datasource-id"}, "Ids of datasources."),
             list({"--backup-instance-id"}, "Ids of backup instances."),
             list({"--backup-instance-name"}, "Names of backup instances."),
             subscriptions_option()},
        .examples =
            {{"What is protected",
              "holdfast dataprotection backup-instance list-from-resourcegraph --datasource-type "
              "AzureDatabaseForPostgreSQLFlexibleServer --protection-status ProtectionConfigured"}},
        .handler = [](const Arguments& a,
                      Session& s) { return run_query(instances_query(a), a, s); },
        .table = "[].{Name: name, Vault: vaultName, ResourceGroup: resourceGroup, State: "
                 "protectionState, Datasource: datasourceId}",
    });
    Option statuses =
        one_of({"--status"}, {"InProgress", "Completed", "Failed"}, "States of the jobs.");
    statuses.kind = OptionKind::kList;
    Option operations =
        one_of({"--operation"}, {"OnDemandBackup", "ScheduledBackup", "Restore"}, "Kinds of jobs.");
    operations.kind = OptionKind::kList;
    table.push_back({
        .path = "dataprotection job list-from-resourcegraph",
        .summary = "Find jobs across vaults.",
        .options =
            {as_required(datasource_type_option()),
             groups_option(),
             vaults_option(),
             operations,
             statuses,
             list({"--datasource-id"}, "Ids of datasources."),
             optional({"--start-time"}, "Jobs that started after this time (UTC, without Z)."),
             optional({"--end-time"}, "Jobs that ended after this time (UTC, without Z), as az."),
             subscriptions_option()},
        .examples =
            {{"The jobs that went well",
              "holdfast dataprotection job list-from-resourcegraph --datasource-type "
              "AzureDatabaseForPostgreSQLFlexibleServer --status Completed"}},
        .handler = [](const Arguments& a, Session& s) { return run_query(jobs_query(a), a, s); },
        .table =
            "[].{Name: name, Vault: vaultName, Operation: operation, Status: status, Instance: "
            "properties.backupInstanceFriendlyName, Started: properties.startTime}",
    });
}

}  // namespace holdfast::cli
