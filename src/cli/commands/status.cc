#include "base/error.h"
#include "base/text.h"
#include "cli/command_table.h"
#include "cli/commands/common.h"
#include "cli/help.h"

#include <iostream>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

/// Exit code of `status` when something needs a look.
constexpr int kExitProblem = 1;

std::string age_text(std::int64_t seconds) {
    if (seconds < 120) {
        return fmt::format("{} s", seconds);
    }
    if (seconds < 2 * 3600) {
        return fmt::format("{} min", seconds / 60);
    }
    if (seconds < 2 * 86400) {
        return fmt::format("{} h", seconds / 3600);
    }
    return fmt::format("{} d", seconds / 86400);
}

bool is_false(const Json& object, std::string_view name) {
    const Json* value = find_member(object, name);
    return value != nullptr && value->is_boolean() && !value->get<bool>();
}

void warn_of(const Json& texts, Session& session) {
    for (const Json& text : texts.is_array() ? texts : Json::array()) {
        if (text.is_string()) {
            session.warn(text.get<std::string>());
        }
    }
}

/// The server's summary; problems become the exit code, what only needs attention goes to stderr.
Json show_status(const Arguments& arguments, Session& session) {
    Json status = session.get(fmt::format(
        "/subscriptions/{}/providers/Microsoft.DataProtection/holdfastStatus",
        session.subscription()
    ));
    const JsonReader reader{status, "status", ErrorKind::kInternal};
    (void)reader.member("instances").elements();
    Json kept = Json::array();
    for (Json& instance : status["instances"]) {
        const JsonReader row{instance, "instances", ErrorKind::kInternal};
        if (arguments.given("--vault-name") &&
            !equal_ignoring_case(
                row.string_or("vaultName", ""), arguments.string("--vault-name")
            )) {
            continue;
        }
        if (is_false(instance, "healthy")) {
            session.set_exit_code(kExitProblem);
        }
        if (const auto point = row.optional_member("lastGoodPoint")) {
            const auto age = point->optional_integer("ageInSeconds");
            instance["lastGoodPoint"]["age"] = age ? Json(age_text(*age)) : Json{};
        }
        kept.push_back(std::move(instance));
    }
    status["instances"] = std::move(kept);
    if (const Json* vaults = find_member(status, "vaults"); vaults != nullptr) {
        for (const Json& vault : vaults->is_array() ? *vaults : Json::array()) {
            if (is_false(vault, "usable")) {
                session.set_exit_code(kExitProblem);
            }
            const Json* warnings = find_member(vault, "warnings");
            warn_of(warnings != nullptr ? *warnings : Json::array(), session);
        }
    }
    if (const auto clock = reader.optional_member("clock");
        clock && is_false(clock->value(), "trusted")) {
        session.set_exit_code(kExitProblem);
        session.warn(
            clock->string_or("message", "The server's clock leapt.") +
            " When it is right: 'holdfast clock confirm'."
        );
    }
    return without_nulls(std::move(status));
}

Json confirm_clock(const Arguments&, Session& session) {
    const Response response = session.call(
        "POST",
        fmt::format(
            "/subscriptions/{}/providers/Microsoft.DataProtection/holdfastConfirmClock",
            session.subscription()
        )
    );
    return parse_json(response.body, ErrorKind::kInternal, "The server's answer");
}

Json print_completion(const Arguments&, Session& session) {
    session.console().out << bash_completion(session.table());
    return nullptr;
}

}  // namespace

void add_status_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "status",
        .summary = "Show for each backup instance the last good point, its age, the next run and "
                   "the failures since.",
        .options = {optional({"--vault-name", "-v"}, "Only the instances of this vault.")},
        .examples =
            {{"At a glance", "holdfast status -o table"},
             {"For a monitor", "holdfast status -o none --only-show-errors"},
             {"Ages for a script",
              "holdfast status -o tsv --query \"instances[].[vaultName, friendlyName, "
              "lastGoodPoint.ageInSeconds]\""}},
        .handler = show_status,
        .details = "Exit code 0: all instances are well. 1: one is not, a vault cannot be used, or "
                   "the server could not be asked.",
        .table = "instances[].{Instance: friendlyName, Vault: vaultName, State: protectionState, "
                 "LastGoodPoint: lastGoodPoint.time, Age: lastGoodPoint.age, NextRun: nextRunTime, "
                 "Failures: consecutiveFailures, Healthy: healthy, Problem: problems[0]}",
    });
    table.push_back({
        .path = "clock confirm",
        .summary = "Say that the server's clock is right after a leap, so that recovery points "
                   "expire again. Not in az.",
        .options = {},
        .examples = {{"After a long outage, once the clock is checked", "holdfast clock confirm"}},
        .handler = confirm_clock,
        .details = "Needs the right to do so on the subscription: the backup roles do not have it.",
    });
    table.push_back({
        .path = "completion bash",
        .summary = "Print the completion script for bash.",
        .options = {},
        .examples = {{"For this shell", "source <(holdfast completion bash)"}},
        .handler = print_completion,
    });
}

}  // namespace holdfast::cli
