// POST /providers/Microsoft.ResourceGraph/resources
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/identity/authorize.h"
#include "control/resource_id.h"
#include "control/routes/documents.h"
#include "control/routes/lookup.h"
#include "control/routes/providers/resource_graph/query.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"
#include "jobs/engine.h"

#include <charconv>
#include <set>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::InstanceRecord;
using catalog::JobRecord;
using catalog::SubscriptionRecord;
using catalog::VaultRecord;

constexpr std::int64_t kPageMax = 1000;

const std::vector<std::string_view>& columns() {
    static const std::vector<std::string_view> names{
        "id",
        "name",
        "type",
        "tenantId",
        "kind",
        "location",
        "resourceGroup",
        "subscriptionId",
        "managedBy",
        "sku",
        "plan",
        "properties",
        "tags",
        "identity",
        "zones",
        "extendedLocation"
    };
    return names;
}

struct Options {
    std::int64_t top = kPageMax;
    std::int64_t skip = 0;
};

std::int64_t bounded(const JsonReader& member, std::int64_t from, std::int64_t to) {
    const std::int64_t value = member.as_integer();
    if (value < from || value > to) {
        member.fail("The number is out of range.", fmt::format("{} to {}", from, to));
    }
    return value;
}

Options read_options(const JsonReader& body, IgnoredProperties& ignored) {
    Options options;
    const auto given = body.optional_member("options");
    if (!given) {
        return options;
    }
    ignored.note_unknown(
        *given,
        {"$top",
         "$skip",
         "$skipToken",
         "resultFormat",
         "allowPartialScopes",
         "authorizationScopeFilter"}
    );
    if (const auto top = given->optional_member("$top")) {
        options.top = bounded(*top, 1, kPageMax);
    }
    if (const auto skip = given->optional_member("$skip")) {
        options.skip = bounded(*skip, 0, INT32_MAX);
    }
    if (const auto token = given->optional_member("$skipToken")) {
        const std::string& text = token->as_string();
        const auto [end, fault] =
            std::from_chars(text.data(), text.data() + text.size(), options.skip);
        if (fault != std::errc{} || end != text.data() + text.size() || options.skip < 0) {
            token->fail("The token is none of this server's.");
        }
    }
    if (const auto format = given->optional_member("resultFormat")) {
        (void)format->as_one_of({"objectArray"});
    }
    return options;
}

/// Answers one query: what may be seen, in which subscriptions, matched row by row.
class Collector {
public:
    Collector(const RequestContext& context, const catalog::View& view, const GraphQuery& query)
        : context_{context}, view_{view}, query_{query} {
        for (const SubscriptionRecord& record : view.list<SubscriptionRecord>()) {
            tenants_.emplace(to_lower(record.id), record.tenant_id);
        }
    }

    /// Lower case; empty: all.
    std::set<std::string> subscriptions;

    void collect_vaults() {
        view_.each<VaultRecord>({}, [&](const VaultRecord& vault) {
            if (may_read(kVaultType, vault.id)) {
                Json row = row_of(vault.id, kVaultType, vault.name, vault.location);
                const Json document = vault_document(vault, row["tenantId"].get<std::string>());
                row["properties"] = document["properties"];
                row["tags"] = vault.tags;
                row["identity"] = document.value("identity", Json{});
                offer(std::move(row));
            }
            return true;
        });
    }

    void collect_instances() {
        view_.each<InstanceRecord>({}, [&](const InstanceRecord& instance) {
            if (!instance.soft_deleted && may_read(kInstanceType, instance.id)) {
                const auto vault = view_.get<VaultRecord>(instance.vault_id);
                Json row =
                    row_of(instance.id, kInstanceType, instance.name, vault ? vault->location : "");
                row["properties"] = instance_document(instance)["properties"];
                row["properties"]["vaultId"] = instance.vault_id;
                row["tags"] = instance.tags;
                offer(std::move(row));
            }
            return true;
        });
    }

    void collect_jobs() {
        catalog::Query narrowed;
        narrowed.order = catalog::Order::kNewestFirst;
        if (const auto states = allowed_values(query_, "properties.status")) {
            for (const std::string& state : *states) {
                add_states(state, narrowed.states);
            }
        }
        const Instant now = context_.services.clock.now();
        view_.each<JobRecord>(narrowed, [&](const JobRecord& job) {
            const std::string id = child_id(job.vault_id, "backupJobs", job.id);
            if (may_read(kJobType, id)) {
                Json row = row_of(id, kJobType, job.id, job.location);
                row["properties"] = job_document(
                    job, JobDetail::kGraphRow, context_.services.jobs.progress(job.id), now
                )["properties"];
                offer(std::move(row));
            }
            return true;
        });
    }

    [[nodiscard]] std::vector<Json>& rows() noexcept { return rows_; }

private:
    /// The catalog's states for one of the wire, as it compares them exactly.
    static void add_states(const std::string& wire, std::vector<std::string>& states) {
        for (const char* state :
             {"Queued",
              "InProgress",
              "Cancelling",
              "Completed",
              "CompletedWithWarnings",
              "Failed",
              "Cancelled"}) {
            if (equal_ignoring_case(wire_job_status(state), wire)) {
                states.emplace_back(state);
            }
        }
        if (states.empty()) {
            states.emplace_back("none");  // A word that no job has: no rows, rather than all.
        }
    }

    [[nodiscard]] bool may_read(std::string_view type, const std::string& id) const {
        const auto parsed = ResourceId::try_parse(id);
        if (!parsed || (!subscriptions.empty() &&
                        !subscriptions.contains(to_lower(parsed->subscription_id())))) {
            return false;
        }
        return context_.services.authorizer.allows(
            context_.principal, fmt::format("{}/read", type), id
        );
    }

    Json row_of(
        const std::string& id,
        std::string_view type,
        const std::string& name,
        const std::string& location
    ) const {
        const auto parsed = ResourceId::parse(id, "id");
        const auto tenant = tenants_.find(to_lower(parsed.subscription_id()));
        return Json{
            {"id", id},
            {"name", name},
            {"type", to_lower(type)},
            {"tenantId", tenant == tenants_.end() ? std::string{} : tenant->second},
            {"kind", ""},
            {"location", location},
            {"resourceGroup", to_lower(parsed.group_name())},
            {"subscriptionId", parsed.subscription_id()},
            {"managedBy", ""},
            {"sku", nullptr},
            {"plan", nullptr},
            {"properties", nullptr},
            {"tags", nullptr},
            {"identity", nullptr},
            {"zones", nullptr},
            {"extendedLocation", nullptr}
        };
    }

    void offer(Json row) {
        if (evaluate(query_, row)) {
            rows_.push_back(std::move(row));
        }
    }

    const RequestContext& context_;
    const catalog::View& view_;
    const GraphQuery& query_;
    std::map<std::string, std::string> tenants_;
    std::vector<Json> rows_;
};

/// Whether rows of `type` can pass at all.
bool wants(const GraphQuery& query, std::string_view type) {
    const auto types = allowed_values(query, "type");
    return !types || std::any_of(types->begin(), types->end(), [&](const std::string& one) {
        return equal_ignoring_case(one, type);
    });
}

std::set<std::string> read_subscriptions(const JsonReader& body) {
    std::set<std::string> out;
    if (const auto list = body.optional_member("subscriptions")) {
        for (const JsonReader& one : list->elements()) {
            out.insert(to_lower(one.as_string()));
        }
    }
    return out;
}

void collect(Collector& collector, const GraphQuery& query) {
    if (equal_ignoring_case(query.table, "resources")) {
        if (wants(query, kVaultType)) {
            collector.collect_vaults();
        }
        return;
    }
    if (!equal_ignoring_case(query.table, "RecoveryServicesResources")) {
        throw_query_fault(
            query.table_position,
            fmt::format(
                "The table {} does not exist. Tables: resources, RecoveryServicesResources.",
                query.table
            )
        );
    }
    if (wants(query, kInstanceType)) {
        collector.collect_instances();
    }
    if (wants(query, kJobType)) {
        collector.collect_jobs();
    }
}

Reply post_query(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    IgnoredProperties ignored;
    ignored.note_unknown(body, {"subscriptions", "managementGroups", "query", "options", "facets"});
    const Options options = read_options(body, ignored);
    const GraphQuery query = parse_graph_query(body.string("query"));
    check_columns(query, columns());
    std::vector<Json> rows;
    context.services.catalog.read([&](const catalog::View& view) {
        Collector collector{context, view, query};
        collector.subscriptions = read_subscriptions(body);
        collect(collector, query);
        rows = std::move(collector.rows());
    });
    const auto total = static_cast<std::int64_t>(rows.size());
    const std::int64_t first = std::min(options.skip, total);
    const std::int64_t last = std::min(first + options.top, total);
    Json data = Json::array();
    for (std::int64_t i = first; i < last; ++i) {
        data.push_back(std::move(rows[static_cast<std::size_t>(i)]));
    }
    Json answer{
        {"totalRecords", total},
        {"count", last - first},
        {"data", std::move(data)},
        {"facets", Json::array()},
        {"resultTruncated", "false"}
    };
    if (last < total) {
        answer["$skipToken"] = std::to_string(last);
    }
    Reply reply = Reply::ok(std::move(answer));
    ignored.report(context, reply);
    return reply;
}

}  // namespace

void add_resource_graph_routes(std::vector<Route>& routes) {
    routes.push_back(Route{
        .verb = Verb::kPost,
        .pattern = "/providers/Microsoft.ResourceGraph/resources",
        .action = "Microsoft.ResourceGraph/resources/read",
        .summary = "Finds vaults, backup instances and jobs by a Kusto query.",
        .handler = post_query,
        .body = BodyRule::kRequired,
        .access = Access::kAuthenticated,
        .auditing = Auditing::kNever,
    });
}

}  // namespace holdfast::control
