#include "cli/commands/common.h"
#include "cli/commands/jobs.h"
#include "cli/shorthand.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

Option restore_request_option() {
    return required(
        {"--restore-request-object"},
        "The request of restore initialize-…: a file's path, @path or JSON."
    );
}

Json load_restore_request(const Arguments& arguments, Session& session) {
    return to_request_body(
        load_json_argument(arguments.string("--restore-request-object"), session),
        ResourceIdSpelling::kLower
    );
}

Json validate_for_restore(const Arguments& arguments, Session& session) {
    const Json body{{"restoreRequestObject", load_restore_request(arguments, session)}};
    return without_nulls(session.run_operation(
        "POST",
        resource_path(kInstanceResource, arguments, session) + "/validateRestore",
        &body,
        wait_of(arguments)
    ));
}

Json trigger_restore(const Arguments& arguments, Session& session) {
    Json body = load_restore_request(arguments, session);
    if (const auto& requests = arguments.list("--operation-requests"); !requests.empty()) {
        body["resourceGuardOperationRequests"] = requests;
    }
    Json result = session.run_operation(
        "POST",
        resource_path(kInstanceResource, arguments, session) + "/restore",
        &body,
        wait_of(arguments)
    );
    return finish_job_verb(std::move(result), arguments, session);
}

}  // namespace

void add_restore_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "dataprotection backup-instance validate-for-restore",
        .summary = "Ask the server whether a restore would work.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             instance_name_option(),
             restore_request_option(),
             no_wait_option()},
        .examples =
            {{"Check before trigger",
              "holdfast dataprotection backup-instance validate-for-restore -g testBkpVaultRG -v "
              "TestBkpVault -n \"ossrg-empdb11\" --restore-request-object restore.json"}},
        .handler = validate_for_restore,
        .resource = kInstanceResource,
    });
    table.push_back({
        .path = "dataprotection backup-instance restore trigger",
        .summary = "Start a restore.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             instance_name_option(),
             restore_request_option(),
             operation_requests_option(),
             optional({"--tenant-id"}, "Tenant of the resource guard; not used here."),
             wait_for_job_option(),
             no_wait_option()},
        .examples =
            {{"Restore and wait until it is done",
              "holdfast dataprotection backup-instance restore trigger -g testBkpVaultRG -v "
              "TestBkpVault -n \"ossrg-empdb11\" --restore-request-object restore.json --wait"}},
        .handler = trigger_restore,
        .resource = kInstanceResource,
        .table = kJobTable,
    });
}

}  // namespace holdfast::cli
