#include "base/text.h"
#include "cli/commands/common.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

/// As az, the filter is always there, be it empty; "eq" means from and to.
Json list_points(const Arguments& arguments, Session& session) {
    std::string filter;
    std::optional<Instant> start;
    std::optional<Instant> end;
    if (arguments.given("--start-time")) {
        start = instant_argument(arguments.string("--start-time"));
        filter = fmt::format("startDate eq '{}'", format_instant(*start));
    }
    if (arguments.given("--end-time")) {
        end = instant_argument(arguments.string("--end-time"));
        filter +=
            fmt::format("{}endDate eq '{}'", filter.empty() ? "" : " and ", format_instant(*end));
    }
    if (start && end && *start > *end) {
        session.warn("The start time is after the end time.");
        return Json::array();
    }
    const std::string path = resource_path(kPointResource, arguments, session, PathOf::kCollection);
    Json list = session.list(fmt::format("{}?$filter={}", path, percent_encode(filter)));
    return cut_to_max_items(without_nulls(std::move(list)), arguments);
}

Json find_ranges(const Arguments& arguments, Session& session) {
    Json body{{"sourceDataStoreType", arguments.string("--source-data-store-type")}};
    if (arguments.given("--start-time")) {
        body["startTime"] = arguments.string("--start-time");
    }
    if (arguments.given("--end-time")) {
        body["endTime"] = arguments.string("--end-time");
    }
    const std::string path =
        resource_path(kInstanceResource, arguments, session) + "/findRestorableTimeRanges";
    return without_nulls(session.run_operation("POST", path, &body, Session::Wait::kYes));
}

Option instance_of_point_option() {
    return required({"--backup-instance-name"}, "Name of the backup instance.");
}

}  // namespace

void add_point_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "dataprotection recovery-point list",
        .summary = "List the recovery points of a backup instance, newest first.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             instance_of_point_option(),
             optional({"--start-time"}, "Points of this time and later."),
             optional({"--end-time"}, "Points of this time and before."),
             max_items_option()},
        .examples =
            {{"The points of an instance",
              "holdfast dataprotection recovery-point list -g testBkpVaultRG -v TestBkpVault "
              "--backup-instance-name \"ossrg-empdb11\" -o table"}},
        .handler = list_points,
        .table = "[].{Name: name, Time: properties.recoveryPointTime, Tag: "
                 "properties.retentionTagName, Expires: properties.expiryTime, State: "
                 "properties.recoveryPointState, Method: properties.holdfast.backupSolutionType, Size: "
                 "properties.holdfast.logicalBytes, Added: properties.holdfast.storedBytes, "
                 "TestRestore: properties.holdfast.testRestore.result}",
    });
    table.push_back({
        .path = "dataprotection recovery-point show",
        .summary = "Show a recovery point.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             instance_of_point_option(),
             required({"--recovery-point-id", "--name", "-n"}, "Id of the recovery point.")},
        .examples =
            {{"Show a point",
              "holdfast dataprotection recovery-point show -g testBkpVaultRG -v TestBkpVault "
              "--backup-instance-name \"ossrg-empdb11\" --recovery-point-id "
              "0123456789abcdef0123456789abcdef"}},
        .handler = show_handler(kPointResource),
        .resource = kPointResource,
    });
    table.push_back({
        .path = "dataprotection restorable-time-range find",
        .summary = "Find the times that a backup instance can be restored to.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             required({"--backup-instance-name", "--name", "-n"}, "Name of the backup instance."),
             as_required(one_of(
                 {"--source-data-store-type"},
                 {"OperationalStore", "VaultStore", "ArchiveStore"},
                 "Data store that is read."
             )),
             optional({"--start-time"}, "From this time on."),
             optional({"--end-time"}, "Up to this time.")},
        .examples =
            {{"All times",
              "holdfast dataprotection restorable-time-range find -g testBkpVaultRG -v "
              "TestBkpVault --backup-instance-name \"ossrg-empdb11\" --source-data-store-type "
              "VaultStore"}},
        .handler = find_ranges,
        .resource = kInstanceResource,
    });
}

}  // namespace holdfast::cli
