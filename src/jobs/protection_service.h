#pragma once

#include "base/clock.h"
#include "catalog/catalog.h"
#include "jobs/backup_method.h"
#include "jobs/credentials.h"
#include "jobs/data_plane.h"
#include "jobs/repositories.h"
#include "jobs/requests.h"
#include "jobs/retention_effect.h"

#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>

namespace holdfast::jobs {

/// More rows for the transaction that commits a change (an identity's principal, an operation).
using AlsoWrite = std::function<void(catalog::Transaction&)>;

/// The changes to vaults and backup instances that concern the repository and the catalog together.
/// The state record is in the repository before the catalog commits: whatever is lost afterwards,
/// no deletion, stop or lock is forgotten.
///
/// Every change to one instance or vault excludes the others: a second one at the same time throws
/// kObjectLocked. Safe from any thread; blocks on storage, so call it from a worker, never from the
/// HTTP front.
class ProtectionService {
public:
    /// All outlive the service.
    ProtectionService(
        catalog::Catalog& catalog,
        RepositoryPool& repositories,
        const CredentialResolver& credentials,
        DataPlane& data_plane,
        Clock& clock
    );

    // ---- Vaults

    /// Makes the repository, then puts `vault` (its repository fields filled, provisioningState
    /// Succeeded). Throws kConflict when there is a vault of that id.
    catalog::VaultRecord create_vault(
        catalog::VaultRecord vault, const AlsoWrite& also = {}, std::stop_token stop = {}
    );
    /// Puts a changed vault; kConflict when its etag is no longer the stored one. Refuses what
    /// Azure refuses: soft delete from AlwaysOn, immutability from Locked
    /// (kSoftDeleteChangeRefused, kImmutabilityChangeRefused). A raised immutability is recorded in
    /// the repository first.
    catalog::VaultRecord update_vault(
        catalog::VaultRecord vault, const AlsoWrite& also = {}, std::stop_token stop = {}
    );
    /// Throws kVaultNotEmpty while there are instances (deleted softly or not), points or policies.
    /// Removes the repository. Returns false when there is no such vault.
    bool delete_vault(
        std::string_view vault_id, const AlsoWrite& also = {}, std::stop_token stop = {}
    );

    // ---- Instances

    /// What validateForBackup and the PUT check without a connection: vault, policy, datasource
    /// type, registration, one instance per datasource (kDatasourceAlreadyProtected, naming vault
    /// and instance), soft-deleted namesake. `instance` needs id, vault_id, datasource_id,
    /// datasource_type, policy_id, secret_uri.
    void check_instance(const catalog::InstanceRecord& instance) const;
    /// How an instance will be backed up, and why so.
    struct MethodChoice {
        BackupMethod method = BackupMethod::kLogical;
        std::string reason;                 ///< One sentence.
        std::vector<std::string> warnings;  ///< What a backup will be incomplete in.
    };
    /// Connects with the instance's credentials and looks whether a backup would have all it needs;
    /// throws naming everything that it would miss, each with its cure. A server that nothing was
    /// said about is backed up physically where its login may, else logically; an instance that has
    /// its method already keeps it.
    [[nodiscard]] MethodChoice preflight(
        const catalog::InstanceRecord& instance, std::stop_token stop
    ) const;

    /// PUT of an instance, first step: checks it and puts the row (ConfiguringProtection, or
    /// UpdatingProtection for a new policy, provisioningState Provisioning or Updating). Fields
    /// that the server owns are taken from the present row.
    catalog::InstanceRecord begin_protection(
        catalog::InstanceRecord instance, const AlsoWrite& also = {}
    );
    enum class Validation { kDeep, kShallow };
    /// Second step, in an operation's worker: preflight, then ProtectionConfigured; when it fails,
    /// the row says ConfiguringProtectionFailed (or ProtectionError for an update) with the reason,
    /// and the error is thrown.
    catalog::InstanceRecord finish_protection(
        std::string_view instance_id, Validation validation, std::stop_token stop
    );

    /// POST stopProtection, suspendBackups, resumeProtection (resumeBackups). Returns the row as it
    /// is afterwards. Throws kInvalidProtectionState, kGenericResourceNotFound;
    /// kDatasourceAlreadyProtected when another instance has the datasource meanwhile.
    catalog::InstanceRecord stop_protection(
        std::string_view instance_id, const Requester& requester, std::stop_token stop = {}
    );
    catalog::InstanceRecord suspend_backups(
        std::string_view instance_id, const Requester& requester, std::stop_token stop = {}
    );
    catalog::InstanceRecord resume_protection(
        std::string_view instance_id, const Requester& requester, std::stop_token stop = {}
    );

    /// DELETE: soft-deleted as the vault says (`SoftDeleteRule::kAlways`: also when the vault says
    /// Off, as api versions from 2025-09-01 have it), else removed with all its points. Returns the
    /// row, or nothing when it is gone. Throws kImmutableData, kInvalidProtectionState,
    /// kObjectLocked while a job of the instance runs.
    enum class SoftDeleteRule { kAsVault, kAlways };
    std::optional<catalog::InstanceRecord> delete_instance(
        std::string_view instance_id,
        SoftDeleteRule rule,
        const Requester& requester,
        std::stop_token stop = {}
    );
    /// Gives every point of the instance the expiry that its policy says today: the only way in
    /// which the expiry of a point is ever shortened. `token` is that of the effect that the caller
    /// was shown. Throws kConflict when the effect has become another one; kImmutableData when
    /// points would expire earlier in an immutable vault.
    RetentionEffect reapply_retention(
        std::string_view instance_id,
        std::string_view token,
        const Requester& requester,
        std::stop_token stop = {}
    );

    /// Back to ProtectionStopped.
    catalog::InstanceRecord undelete_instance(
        std::string_view instance_id, const Requester& requester, std::stop_token stop = {}
    );
    /// Removes a soft-deleted instance and its points for good, once its time has come.
    void purge_instance(
        std::string_view instance_id, const Requester& requester, std::stop_token stop = {}
    );

private:
    class Busy;
    /// What can be said of the method without a connection.
    [[nodiscard]] static MethodChoice method_without_asking(
        const catalog::InstanceRecord& instance
    );
    [[nodiscard]] MethodChoice choose_default_method(
        const ResolvedDatasource& datasource, std::stop_token stop
    ) const;
    enum class Verb { kStop, kSuspend, kResume };
    catalog::InstanceRecord change_state(
        std::string_view instance_id, Verb verb, const Requester& requester, std::stop_token stop
    );
    void record_immutability(const catalog::VaultRecord& vault, std::stop_token stop);
    static void take_over(
        const catalog::View& view,
        const catalog::InstanceRecord& present,
        catalog::InstanceRecord& wanted,
        Instant now
    );
    void remove_with_points(
        const catalog::InstanceRecord& instance,
        const catalog::VaultRecord& vault,
        const Requester& requester,
        std::stop_token stop
    );

    catalog::Catalog& catalog_;
    RepositoryPool& repositories_;
    const CredentialResolver& credentials_;
    DataPlane& data_plane_;
    Clock& clock_;
    std::mutex mutex_;
    std::set<std::string> busy_;  // Lower-case ids being changed. Guarded by mutex_.
};

}  // namespace holdfast::jobs
