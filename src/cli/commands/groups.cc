#include "base/error.h"
#include "base/text.h"
#include "cli/commands/common.h"
#include "cli/output.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::string_view kApiVersion = "?api-version=2021-04-01";

std::string path_of(const Arguments& arguments, Session& session) {
    return fmt::format(
        "/subscriptions/{}/resourcegroups/{}{}",
        session.subscription(),
        percent_encode(arguments.string("--name")),
        kApiVersion
    );
}

Json create_group(const Arguments& arguments, Session& session) {
    Json body{{"location", arguments.string("--location")}};
    if (arguments.given("--tags")) {
        body["tags"] = tags_of(arguments.list("--tags"));
    }
    return session.run_operation("PUT", path_of(arguments, session), &body, Session::Wait::kYes);
}

Json delete_group(const Arguments& arguments, Session& session) {
    confirm(arguments, session);
    (void)session.run_operation("DELETE", path_of(arguments, session), nullptr, wait_of(arguments));
    return nullptr;
}

/// Prints true or false; az's exit code is 0 either way.
Json group_exists(const Arguments& arguments, Session& session) {
    const Response response = session.send("HEAD", path_of(arguments, session));
    if (response.status != 404 && response.status >= 400) {
        throw server_error(response.status, response.body);
    }
    return response.status != 404;
}

Option name_option() {
    return required({"--name", "-n", "--resource-group", "-g"}, "Name of the resource group.");
}

}  // namespace

void add_group_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "group create",
        .summary = "Create a resource group.",
        .options =
            {name_option(),
             required({"--location", "-l"}, "Location, a label."),
             list({"--tags"}, "Tags, key=value.")},
        .examples = {{"Create a group", "holdfast group create -n testBkpVaultRG -l westus"}},
        .handler = create_group,
    });
    table.push_back({
        .path = "group show",
        .summary = "Show a resource group.",
        .options = {name_option()},
        .examples = {{"Show a group", "holdfast group show -n testBkpVaultRG"}},
        .handler = [](const Arguments& arguments,
                      Session& session) { return session.get(path_of(arguments, session)); },
    });
    table.push_back({
        .path = "group list",
        .summary = "List the resource groups of the subscription.",
        .options = {},
        .examples = {{"All groups", "holdfast group list -o table"}},
        .handler =
            [](const Arguments&, Session& session) {
                return session.list(fmt::format(
                    "/subscriptions/{}/resourcegroups{}", session.subscription(), kApiVersion
                ));
            },
        .table = "[].{Name: name, Location: location, Status: properties.provisioningState}",
    });
    table.push_back({
        .path = "group exists",
        .summary = "Say whether a resource group exists: true or false.",
        .options = {name_option()},
        .examples = {{"Ask", "holdfast group exists -n testBkpVaultRG"}},
        .handler = group_exists,
    });
    table.push_back({
        .path = "group delete",
        .summary = "Delete a resource group that holds nothing any more.",
        .options = {name_option(), yes_option(), no_wait_option()},
        .examples = {{"Delete a group", "holdfast group delete -n testBkpVaultRG -y"}},
        .handler = delete_group,
    });
}

}  // namespace holdfast::cli
