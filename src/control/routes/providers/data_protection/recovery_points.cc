// …/backupInstances/{backupInstanceName}/recoveryPoints and findRestorableTimeRanges
#include "base/ids.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/routes/documents.h"
#include "control/routes/filter.h"
#include "control/routes/lookup.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::InstanceRecord;
using catalog::PointRecord;

catalog::Query read_filter(const RequestContext& context) {
    catalog::Query query;
    query.order = catalog::Order::kNewestFirst;
    const std::string text = context.request.query.get_or("$filter", "");
    for (const FilterClause& clause : parse_filter(
             text,
             {"startDate",
              "endDate",
              "isVisible",
              "restorePointDataStoreId",
              "extendedInfo",
              "restorePointState"}
         )) {
        if (clause.name == "restorePointState") {
            query.states = {clause.value};
            continue;
        }
        if (clause.name != "startDate" && clause.name != "endDate") {
            continue;  // Every point is visible and lies in the one store.
        }
        const auto instant = parse_instant(clause.value);
        if (!instant) {
            throw Error{
                ErrorKind::kInvalidQuery,
                ErrorText{
                    .message = fmt::format(
                        "{}: '{}' is not a date and time.", clause.name, clause.value.substr(0, 80)
                    ),
                    .target = "$filter",
                    .recommended_actions = {"Write it as 2026-01-31T22:00:00Z."},
                }
            };
        }
        if (clause.name == "startDate") {
            query.from = *instant;
        } else {
            query.until =
                *instant + std::chrono::microseconds{1};  // The bound itself belongs to it.
        }
    }
    return query;
}

Reply list_points(const RequestContext& context) {
    catalog::Query query = read_filter(context);
    const Page page = read_page(context.request.query);
    bound(query, page);
    Json items = Json::array();
    std::optional<catalog::Place> last;
    std::optional<catalog::Place> next;
    context.services.catalog.read([&](const catalog::View& view) {
        const InstanceRecord instance = require_instance(view, context);
        query.parent = instance.id;
        view.each<PointRecord>(query, [&](const PointRecord& point) {
            if (items.size() == page.size) {
                next = last;
                return false;
            }
            items.push_back(point_document(point, instance.id, PointDetail::kListed));
            last = catalog::place_of(point);
            return true;
        });
    });
    return page_reply(context, std::move(items), next);
}

Reply get_point(const RequestContext& context) {
    const std::string& name = context.path.at("recoveryPointId");
    Json document;
    context.services.catalog.read([&](const catalog::View& view) {
        const InstanceRecord instance = require_instance(view, context);
        const auto point = view.get<PointRecord>(name);
        if (!point || !equal_ignoring_case(point->instance_id, instance.id)) {
            throw not_found(
                ErrorKind::kRecoveryPointNotFound,
                kPointType,
                name,
                child_id(instance.id, "recoveryPoints", name)
            );
        }
        document = point_document(*point, instance.id, PointDetail::kFull);
    });
    return Reply::ok(std::move(document));
}

/// Continuous backup alone has ranges; single points are listed as recovery points.
Reply find_time_ranges(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    if (const auto store = body.optional_member("sourceDataStoreType")) {
        (void)store->as_one_of({"OperationalStore", "VaultStore", "ArchiveStore", "SnapshotStore"});
    }
    for (const char* name : {"startTime", "endTime"}) {
        const auto time = body.optional_member(name);
        if (time && !time->as_string().empty() && !parse_instant(time->as_string())) {
            time->fail("Not a date and time.", "2026-01-31T22:00:00Z");
        }
    }
    std::string id;
    context.services.catalog.read([&](const catalog::View& view) {
        id = require_instance(view, context).id;
    });
    const std::string name = new_guid();
    return Reply::ok(Json{
        {"id", child_id(id, "findRestorableTimeRanges", name)},
        {"name", name},
        {"type", std::string{kInstanceType} + "/findRestorableTimeRanges"},
        {"properties",
         {{"objectType", "AzureBackupFindRestorableTimeRangesResponse"},
          {"restorableTimeRanges", Json::array()}}}
    });
}

}  // namespace

void add_recovery_point_routes(std::vector<Route>& routes) {
    const std::string collection = std::string{kInstancePattern} + "/recoveryPoints";
    const std::string action = std::string{kPointType} + "/read";
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = collection,
        .action = action,
        .summary = "Lists the recovery points of a backup instance, newest first.",
        .handler = list_points,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = collection + "/{recoveryPointId}",
        .action = action,
        .summary = "Shows a recovery point with what is known of its contents.",
        .handler = get_point,
    });
    routes.push_back(Route{
        .verb = Verb::kPost,
        .pattern = std::string{kInstancePattern} + "/findRestorableTimeRanges",
        .action = std::string{kInstanceType} + "/findRestorableTimeRanges/action",
        .summary = "Lists the time ranges of continuous backup; empty for single points.",
        .handler = find_time_ranges,
        .body = BodyRule::kRequired,
        .auditing = Auditing::kNever,
    });
}

}  // namespace holdfast::control
