// alert: what was raised, the rules that mute, the test of the channels. Not in az.
#include "base/text.h"
#include "cli/commands/common.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::string_view kMutes = "/providers/Holdfast.Alerts/mutes";

std::string alerts_path(Session& session) {
    return fmt::format(
        "/subscriptions/{}/providers/Microsoft.AlertsManagement/alerts", session.subscription()
    );
}

std::string mute_path(const Arguments& arguments) {
    return fmt::format("{}/{}", kMutes, percent_encode(arguments.string("--name")));
}

Json list_alerts(const Arguments& arguments, Session& session) {
    std::string path = alerts_path(session);
    if (const auto state = arguments.optional_string("--state")) {
        path += "?state=" + percent_encode(*state);
    }
    return cut_to_max_items(session.list(path), arguments);
}

Json show_alert(const Arguments& arguments, Session& session) {
    return session.get(
        fmt::format("{}/{}", alerts_path(session), percent_encode(arguments.string("--alert-id")))
    );
}

Json test_channels(const Arguments&, Session& session) {
    const Response response = session.call("POST", "/providers/Holdfast.Alerts/test");
    Json answer = parse_json(response.body, ErrorKind::kInternal, "The server's answer");
    Json channels = answer.value("channels", Json::array());
    if (channels.empty()) {
        session.warn("No channel is configured: nobody is told of anything. See alerts.webhooks "
                     "and alerts.emails in docs/operating/alerts.md.");
        session.set_exit_code(1);
    }
    for (const Json& channel : channels) {
        if (!channel.value("delivered", false)) {
            session.warn(fmt::format(
                "'{}' did not get it: {}",
                channel.value("channel", ""),
                channel.value("detail", "")
            ));
            session.set_exit_code(1);
        }
    }
    return channels;
}

Json list_mutes(const Arguments&, Session& session) {
    return session.list(kMutes);
}

Json create_mute(const Arguments& arguments, Session& session) {
    Json properties{{"kind", arguments.string("--kind")}};
    const auto add = [&](const char* option, const char* member) {
        if (const auto value = arguments.optional_string(option)) {
            properties[member] = *value;
        }
    };
    add("--scope", "scope");
    add("--reason", "reason");
    if (const auto until = arguments.optional_string("--until")) {
        properties["until"] = format_instant_seconds(instant_argument(*until));
    }
    const Json body{{"properties", std::move(properties)}};
    const Response response = session.call("PUT", mute_path(arguments), &body);
    return parse_json(response.body, ErrorKind::kInternal, "The server's answer");
}

Json delete_mute(const Arguments& arguments, Session& session) {
    (void)session.call("DELETE", mute_path(arguments));
    return nullptr;
}

Option mute_name() {
    return required({"--name", "-n"}, "Name of the rule.");
}

void add_mute_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "alert mute list",
        .summary = "List the rules by which alerts are recorded and not sent.",
        .options = {},
        .examples = {{"All rules", "holdfast alert mute list"}},
        .handler = list_mutes,
    });
    table.push_back({
        .path = "alert mute create",
        .summary = "Record alerts of a kind without sending them. Alerts of security are refused.",
        .options =
            {mute_name(),
             required({"--kind"}, "JobFailed, NoGoodPoint or RecoveryKitUnwritten."),
             optional({"--scope"}, "Only at this resource and below; default the whole server."),
             optional({"--until"}, "When the rule ends, in UTC."),
             optional({"--reason"}, "Why, for those who find it.")},
        .examples =
            {{"While a server is being moved",
              "holdfast alert mute create -n move --kind JobFailed --until 2026-06-01T06:00:00Z "
              "--reason \"move of SRV\""}},
        .handler = create_mute,
    });
    table.push_back({
        .path = "alert mute delete",
        .summary = "Remove a rule: alerts of the kind are sent again.",
        .options = {mute_name()},
        .examples = {{"The move is done", "holdfast alert mute delete -n move"}},
        .handler = delete_mute,
    });
}

}  // namespace

void add_alert_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "alert list",
        .summary = "List alerts, newest first.",
        .options =
            {one_of(
                 {"--state"},
                 {"Pending", "Sent", "Failed", "Muted", "Recorded"},
                 "Only those that wait, were sent, were given up, are muted, or had nowhere to go."
             ),
             max_items_option()},
        .examples =
            {{"At a glance", "holdfast alert list -o table"},
             {"What nobody has been told", "holdfast alert list --state Failed"}},
        .handler = list_alerts,
        .table = "[].{Time: properties.essentials.startDateTime, Severity: "
                 "properties.context.severity, Alert: name, Count: properties.context.count, State: "
                 "properties.context.state, About: properties.essentials.targetResource}",
    });
    table.push_back({
        .path = "alert show",
        .summary = "Show an alert and what became of it on each channel.",
        .options = {required({"--alert-id"}, "The last part of its id.")},
        .examples =
            {{"One alert", "holdfast alert show --alert-id 6b1c3a52-7c1d-4c43-9a1e-0d5b2f1e8a77"}},
        .handler = show_alert,
    });
    table.push_back({
        .path = "alert test",
        .summary = "Send a test through every channel and print what became of it.",
        .options = {},
        .examples = {{"After a change of the configuration", "holdfast alert test -o table"}},
        .handler = test_channels,
        .details = "Exit code 1 when a channel did not get it, or when there is none.",
        .table = "[].{Channel: channel, To: target, Delivered: delivered, Detail: detail}",
    });
    add_mute_commands(table);
}

}  // namespace holdfast::cli
