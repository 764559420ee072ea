// GET …/providers/Microsoft.DataProtection/holdfastStatus: what `holdfast status` shows.
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/identity/authorize.h"
#include "control/resource_id.h"
#include "control/routes/lookup.h"
#include "control/routes/route_groups.h"
#include "control/services.h"
#include "jobs/engine.h"
#include "jobs/repositories.h"
#include "protection/instance_state.h"
#include "protection/policy.h"
#include "protection/schedule.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::InstanceRecord;
using catalog::JobRecord;
using catalog::PointRecord;
using catalog::PolicyRecord;
using catalog::VaultRecord;

/// A scheduled run that is this late without a newer point is a problem worth a monitor's word.
constexpr std::chrono::hours kLateAfter{6};
constexpr std::int64_t kFailuresCounted = 1000;

struct History {
    std::optional<PointRecord> last_good;
    std::optional<JobRecord> last_job;
    std::int64_t failures = 0;  ///< Backups that failed since the last that did not.
};

History history_of(const catalog::View& view, const InstanceRecord& instance) {
    History history;
    const auto points = view.list<PointRecord>(
        {.parent = instance.id,
         .states = {"Completed"},
         .order = catalog::Order::kNewestFirst,
         .limit = 1}
    );
    if (!points.empty()) {
        history.last_good = points.front();
    }
    view.each<JobRecord>(
        {.subject = instance.id, .order = catalog::Order::kNewestFirst},
        [&](const JobRecord& job) {
            if (job.operation != "Backup" || !job.ended_at) {
                return true;
            }
            if (!history.last_job) {
                history.last_job = job;
            }
            if (job.status == "Failed") {
                return ++history.failures < kFailuresCounted;
            }
            return job.status == "Cancelled";
        }
    );
    return history;
}

/// When the run that should have made the newest point by now was due; nothing while all is well.
std::optional<Instant> overdue_since(
    const catalog::View& view, const InstanceRecord& instance, const History& history, Instant now
) {
    const auto record = view.get<PolicyRecord>(instance.policy_id);
    const auto state = protection::parse_protection_state(instance.state);
    if (!record || !state || !protection::accepts_backup(*state)) {
        return std::nullopt;
    }
    const auto policy = protection::parse_policy(record->properties, "properties");
    const auto due = protection::previous_run(policy, now - kLateAfter);
    const bool made = history.last_good && due && history.last_good->time >= due->scheduled;
    if (!due || made || due->scheduled < instance.created_at) {
        return std::nullopt;
    }
    return due->scheduled;
}

Json problems_of(
    const catalog::View& view, const InstanceRecord& instance, const History& history, Instant now
) {
    Json problems = Json::array();
    if (instance.state != "ProtectionConfigured" && instance.state != "UpdatingProtection") {
        problems.push_back(fmt::format("The protection state is {}.", instance.state));
    }
    if (!history.last_good) {
        problems.push_back("There is no recovery point yet.");
    }
    if (history.failures > 0) {
        problems.push_back(fmt::format("The last {} backup(s) failed.", history.failures));
    }
    if (const auto due = overdue_since(view, instance, history, now)) {
        problems.push_back(
            fmt::format("No backup since the run due at {}.", format_instant_seconds(*due))
        );
    }
    return problems;
}

Json last_job_of(const History& history) {
    if (!history.last_job) {
        return nullptr;
    }
    const JobRecord& job = *history.last_job;
    Json out{
        {"id", child_id(job.vault_id, "backupJobs", job.id)},
        {"status", job.status},
        {"endTime", format_instant(*job.ended_at)},
        {"error", nullptr}
    };
    if (!job.errors.empty()) {
        out["error"] = Json{
            {"code", job.errors.front().value("code", std::string{})},
            {"message", job.errors.front().value("message", std::string{})}
        };
    }
    return out;
}

Json instance_status(
    const RequestContext& context, const catalog::View& view, const InstanceRecord& instance
) {
    const Instant now = context.services.clock.now();
    const History history = history_of(view, instance);
    const auto next = context.services.jobs.next_run(instance);
    Json last_good = nullptr;
    if (history.last_good) {
        const auto age = now - history.last_good->time;
        last_good = Json{
            {"id", history.last_good->id},
            {"time", format_instant(history.last_good->time)},
            {"ageInSeconds", std::chrono::duration_cast<std::chrono::seconds>(age).count()},
            {"retentionTagName", history.last_good->tag},
            {"expiryTime",
             history.last_good->expires_at ? Json(format_instant(*history.last_good->expires_at))
                                           : Json{}}
        };
    }
    Json problems = problems_of(view, instance, history, now);
    const auto vault = ResourceId::parse(instance.vault_id, "vaultId");
    return Json{
        {"id", instance.id},
        {"name", instance.name},
        {"friendlyName", instance.friendly_name},
        {"vaultName", vault.name()},
        {"resourceGroup", vault.group_name()},
        {"datasourceId", instance.datasource_id},
        {"policyName", instance.policy_name},
        {"protectionState", instance.state},
        {"lastGoodPoint", std::move(last_good)},
        {"nextRunTime", next ? Json(format_instant(*next)) : Json{}},
        {"consecutiveFailures", history.failures},
        {"lastJob", last_job_of(history)},
        {"healthy", problems.empty()},
        {"problems", std::move(problems)}
    };
}

/// Points in a vault that cannot be opened are of no use, however young they are.
void blame_vault(Json& instances, const VaultRecord& vault) {
    for (Json& instance : instances) {
        if (starts_with_ignoring_case(instance["id"].get<std::string>(), vault.id + "/")) {
            instance["healthy"] = false;
            instance["problems"].push_back("Its vault cannot be used.");
        }
    }
}

Reply get_status(const RequestContext& context) {
    const auto may_read = [&](std::string_view action, const std::string& id) {
        return context.services.authorizer.allows(context.principal, action, id);
    };
    Json instances = Json::array();
    std::vector<VaultRecord> readable;
    context.services.catalog.read([&](const catalog::View& view) {
        const auto subscription = require_subscription(view, context.path.at("subscriptionId"));
        const catalog::Query below{
            .parent_prefix = fmt::format("/subscriptions/{}/", subscription.id)
        };
        for (const VaultRecord& vault : view.list<VaultRecord>(below)) {
            if (!vault.soft_deleted &&
                may_read("Microsoft.DataProtection/backupVaults/read", vault.id)) {
                readable.push_back(vault);
            }
        }
        for (const InstanceRecord& instance : view.list<InstanceRecord>(below)) {
            if (!instance.soft_deleted &&
                may_read(std::string{kInstanceType} + "/read", instance.id)) {
                instances.push_back(instance_status(context, view, instance));
            }
        }
    });
    Json vaults = Json::array();
    for (const VaultRecord& vault : readable) {
        const jobs::RepositoryStatus status = context.services.repositories.status(vault);
        if (!status.usable) {
            blame_vault(instances, vault);
        }
        vaults.push_back(
            {{"id", vault.id},
             {"name", vault.name},
             {"usable", status.usable},
             {"recoveryKitWritten", status.recovery_kit_written},
             {"warnings", status.warnings}}
        );
    }
    const auto leap = context.services.jobs.clock_leap();
    return Reply::ok(Json{
        {"time", format_instant(context.services.clock.now())},
        {"instances", std::move(instances)},
        {"vaults", std::move(vaults)},
        {"clock", {{"trusted", !leap}, {"message", leap ? Json(leap->message) : Json{}}}}
    });
}

/// An owner says that the time is right: expiry and purge go on.
Reply confirm_clock(const RequestContext& context) {
    context.services.jobs.confirm_clock();
    return Reply::ok(Json{{"time", format_instant(context.services.clock.now())}, {"trusted", true}}
    );
}

}  // namespace

void add_status_routes(std::vector<Route>& routes) {
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern =
            "/subscriptions/{subscriptionId}/providers/Microsoft.DataProtection/holdfastStatus",
        .action = std::string{kInstanceType} + "/read",
        .summary = "Summarises every backup instance: last good point, age, next run, failures.",
        .handler = get_status,
        .access = Access::kAuthenticated,
    });
    // An action below Microsoft.Authorization is the owner's alone: neither Contributor nor the
    // backup roles may let points expire by it.
    routes.push_back(Route{
        .verb = Verb::kPost,
        .pattern = "/subscriptions/{subscriptionId}/providers/Microsoft.DataProtection/"
                   "holdfastConfirmClock",
        .action = "Microsoft.Authorization/holdfastClock/write",
        .summary = "Confirms that the clock is right after a leap, so that expiry and purge go on.",
        .handler = confirm_clock,
    });
}

}  // namespace holdfast::control
