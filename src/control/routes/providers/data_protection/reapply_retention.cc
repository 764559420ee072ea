// POST …/backupInstances/{backupInstanceName}/reapplyRetention
#include "alerts/outbox.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/alert_rules.h"
#include "control/arm.h"
#include "control/guards.h"
#include "control/operations.h"
#include "control/routes/lookup.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"
#include "jobs/protection_service.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::InstanceRecord;
using catalog::VaultRecord;

constexpr std::size_t kPointsShown = 1000;

Json document_of(const jobs::RetentionEffect& effect) {
    Json points = Json::array();
    for (const jobs::PointRetention& point : effect.points) {
        if (points.size() == kPointsShown) {
            break;
        }
        if (!point.is_shorter() && !point.is_longer()) {
            continue;
        }
        points.push_back(
            {{"recoveryPointId", point.point_id},
             {"recoveryPointTime", format_instant(point.time)},
             {"retentionTagName", point.tag},
             {"madeUnderPolicyVersion", point.made_under},
             {"expiryTime", point.expires ? Json(format_instant(*point.expires)) : Json{}},
             {"newExpiryTime", format_instant(point.would_expire)},
             {"effect", point.is_shorter() ? "Shortened" : "Extended"}}
        );
    }
    return Json{
        {"policyId", effect.policy_id},
        {"policyVersion", effect.policy_version},
        {"recoveryPoints", effect.points.size()},
        {"shortened", effect.shortened},
        {"extended", effect.extended},
        {"expiringAtOnce", effect.expiring},
        {"effectToken", effect.token},
        {"changes", std::move(points)}
    };
}

/// Without `apply` only the effect is shown; with it, the effect that `effectToken` stands for is
/// brought about.
void raise_shortened(
    const RequestContext& context,
    const InstanceRecord& instance,
    const jobs::RetentionEffect& effect
) {
    const bool deletes = effect.expiring > 0;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        context.services.alerts.raise_in(
            transaction,
            event_by(
                context,
                deletes ? alerts::Kind::kPointsDeleted : alerts::Kind::kRetentionShortened,
                instance.id,
                fmt::format(
                    "reapplied the retention of {}: {} recovery points expire earlier, {} of them "
                    "at once",
                    instance.id,
                    effect.shortened,
                    effect.expiring
                )
            )
        );
    });
}

Reply reapply(const RequestContext& context) {
    bool apply = false;
    std::string token;
    std::vector<std::string> approvals;
    if (context.body.is_object()) {
        const JsonReader body = body_reader(context);
        apply = body.optional_bool("apply").value_or(false);
        approvals = read_guard_requests(body);
        token = apply ? body.string("effectToken") : std::string{};
    }
    InstanceRecord instance;
    VaultRecord vault;
    jobs::RetentionEffect effect;
    context.services.catalog.read([&](const catalog::View& view) {
        vault = require_vault(view, context);
        instance = require_instance(view, context);
        effect = jobs::retention_effect(view, instance, context.services.clock.now());
        if (apply && effect.shortened > 0) {
            require_guard_approval(
                view, context, vault, CriticalOperation::kModifyInstance, approvals
            );
        }
    });
    if (!apply) {
        return Reply::ok(document_of(effect));
    }
    effect = context.services.protection.reapply_retention(
        instance.id,
        token,
        {.principal_id = context.principal.object_id,
         .correlation_id = context.request.correlation_id}
    );
    if (effect.shortened > 0) {
        raise_shortened(context, instance, effect);
    }
    return Reply::ok(document_of(effect));
}

}  // namespace

void add_reapply_retention_routes(std::vector<Route>& routes) {
    routes.push_back(Route{
        .verb = Verb::kPost,
        .pattern = std::string{kInstancePattern} + "/reapplyRetention",
        .action = std::string{kInstanceType} + "/reapplyRetention/action",
        .summary = "Shows, and with `apply` brings about, what the policy of today means for the "
                   "expiry of the points that there are.",
        .handler = reapply,
        .body = BodyRule::kOptional,
    });
}

}  // namespace holdfast::control
