// Alerts: what was raised, in the shape of Azure Monitor's; the rules that mute; the test.
#include "alerts/courier.h"
#include "alerts/outbox.h"
#include "base/text.h"
#include "catalog/alert_records.h"
#include "control/arm.h"
#include "control/identity/authorize.h"
#include "control/resource_id.h"
#include "control/routes/lookup.h"
#include "control/routes/providers/authorization/role_scope.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <charconv>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::AlertMuteRecord;
using catalog::AlertRecord;

// Who may see the backups of a scope sees their alerts.
constexpr std::string_view kReadAlerts = "Microsoft.DataProtection/alerts/read";
constexpr std::string_view kAlertType = "Microsoft.AlertsManagement/alerts";
constexpr std::size_t kPage = 100;
constexpr NameRule kMuteRule{
    .what = "mute rule", .length_min = 1, .length_max = 63, .extra_characters = "-"
};

std::string_view azure_severity(std::string_view severity) {
    if (severity == "Critical") {
        return "Sev0";
    }
    return severity == "Error" ? "Sev1" : severity == "Warning" ? "Sev2" : "Sev3";
}

Json deliveries_of(const AlertRecord& record) {
    Json out = Json::array();
    for (const Json& delivery : record.deliveries) {
        Json each{
            {"channel", delivery.value("channel", "")},
            {"state", delivery.value("state", "")},
            {"attempts", delivery.value("attempts", 0)},
            {"detail", delivery.value("detail", "")},
        };
        if (delivery.contains("sentAt")) {
            each["sentAt"] = delivery["sentAt"];
        }
        out.push_back(std::move(each));
    }
    return out;
}

Json alert_document(const AlertRecord& record, std::string_view subscription_id) {
    const auto target = ResourceId::try_parse(record.scope);
    return Json{
        {"id",
         fmt::format("/subscriptions/{}/providers/{}/{}", subscription_id, kAlertType, record.id)},
        {"name", record.title},
        {"type", kAlertType},
        {"properties",
         {{"essentials",
           {{"severity", azure_severity(record.severity)},
            {"signalType", "Log"},
            {"alertState", "New"},
            {"monitorCondition", "Fired"},
            {"monitorService", "Holdfast"},
            {"alertRule", record.kind},
            {"description", record.message},
            {"targetResource", record.scope},
            {"targetResourceName", target ? target->name() : ""},
            {"targetResourceGroup", target ? target->group_name() : ""},
            {"targetResourceType", target ? target->type() : ""},
            {"sourceCreatedId", record.id},
            {"startDateTime", format_instant(record.created_at)},
            {"lastModifiedDateTime", format_instant(record.modified_at)}}},
          {"context",
           {{"kind", record.kind},
            {"severity", record.severity},
            {"security", record.security},
            {"count", record.count},
            {"lastTime", format_instant(record.last_at)},
            {"recommendedActions", record.actions},
            {"details", record.details},
            {"state", record.state},
            {"deliveries", deliveries_of(record)}}}}},
    };
}

[[noreturn]] void refuse_token() {
    throw Error{
        ErrorKind::kInvalidParameter,
        ErrorText{
            .message = "The $skipToken is none that this server gave.",
            .target = "$skipToken",
            .recommended_actions = {"Leave it out to begin at the first page."},
        }
    };
}

std::optional<catalog::Place> place_in(const RequestContext& context) {
    const std::string* token = context.request.query.find("$skipToken");
    if (token == nullptr) {
        return std::nullopt;
    }
    catalog::Place place;
    const char* end = token->data() + token->size();
    const auto [stop, fault] = std::from_chars(token->data(), end, place.at);
    if (fault != std::errc{} || stop == end || *stop != '.') {
        refuse_token();
    }
    place.key = std::string{stop + 1, end};
    return place;
}

Reply list_alerts(const RequestContext& context) {
    const std::string& subscription_id = context.path.at("subscriptionId");
    catalog::Query query{.order = catalog::Order::kNewestFirst, .after = place_in(context)};
    if (const std::string* state = context.request.query.find("state")) {
        query.states = {*state};
    }
    Json value = Json::array();
    std::optional<catalog::Place> last;
    bool more = false;
    context.services.catalog.read([&](const catalog::View& view) {
        (void)require_subscription(view, subscription_id);
        view.each<AlertRecord>(query, [&](const AlertRecord& record) {
            if (value.size() == kPage) {
                more = true;
                return false;
            }
            if (context.services.authorizer.allows(context.principal, kReadAlerts, record.scope)) {
                value.push_back(alert_document(record, subscription_id));
                last = catalog::place_of(record);
            }
            return true;
        });
    });
    Json body{{"value", std::move(value)}};
    if (more && last) {
        body["nextLink"] = fmt::format(
            "{}/subscriptions/{}/providers/{}?api-version={}{}&%24skipToken={}.{}",
            context.base_url,
            subscription_id,
            kAlertType,
            percent_encode(context.api_version),
            query.states.empty() ? "" : "&state=" + percent_encode(query.states.front()),
            last->at,
            last->key
        );
    }
    return Reply::ok(std::move(body));
}

Reply show_alert(const RequestContext& context) {
    const std::string& subscription_id = context.path.at("subscriptionId");
    const std::string& id = context.path.at("alertId");
    std::optional<AlertRecord> record;
    context.services.catalog.read([&](const catalog::View& view) {
        (void)require_subscription(view, subscription_id);
        record = view.get<AlertRecord>(id);
    });
    // Who may not see it does not learn that it exists.
    if (!record ||
        !context.services.authorizer.allows(context.principal, kReadAlerts, record->scope)) {
        throw not_found(ErrorKind::kResourceNotFound, kAlertType, id, context.scope);
    }
    return Reply::ok(alert_document(*record, subscription_id));
}

Json mute_document(const AlertMuteRecord& record) {
    Json properties{
        {"kind", record.kind},
        {"scope", record.scope},
        {"reason", record.reason},
        {"createdBy", record.created_by},
        {"createdAt", format_instant(record.created_at)},
    };
    if (record.until) {
        properties["until"] = format_instant(*record.until);
    }
    return Json{
        {"id", "/providers/Holdfast.Alerts/mutes/" + record.id},
        {"name", record.id},
        {"type", "Holdfast.Alerts/mutes"},
        {"properties", std::move(properties)},
    };
}

Reply list_mutes(const RequestContext& context) {
    Json value = Json::array();
    for (const auto& record : context.services.catalog.list<AlertMuteRecord>()) {
        value.push_back(mute_document(record));
    }
    return Reply::ok(Json{{"value", std::move(value)}});
}

std::optional<Instant> read_until(const JsonReader& properties) {
    const auto given = properties.optional_member("until");
    if (!given) {
        return std::nullopt;
    }
    const auto until = parse_instant(given->as_string());
    if (!until) {
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = fmt::format("'{}' is no time.", given->as_string().substr(0, 100)),
                .target = given->path(),
                .recommended_actions = {"Write it like 2026-12-31T06:00:00Z."},
            }
        };
    }
    return until;
}

Reply put_mute(const RequestContext& context) {
    const JsonReader properties = body_reader(context).member("properties");
    AlertMuteRecord record;
    record.id = context.path.at("name");
    require_name(record.id, kMuteRule);
    const JsonReader kind = properties.member("kind");
    record.kind = alerts::require_mutable(kind.as_string(), kind.path()).name;
    record.reason = properties.optional_string("reason").value_or("").substr(0, 500);
    record.until = read_until(properties);
    record.created_by = context.principal.object_id;
    bool created = false;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        if (const auto scope = properties.optional_member("scope")) {
            record.scope = checked_scope(transaction, scope->as_string(), scope->path());
        }
        created = !transaction.get<AlertMuteRecord>(record.id);
        record.created_at = transaction.now();
        transaction.put(record);
    });
    return Reply::json(created ? 201 : 200, mute_document(record));
}

Reply delete_mute(const RequestContext& context) {
    bool removed = false;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        removed = transaction.remove<AlertMuteRecord>(context.path.at("name"));
    });
    return Reply::empty(removed ? 200 : 204);
}

Reply test_alerts(const RequestContext& context) {
    Json channels = Json::array();
    const auto results = context.services.courier.test(context.principal.display_name, {});
    for (const auto& result : results) {
        channels.push_back(
            {{"channel", result.channel},
             {"target", result.target},
             {"delivered", result.delivered},
             {"detail", result.detail}}
        );
    }
    return Reply::ok(Json{{"channels", std::move(channels)}});
}

/// A row of what concerns the whole server.
Route server_row(Verb verb, std::string pattern, std::string action, Handler handler) {
    return Route{
        .verb = verb,
        .pattern = std::move(pattern),
        .action = std::move(action),
        .handler = std::move(handler),
        .api_version = ApiVersion::kExempt,
        .scope =
            [](const Services&, const Request&, const PathParameters&) { return std::string{"/"}; },
    };
}

}  // namespace

void add_alert_routes(std::vector<Route>& routes) {
    const std::string alerts = fmt::format("/subscriptions/{{subscriptionId}}/providers/{}", kAlertType);
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = alerts,
        .action = std::string{kReadAlerts},
        .summary = "Lists the alerts that the caller may see, newest first; `state` chooses.",
        .handler = list_alerts,
        .access = Access::kAuthenticated,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = alerts + "/{alertId}",
        .action = std::string{kReadAlerts},
        .summary = "Shows an alert and what became of it on each channel.",
        .handler = show_alert,
        .access = Access::kAuthenticated,
    });
    const std::string mutes = "/providers/Holdfast.Alerts/mutes";
    Route row = server_row(Verb::kGet, mutes, "Holdfast.Alerts/mutes/read", list_mutes);
    row.summary = "Lists the rules that mute alerts.";
    routes.push_back(row);
    row = server_row(Verb::kPut, mutes + "/{name}", "Holdfast.Alerts/mutes/write", put_mute);
    row.summary = "Mutes a kind of alerts below a scope; kinds of security are refused.";
    row.body = BodyRule::kRequired;
    routes.push_back(row);
    row = server_row(Verb::kDelete, mutes + "/{name}", "Holdfast.Alerts/mutes/delete", delete_mute);
    row.summary = "Removes a rule that mutes alerts.";
    routes.push_back(row);
    row = server_row(
        Verb::kPost, "/providers/Holdfast.Alerts/test", "Holdfast.Alerts/test/action", test_alerts
    );
    row.summary = "Sends a test through every channel and says what became of it.";
    row.body = BodyRule::kOptional;
    routes.push_back(row);
}

}  // namespace holdfast::control
