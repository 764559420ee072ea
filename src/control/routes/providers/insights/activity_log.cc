// The audit trail: as Azure's activity log, and record by record for exports.
#include "base/text.h"
#include "control/arm.h"
#include "control/identity/authorize.h"
#include "control/resource_id.h"
#include "control/routes/lookup.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <charconv>
#include <map>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::AuditRecord;

constexpr std::string_view kReadEvents = "Microsoft.Insights/eventtypes/values/read";
constexpr std::int64_t kPage = 200;
// One request looks at so many records at most; nextLink goes on behind them.
constexpr std::int64_t kLookedAtMax = 5000;
constexpr std::int64_t kRecordsPage = 1000;

Json localizable(std::string_view text) {
    return Json{{"value", text}, {"localizedValue", text}};
}

/// What an event says of the resource that it is about.
struct Subject {
    std::string group;
    std::string provider;
    std::string type;
};

Subject subject_of(const AuditRecord& record) {
    Subject out;
    if (const auto id = ResourceId::try_parse(record.scope)) {
        out.group = id->group_name();
        out.type = id->type();
        out.provider = id->provider();
    }
    if (out.provider.empty()) {
        out.provider = record.action.substr(0, record.action.find('/'));
    }
    return out;
}

std::string address_of(std::string_view peer) {
    return std::string{peer.substr(0, peer.rfind(':'))};
}

Json event_document(
    const AuditRecord& record, std::string_view subscription_id, std::string_view tenant_id
) {
    const Subject subject = subject_of(record);
    const bool failed = record.status >= 400;
    const std::string at = format_instant(record.at);
    // .NET's ticks since year 1, as in the real service's ids.
    const std::int64_t ticks = 621'355'968'000'000'000 + record.at.time_since_epoch().count() * 10;
    const std::string event_id = fmt::format("{:032x}", record.sequence);
    const std::string under = record.scope == "/" ? "" : record.scope;
    return Json{
        {"authorization", {{"action", record.action}, {"scope", record.scope}}},
        {"caller", record.principal_name.empty() ? record.principal_id : record.principal_name},
        {"category", localizable("Administrative")},
        {"channels", "Operation"},
        {"claims",
         {{"http://schemas.microsoft.com/identity/claims/objectidentifier", record.principal_id},
          {"name", record.principal_name}}},
        {"correlationId", record.correlation_id},
        {"description", ""},
        {"eventDataId", event_id},
        {"eventName", localizable("EndRequest")},
        {"eventTimestamp", at},
        {"httpRequest",
         {{"clientIpAddress", address_of(record.peer)},
          {"method", record.method},
          {"uri", record.path}}},
        {"id", fmt::format("{}/events/{}/ticks/{}", under, event_id, ticks)},
        {"level", failed ? "Error" : "Informational"},
        {"operationId", record.correlation_id},
        {"operationName", localizable(record.action)},
        {"properties",
         {{"statusCode", std::to_string(record.status)},
          {"errorCode", record.code},
          {"sequence", std::to_string(record.sequence)},
          {"hash", record.hash}}},
        {"resourceGroupName", subject.group},
        {"resourceId", record.scope},
        {"resourceProviderName", localizable(subject.provider)},
        {"resourceType", localizable(subject.type)},
        {"status", localizable(failed ? "Failed" : "Succeeded")},
        {"subStatus", localizable(record.code)},
        {"submissionTimestamp", at},
        {"subscriptionId", subscription_id},
        {"tenantId", tenant_id},
    };
}

/// The comparisons that az and the SDKs write, joined by `and`; values quoted or bare.
struct EventFilter {
    std::optional<Instant> from;
    std::optional<Instant> until;
    std::string group;
    std::string provider;
    std::string resource;
    std::string correlation_id;
    std::string caller;
    std::string status;

    [[nodiscard]] bool passes(const AuditRecord& record) const {
        const Subject subject = subject_of(record);
        const auto same = [](const std::string& wanted, std::string_view is) {
            return wanted.empty() || equal_ignoring_case(wanted, is);
        };
        return (!from || record.at >= *from) && (!until || record.at <= *until) &&
               same(group, subject.group) && same(provider, subject.provider) &&
               same(resource, record.scope) && same(correlation_id, record.correlation_id) &&
               (same(caller, record.principal_name) || same(caller, record.principal_id)) &&
               same(status, record.status >= 400 ? "Failed" : "Succeeded");
    }
};

[[noreturn]] void refuse_filter(std::string_view clause) {
    throw Error{
        ErrorKind::kInvalidQuery,
        ErrorText{
            .message = fmt::format("The filter '{}' is not supported.", clause.substr(0, 200)),
            .target = "$filter",
            .recommended_actions =
                {"Use eventTimestamp ge and le, and eq with resourceGroupName, resourceUri, "
                 "resourceProvider, correlationId, caller or status."},
        }
    };
}

void read_event_clause(std::string_view clause, EventFilter& filter) {
    std::vector<std::string> words;
    for (std::string& word : split(clause, ' ')) {
        if (!word.empty()) {
            words.push_back(std::move(word));
        }
    }
    if (words.size() < 3) {
        refuse_filter(clause);
    }
    const std::string name = to_lower(words[0]);
    const std::string compare = to_lower(words[1]);
    std::string value =
        std::string{trim(clause.substr(clause.find(words[2], words[0].size() + 1)))};
    if (value.size() >= 2 && value.front() == '\'' && value.back() == '\'') {
        value = value.substr(1, value.size() - 2);
    }
    if (name == "eventtimestamp") {
        const auto instant = parse_instant(value);
        if (!instant || (compare != "ge" && compare != "le")) {
            refuse_filter(clause);
        }
        (compare == "ge" ? filter.from : filter.until) = instant;
        return;
    }
    const std::map<std::string_view, std::string*> known{
        {"resourcegroupname", &filter.group},
        {"resourceprovider", &filter.provider},
        {"resourceuri", &filter.resource},
        {"resourceid", &filter.resource},
        {"correlationid", &filter.correlation_id},
        {"caller", &filter.caller},
        {"status", &filter.status},
    };
    const auto found = known.find(name);
    // `eventChannels` and `levels` name what all of our events have.
    if (compare != "eq" || (found == known.end() && name != "eventchannels")) {
        refuse_filter(clause);
    }
    if (found != known.end()) {
        *found->second = value;
    }
}

EventFilter read_event_filter(const RequestContext& context) {
    EventFilter filter;
    const std::string text = context.request.query.get_or("$filter", "");
    std::string_view rest = trim(text);
    while (!rest.empty()) {
        const auto join = to_lower(rest).find(" and ");
        read_event_clause(trim(rest.substr(0, join)), filter);
        rest = join == std::string::npos ? std::string_view{} : trim(rest.substr(join + 5));
    }
    return filter;
}

std::optional<std::int64_t> number_parameter(const RequestContext& context, const char* name) {
    const std::string* text = context.request.query.find(name);
    if (text == nullptr) {
        return std::nullopt;
    }
    std::int64_t value = 0;
    const auto [end, fault] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (fault != std::errc{} || end != text->data() + text->size() || value < 0) {
        throw Error{
            ErrorKind::kInvalidParameter,
            ErrorText{
                .message = fmt::format("{} must be a whole number.", name),
                .target = name,
                .recommended_actions = {"Leave it out to begin at the first page."},
            }
        };
    }
    return value;
}

Reply list_events(const RequestContext& context) {
    const EventFilter filter = read_event_filter(context);
    const std::string subscription_id = context.path.at("subscriptionId");
    const std::string scope = "/subscriptions/" + subscription_id;
    std::optional<std::int64_t> before = number_parameter(context, "$skipToken");
    Json value = Json::array();
    bool more = true;
    context.services.catalog.read([&](const catalog::View& view) {
        (void)require_subscription(view, subscription_id);
        for (std::int64_t looked = 0; more && looked < kLookedAtMax;) {
            const auto records = view.audit(before, kPage);
            looked += static_cast<std::int64_t>(records.size());
            more = static_cast<std::int64_t>(records.size()) == kPage;
            for (const AuditRecord& record : records) {
                before = record.sequence;
                if (filter.from && record.at < *filter.from) {
                    more = false;  // Newest first: all others are older.
                    break;
                }
                if (scope_contains(scope, record.scope) && filter.passes(record) &&
                    context.services.authorizer.allows(
                        context.principal, kReadEvents, record.scope
                    )) {
                    value.push_back(
                        event_document(record, subscription_id, context.principal.tenant_id)
                    );
                }
            }
            if (value.size() >= static_cast<std::size_t>(kPage)) {
                break;
            }
        }
    });
    Json body{{"value", std::move(value)}};
    const std::string path = url_path("/" + join(context.request.path, "/"));
    if (more && before) {
        body["nextLink"] = fmt::format(
            "{}{}?api-version={}&%24filter={}&%24skipToken={}",
            context.base_url,
            path,
            percent_encode(context.api_version),
            percent_encode(context.request.query.get_or("$filter", "")),
            *before
        );
    }
    return Reply::ok(std::move(body));
}

Reply list_records(const RequestContext& context) {
    const std::int64_t after = number_parameter(context, "after").value_or(0);
    Json value = Json::array();
    std::int64_t last = after;
    context.services.catalog.read([&](const catalog::View& view) {
        for (const AuditRecord& record : view.audit_after(after, kRecordsPage)) {
            last = record.sequence;
            value.push_back(record);
        }
    });
    Json body{{"value", std::move(value)}};
    if (body["value"].size() == static_cast<std::size_t>(kRecordsPage)) {
        body["nextLink"] =
            fmt::format("{}/providers/Holdfast.Audit/records?after={}", context.base_url, last);
    }
    return Reply::ok(std::move(body));
}

}  // namespace

void add_activity_log_routes(std::vector<Route>& routes) {
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/subscriptions/{subscriptionId}/providers/Microsoft.Insights/eventtypes/"
                   "management/values",
        .action = std::string{kReadEvents},
        .summary = "Lists the events of the activity log that the caller may read, newest first.",
        .handler = list_events,
        .access = Access::kAuthenticated,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/providers/Holdfast.Audit/records",
        .action = "Holdfast.Audit/records/read",
        .summary =
            "Lists the audit trail with its hashes, oldest first; `after` a sequence number.",
        .handler = list_records,
        .api_version = ApiVersion::kExempt,
        .auditing = Auditing::kAlways,
        .scope =
            [](const Services&, const Request&, const PathParameters&) { return std::string{"/"}; },
    });
}

}  // namespace holdfast::control
