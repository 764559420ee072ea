#include "cli/client_side/requests.h"

#include "base/error.h"
#include "base/text.h"
#include "cli/client_side/datasource_type.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

using protection::DatasourceKind;

[[noreturn]] void refuse(std::string message, std::string action) {
    throw Error{
        ErrorKind::kInvalidInput,
        ErrorText{.message = std::move(message), .recommended_actions = {std::move(action)}}
    };
}

/// The Azure CLI knows two PostgreSQL types, whatever the ARM type says about databases.
struct TypeFacts {
    bool is_single;
    std::string_view cli_name;
    std::string_view arm_type;
};

TypeFacts facts_of(std::string_view datasource_type) {
    const bool single = postgres_type(datasource_type) == DatasourceKind::kSingleServerDatabase;
    const DatasourceKind kind =
        single ? DatasourceKind::kSingleServerDatabase : DatasourceKind::kFlexibleServer;
    return {single, protection::cli_name(kind), protection::arm_type(kind)};
}

std::string last_segment(const std::string& id) {
    return split(id, '/').back();
}

/// A database may have any name, a resource may not: what no resource name may hold becomes '_'.
/// Names that az is given in practice pass unchanged.
std::string instance_name(std::string name) {
    constexpr std::string_view kAllowed = "-_.()$+=@~";
    for (char& c : name) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && kAllowed.find(c) == std::string_view::npos) {
            c = '_';
        }
    }
    return name;
}

struct Location {
    const std::string& id;
    const std::string& region;
};

Json datasource_info(const TypeFacts& facts, const Location& where) {
    return {
        {"datasource_type", facts.arm_type},
        {"object_type", "Datasource"},
        {"resource_id", where.id},
        {"resource_location", where.region},
        {"resource_name", last_segment(where.id)},
        {"resource_type", facts.arm_type},
        {"resource_uri", facts.is_single ? "" : where.id},
    };
}

/// The server of a single-server database; null for a flexible server.
Json datasource_set_info(const TypeFacts& facts, const Location& where) {
    if (!facts.is_single) {
        return nullptr;
    }
    std::vector<std::string> parts = split(where.id, '/');
    if (parts.size() < 3) {
        refuse(
            fmt::format("{} is not a valid resource id", where.id),
            "Give the database's id: /subscriptions/…/servers/SERVER/databases/DATABASE."
        );
    }
    const std::string server = parts[parts.size() - 3];
    parts.resize(parts.size() - 2);
    return {
        {"datasource_type", facts.arm_type},
        {"object_type", "DatasourceSet"},
        {"resource_id", join(parts, "/")},
        {"resource_location", where.region},
        {"resource_name", server},
        {"resource_type", "Microsoft.DBforPostgreSQL/servers"},
        {"resource_uri", ""},
    };
}

Json auth_credentials(
    const TypeFacts& facts, const SecretStore& store, AzCompatibility compatibility
) {
    if (!facts.is_single && compatibility == AzCompatibility::kExact) {
        return nullptr;
    }
    const bool has_type = store.type && !store.type->empty();
    const bool has_uri = store.uri && !store.uri->empty();
    if (has_type != has_uri) {
        refuse(
            "Either secret store uri or secret store type not provided.",
            "Give --secret-store-type AzureKeyVault and --secret-store-uri together."
        );
    }
    if (!has_uri) {
        return nullptr;
    }
    return {
        {"object_type", "SecretStoreBasedAuthCredentials"},
        {"secret_store_resource",
         {{"secret_store_type", *store.type}, {"uri", *store.uri}, {"value", nullptr}}},
    };
}

Json base_request(const RestorePoint& point, const TypeFacts& facts) {
    Json request = Json::object();
    if (point.recovery_point_id && point.point_in_time) {
        refuse(
            "Please provide either recovery point id or point in time parameter, not both.",
            "Leave one of --recovery-point-id and --point-in-time out."
        );
    }
    if (!point.recovery_point_id && !point.point_in_time) {
        refuse(
            "Please provide either recovery point id or point in time parameter.",
            "'holdfast recovery-point list' shows the ids."
        );
    }
    if (point.rehydration_priority &&
        (point.rehydration_days < 10 || point.rehydration_days > 30)) {
        refuse(
            "The allowed range of rehydration duration is 10 to 30 days.",
            "Change --rehydration-duration."
        );
    }
    if (point.point_in_time) {
        refuse(
            fmt::format(
                "PointInTimeBased restore mode is not supported for datasource type {}. Supported "
                "restore modes are RecoveryPointBased",
                facts.cli_name
            ),
            "Choose a recovery point and give --recovery-point-id."
        );
    }
    request["object_type"] = "AzureBackupRecoveryPointBasedRestoreRequest";
    request["recovery_point_id"] = *point.recovery_point_id;
    if (point.rehydration_priority) {
        request["object_type"] = "AzureBackupRestoreWithRehydrationRequest";
        request["rehydration_priority"] = *point.rehydration_priority;
        request["rehydration_retention_duration"] = fmt::format("P{}D", point.rehydration_days);
    }
    if (point.source_datastore != "VaultStore" && point.source_datastore != "ArchiveStore") {
        refuse(
            fmt::format(
                "{} datastore type is not supported for datasource type {}. Supported datastore "
                "types "
                "are VaultStore,ArchiveStore",
                point.source_datastore,
                facts.cli_name
            ),
            "Use --source-datastore VaultStore."
        );
    }
    request["source_data_store_type"] = point.source_datastore;
    return request;
}

Json target_info(std::string_view object_type, const RestorePoint& point) {
    return {
        {"object_type", object_type},
        {"recovery_option", "FailIfExists"},
        {"restore_location", point.restore_location},
    };
}

std::string datasource_of(const RestoreTarget& target) {
    if (target.target_resource_id && target.backup_instance_id) {
        refuse(
            "Please provide either target-resource-id or backup-instance-id, not both.",
            "Leave one of the two out."
        );
    }
    if (target.target_resource_id) {
        return *target.target_resource_id;
    }
    if (!target.backup_instance_id) {
        refuse(
            "Please provide either target-resource-id (for alternate location restore) or "
            "backup-instance-id (for original location restore).",
            "Give the id of a database of a registered server as --target-resource-id."
        );
    }
    return target.datasource_of(*target.backup_instance_id);
}

/// Adds what a restore to a datasource has: the datasource, its server, credentials.
void add_datasource(Json& info, const TypeFacts& facts, const Location& where, Json credentials) {
    info["datasource_info"] = datasource_info(facts, where);
    if (facts.is_single) {
        info["datasource_set_info"] = datasource_set_info(facts, where);
    }
    // The Azure CLI prints the key for single servers only, null or not.
    if (facts.is_single || !credentials.is_null()) {
        info["datasource_auth_credentials"] = std::move(credentials);
    }
}

Json item_criteria(const std::string& item) {
    const std::size_t equals = item.find('=');
    const std::string path = item.substr(0, equals);
    const std::vector<std::string> parts = split(path, '/');
    const bool usable =
        parts.size() <= 3 &&
        std::none_of(parts.begin(), parts.end(), [](const auto& part) { return part.empty(); });
    if (!usable ||
        (equals != std::string::npos && (parts.size() != 3 || equals + 1 == item.size()))) {
        refuse(
            fmt::format("'{}' is not an item that can be restored.", item),
            "Give database, database/schema or database/schema/table; a table may be renamed with "
            "database/schema/table=new_name. Write a slash in a name as %2F and an equals sign as "
            "%3D."
        );
    }
    Json out{
        {"is_path_relative_to_backup_item", false},
        {"item_path", path},
        {"object_type", "ItemPathBasedRestoreCriteria"},
    };
    if (equals != std::string::npos) {
        out["rename_to"] = item.substr(equals + 1);
    }
    return out;
}

}  // namespace

namespace {

Json policy_parameters(const std::optional<std::string>& backup_solution_type) {
    if (!backup_solution_type) {
        return nullptr;
    }
    return {
        {"backup_datasource_parameters_list",
         Json::array(
             {{{"object_type", "PostgreSqlFlexibleServerBackupDatasourceParameters"},
               {"backup_solution_type", *backup_solution_type}}}
         )},
    };
}

}  // namespace

InitializedInstance initialize_backup_instance(const InstanceArguments& arguments) {
    const TypeFacts facts = facts_of(arguments.datasource_type);
    const Location where{arguments.datasource_id, arguments.datasource_location};
    InitializedInstance out;
    const Json source = datasource_info(facts, where);
    const Json set = datasource_set_info(facts, where);
    Json credentials = auth_credentials(facts, arguments.secret_store, arguments.compatibility);
    if (arguments.friendly_name) {
        out.warnings.emplace_back(
            "--friendly-name is not a required parameter for the given DatasourceType, and the "
            "user "
            "input will be overridden"
        );
    }
    if (arguments.has_backup_configuration) {
        out.warnings.emplace_back(
            "--backup-configuration is not required for the given DatasourceType, and will not be "
            "used"
        );
    }
    const std::string name = source["resource_name"].get<std::string>();
    const std::string outer = facts.is_single ? set["resource_name"].get<std::string>() : name;
    out.request = {
        {"backup_instance_name",
         instance_name(fmt::format("{}-{}-{}", outer, name, arguments.guid))},
        {"properties",
         {{"data_source_info", source},
          {"data_source_set_info", set},
          {"datasource_auth_credentials", std::move(credentials)},
          {"friendly_name", facts.is_single ? outer + "/" + name : name},
          {"object_type", "BackupInstance"},
          {"policy_info",
           {{"policy_id", arguments.policy_id},
            {"policy_parameters", policy_parameters(arguments.backup_solution_type)}}}}},
        {"tags", arguments.tags},
    };
    return out;
}

Json initialize_for_data_recovery(const DataRecoveryArguments& arguments) {
    const TypeFacts facts = facts_of(arguments.point.datasource_type);
    Json request = base_request(arguments.point, facts);
    Json info = target_info("RestoreTargetInfo", arguments.point);
    const std::string id = datasource_of(arguments.target);
    add_datasource(
        info,
        facts,
        {id, arguments.point.restore_location},
        auth_credentials(facts, arguments.secret_store, arguments.compatibility)
    );
    if (!arguments.source_database.empty()) {
        info["holdfast"]["source_database"] = arguments.source_database;
    }
    if (arguments.skip_ownership) {
        info["holdfast"]["skip_ownership"] = true;
    }
    request["restore_target_info"] = std::move(info);
    return request;
}

Json initialize_for_data_recovery_as_files(const FilesRecoveryArguments& arguments) {
    Json request = base_request(arguments.point, facts_of(arguments.point.datasource_type));
    Json info = target_info("RestoreFilesTargetInfo", arguments.point);
    info["target_details"] = {
        {"file_prefix", arguments.target_file_name},
        {"restore_target_location_type", "AzureBlobs"},
        {"url", arguments.target_blob_container_url},
    };
    if (arguments.target_resource_id) {
        info["target_details"]["target_resource_arm_id"] = *arguments.target_resource_id;
    }
    if (arguments.include_role_passwords) {
        info["holdfast"]["include_role_passwords"] = true;
    }
    request["restore_target_info"] = std::move(info);
    return request;
}

Json initialize_for_item_recovery(const ItemRecoveryArguments& arguments) {
    const TypeFacts facts = facts_of(arguments.point.datasource_type);
    if (arguments.items.empty()) {
        refuse(
            fmt::format(
                "Specified DatasourceType {} doesn't support Item Level Recovery", facts.cli_name
            ),
            "The Azure CLI cannot name PostgreSQL items; here give --items database/schema/table."
        );
    }
    Json request = base_request(arguments.point, facts);
    Json info = target_info("ItemLevelRestoreTargetInfo", arguments.point);
    Json criteria = Json::array();
    for (const std::string& item : arguments.items) {
        criteria.push_back(item_criteria(item));
    }
    info["restore_criteria"] = std::move(criteria);
    const std::string id = datasource_of(arguments.target);
    add_datasource(
        info,
        facts,
        {id, arguments.point.restore_location},
        auth_credentials(facts, arguments.secret_store, arguments.compatibility)
    );
    if (arguments.skip_ownership) {
        info["holdfast"]["skip_ownership"] = true;
    }
    request["restore_target_info"] = std::move(info);
    return request;
}

}  // namespace holdfast::cli
