#pragma once

#include "base/json.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The verbs that prepare request files: backup-instance initialize and the restore initialisers.
/// They send nothing, and print in snake_case what the Azure CLI prints. Refusals are
/// kInvalidInput in its words.
namespace holdfast::cli {

/// Where the Azure CLI drops something that the server here can use.
enum class AzCompatibility {
    kExtended,  ///< Credentials given for a flexible server are kept.
    kExact,     ///< They are dropped, as the Azure CLI does.
};

struct SecretStore {
    std::optional<std::string> type = {};  ///< AzureKeyVault.
    std::optional<std::string> uri = {};
};

struct InstanceArguments {
    std::string datasource_type;
    std::string datasource_id;
    std::string datasource_location;
    std::string policy_id;
    std::string guid;  ///< Makes the instance's name unique.
    SecretStore secret_store = {};
    std::optional<std::string> friendly_name = {};
    bool has_backup_configuration = false;
    std::optional<std::string> backup_solution_type = {};  ///< LogicalBackup or PhysicalBackup.
    Json tags = nullptr;  ///< An object, or null when none were given.
    AzCompatibility compatibility = AzCompatibility::kExtended;
};

struct InitializedInstance {
    Json request;
    std::vector<std::string> warnings;  ///< For stderr.
};

/// `backup-instance initialize`.
[[nodiscard]] InitializedInstance initialize_backup_instance(const InstanceArguments& arguments);

/// What the restore initialisers have in common.
struct RestorePoint {
    std::string datasource_type;
    std::string source_datastore;
    std::string restore_location;
    std::optional<std::string> recovery_point_id = {};
    std::optional<std::string> point_in_time = {};
    std::optional<std::string> rehydration_priority = {};
    std::int64_t rehydration_days = 15;
};

/// The datasource to restore to: exactly one of the two.
struct RestoreTarget {
    std::optional<std::string> target_resource_id = {};
    std::optional<std::string> backup_instance_id = {};
    /// Asks the server for the datasource id of a backup instance. Called at most once, when
    /// everything else is right.
    std::function<std::string(const std::string& backup_instance_id)> datasource_of = {};
};

struct DataRecoveryArguments {
    RestorePoint point;
    RestoreTarget target;
    SecretStore secret_store = {};
    AzCompatibility compatibility = AzCompatibility::kExtended;
    // Ours; absent from the request when not given.
    std::string source_database = {};
    bool skip_ownership = false;
};

/// `restore initialize-for-data-recovery`.
[[nodiscard]] Json initialize_for_data_recovery(const DataRecoveryArguments& arguments);

struct FilesRecoveryArguments {
    RestorePoint point;
    std::string target_blob_container_url;
    std::string target_file_name;
    std::optional<std::string> target_resource_id = {};
    bool include_role_passwords = false;  ///< Ours.
};

/// `restore initialize-for-data-recovery-as-files`.
[[nodiscard]] Json initialize_for_data_recovery_as_files(const FilesRecoveryArguments& arguments);

struct ItemRecoveryArguments {
    RestorePoint point;
    RestoreTarget target;
    SecretStore secret_store = {};
    AzCompatibility compatibility = AzCompatibility::kExtended;
    /// Ours: `database/schema/table`, each optionally followed by `=new_table_name`.
    std::vector<std::string> items = {};
    bool skip_ownership = false;
};

/// `restore initialize-for-item-recovery`. Without items it is refused as the Azure CLI refuses it.
[[nodiscard]] Json initialize_for_item_recovery(const ItemRecoveryArguments& arguments);

}  // namespace holdfast::cli
