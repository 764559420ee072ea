#include "cli/commands/account.h"

#include "base/error.h"
#include "base/text.h"
#include "cli/commands/common.h"

#include <fmt/format.h>

namespace holdfast::cli {

Json account_list(Session& session, std::string_view default_id) {
    Json all = Json::array();
    for (const Json& row : session.list("/subscriptions?api-version=2022-12-01")) {
        const JsonReader reader{row, "subscriptions", ErrorKind::kInternal};
        const std::string id = reader.string("subscriptionId");
        all.push_back(
            {{"cloudName", "Holdfast"},
             {"homeTenantId", reader.string_or("tenantId", "")},
             {"id", id},
             {"isDefault", default_id.empty() ? all.empty() : equal_ignoring_case(id, default_id)},
             {"managedByTenants", Json::array()},
             {"name", reader.string_or("displayName", "")},
             {"state", reader.string_or("state", "Enabled")},
             {"tenantId", reader.string_or("tenantId", "")}}
        );
    }
    return all;
}

namespace {

Json show_account(const Arguments&, Session& session) {
    const std::string& id = session.subscription();
    for (Json& account : account_list(session, id)) {
        if (account["isDefault"] == true) {
            account.erase("cloudName");
            account["environmentName"] = "Holdfast";
            account["server"] = session.profile().server;
            return std::move(account);
        }
    }
    throw Error{
        ErrorKind::kSubscriptionNotFound,
        ErrorText{
            .message =
                fmt::format("Subscription '{}' not found. Check the spelling and casing.", id),
            .recommended_actions = {"See: holdfast account list"},
        }
    };
}

Json set_account(const Arguments&, Session& session) {
    if (session.globals().subscription.empty()) {
        throw Error{
            ErrorKind::kUsage, "the following arguments are required: --subscription/-s/--name/-n"
        };
    }
    auto stored = load_profile(session.environment());
    if (!stored) {
        (void)session.profile();  // Says how to log in.
    } else {
        stored->subscription = session.subscription();
        save_profile(session.environment(), *stored);
    }
    return nullptr;
}

Json list_locations(const Arguments&, Session& session) {
    return session.list(
        fmt::format("/subscriptions/{}/locations?api-version=2022-12-01", session.subscription())
    );
}

}  // namespace

void add_account_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "account show",
        .summary = "Show the selected subscription and the server.",
        .options = {},
        .examples = {{"The subscription's id", "holdfast account show --query id -o tsv"}},
        .handler = show_account,
    });
    table.push_back({
        .path = "account list",
        .summary = "List the subscriptions of the server.",
        .options =
            {flag({"--refresh"}, "As always; for scripts written for az."),
             flag({"--all"}, "As always; for scripts written for az.")},
        .examples = {{"All subscriptions", "holdfast account list -o table"}},
        .handler = [](const Arguments&, Session& session
                   ) { return account_list(session, session.profile().subscription); },
        .table = "[].{Name: name, CloudName: cloudName, SubscriptionId: id, State: state, "
                 "IsDefault: isDefault}",
    });
    table.push_back({
        .path = "account set",
        .summary = "Select the subscription that commands work on (--subscription).",
        .options = {},
        .examples = {{"By name", "holdfast account set --subscription Holdfast"}},
        .handler = set_account,
    });
    table.push_back({
        .path = "account list-locations",
        .summary = "List the locations of the server; they are labels.",
        .options = {},
        .examples = {{"The names", "holdfast account list-locations --query [].name -o tsv"}},
        .handler = list_locations,
    });
}

}  // namespace holdfast::cli
