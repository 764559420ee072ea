#include "jobs/requests.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "jobs/containers.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr std::size_t kItemsMax =
    1000;  // One request's criteria; each is one pg_restore selection.

[[noreturn]] void unsupported(const std::string& target, std::string message, std::string action) {
    throw Error{
        ErrorKind::kUnsupportedOperation,
        ErrorText{
            .message = std::move(message),
            .target = target,
            .recommended_actions = {std::move(action)},
        }
    };
}

std::string read_point_id(const JsonReader& body) {
    const JsonReader member = body.member("recoveryPointId");
    std::string id = to_lower(member.as_string());
    std::erase(id, '-');
    const auto bytes = from_hex(id);
    if (!bytes || bytes->size() != 16) {
        member.fail("is not the name of a recovery point", "32 hexadecimal digits");
    }
    return id;
}

std::string read_datasource(const JsonReader& target) {
    const JsonReader info = target.member("datasourceInfo");
    const JsonReader id = info.member("resourceId");
    if (id.as_string().empty()) {
        id.fail("is empty", "the ARM id of a registered server or of a database on it");
    }
    return id.as_string();
}

std::string read_secret_uri(const JsonReader& target) {
    const auto credentials = target.optional_member("datasourceAuthCredentials");
    if (!credentials) {
        return {};
    }
    const auto resource = credentials->optional_member("secretStoreResource");
    if (!resource) {
        return {};
    }
    return resource->string_or("uri", "");
}

/// Our own additions to a restore target stand below `holdfast`.
struct Extension {
    bool include_role_passwords = false;
    bool skip_ownership = false;
    std::string source_database;
};
Extension read_extension(const JsonReader& target) {
    Extension extension;
    const auto own = target.optional_member("holdfast");
    if (!own) {
        return extension;
    }
    own->refuse_unknown({"includeRolePasswords", "skipOwnership", "sourceDatabase"});
    extension.include_role_passwords = own->optional_bool("includeRolePasswords").value_or(false);
    extension.skip_ownership = own->optional_bool("skipOwnership").value_or(false);
    extension.source_database = own->string_or("sourceDatabase", "");
    return extension;
}

FilesTarget read_files_target(const JsonReader& target) {
    const Extension extension = read_extension(target);
    const JsonReader details = target.member("targetDetails");
    FilesTarget files{
        .url = details.string("url"),
        .file_prefix = details.string("filePrefix"),
        .role_passwords = extension.include_role_passwords ? RolePasswordFiles::kInclude
                                                           : RolePasswordFiles::kLeaveOut,
    };
    if (const auto type = details.optional_member("restoreTargetLocationType")) {
        (void)type->as_one_of({"AzureBlobs", "AzureFiles", "Invalid"});
    }
    check_file_prefix(files.file_prefix);
    return files;
}

ItemPath parse_item_path(const JsonReader& where, const std::string& path) {
    std::vector<std::string> parts = split(path, '/');
    if (!parts.empty() && parts.front().empty()) {
        parts.erase(parts.begin());
    }
    const bool usable = !parts.empty() && parts.size() <= 3 &&
                        std::none_of(parts.begin(), parts.end(), [](const std::string& part) {
                            return part.empty();
                        });
    if (!usable) {
        where.fail(
            fmt::format("\"{}\" is not an item path", path),
            "database, database/schema or database/schema/table"
        );
    }
    ItemPath item;
    item.database = percent_decode(parts[0]);
    if (parts.size() > 1) {
        item.schema = percent_decode(parts[1]);
    }
    if (parts.size() > 2) {
        item.table = percent_decode(parts[2]);
    }
    return item;
}

void read_rename(const JsonReader& criterion, ItemPath& item) {
    const auto rename = criterion.optional_member("renameTo");
    if (!rename || rename->as_string().empty()) {
        return;
    }
    if (item.table.empty()) {
        rename->fail("can only be given for a table");
    }
    if (rename->as_string().find('/') != std::string::npos) {
        rename->fail("is not a new name", "a table's name; the schema stays");
    }
    item.target_table = rename->as_string();
}

void read_criterion(const JsonReader& criterion, std::vector<ItemPath>& items) {
    const JsonReader type = criterion.member("objectType");
    if (!equal_ignoring_case(type.as_string(), "ItemPathBasedRestoreCriteria")) {
        unsupported(
            type.path(),
            fmt::format("PostgreSQL items are not restored by {}.", type.as_string()),
            "Use ItemPathBasedRestoreCriteria with itemPath database/schema/table."
        );
    }
    const JsonReader path = criterion.member("itemPath");
    const auto prefixes = criterion.optional_member("subItemPathPrefix");
    std::vector<JsonReader> below;
    if (prefixes) {
        below = prefixes->elements();
    }
    if (below.empty()) {
        ItemPath item = parse_item_path(path, path.as_string());
        read_rename(criterion, item);
        items.push_back(std::move(item));
        return;
    }
    for (const JsonReader& prefix : below) {
        items.push_back(parse_item_path(prefix, path.as_string() + "/" + prefix.as_string()));
    }
}

ItemsTarget read_items_target(const JsonReader& target) {
    const Extension extension = read_extension(target);
    ItemsTarget items{
        .datasource_id = read_datasource(target),
        .secret_uri = read_secret_uri(target),
        .items = {},
        .skip_ownership = extension.skip_ownership,
    };
    const JsonReader criteria = target.member("restoreCriteria");
    for (const JsonReader& criterion : criteria.elements()) {
        read_criterion(criterion, items.items);
    }
    if (items.items.empty()) {
        criteria.fail("names no item", "at least one ItemPathBasedRestoreCriteria");
    }
    if (items.items.size() > kItemsMax) {
        criteria.fail("names too many items", fmt::format("at most {}", kItemsMax));
    }
    return items;
}

Json to_json(const ItemPath& item) {
    return Json{
        {"database", item.database},
        {"schema", item.schema},
        {"table", item.table},
        {"targetTable", item.target_table},
    };
}

ItemPath item_from_json(const Json& json) {
    return ItemPath{
        .database = json.at("database").get<std::string>(),
        .schema = json.at("schema").get<std::string>(),
        .table = json.at("table").get<std::string>(),
        .target_table = json.at("targetTable").get<std::string>(),
    };
}

}  // namespace

AdhocBackupRequest parse_adhoc_backup(
    const Json& body, std::string instance_id, Requester requester
) {
    const JsonReader reader{body, "", ErrorKind::kInvalidRequestContent};
    reader.require_object();
    const JsonReader options = reader.member("backupRuleOptions");
    AdhocBackupRequest request{
        .instance_id = std::move(instance_id),
        .rule_name = options.string("ruleName"),
        .tag_override = {},
        .requester = std::move(requester),
    };
    if (const auto trigger = options.optional_member("triggerOption")) {
        request.tag_override = trigger->string_or("retentionTagOverride", "");
    }
    return request;
}

RestoreRequest parse_restore_request(
    const Json& body, std::string_view path, std::string instance_id, Requester requester
) {
    const JsonReader reader{body, std::string{path}, ErrorKind::kInvalidRequestContent};
    reader.require_object();
    const JsonReader type = reader.member("objectType");
    const std::string kind = type.as_one_of(
        {"AzureBackupRecoveryPointBasedRestoreRequest",
         "AzureBackupRestoreWithRehydrationRequest",
         "AzureBackupRecoveryTimeBasedRestoreRequest"}
    );
    if (kind == "AzureBackupRecoveryTimeBasedRestoreRequest") {
        unsupported(
            type.path(),
            "This backup instance has discrete recovery points only, so a restore to a point in "
            "time is not "
            "possible.",
            "Choose a recovery point and use AzureBackupRecoveryPointBasedRestoreRequest."
        );
    }
    if (const auto store = reader.optional_member("sourceDataStoreType")) {
        const std::string name =
            store->as_one_of({"VaultStore", "ArchiveStore", "OperationalStore", "SnapshotStore"});
        if (name == "OperationalStore" || name == "SnapshotStore") {
            unsupported(
                store->path(),
                fmt::format("{} holds no recovery points of PostgreSQL.", name),
                "Use VaultStore."
            );
        }
    }
    RestoreRequest request{
        .instance_id = std::move(instance_id),
        .point_id = read_point_id(reader),
        .target = FilesTarget{},
        .requester = std::move(requester),
    };
    const JsonReader target = reader.member("restoreTargetInfo");
    if (const auto option = target.optional_member("recoveryOption")) {
        (void)option->as_one_of({"FailIfExists"});
    }
    const std::string target_kind =
        target.member("objectType")
            .as_one_of({"RestoreFilesTargetInfo", "RestoreTargetInfo", "ItemLevelRestoreTargetInfo"}
            );
    if (target_kind == "RestoreFilesTargetInfo") {
        request.target = read_files_target(target);
    } else if (target_kind == "ItemLevelRestoreTargetInfo") {
        request.target = read_items_target(target);
    } else {
        Extension extension = read_extension(target);
        request.target = ServerTarget{
            .datasource_id = read_datasource(target),
            .secret_uri = read_secret_uri(target),
            .source_database = std::move(extension.source_database),
            .skip_ownership = extension.skip_ownership,
        };
    }
    return request;
}

Json to_json(const RestoreRequest& request) {
    Json json{
        {"instanceId", request.instance_id},
        {"pointId", request.point_id},
        {"principalId", request.requester.principal_id},
        {"correlationId", request.requester.correlation_id},
    };
    if (const auto* files = std::get_if<FilesTarget>(&request.target)) {
        json["files"] = Json{
            {"url", files->url},
            {"filePrefix", files->file_prefix},
            {"includeRolePasswords", files->role_passwords == RolePasswordFiles::kInclude},
        };
    } else if (const auto* server = std::get_if<ServerTarget>(&request.target)) {
        json["server"] = Json{
            {"datasourceId", server->datasource_id},
            {"secretUri", server->secret_uri},
            {"sourceDatabase", server->source_database},
            {"skipOwnership", server->skip_ownership},
        };
    } else {
        const auto& items = std::get<ItemsTarget>(request.target);
        Json list = Json::array();
        for (const ItemPath& item : items.items) {
            list.push_back(to_json(item));
        }
        json["items"] = Json{
            {"datasourceId", items.datasource_id},
            {"secretUri", items.secret_uri},
            {"skipOwnership", items.skip_ownership},
            {"items", std::move(list)},
        };
    }
    return json;
}

RestoreRequest restore_request_from_json(const Json& json) {
    RestoreRequest request{
        .instance_id = json.at("instanceId").get<std::string>(),
        .point_id = json.at("pointId").get<std::string>(),
        .target = FilesTarget{},
        .requester =
            Requester{
                .principal_id = json.at("principalId").get<std::string>(),
                .correlation_id = json.at("correlationId").get<std::string>(),
            },
    };
    if (json.contains("files")) {
        const Json& files = json.at("files");
        request.target = FilesTarget{
            .url = files.at("url").get<std::string>(),
            .file_prefix = files.at("filePrefix").get<std::string>(),
            .role_passwords = files.at("includeRolePasswords").get<bool>()
                                  ? RolePasswordFiles::kInclude
                                  : RolePasswordFiles::kLeaveOut,
        };
    } else if (json.contains("server")) {
        const Json& server = json.at("server");
        request.target = ServerTarget{
            .datasource_id = server.at("datasourceId").get<std::string>(),
            .secret_uri = server.at("secretUri").get<std::string>(),
            .source_database = server.at("sourceDatabase").get<std::string>(),
            .skip_ownership = server.at("skipOwnership").get<bool>(),
        };
    } else {
        const Json& items = json.at("items");
        ItemsTarget target{
            .datasource_id = items.at("datasourceId").get<std::string>(),
            .secret_uri = items.at("secretUri").get<std::string>(),
            .items = {},
            .skip_ownership = items.at("skipOwnership").get<bool>(),
        };
        for (const Json& item : items.at("items")) {
            target.items.push_back(item_from_json(item));
        }
        request.target = std::move(target);
    }
    return request;
}

VerifyRequest parse_verify(const Json& body, std::string instance_id, Requester requester) {
    VerifyRequest request{
        .instance_id = std::move(instance_id),
        .point_id = {},
        .trigger = VerifyTrigger::kOnDemand,
        .requester = std::move(requester),
    };
    if (body.is_null()) {
        return request;
    }
    const JsonReader reader{body, "", ErrorKind::kInvalidRequestContent};
    reader.refuse_unknown({"recoveryPointId"});
    if (reader.has("recoveryPointId")) {
        request.point_id = read_point_id(reader);
    }
    return request;
}

Json to_json(const VerifyRequest& request) {
    return Json{
        {"instanceId", request.instance_id},
        {"pointId", request.point_id},
        {"byPolicy", request.trigger == VerifyTrigger::kPolicy},
    };
}

VerifyRequest verify_request_from_json(const Json& json) {
    return VerifyRequest{
        .instance_id = json.at("instanceId").get<std::string>(),
        .point_id = json.at("pointId").get<std::string>(),
        .trigger = json.at("byPolicy").get<bool>() ? VerifyTrigger::kPolicy
                                                   : VerifyTrigger::kOnDemand,
        .requester = {},
    };
}

Json to_json(const QueuedBackup& backup) {
    Json json{
        {"instanceId", backup.instance_id},
        {"ruleName", backup.rule_name},
        {"tag", backup.tag},
    };
    if (backup.scheduled_at) {
        json["scheduledAt"] = format_instant(*backup.scheduled_at);
    }
    return json;
}

QueuedBackup queued_backup_from_json(const Json& json) {
    QueuedBackup backup{
        .instance_id = json.at("instanceId").get<std::string>(),
        .rule_name = json.at("ruleName").get<std::string>(),
        .tag = json.at("tag").get<std::string>(),
        .scheduled_at = std::nullopt,
    };
    if (json.contains("scheduledAt")) {
        backup.scheduled_at = parse_instant(json.at("scheduledAt").get<std::string>());
    }
    return backup;
}

}  // namespace holdfast::jobs
