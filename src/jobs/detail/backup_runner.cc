#include "alerts/outbox.h"
#include "base/log.h"
#include "base/text.h"
#include "jobs/credentials.h"
#include "jobs/detail/backup_transfer.h"
#include "jobs/detail/instance_health.h"
#include "jobs/detail/runners.h"
#include "jobs/detail/submit.h"
#include "jobs/point_metadata.h"
#include "jobs/repositories.h"
#include "jobs/user_error.h"
#include "protection/instance_state.h"
#include "protection/policy.h"
#include "protection/retention.h"
#include "protection/tagging.h"
#include "vault/vault.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr int kTriggerTask = 1;
constexpr int kTransferTask = 2;
constexpr int kCommitTask = 3;
constexpr std::string_view kTriggerName = "Trigger Backup";
constexpr std::string_view kTransferName = "Transfer data to vault";
constexpr std::string_view kCommitName = "Commit recovery point";
constexpr std::string_view kNoRecoveryKit = "RecoveryKitNotWritten";

/// What a backup works with, read once at its start.
struct Plan {
    QueuedBackup queued;
    catalog::InstanceRecord instance;
    catalog::VaultRecord vault;
    catalog::PolicyRecord policy_record;
    protection::BackupPolicy policy;
    ResolvedDatasource datasource;
};

protection::ProtectionState state_of(const catalog::InstanceRecord& instance) {
    const auto state = protection::parse_protection_state(instance.state);
    if (!state) {
        throw Error{
            ErrorKind::kInternal,
            fmt::format("The backup instance \"{}\" is in an unknown state.", instance.name)
        };
    }
    return *state;
}

std::shared_ptr<const Plan> make_plan(const EngineParts& parts, const catalog::JobRecord& job) {
    auto made = std::make_shared<Plan>();
    Plan& plan = *made;
    plan.queued = queued_backup_from_json(job.request);
    parts.catalog.read([&](const catalog::View& view) {
        plan.instance = require_instance(view, plan.queued.instance_id);
        plan.vault = require_vault(view, plan.instance.vault_id);
        plan.policy_record = require_policy(view, plan.instance.policy_id);
    });
    const protection::ProtectionState state = state_of(plan.instance);
    if (!protection::accepts_backup(state)) {
        throw protection::not_accepted(state, "backup", plan.instance.id);
    }
    if (parts.identity_check != nullptr) {
        parts.identity_check->require_backup(plan.vault, plan.instance);
    }
    plan.policy = protection::parse_policy(plan.policy_record.properties, "properties");
    plan.policy.version = plan.policy_record.version;
    plan.datasource =
        parts.credentials.resolve(plan.instance.datasource_id, plan.instance.secret_uri);
    return made;
}

/// The scheduled times of the instance's earlier successful scheduled backups, also of those whose
/// point has expired since: the first of a period is the first one that succeeded in it.
std::vector<Instant> scheduled_history(
    const catalog::View& view, const std::string& instance_id, Instant from
) {
    std::vector<Instant> history;
    view.each<catalog::PointRecord>(
        catalog::Query{.parent = instance_id},
        [&](const catalog::PointRecord& point) {
            if (point.scheduled_at && *point.scheduled_at >= from) {
                history.push_back(*point.scheduled_at);
            }
            return true;
        }
    );
    view.each<catalog::JobRecord>(
        catalog::Query{.subject = instance_id, .states = {"Completed", "CompletedWithWarnings"}},
        [&](const catalog::JobRecord& job) {
            if (job.operation == kBackupOperation) {
                const auto scheduled = queued_backup_from_json(job.request).scheduled_at;
                if (scheduled && *scheduled >= from) {
                    history.push_back(*scheduled);
                }
            }
            return true;
        }
    );
    return history;
}

std::string decide_tag(const EngineParts& parts, const Plan& plan) {
    if (!plan.queued.tag.empty() || !plan.queued.scheduled_at) {
        return plan.queued.tag;
    }
    const protection::PointToTag point{
        .rule_name = plan.queued.rule_name, .scheduled = *plan.queued.scheduled_at
    };
    std::vector<Instant> history;
    parts.catalog.read([&](const catalog::View& view) {
        history = scheduled_history(
            view, plan.instance.id, protection::history_needed_from(plan.policy, point)
        );
    });
    return protection::tag_for(plan.policy, point, history);
}

postgres::BackupScope scope_of(const Plan& plan) {
    return postgres::BackupScope{
        .database = plan.datasource.name.database,
        .excluded_databases = plan.datasource.name.database
                                  ? std::vector<std::string>{}
                                  : plan.datasource.server.excluded_databases,
    };
}

BackupSource source_of(const Plan& plan, const catalog::JobRecord& job) {
    return BackupSource{
        .method = method_of(plan.instance),
        .connection = plan.datasource.connection,
        .scope = scope_of(plan),
        .physical = physical_options_of(plan.instance),
        .name = plan.instance.friendly_name,
        .started_at = job.started_at.value_or(job.created_at),
    };
}

PointMetadata make_metadata(
    const Plan& plan,
    const catalog::JobRecord& job,
    const TakenBackup& backup,
    std::string tag
) {
    PointMetadata metadata;
    metadata.time = backup.time;
    metadata.scheduled_at = plan.queued.scheduled_at;
    metadata.user_triggered = job.user_triggered;
    metadata.tag = std::move(tag);
    metadata.tag_version = plan.instance.tag_bound_at;
    metadata.rule_name = plan.queued.rule_name;
    metadata.vault_id = plan.vault.id;
    metadata.job_id = job.id;
    describe_instance(metadata, plan.instance);
    describe_policy(metadata, plan.policy_record);
    metadata.source = backup.source;
    return metadata;
}

/// Commits, and where the store did not say whether it did, looks.
vault::PointSummary commit_point(
    JobContext& job,
    vault::Repository& repository,
    vault::PointWriter& writer,
    const vault::PointCommit& commit
) {
    try {
        return writer.commit(commit, job.stop());
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kOutcomeUnknown) {
            throw;
        }
        auto found = repository.find_point(writer.id(), {});
        if (!found) {
            throw;
        }
        return std::move(*found);
    }
}

/// What a user should know without the backup being any worse for it.
std::vector<WarningText> collect_notes(
    const EngineParts& parts, const Plan& plan, std::vector<WarningText> notes
) {
    for (const std::string& text : plan.datasource.warnings) {
        notes.push_back({plan.datasource.server.name, "WeakTransportSecurity", text, {}});
    }
    const RepositoryStatus status = parts.repositories.status(plan.vault);
    for (const std::string& text : status.warnings) {
        notes.push_back(
            {plan.vault.name,
             std::string{status.recovery_kit_written ? "VaultWarning" : kNoRecoveryKit},
             text,
             {"Run: holdfast vault recovery-kit, and keep what it writes away from this server."}}
        );
    }
    return notes;
}

void raise_missing_kit(
    const alerts::Outbox* outbox,
    catalog::Transaction& transaction,
    const catalog::VaultRecord& vault,
    const std::vector<WarningText>& notes
) {
    for (const WarningText& note : notes) {
        if (outbox != nullptr && note.code == kNoRecoveryKit) {
            outbox->raise_in(
                transaction,
                {.kind = alerts::Kind::kRecoveryKitUnwritten,
                 .scope = vault.id,
                 .message = note.message,
                 .actions = note.recommended_actions,
                 .repeat = alerts::Repeat::kStandsFor}
            );
        }
    }
}

bool is_datasource_fault(ErrorKind kind) {
    static constexpr ErrorKind kFaults[] = {
        ErrorKind::kServerNotRegistered,
        ErrorKind::kServerUnreachable,
        ErrorKind::kServerAuthFailed,
        ErrorKind::kServerTls,
        ErrorKind::kMissingReplicationRight,
        ErrorKind::kDatabaseNotFound,
        ErrorKind::kMissingDatabasePermissions,
        ErrorKind::kSecretNotFound,
        ErrorKind::kInvalidSecret,
        ErrorKind::kSecretFormat,
    };
    return std::find(std::begin(kFaults), std::end(kFaults), kind) != std::end(kFaults);
}

void note_datasource_fault(
    const EngineParts& parts, const catalog::JobRecord& job, const Error& error
) {
    if (!is_datasource_fault(error.kind())) {
        return;
    }
    run_boundary(
        [&] {
            parts.catalog.write([&](catalog::Transaction& transaction) {
                put_instance_health(
                    transaction, job.instance_id, user_error(error, job.correlation_id)
                );
            });
        },
        [](const Error& failed) {
            log_warning("An instance's state could not be kept", {{"reason", failed.log_line()}});
        }
    );
}

void describe_result(
    catalog::JobRecord& job,
    const catalog::PointRecord& point,
    const vault::PointSummary& stored,
    const Plan& plan
) {
    const std::string read = std::to_string(stored.size_bytes);
    const std::string added = std::to_string(stored.stored_bytes);
    set_sub_task(job, kTriggerTask, kTriggerName, SubTaskStatus::kCompleted);
    set_sub_task_detail(job, kTriggerTask, "OriginalDatasourceSizeInBytes", read);
    set_sub_task_detail(job, kTriggerTask, "TaskId", job.id);
    set_sub_task_detail(job, kTriggerTask, "DatasourceType", plan.instance.datasource_type);
    set_sub_task(job, kTransferTask, kTransferName, SubTaskStatus::kCompleted);
    set_sub_task_detail(job, kTransferTask, "DataTransferredInBytes", read);
    set_sub_task(job, kCommitTask, kCommitName, SubTaskStatus::kCompleted);
    set_sub_task_detail(job, kCommitTask, "BytesAddedToVault", added);
    job.details["targetRecoverPoint"] =
        Json{{"recoveryPointID", point.id}, {"recoveryPointTime", format_instant(point.time)}};
    Json& additional = job.details["additionalDetails"];
    additional["RetentionTag"] = point.tag;
    additional["BytesAddedToVault"] = added;
    additional["BackupSolutionType"] = to_string(method_of(plan.instance));
    if (point.expires_at) {
        additional["ExpiryTime"] = format_instant(*point.expires_at);
    }
    job.bytes_transferred = static_cast<std::int64_t>(stored.size_bytes);
}

/// As the policy says. The job that ends wakes the queue.
void queue_test_restore(
    catalog::Transaction& transaction, const Plan& plan, const catalog::PointRecord& point
) {
    if (plan.policy.test_restore != protection::TestRestoreRule::kAfterEachBackup ||
        method_of(point) != BackupMethod::kPhysical) {
        return;
    }
    run_boundary(
        [&] {
            (void)queue_verify(
                transaction,
                VerifyRequest{
                    .instance_id = plan.instance.id,
                    .point_id = point.id,
                    .trigger = VerifyTrigger::kPolicy,
                    .requester = {},
                }
            );
        },
        [&](const Error& error) {
            // E.g. stopped or deleted meanwhile: the backup itself has ended well.
            log_warning(
                "A test restore could not be queued",
                {{"instance", plan.instance.id}, {"reason", error.log_line()}}
            );
        }
    );
}

JobResult run_planned(
    const EngineParts& parts, JobContext& job, const std::shared_ptr<const Plan>& shared_plan
) {
    const Plan& plan = *shared_plan;
    const auto repository = parts.repositories.open(plan.vault, job.stop());
    job.update([](catalog::JobRecord& row) {
        set_sub_task(row, kTriggerTask, kTriggerName, SubTaskStatus::kInProgress);
        set_sub_task(row, kTransferTask, kTransferName, SubTaskStatus::kInProgress);
        set_sub_task(row, kCommitTask, kCommitName, SubTaskStatus::kPending);
    });
    const catalog::JobRecord row = job.record();
    const auto writer = repository->begin_point(
        vault::BeginPoint{
            .instance_id = plan.instance.id,
            .datasource_id = plan.instance.datasource_id,
            .job_id = row.id,
            .started_at = row.started_at.value_or(row.created_at),
        },
        job.stop()
    );
    const TakenBackup backup = take_backup(parts, job, source_of(plan, row), *writer);
    job.check_stop();
    job.update([](catalog::JobRecord& record) {
        set_sub_task(record, kTransferTask, kTransferName, SubTaskStatus::kCompleted);
        set_sub_task(record, kCommitTask, kCommitName, SubTaskStatus::kInProgress);
    });
    const PointMetadata metadata = make_metadata(plan, row, backup, decide_tag(parts, plan));
    const protection::PointExpiry expiry =
        protection::expiry_of(plan.policy, metadata.tag, metadata.time);
    const vault::PointSummary stored = commit_point(
        job,
        *repository,
        *writer,
        vault::PointCommit{
            .completed_at = parts.clock.now(),
            .expires_at = expiry.expires,
            .metadata_json = to_json(metadata).dump(),
        }
    );
    const std::vector<WarningText> warnings = backup.warnings;
    const std::vector<WarningText> notes = collect_notes(parts, plan, backup.notes);
    JobResult result;
    result.ending = warnings.empty() ? JobEnding::kCompleted : JobEnding::kCompletedWithWarnings;
    result.finish = [=, alerts = parts.alerts](
                        catalog::Transaction& transaction, catalog::JobRecord& record
                    ) {
        const Plan& done = *shared_plan;
        catalog::PointRecord point = point_record(stored, done.vault.id);
        transaction.put(point);
        describe_result(record, point, stored, done);
        for (const auto& list : {warnings, notes}) {
            for (const WarningText& warning : list) {
                record.warnings.push_back(warning_detail(warning));
            }
        }
        put_instance_health(transaction, done.instance.id, nullptr);
        raise_missing_kit(alerts, transaction, done.vault, notes);
        queue_test_restore(transaction, done, point);
    };
    return result;
}

}  // namespace

JobResult run_backup(const EngineParts& parts, JobContext& job) {
    const catalog::JobRecord row = job.record();
    std::optional<catalog::VaultRecord> vault =
        parts.catalog.get<catalog::VaultRecord>(row.vault_id);
    try {
        return run_planned(parts, job, make_plan(parts, row));
    } catch (const Error& error) {
        if (vault) {
            parts.repositories.note_failure(*vault, error);
        }
        note_datasource_fault(parts, row, error);
        throw;
    }
}

}  // namespace holdfast::jobs
