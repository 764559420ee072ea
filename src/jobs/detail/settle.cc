#include "jobs/detail/settle.h"

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "jobs/point_metadata.h"
#include "jobs/repositories.h"
#include "jobs/user_error.h"
#include "protection/instance_state.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

// Records whose catalog change may have been lost are among the newest few: as many as changes can
// be under way at once, with a wide margin. Applying one again changes nothing.
constexpr std::uint64_t kStatesReplayed = 1024;

std::string sequence_setting(const catalog::VaultRecord& vault) {
    return "state_sequence/" + vault.repository_id;
}

/// The last word of the state records on one instance.
struct InstanceWord {
    vault::StateRecord record;
    Instant recorded_at{};
};

bool concerns_protection(vault::StateKind kind) {
    return kind == vault::StateKind::kSoftDeleted || kind == vault::StateKind::kUndeleted ||
           kind == vault::StateKind::kProtectionStopped ||
           kind == vault::StateKind::kProtectionResumed;
}

std::string stopped_state(const vault::StateRecord& record) {
    if (!record.document_json.empty()) {
        const Json document =
            parse_json(record.document_json, ErrorKind::kVaultCorrupt, "state record");
        if (document.value("state", "") == "BackupsSuspended") {
            return "BackupsSuspended";
        }
    }
    return "ProtectionStopped";
}

bool is_at_rest(const std::string& state) {
    return state == "ProtectionStopped" || state == "BackupsSuspended" || state == "SoftDeleted" ||
           state == "SoftDeleting";
}

/// Returns whether the row had to change.
bool apply_word(catalog::InstanceRecord& instance, const InstanceWord& word) {
    const catalog::InstanceRecord before = instance;
    if (word.record.kind == vault::StateKind::kSoftDeleted) {
        if (!instance.soft_deleted) {
            instance.soft_deleted = true;
            instance.deleted_at = word.recorded_at;
        }
        instance.state = "SoftDeleted";
        instance.purge_at = word.record.until;
    } else {
        instance.soft_deleted = false;
        instance.deleted_at.reset();
        instance.purge_at.reset();
        if (word.record.kind == vault::StateKind::kProtectionStopped) {
            instance.state = stopped_state(word.record);
        } else if (word.record.kind == vault::StateKind::kUndeleted) {
            instance.state = "ProtectionStopped";
        } else if (is_at_rest(instance.state)) {
            instance.state = "ProtectionConfigured";
        }
    }
    return instance.state != before.state || instance.soft_deleted != before.soft_deleted ||
           instance.purge_at != before.purge_at;
}

void apply_to_point(catalog::PointRecord& point, const vault::StateRecord& record) {
    if (record.kind == vault::StateKind::kHeld) {
        point.held = true;
    } else if (record.kind == vault::StateKind::kReleased) {
        point.held = false;
    } else if (record.kind == vault::StateKind::kExpirySet) {
        point.expires_at = record.until;
    } else if (record.kind == vault::StateKind::kExpiryExtended && point.expires_at &&
               (!record.until || *record.until > *point.expires_at)) {
        point.expires_at = record.until;
    }
}

void apply_point_record(catalog::Transaction& transaction, const vault::StateRecord& record) {
    const std::string id = record.point->to_string();
    auto point = transaction.get<catalog::PointRecord>(id);
    if (!point) {
        return;
    }
    if (record.kind == vault::StateKind::kPointDeleted) {
        transaction.remove<catalog::PointRecord>(id);
        return;
    }
    const bool held = point->held;
    const auto expires = point->expires_at;
    apply_to_point(*point, record);
    if (point->held != held || point->expires_at != expires) {
        transaction.put(*point);
    }
}

/// Points that the repository has and the catalog has not.
std::size_t adopt_points(
    catalog::Transaction& transaction,
    const catalog::VaultRecord& vault,
    const vault::PointList& list
) {
    std::size_t adopted = 0;
    for (const vault::PointSummary& summary : list.points) {
        if (transaction.get<catalog::PointRecord>(summary.id.to_string())) {
            continue;
        }
        if (!transaction.get<catalog::InstanceRecord>(summary.instance_id)) {
            log_warning(
                "A vault holds a recovery point of an unknown instance; vault scan can bring it "
                "back",
                {{"vault", vault.id}, {"point", summary.id.to_string()}}
            );
            continue;
        }
        run_boundary(
            [&] {
                catalog::PointRecord point = point_record(summary, vault.id);
                transaction.put(point);
                ++adopted;
            },
            [&](const Error& error) {
                log_error(
                    "A recovery point's metadata cannot be read",
                    {{"point", summary.id.to_string()}, {"reason", error.log_line()}}
                );
            }
        );
    }
    return adopted;
}

void report_missing(
    const catalog::Transaction& transaction,
    const catalog::VaultRecord& vault,
    const vault::PointList& list
) {
    std::set<std::string> stored;
    for (const vault::PointSummary& summary : list.points) {
        stored.insert(summary.id.to_string());
    }
    transaction.each<catalog::PointRecord>(
        catalog::Query{.subject = vault.id},
        [&](const catalog::PointRecord& point) {
            if (!stored.contains(point.id)) {
                log_error(
                    "A recovery point of the catalog cannot be found in its vault",
                    {{"vault", vault.id}, {"point", point.id}}
                );
            }
            return true;
        }
    );
}

/// A removal that was interrupted after its state record: the rest of it is done now.
void complete_removals(
    vault::Repository& repository, const vault::StateLog& states, vault::PointList& points
) {
    std::set<vault::PointId> deleted;
    for (const vault::StoredStateRecord& stored : states.records) {
        if (stored.record.kind == vault::StateKind::kPointDeleted && stored.record.point) {
            deleted.insert(*stored.record.point);
        }
    }
    std::erase_if(points.points, [&](const vault::PointSummary& point) {
        if (!deleted.contains(point.id)) {
            return false;
        }
        log_warning("A removal is completed", {{"point", point.id.to_string()}});
        repository.remove_point(point.id, R"({"reason":"completed after an interruption"})", {});
        return true;
    });
}

void settle_vault(const EngineParts& parts, const catalog::VaultRecord& vault) {
    const auto repository = parts.repositories.open(vault);
    vault::PointList points = repository->list_points({});
    std::uint64_t known = 0;
    parts.catalog.read([&](const catalog::View& view) {
        if (const auto text = view.setting(sequence_setting(vault))) {
            known = std::stoull(*text);
        }
    });
    const std::uint64_t after = known > kStatesReplayed ? known - kStatesReplayed : 0;
    const vault::StateLog states = repository->read_states(after, {});
    complete_removals(*repository, states, points);
    std::size_t adopted = 0;
    parts.catalog.write([&](catalog::Transaction& transaction) {
        adopted = adopt_points(transaction, vault, points);
        apply_states(transaction, vault.id, states);
        report_missing(transaction, vault, points);
        if (!states.records.empty() && states.records.back().sequence > known) {
            transaction.set_setting(
                sequence_setting(vault), std::to_string(states.records.back().sequence)
            );
        }
    });
    if (adopted > 0) {
        log_warning(
            "Recovery points were committed whose job did not live to say so; they are listed now",
            {{"vault", vault.id}, {"points", std::to_string(adopted)}}
        );
    }
}

}  // namespace

void apply_states(
    catalog::Transaction& transaction, const std::string& vault_id, const vault::StateLog& log
) {
    std::map<std::string, InstanceWord> words;
    for (const vault::StoredStateRecord& stored : log.records) {
        if (stored.record.point) {
            apply_point_record(transaction, stored.record);
        } else if (!stored.record.instance_id.empty() && concerns_protection(stored.record.kind)) {
            words[to_lower(stored.record.instance_id)] = {stored.record, stored.recorded_at};
        }
    }
    for (const auto& [id, word] : words) {
        auto instance = transaction.get<catalog::InstanceRecord>(id);
        if (!instance || !equal_ignoring_case(instance->vault_id, vault_id) ||
            instance->created_at > word.recorded_at) {
            continue;  // Gone, or a namesake made after the record.
        }
        if (apply_word(*instance, word)) {
            transaction.put(*instance);
            log_warning(
                "An instance's state was rolled forward from its vault",
                {{"instance", instance->id}, {"state", instance->state}}
            );
        }
    }
}

void fail_interrupted_configurations(const EngineParts& parts) {
    const Error reason{
        ErrorKind::kInterrupted,
        ErrorText{
            .message = "The configuration of protection was interrupted: the service stopped while "
                       "it ran.",
            .recommended_actions =
                {"Create or update the backup instance again with the same request."},
        }
    };
    parts.catalog.write([&](catalog::Transaction& transaction) {
        const auto begun = transaction.list<catalog::InstanceRecord>(
            catalog::Query{.states = {"ConfiguringProtection", "UpdatingProtection"}}
        );
        for (catalog::InstanceRecord instance : begun) {
            const auto change = protection::transition(
                protection::parse_protection_state(instance.state),
                protection::ProtectionEvent::kConfigureFailed
            );
            if (const auto* moved = std::get_if<protection::Moved>(&change)) {
                instance.state = std::string{protection::to_string(moved->to)};
            }
            instance.provisioning_state = "Failed";
            instance.protection_error = user_error(reason, instance.id);
            transaction.put(instance);
        }
    });
}

void settle_with_repositories(const EngineParts& parts) {
    const auto vaults = parts.catalog.list<catalog::VaultRecord>();
    for (const catalog::VaultRecord& vault : vaults) {
        if (vault.repository_id.empty()) {
            continue;
        }
        run_boundary(
            [&] { settle_vault(parts, vault); },
            [&](const Error& error) {
                log_error(
                    "A vault cannot be used", {{"vault", vault.id}, {"reason", error.log_line()}}
                );
            }
        );
    }
    for (const std::string& directory : parts.repositories.unknown_directories(vaults)) {
        log_warning(
            "A directory below the vaults' root belongs to no vault of the catalog; vault scan "
            "tells what it is",
            {{"directory", directory}}
        );
    }
}

}  // namespace holdfast::jobs
