#include "jobs/detail/submit.h"

#include "base/error.h"
#include "base/ids.h"
#include "base/text.h"
#include "jobs/credentials.h"
#include "jobs/detail/runners.h"
#include "protection/instance_state.h"
#include "protection/policy.h"

#include <functional>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

const std::vector<std::string> kOpenStates{"Queued", "InProgress", "Cancelling"};

catalog::JobRecord new_job(
    const catalog::Transaction& transaction,
    const catalog::InstanceRecord& instance,
    std::string_view operation
) {
    catalog::JobRecord job;
    job.id = new_guid();
    job.vault_id = instance.vault_id;
    job.instance_id = instance.id;
    job.instance_name = instance.name;
    job.friendly_name = instance.friendly_name;
    job.datasource_id = instance.datasource_id;
    job.datasource_type = instance.datasource_type;
    job.server_key =
        server_key(parse_datasource_id(instance.datasource_id, "dataSourceInfo.resourceID"));
    job.policy_id = instance.policy_id;
    job.policy_name = instance.policy_name;
    if (const auto vault = transaction.get<catalog::VaultRecord>(instance.vault_id)) {
        job.location = vault->location;
    }
    job.operation = std::string{operation};
    job.created_at = transaction.now();
    return job;
}

void set_requester(catalog::JobRecord& job, const Requester& requester) {
    job.user_triggered = true;
    job.principal_id = requester.principal_id;
    job.correlation_id = requester.correlation_id.empty() ? new_guid() : requester.correlation_id;
}

std::optional<catalog::JobRecord> find_job(
    const catalog::View& view,
    const catalog::Query& query,
    const std::function<bool(const catalog::JobRecord&)>& wanted
) {
    std::optional<catalog::JobRecord> found;
    view.each<catalog::JobRecord>(query, [&](const catalog::JobRecord& job) {
        if (wanted(job)) {
            found = job;
        }
        return !found;
    });
    return found;
}

void require_state(
    const catalog::InstanceRecord& instance, bool accepted, std::string_view operation
) {
    if (accepted) {
        return;
    }
    const auto state = protection::parse_protection_state(instance.state);
    throw protection::not_accepted(
        state.value_or(protection::ProtectionState::kProtectionError), operation, instance.id
    );
}

/// Azure's limit on operations of one instance within 24 hours, where one is configured.
struct DailyLimit {
    std::string_view operation;
    std::size_t max = 0;
};
void require_daily_room(
    const catalog::Transaction& transaction,
    const catalog::InstanceRecord& instance,
    const DailyLimit& limit
) {
    if (limit.max == 0) {
        return;
    }
    std::size_t count = 0;
    transaction.each<catalog::JobRecord>(
        catalog::Query{.subject = instance.id, .from = transaction.now() - std::chrono::hours{24}},
        [&](const catalog::JobRecord& job) {
            count += job.operation == limit.operation && job.user_triggered ? 1U : 0U;
            return true;
        }
    );
    if (count >= limit.max) {
        throw Error{
            ErrorKind::kOperationLimitReached,
            ErrorText{
                .message = fmt::format(
                    "The backup instance \"{}\" had {} on-demand operations of kind {} in the last "
                    "24 hours, "
                    "which is the limit.",
                    instance.name,
                    count,
                    limit.operation
                ),
                .target = instance.id,
                .recommended_actions =
                    {"Try again later, or raise the limit in the server's configuration."},
            }
        };
    }
}

void refuse_second_backup(
    const catalog::Transaction& transaction, const catalog::InstanceRecord& instance
) {
    const auto open = find_job(
        transaction,
        catalog::Query{.subject = instance.id, .states = kOpenStates},
        [](const catalog::JobRecord& job) { return job.operation == kBackupOperation; }
    );
    if (!open) {
        return;
    }
    throw Error{
        ErrorKind::kOperationLimitReached,
        ErrorText{
            .message = fmt::format(
                "A backup of \"{}\" is {} already: job {}.",
                instance.friendly_name,
                open->status == "Queued" ? "queued" : "running",
                open->id
            ),
            .target = instance.id,
            .recommended_actions = {"Wait for that job, or cancel it, then try again."},
            .properties = {{"JobId", open->id}},
        }
    };
}

}  // namespace

std::string queue_adhoc_backup(
    catalog::Transaction& transaction,
    const EngineSettings& settings,
    const AdhocBackupRequest& request
) {
    const catalog::InstanceRecord instance = require_instance(transaction, request.instance_id);
    const auto state = protection::parse_protection_state(instance.state);
    require_state(instance, state && protection::accepts_backup(*state), "backup");
    const catalog::PolicyRecord policy = require_policy(transaction, instance.policy_id);
    const protection::AdhocDecision decision = protection::resolve_adhoc(
        protection::parse_policy(policy.properties, "properties"),
        {.rule_name = request.rule_name, .tag_override = request.tag_override}
    );
    refuse_second_backup(transaction, instance);
    require_daily_room(
        transaction, instance, {kBackupOperation, settings.adhoc_backups_per_day_max}
    );
    catalog::JobRecord job = new_job(transaction, instance, kBackupOperation);
    set_requester(job, request.requester);
    job.request = to_json(QueuedBackup{
        .instance_id = instance.id,
        .rule_name = decision.backup_rule,
        .tag = decision.tag_name,
        .scheduled_at = std::nullopt,
    });
    job.details["additionalDetails"] = Json{{"RetentionTag", decision.tag_name}};
    transaction.put(job);
    return job.id;
}

std::string queue_restore(
    catalog::Transaction& transaction, const EngineSettings& settings, const RestoreRequest& request
) {
    const catalog::InstanceRecord instance = require_instance(transaction, request.instance_id);
    const auto state = protection::parse_protection_state(instance.state);
    require_state(instance, state && protection::accepts_restore(*state), "restore");
    const catalog::PointRecord point = require_point(transaction, instance, request.point_id);
    require_daily_room(transaction, instance, {kRestoreOperation, settings.restores_per_day_max});
    catalog::JobRecord job = new_job(transaction, instance, kRestoreOperation);
    set_requester(job, request.requester);
    job.request = to_json(request);
    job.details["sourceRecoverPoint"] =
        Json{{"recoveryPointID", point.id}, {"recoveryPointTime", format_instant(point.time)}};
    job.details["additionalDetails"] = Json::object();
    if (const auto* files = std::get_if<FilesTarget>(&request.target)) {
        job.server_key.clear();  // Reads the vault, not the server.
        job.details["recoveryDestination"] = files->url;
        job.details["additionalDetails"]["Restore File Prefix"] = files->file_prefix;
    } else {
        const auto* server = std::get_if<ServerTarget>(&request.target);
        const std::string& target = server != nullptr
                                        ? server->datasource_id
                                        : std::get<ItemsTarget>(request.target).datasource_id;
        job.server_key =
            server_key(parse_datasource_id(target, "restoreTargetInfo.datasourceInfo.resourceId"));
        job.details["recoveryDestination"] = target;
    }
    transaction.put(job);
    return job.id;
}

std::optional<std::string> queue_scheduled_backup(
    catalog::Transaction& transaction,
    const catalog::InstanceRecord& instance,
    const protection::ScheduledRun& run
) {
    const auto waiting = find_job(
        transaction,
        catalog::Query{.subject = instance.id, .states = {"Queued"}},
        [](const catalog::JobRecord& job) {
            return job.operation == kBackupOperation && !job.user_triggered;
        }
    );
    if (waiting) {
        return std::nullopt;
    }
    catalog::JobRecord job = new_job(transaction, instance, kBackupOperation);
    job.user_triggered = false;
    job.correlation_id = new_guid();
    job.request = to_json(QueuedBackup{
        .instance_id = instance.id,
        .rule_name = run.rule_name,
        .tag = {},
        .scheduled_at = run.scheduled,
    });
    transaction.put(job);
    return job.id;
}

namespace {

catalog::PointRecord point_to_verify(
    const catalog::Transaction& transaction,
    const catalog::InstanceRecord& instance,
    const std::string& point_id
) {
    if (!point_id.empty()) {
        return require_point(transaction, instance, point_id);
    }
    std::optional<catalog::PointRecord> newest;
    transaction.each<catalog::PointRecord>(
        catalog::Query{.parent = instance.id, .order = catalog::Order::kNewestFirst},
        [&](const catalog::PointRecord& point) {
            newest = point;
            return false;
        }
    );
    if (!newest) {
        throw Error{
            ErrorKind::kRecoveryPointNotFound,
            ErrorText{
                .message = fmt::format(
                    "The backup instance \"{}\" has no recovery point.", instance.name
                ),
                .target = instance.id,
                .recommended_actions =
                    {"Back it up: holdfast dataprotection backup-instance adhoc-backup."},
            }
        };
    }
    return std::move(*newest);
}

}  // namespace

std::string queue_verify(catalog::Transaction& transaction, const VerifyRequest& request) {
    const catalog::InstanceRecord instance = require_instance(transaction, request.instance_id);
    const auto state = protection::parse_protection_state(instance.state);
    require_state(instance, state && protection::accepts_restore(*state), "verify");
    const catalog::PointRecord point = point_to_verify(transaction, instance, request.point_id);
    require_physical(point);
    catalog::JobRecord job = new_job(transaction, instance, kVerifyOperation);
    set_requester(job, request.requester);
    job.user_triggered = request.trigger == VerifyTrigger::kOnDemand;
    job.server_key.clear();  // Reads the vault, not the server.
    VerifyRequest chosen = request;
    chosen.instance_id = instance.id;
    chosen.point_id = point.id;
    job.request = to_json(chosen);
    job.details["sourceRecoverPoint"] =
        Json{{"recoveryPointID", point.id}, {"recoveryPointTime", format_instant(point.time)}};
    job.details["additionalDetails"] = Json::object();
    transaction.put(job);
    return job.id;
}

bool is_verify_open(const catalog::View& view, const catalog::InstanceRecord& instance) {
    return find_job(
               view,
               catalog::Query{.subject = instance.id, .states = kOpenStates},
               [](const catalog::JobRecord& job) { return job.operation == kVerifyOperation; }
    ).has_value();
}

namespace {

/// A job of the vault itself; nothing when one of its kind is queued or running.
std::optional<std::string> queue_vault_job(
    catalog::Transaction& transaction,
    const catalog::VaultRecord& vault,
    std::string_view operation
) {
    const auto open = find_job(
        transaction,
        catalog::Query{.parent = vault.id, .states = kOpenStates},
        [operation](const catalog::JobRecord& job) { return job.operation == operation; }
    );
    if (open) {
        return std::nullopt;
    }
    catalog::JobRecord job;
    job.id = new_guid();
    job.vault_id = vault.id;
    job.location = vault.location;
    job.operation = std::string{operation};
    job.user_triggered = false;
    job.correlation_id = new_guid();
    job.created_at = transaction.now();
    transaction.put(job);
    return job.id;
}

}  // namespace

std::optional<std::string> queue_expiry(
    catalog::Transaction& transaction, const catalog::VaultRecord& vault
) {
    return queue_vault_job(transaction, vault, kExpireOperation);
}

std::optional<std::string> queue_collection(
    catalog::Transaction& transaction, const catalog::VaultRecord& vault
) {
    return queue_vault_job(transaction, vault, kCollectOperation);
}

}  // namespace holdfast::jobs
