// POST /providers/Microsoft.ResourceGraph/resources
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/guards.h"
#include "control/identity/authorize.h"
#include "control/resource_id.h"
#include "control/routes/documents.h"
#include "control/routes/lookup.h"
#include "control/routes/providers/resource_graph/job_search.h"
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
// What order by and summarize may hold in memory at once.
constexpr std::size_t kRowsMax = 200'000;

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
    std::optional<catalog::Place> after;  ///< From a token that goes on behind a job.
    bool table = false;                   ///< resultFormat
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
            options.skip = 0;
            options.after = parse_skip_token(text);
            if (!options.after) {
                token->fail("The token is none of this server's.");
            }
        }
    }
    if (const auto format = given->optional_member("resultFormat")) {
        options.table = format->as_one_of({"objectArray", "table"}) == "table";
    }
    return options;
}

/// One page of rows, and how many there are in all.
struct Rows {
    std::vector<Json> page;
    std::int64_t total = 0;
    std::optional<std::string> next;  ///< The token of the next page.
};

/// Answers one query: what may be seen, in which subscriptions, matched row by row.
class Collector {
public:
    Collector(
        const RequestContext& context,
        const catalog::View& view,
        const GraphQuery& query,
        const Options& options
    )
        : context_{context},
          view_{view},
          query_{query},
          options_{options},
          streams_{count_row_operators(query) == query.operators.size()} {
        for (const SubscriptionRecord& record : view.list<SubscriptionRecord>()) {
            tenants_.emplace(to_lower(record.id), record.tenant_id);
        }
    }

    /// Lower case; empty: all.
    std::set<std::string> subscriptions;

    void collect_vaults() {
        view_.each<VaultRecord>({}, [&](const VaultRecord& vault) {
            if (!vault.soft_deleted && may_read(kVaultType, vault.id)) {
                Json row = row_of(vault.id, kVaultType, vault.name, vault.location);
                const auto mapping = is_mapped_to_guard(view_, vault.id) ? GuardMapping::kMapped
                                                                         : GuardMapping::kNone;
                const Json document =
                    vault_document(vault, row["tenantId"].get<std::string>(), mapping);
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
                // Read by the clients' cross-region verbs, which then hear that there is no region.
                row["properties"]["backupInstanceExtendedProperties"] = Json{
                    {"vaultId", instance.vault_id},
                    {"protectedPrimaryRegion", row["location"]},
                    {"protectedSecondaryRegion", nullptr},
                    {"allowedOperations", Json::array()}
                };
                row["tags"] = instance.tags;
                offer(std::move(row));
            }
            return true;
        });
    }

    /// Jobs are the many: the catalog finds them by their columns. Where its answer is already the
    /// whole truth, it also counts and cuts the page, and nothing but the page is ever read.
    void collect_jobs() {
        JobSearch search = narrow(query_);
        search.query.order = catalog::Order::kNewestFirst;
        restrict_to_readable_vaults(search.query);
        if (!search.complete || !streams_ || rows_.total > 0) {
            view_.each<JobRecord>(search.query, [&](const JobRecord& job) {
                offer(row_of_job(job));
                return true;
            });
            return;
        }
        rows_.total = view_.count<JobRecord>(search.query);
        search.query.limit = options_.top + 1;
        search.query.offset = options_.skip;
        search.query.after = options_.after;
        std::optional<catalog::Place> last;
        view_.each<JobRecord>(search.query, [&](const JobRecord& job) {
            if (std::ssize(rows_.page) == options_.top) {
                rows_.next = skip_token(*last);
                return false;
            }
            Json row = row_of_job(job);
            (void)evaluate(query_, row, budget_);
            rows_.page.push_back(std::move(row));
            last = catalog::place_of(job);
            return true;
        });
        cut_ = true;
    }

    [[nodiscard]] Rows take() {
        if (cut_) {
            return std::move(rows_);
        }
        std::int64_t first = 0;
        if (!streams_) {
            finish(query_, rows_.page, budget_);
            rows_.total = std::ssize(rows_.page);
            first = std::min(options_.skip, rows_.total);
            rows_.page.erase(rows_.page.begin(), rows_.page.begin() + first);
            rows_.page.resize(
                std::min<std::size_t>(rows_.page.size(), static_cast<std::size_t>(options_.top))
            );
        }
        const std::int64_t end = options_.skip + std::ssize(rows_.page);
        if (end < rows_.total && !rows_.page.empty()) {
            rows_.next = std::to_string(end);
        }
        return std::move(rows_);
    }

private:
    /// Jobs are read with their vault: nobody is granted single jobs.
    void restrict_to_readable_vaults(catalog::Query& search) const {
        const auto names = allowed_values(query_, "properties.vaultName");
        const auto groups = allowed_values(query_, "resourceGroup");
        const auto has = [](const std::optional<std::vector<std::string>>& list,
                            const std::string& value) {
            return !list || std::any_of(list->begin(), list->end(), [&](const std::string& one) {
                return equal_ignoring_case(one, value);
            });
        };
        std::vector<std::string> wanted;
        std::size_t all = 0;
        view_.each<VaultRecord>({}, [&](const VaultRecord& vault) {
            ++all;
            if (!vault.soft_deleted && has(names, vault.name) &&
                has(groups, vault.resource_group) && may_read(kJobType, vault.id)) {
                wanted.push_back(vault.id);
            }
            return true;
        });
        if (wanted.size() < all) {
            search.parents = std::move(wanted);
        }
    }

    Json row_of_job(const JobRecord& job) const {
        const std::string id = child_id(job.vault_id, "backupJobs", job.id);
        Json row = row_of(id, kJobType, job.id, job.location);
        row["properties"] = std::move(job_document(
            job,
            JobDetail::kGraphRow,
            context_.services.jobs.progress(job.id),
            context_.services.clock.now()
        )["properties"]);
        return row;
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

    /// Only the page is kept, unless a later operator needs every row.
    void offer(Json row) {
        const std::size_t kept = budget_.kept();
        if (!evaluate(query_, row, budget_)) {
            return;
        }
        if (streams_) {
            const std::int64_t place = rows_.total++;
            if (place < options_.skip || std::ssize(rows_.page) == options_.top) {
                budget_.let_go(budget_.kept() - kept);
                return;
            }
        } else if (rows_.page.size() == kRowsMax) {
            throw_query_fault(
                1, fmt::format("More than {} rows would have to be sorted or grouped.", kRowsMax)
            );
        }
        rows_.page.push_back(std::move(row));
    }

    const RequestContext& context_;
    const catalog::View& view_;
    const GraphQuery& query_;
    const Options& options_;
    const bool streams_;
    std::map<std::string, std::string> tenants_;
    GraphBudget budget_;
    Rows rows_;
    bool cut_ = false;
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

std::string_view column_type(const Json& value) {
    if (value.is_boolean()) {
        return "boolean";
    }
    if (value.is_number_integer()) {
        return "integer";
    }
    if (value.is_number()) {
        return "number";
    }
    return value.is_object() || value.is_array() ? "object" : "string";
}

/// `resultFormat: table`: the columns once, then the rows as arrays.
Json table_of(std::vector<Json> page) {
    Json columns = Json::array();
    Json rows = Json::array();
    if (!page.empty()) {
        for (const auto& [name, value] : page.front().items()) {
            columns.push_back({{"name", name}, {"type", column_type(value)}});
        }
    }
    for (Json& row : page) {
        Json cells = Json::array();
        for (const Json& column : columns) {
            cells.push_back(std::move(row[column["name"].get_ref<const std::string&>()]));
        }
        rows.push_back(std::move(cells));
    }
    return Json{{"columns", std::move(columns)}, {"rows", std::move(rows)}};
}

Reply post_query(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    IgnoredProperties ignored;
    ignored.note_unknown(body, {"subscriptions", "managementGroups", "query", "options", "facets"});
    const Options options = read_options(body, ignored);
    const GraphQuery query = parse_graph_query(body.string("query"));
    check_columns(query, columns());
    Rows rows;
    context.services.catalog.read([&](const catalog::View& view) {
        Collector collector{context, view, query, options};
        collector.subscriptions = read_subscriptions(body);
        collect(collector, query);
        rows = collector.take();
    });
    const std::size_t count = rows.page.size();
    Json answer{
        {"totalRecords", rows.total},
        {"count", count},
        {"data", options.table ? table_of(std::move(rows.page)) : Json(std::move(rows.page))},
        {"facets", Json::array()},
        {"resultTruncated", "false"}
    };
    if (rows.next) {
        answer["$skipToken"] = *rows.next;
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
