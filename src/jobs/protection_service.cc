#include "jobs/protection_service.h"

#include "base/error.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/text.h"
#include "jobs/detail/runners.h"
#include "jobs/user_error.h"
#include "jobs/vault_settings.h"
#include "protection/datasource.h"
#include "protection/instance_state.h"
#include "protection/policy.h"
#include "vault/vault.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

using catalog::InstanceRecord;
using catalog::PointRecord;
using catalog::PolicyRecord;
using catalog::VaultRecord;
using protection::ProtectionEvent;
using protection::ProtectionState;

// .NET counts 100 ns ticks from year 1; this many lie before 1970.
constexpr std::int64_t kTicksAt1970 = 621'355'968'000'000'000;

std::string ticks(Instant instant) {
    return std::to_string(instant.time_since_epoch().count() * 10 + kTicksAt1970);
}

ProtectionState state_of(const InstanceRecord& instance) {
    const auto state = protection::parse_protection_state(instance.state);
    if (!state) {
        throw Error{
            ErrorKind::kInternal,
            fmt::format("The backup instance \"{}\" is in an unknown state.", instance.name)
        };
    }
    return *state;
}

/// Moves the row; false when there is nothing to do.
bool move(
    InstanceRecord& instance, ProtectionEvent event, const protection::DeleteContext& context = {}
) {
    const auto result =
        protection::transition_or_throw(state_of(instance), event, instance.id, context);
    if (const auto* moved = std::get_if<protection::Moved>(&result)) {
        instance.state = std::string{protection::to_string(moved->to)};
        return true;
    }
    return false;
}

/// Backups start from now on: nothing that was due before is made up for.
void bind_schedule(const catalog::View& view, InstanceRecord& instance, Instant now) {
    instance.last_scheduled_run = Json::object();
    const auto policy = view.get<PolicyRecord>(instance.policy_id);
    if (!policy) {
        return;
    }
    for (const auto& rule :
         protection::parse_policy(policy->properties, "properties").backup_rules) {
        instance.last_scheduled_run[rule.name] = format_instant(now);
    }
}

void require_free_datasource(const catalog::View& view, const InstanceRecord& wanted) {
    view.each<InstanceRecord>(
        catalog::Query{.subject = wanted.datasource_id},
        [&](const InstanceRecord& other) {
            if (other.soft_deleted || equal_ignoring_case(other.id, wanted.id)) {
                return true;
            }
            throw Error{
                ErrorKind::kDatasourceAlreadyProtected,
                ErrorText{
                    .message = fmt::format(
                        "Datasource is already associated with the backup instance {} in the "
                        "Backup vault {} "
                        "with the protection status as {}.",
                        other.name,
                        other.vault_id,
                        other.state
                    ),
                    .target = wanted.datasource_id,
                    .recommended_actions = {fmt::format(
                        "Use that backup instance, or delete {} from its vault first.", other.name
                    )},
                }
            };
        }
    );
}

/// Two writers read the same row: the second must not undo the first unseen. A row that was made up
/// afresh has no etag and asks for nothing.
void require_unchanged(
    std::string_view present_etag, std::string_view read_etag, const std::string& id
) {
    if (read_etag.empty() || read_etag == present_etag) {
        return;
    }
    throw Error{
        ErrorKind::kConflict,
        ErrorText{
            .message = "The resource was changed by another request at the same time.",
            .target = id,
            .recommended_actions = {"Read it again and repeat the change on what it is now."},
        }
    };
}

Json document(const Requester& requester, std::string_view state) {
    return Json{
        {"principalId", requester.principal_id},
        {"correlationId", requester.correlation_id},
        {"state", std::string{state}},
    };
}

[[noreturn]] void policy_not_found(const InstanceRecord& instance) {
    throw Error{
        ErrorKind::kResourceNotFound,
        ErrorText{
            .message = fmt::format(
                "The backup policy \"{}\" does not exist in this vault.", instance.policy_id
            ),
            .target = "properties.policyInfo.policyId",
            .recommended_actions =
                {"List the vault's policies: holdfast dataprotection backup-policy list."},
        }
    };
}

void check_policy(const catalog::View& view, const InstanceRecord& instance) {
    const auto policy = view.get<PolicyRecord>(instance.policy_id);
    if (!policy || !equal_ignoring_case(policy->vault_id, instance.vault_id)) {
        policy_not_found(instance);
    }
    const auto kind = protection::parse_datasource_type(instance.datasource_type);
    if (!kind) {
        throw Error{
            ErrorKind::kDatasourceUnsupported,
            ErrorText{
                .message = fmt::format(
                    "Datasources of type \"{}\" cannot be protected.", instance.datasource_type
                ),
                .target = "properties.dataSourceInfo.datasourceType",
                .recommended_actions = {fmt::format(
                    "Use one of: {}.", protection::allowed_datasource_types()
                )},
            }
        };
    }
    if (!protection::parse_policy(policy->properties, "properties").covers(*kind)) {
        throw Error{
            ErrorKind::kDatasourceUnsupported,
            ErrorText{
                .message = fmt::format(
                    "The policy \"{}\" is not for datasources of type \"{}\".",
                    policy->name,
                    instance.datasource_type
                ),
                .target = "properties.policyInfo.policyId",
                .recommended_actions = {"Choose a policy whose datasourceTypes include it."},
            }
        };
    }
}

std::uint64_t unexpired_points(
    const catalog::View& view, const InstanceRecord& instance, Instant now
) {
    std::uint64_t count = 0;
    view.each<PointRecord>(catalog::Query{.parent = instance.id}, [&](const PointRecord& point) {
        count += point.held || !point.expires_at || *point.expires_at > now ? 1U : 0U;
        return true;
    });
    return count;
}

void require_no_open_job(const catalog::View& view, const InstanceRecord& instance) {
    view.each<catalog::JobRecord>(
        catalog::Query{.subject = instance.id, .states = {"Queued", "InProgress", "Cancelling"}},
        [&](const catalog::JobRecord& job) -> bool {
            throw Error{
                ErrorKind::kObjectLocked,
                ErrorText{
                    .message = fmt::format(
                        "A {} of \"{}\" is under way: job {}.",
                        to_lower(job.operation),
                        instance.friendly_name,
                        job.id
                    ),
                    .target = instance.id,
                    .recommended_actions = {"Wait for that job, or cancel it, then try again."},
                    .properties = {{"JobId", job.id}},
                }
            };
        }
    );
}

/// Nothing was ever settled about such an instance.
bool is_first_configuration(ProtectionState state) {
    return state == ProtectionState::kConfiguringProtection ||
           state == ProtectionState::kConfiguringProtectionFailed;
}

}  // namespace

/// Holds a resource against a second change at the same time.
class ProtectionService::Busy {
public:
    Busy(ProtectionService& service, std::string_view id) : service_{service}, key_{to_lower(id)} {
        const std::lock_guard lock{service_.mutex_};
        if (!service_.busy_.insert(key_).second) {
            throw Error{
                ErrorKind::kObjectLocked,
                ErrorText{
                    .message = "Another operation is changing this resource.",
                    .target = std::string{id},
                    .recommended_actions = {"Try again when it has ended."},
                }
            };
        }
    }
    ~Busy() {
        const std::lock_guard lock{service_.mutex_};
        service_.busy_.erase(key_);
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

private:
    ProtectionService& service_;
    const std::string key_;
};

ProtectionService::ProtectionService(
    catalog::Catalog& catalog,
    RepositoryPool& repositories,
    const CredentialResolver& credentials,
    DataPlane& data_plane,
    Clock& clock
)
    : catalog_{catalog},
      repositories_{repositories},
      credentials_{credentials},
      data_plane_{data_plane},
      clock_{clock} {}

// ---- Vaults

VaultRecord ProtectionService::create_vault(
    VaultRecord vault, const AlsoWrite& also, std::stop_token stop
) {
    const Busy busy{*this, vault.id};
    const auto require_absent = [&](const std::optional<VaultRecord>& present) {
        if (present) {
            throw Error{
                ErrorKind::kConflict,
                ErrorText{
                    .message = fmt::format("The backup vault \"{}\" exists already.", vault.name),
                    .target = vault.id,
                    .recommended_actions = {"Use another name, or update the existing vault."},
                }
            };
        }
    };
    require_absent(catalog_.get<VaultRecord>(vault.id));
    const RepositoryPool::Created created = repositories_.create(vault.id, vault.name, stop);
    vault.repository_id = created.repository_id;
    vault.repository_directory = created.directory;
    vault.provisioning_state = "Succeeded";
    vault.created_at = clock_.now();
    try {
        if (immutability_of(vault) != protection::Immutability::kDisabled) {
            record_immutability(vault, stop);
        }
        catalog_.write([&](catalog::Transaction& transaction) {
            require_absent(transaction.get<VaultRecord>(vault.id));
            transaction.put(vault);
            if (also) {
                also(transaction);
            }
        });
    } catch (const Error&) {
        repositories_.destroy(vault);  // Nobody has heard of it yet.
        throw;
    }
    return vault;
}

void ProtectionService::record_immutability(const VaultRecord& vault, std::stop_token stop) {
    const Json text{{"state", std::string{to_string(immutability_of(vault))}}};
    repositories_.open(vault, stop)
        ->append_state(
            {.kind = vault::StateKind::kImmutabilityRaised, .document_json = text.dump()}, stop
        );
}

VaultRecord ProtectionService::update_vault(
    VaultRecord vault, const AlsoWrite& also, std::stop_token stop
) {
    const Busy busy{*this, vault.id};
    VaultRecord present;
    catalog_.read([&](const catalog::View& view) { present = require_vault(view, vault.id); });
    check_vault_change(present, vault);
    if (immutability_of(vault) > immutability_of(present)) {
        VaultRecord raised = present;  // It knows where the repository is.
        raised.properties = vault.properties;
        record_immutability(raised, stop);
    }
    catalog_.write([&](catalog::Transaction& transaction) {
        const VaultRecord now = require_vault(transaction, vault.id);
        require_unchanged(now.etag, vault.etag, vault.id);
        vault.repository_id = now.repository_id;
        vault.repository_directory = now.repository_directory;
        vault.created_at = now.created_at;
        vault.provisioning_state = "Succeeded";
        transaction.put(vault);
        if (also) {
            also(transaction);
        }
    });
    return vault;
}

bool ProtectionService::delete_vault(
    std::string_view vault_id, const AlsoWrite& also, std::stop_token /*stop*/
) {
    const Busy busy{*this, vault_id};
    std::optional<VaultRecord> vault;
    catalog_.write([&](catalog::Transaction& transaction) {
        vault = transaction.get<VaultRecord>(vault_id);
        if (!vault) {
            return;
        }
        const auto instances =
            transaction.count<InstanceRecord>(catalog::Query{.parent = vault->id});
        const auto policies = transaction.count<PolicyRecord>(catalog::Query{.parent = vault->id});
        const auto points = transaction.count<PointRecord>(catalog::Query{.subject = vault->id});
        if (instances + policies + points > 0) {
            throw Error{
                ErrorKind::kVaultNotEmpty,
                ErrorText{
                    .message = fmt::format(
                        "Cannot delete the Backup vault as there are existing backup instances or "
                        "backup "
                        "policies in the vault ({} instances, deleted softly or not, {} policies, "
                        "{} recovery "
                        "points). Delete all backup instances and backup policies in the vault and "
                        "then try "
                        "deleting the vault.",
                        instances,
                        policies,
                        points
                    ),
                    .target = vault->id,
                    .recommended_actions = {"Delete its backup instances, wait until the "
                                            "soft-deleted ones are purged, and delete "
                                            "its policies."},
                }
            };
        }
        transaction.remove<VaultRecord>(vault->id);
        if (also) {
            also(transaction);
        }
    });
    if (!vault) {
        return false;
    }
    repositories_.destroy(*vault);
    return true;
}

// ---- Instances

void ProtectionService::check_instance(const InstanceRecord& instance) const {
    (void)parse_datasource_id(instance.datasource_id, "properties.dataSourceInfo.resourceID");
    check_method(instance);
    catalog_.read([&](const catalog::View& view) {
        (void)require_vault(view, instance.vault_id);
        check_policy(view, instance);
        require_free_datasource(view, instance);
        if (!instance.id.empty()) {
            const auto present = view.get<InstanceRecord>(instance.id);
            if (present && present->soft_deleted) {
                (void)protection::transition_or_throw(
                    ProtectionState::kSoftDeleted, ProtectionEvent::kConfigure, instance.id
                );
            }
        }
    });
    // Also says when the server is not registered or the secret is no secret.
    (void)credentials_.resolve(instance.datasource_id, instance.secret_uri);
}

InstanceRecord ProtectionService::begin_protection(InstanceRecord instance, const AlsoWrite& also) {
    const Busy busy{*this, instance.id};
    check_instance(instance);
    const Instant now = clock_.now();
    catalog_.write([&](catalog::Transaction& transaction) {
        require_free_datasource(transaction, instance);
        const auto policy = transaction.get<PolicyRecord>(instance.policy_id);
        if (!policy) {
            policy_not_found(instance);
        }
        instance.policy_name = policy->name;
        if (const auto present = transaction.get<InstanceRecord>(instance.id)) {
            take_over(transaction, *present, instance, now);
        } else {
            instance.state =
                std::string{protection::to_string(ProtectionState::kConfiguringProtection)};
            instance.provisioning_state = "Provisioning";
            instance.created_at = now;
            instance.tag_bound_at = ticks(now);
            bind_schedule(transaction, instance, now);
        }
        transaction.put(instance);
        if (also) {
            also(transaction);
        }
    });
    return instance;
}

void ProtectionService::take_over(
    const catalog::View& view, const InstanceRecord& present, InstanceRecord& wanted, Instant now
) {
    if (!equal_ignoring_case(present.datasource_id, wanted.datasource_id)) {
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = fmt::format(
                    "The backup instance \"{}\" protects another datasource ({}), which cannot be "
                    "changed.",
                    present.name,
                    present.datasource_id
                ),
                .target = "properties.dataSourceInfo.resourceID",
                .recommended_actions =
                    {"Create a backup instance of another name for this datasource."},
            }
        };
    }
    require_unchanged(present.etag, wanted.etag, present.id);
    const bool new_policy = !equal_ignoring_case(present.policy_id, wanted.policy_id);
    wanted.id = present.id;
    wanted.name = present.name;
    wanted.state = present.state;
    wanted.soft_deleted = present.soft_deleted;
    wanted.deleted_at = present.deleted_at;
    wanted.purge_at = present.purge_at;
    wanted.delete_activity_id = present.delete_activity_id;
    wanted.created_at = present.created_at;
    wanted.last_scheduled_run = present.last_scheduled_run;
    wanted.tag_bound_at = present.tag_bound_at;
    wanted.protection_error = present.protection_error;
    wanted.backup_method = present.backup_method;
    wanted.backup_method_reason = present.backup_method_reason;
    if (wanted.backup_method.empty() && !is_first_configuration(state_of(present))) {
        // Protected before there was a choice: it stays what it is until somebody asks.
        wanted.backup_method = std::string{to_string(BackupMethod::kLogical)};
        wanted.backup_method_reason = "It was protected before physical backups existed.";
    }
    move(wanted, new_policy ? ProtectionEvent::kUpdatePolicy : ProtectionEvent::kConfigure);
    wanted.provisioning_state = "Updating";
    if (new_policy) {
        wanted.tag_bound_at = ticks(now);
        bind_schedule(view, wanted, now);
    }
}

InstanceRecord ProtectionService::finish_protection(
    std::string_view instance_id, Validation validation, std::stop_token stop
) {
    InstanceRecord instance;
    catalog_.read([&](const catalog::View& view) { instance = require_instance(view, instance_id); }
    );
    std::optional<Error> failure;
    MethodChoice choice = method_without_asking(instance);
    if (validation == Validation::kDeep) {
        run_boundary(
            [&] { choice = preflight(instance, stop); },
            [&](const Error& error) { failure = error; }
        );
    }
    catalog_.write([&](catalog::Transaction& transaction) {
        instance = require_instance(transaction, instance_id);
        move(instance, failure ? ProtectionEvent::kConfigureFailed : ProtectionEvent::kConfigured);
        if (!failure) {
            instance.backup_method = std::string{to_string(choice.method)};
            instance.backup_method_reason = choice.reason;
        }
        instance.provisioning_state = failure ? "Failed" : "Succeeded";
        instance.protection_error = failure ? user_error(*failure, new_guid()) : Json(nullptr);
        transaction.put(instance);
    });
    if (failure) {
        throw Error{*failure};
    }
    return instance;
}

InstanceRecord ProtectionService::change_state(
    std::string_view instance_id, Verb verb, const Requester& requester, std::stop_token stop
) {
    const Busy busy{*this, instance_id};
    const ProtectionEvent event = verb == Verb::kStop      ? ProtectionEvent::kStop
                                  : verb == Verb::kSuspend ? ProtectionEvent::kSuspend
                                                           : ProtectionEvent::kResume;
    InstanceRecord instance;
    VaultRecord vault;
    bool changes = false;
    catalog_.read([&](const catalog::View& view) {
        instance = require_instance(view, instance_id);
        vault = require_vault(view, instance.vault_id);
        changes = move(instance, event);
        if (changes && verb == Verb::kResume) {
            require_free_datasource(view, instance);
        }
    });
    if (!changes) {
        return instance;
    }
    repositories_.open(vault, stop)
        ->append_state(
            {.kind = verb == Verb::kResume ? vault::StateKind::kProtectionResumed
                                           : vault::StateKind::kProtectionStopped,
             .instance_id = instance.id,
             .document_json = document(requester, instance.state).dump()},
            stop
        );
    catalog_.write([&](catalog::Transaction& transaction) {
        instance = require_instance(transaction, instance_id);
        move(instance, event);
        instance.protection_error = nullptr;
        if (verb == Verb::kResume) {
            require_free_datasource(transaction, instance);
            bind_schedule(transaction, instance, clock_.now());
        }
        transaction.put(instance);
    });
    return instance;
}

InstanceRecord ProtectionService::stop_protection(
    std::string_view instance_id, const Requester& requester, std::stop_token stop
) {
    return change_state(instance_id, Verb::kStop, requester, stop);
}

InstanceRecord ProtectionService::suspend_backups(
    std::string_view instance_id, const Requester& requester, std::stop_token stop
) {
    return change_state(instance_id, Verb::kSuspend, requester, stop);
}

InstanceRecord ProtectionService::resume_protection(
    std::string_view instance_id, const Requester& requester, std::stop_token stop
) {
    return change_state(instance_id, Verb::kResume, requester, stop);
}

std::optional<InstanceRecord> ProtectionService::delete_instance(
    std::string_view instance_id,
    SoftDeleteRule rule,
    const Requester& requester,
    std::stop_token stop
) {
    const Busy busy{*this, instance_id};
    const Instant now = clock_.now();
    InstanceRecord instance;
    VaultRecord vault;
    protection::Transition verdict = protection::Unchanged{};
    double retention_days = 0;
    catalog_.read([&](const catalog::View& view) {
        instance = require_instance(view, instance_id);
        vault = require_vault(view, instance.vault_id);
        require_no_open_job(view, instance);
        const SoftDeleteSettings settings = soft_delete_of(vault);
        retention_days = settings.retention_days;
        protection::DeleteContext context;
        context.soft_delete =
            rule == SoftDeleteRule::kAlways ? protection::SoftDelete::kAlwaysOn : settings.state;
        context.immutability = immutability_of(vault);
        context.unexpired_points = unexpired_points(view, instance, now);
        context.now = now;
        verdict = protection::transition_or_throw(
            state_of(instance), ProtectionEvent::kDelete, instance.id, context
        );
    });
    const bool remove = std::holds_alternative<protection::Removed>(verdict);
    const auto info = protection::deletion_info(now, remove ? 0.0 : retention_days);
    repositories_.open(vault, stop)
        ->append_state(
            {.kind = vault::StateKind::kSoftDeleted,
             .instance_id = instance.id,
             .until = info.scheduled_purge,
             .document_json = document(requester, "SoftDeleted").dump()},
            stop
        );
    catalog_.write([&](catalog::Transaction& transaction) {
        instance = require_instance(transaction, instance_id);
        require_no_open_job(transaction, instance);
        instance.state = remove ? "SoftDeleting" : "SoftDeleted";
        instance.soft_deleted = true;
        instance.deleted_at = info.deletion_time;
        instance.purge_at = info.scheduled_purge;
        instance.delete_activity_id =
            requester.correlation_id.empty() ? new_guid() : requester.correlation_id;
        transaction.put(instance);
    });
    if (!remove) {
        return instance;
    }
    // From here on a crash is made up for by the expiry job: the purge time has come.
    remove_with_points(instance, vault, requester, stop);
    return std::nullopt;
}

void ProtectionService::remove_with_points(
    const InstanceRecord& instance,
    const VaultRecord& vault,
    const Requester& requester,
    std::stop_token stop
) {
    const auto repository = repositories_.open(vault, stop);
    for (const PointRecord& point :
         catalog_.list<PointRecord>(catalog::Query{.parent = instance.id})) {
        const auto id = vault::PointId::parse(point.id);
        HOLDFAST_CHECK(id.has_value());
        repository->remove_point(*id, document(requester, "Purged").dump(), stop);
        catalog_.write([&](catalog::Transaction& transaction) {
            transaction.remove<PointRecord>(point.id);
        });
    }
    catalog_.write([&](catalog::Transaction& transaction) {
        transaction.remove<InstanceRecord>(instance.id);
    });
    log_info("A backup instance was removed with its points", {{"instance", instance.id}});
}

namespace {

void require_allowed(
    const VaultRecord& vault,
    const InstanceRecord& instance,
    const RetentionEffect& effect,
    std::string_view token
) {
    if (effect.token != token) {
        throw Error{
            ErrorKind::kConflict,
            ErrorText{
                .message = "The effect of reapplying the policy is no longer what was shown.",
                .target = instance.id,
                .recommended_actions = {"Look at the effect again, then apply that."},
            }
        };
    }
    if (effect.shortened > 0 && immutability_of(vault) != protection::Immutability::kDisabled) {
        throw Error{
            ErrorKind::kImmutableData,
            ErrorText{
                .message = fmt::format(
                    "The policy would let {} recovery points expire earlier; the vault \"{}\" is "
                    "immutable.",
                    effect.shortened,
                    vault.name
                ),
                .target = instance.id,
                .recommended_actions =
                    {"Give the policy a retention that is not shorter than the points' own."},
            }
        };
    }
}

}  // namespace

RetentionEffect ProtectionService::reapply_retention(
    std::string_view instance_id,
    std::string_view token,
    const Requester& requester,
    std::stop_token stop
) {
    const Busy busy{*this, instance_id};
    InstanceRecord instance;
    VaultRecord vault;
    RetentionEffect effect;
    catalog_.read([&](const catalog::View& view) {
        instance = require_instance(view, instance_id);
        vault = require_vault(view, instance.vault_id);
        effect = retention_effect(view, instance, clock_.now());
    });
    require_allowed(vault, instance, effect, token);
    const auto repository = repositories_.open(vault, stop);
    for (const PointRetention& change : effect.points) {
        if (!change.is_shorter() && !change.is_longer()) {
            continue;
        }
        const auto point = vault::PointId::parse(change.point_id);
        HOLDFAST_CHECK(point.has_value());
        repository->append_state(
            {.kind = change.is_longer() ? vault::StateKind::kExpiryExtended
                                        : vault::StateKind::kExpirySet,
             .instance_id = instance.id,
             .point = point,
             .until = change.would_expire,
             .document_json = document(requester, "RetentionReapplied").dump()},
            stop
        );
        catalog_.write([&](catalog::Transaction& transaction) {
            if (auto record = transaction.get<PointRecord>(change.point_id)) {
                record->expires_at = change.would_expire;
                transaction.put(*record);
            }
        });
    }
    log_info(
        "A policy's retention was reapplied",
        {{"instance", instance.id},
         {"shortened", std::to_string(effect.shortened)},
         {"extended", std::to_string(effect.extended)}}
    );
    return effect;
}

InstanceRecord ProtectionService::undelete_instance(
    std::string_view instance_id, const Requester& requester, std::stop_token stop
) {
    const Busy busy{*this, instance_id};
    InstanceRecord instance;
    VaultRecord vault;
    catalog_.read([&](const catalog::View& view) {
        const auto found = view.get<InstanceRecord>(instance_id);
        if (!found || !found->soft_deleted) {
            throw Error{
                ErrorKind::kGenericResourceNotFound,
                ErrorText{
                    .message =
                        fmt::format("There is no deleted backup instance \"{}\".", instance_id),
                    .target = std::string{instance_id},
                    .recommended_actions = {"List them: holdfast dataprotection backup-instance "
                                            "deleted-backup-instance list."},
                }
            };
        }
        instance = *found;
        vault = require_vault(view, instance.vault_id);
        move(instance, ProtectionEvent::kUndelete);
    });
    repositories_.open(vault, stop)
        ->append_state(
            {.kind = vault::StateKind::kUndeleted,
             .instance_id = instance.id,
             .document_json = document(requester, instance.state).dump()},
            stop
        );
    catalog_.write([&](catalog::Transaction& transaction) {
        const auto found = transaction.get<InstanceRecord>(instance_id);
        if (!found) {
            throw Error{ErrorKind::kConflict, "The deleted backup instance was purged meanwhile."};
        }
        instance = *found;
        move(instance, ProtectionEvent::kUndelete);
        instance.soft_deleted = false;
        instance.deleted_at.reset();
        instance.purge_at.reset();
        instance.delete_activity_id.clear();
        transaction.put(instance);
    });
    return instance;
}

void ProtectionService::purge_instance(
    std::string_view instance_id, const Requester& requester, std::stop_token stop
) {
    const Busy busy{*this, instance_id};
    InstanceRecord instance;
    VaultRecord vault;
    catalog_.read([&](const catalog::View& view) {
        const auto found = view.get<InstanceRecord>(instance_id);
        if (!found) {
            (void)require_instance(view, instance_id);
        }
        instance = *found;
        vault = require_vault(view, instance.vault_id);
        protection::DeleteContext context;
        context.scheduled_purge = instance.purge_at;
        context.now = clock_.now();
        (void)protection::transition_or_throw(
            state_of(instance), ProtectionEvent::kPurge, instance.id, context
        );
    });
    remove_with_points(instance, vault, requester, stop);
}

}  // namespace holdfast::jobs
