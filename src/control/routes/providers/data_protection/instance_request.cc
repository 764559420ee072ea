#include "control/routes/providers/data_protection/instance_request.h"

#include "base/text.h"
#include "control/resource_id.h"
#include "jobs/credentials.h"
#include "protection/datasource.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

constexpr const char* kParametersList = "backupDatasourceParametersList";
/// What MAX_RATE of BASE_BACKUP takes.
constexpr std::int64_t kTransferRateKiBMin = 32;
constexpr std::int64_t kTransferRateKiBMax = 1024 * 1024;
constexpr std::string_view kServerParameters = "PostgreSqlFlexibleServerBackupDatasourceParameters";

/// One of dataSourceInfo and dataSourceSetInfo in canonical names, texts as sent.
Json read_source(const JsonReader& source, IgnoredProperties& ignored) {
    ignored.note_unknown(
        source,
        {"datasourceType",
         "objectType",
         "resourceID",
         "resourceLocation",
         "resourceName",
         "resourceType",
         "resourceUri",
         "resourceProperties"}
    );
    Json out = Json::object();
    for (const char* name :
         {"datasourceType",
          "objectType",
          "resourceID",
          "resourceLocation",
          "resourceName",
          "resourceType",
          "resourceUri"}) {
        if (const auto text = source.optional_string(name)) {
            out[name] = *text;
        }
    }
    if (const auto more = source.optional_member("resourceProperties")) {
        more->require_object();
        out["resourceProperties"] = more->value();
    }
    return out;
}

void read_datasource(
    const JsonReader& properties, catalog::InstanceRecord& record, IgnoredProperties& ignored
) {
    const JsonReader source = properties.member("dataSourceInfo");
    Json info = read_source(source, ignored);
    const JsonReader id = source.member("resourceID");
    const jobs::DatasourceName name = jobs::parse_datasource_id(id.as_string(), id.path());
    record.datasource_id = id.as_string();
    if (name.database) {
        // A database may have any name: one spelling of it, so that two requests that mean the same
        // database are seen to do so.
        record.datasource_id.resize(record.datasource_id.rfind('/') + 1);
        record.datasource_id += percent_encode(*name.database);
    }

    const auto type = source.optional_member("datasourceType");
    const auto kind = type ? protection::parse_datasource_type(type->as_string()) : std::nullopt;
    if (!kind) {
        throw Error{
            ErrorKind::kDatasourceUnsupported,
            ErrorText{
                .message = fmt::format(
                    "The datasource type '{}' cannot be protected here.",
                    type ? type->as_string() : std::string{}
                ),
                .target = source.path() + ".datasourceType",
                .recommended_actions =
                    {"Use one of: " + protection::allowed_datasource_types() + "."},
            }
        };
    }
    record.datasource_type = trim(type->as_string());
    info["datasourceType"] = record.datasource_type;
    if (!info.contains("objectType")) {
        info["objectType"] = "Datasource";
    }
    if (!info.contains("resourceName")) {
        info["resourceName"] = name.database.value_or(name.server_name);
    }
    record.properties["dataSourceInfo"] = std::move(info);
    if (const auto set = properties.optional_member("dataSourceSetInfo")) {
        record.properties["dataSourceSetInfo"] = read_source(*set, ignored);
    }
}

/// What physical backups ask of the server, in this program's own words.
Json read_own_parameters(const JsonReader& own) {
    own.refuse_unknown({"checkpoint", "transferRateMaxKiB", "compression"});
    Json out = Json::object();
    if (const auto checkpoint = own.optional_member("checkpoint")) {
        out["checkpoint"] = checkpoint->as_one_of({"Fast", "Spread"});
    }
    if (const auto rate = own.optional_member("transferRateMaxKiB")) {
        const std::int64_t value = rate->as_integer();
        if (value != 0 && (value < kTransferRateKiBMin || value > kTransferRateKiBMax)) {
            rate->fail(
                fmt::format("{} is out of range", value),
                fmt::format("0 (no limit), {} to {}", kTransferRateKiBMin, kTransferRateKiBMax)
            );
        }
        out["transferRateMaxKiB"] = value;
    }
    if (const auto compression = own.optional_member("compression")) {
        out["compression"] = compression->as_one_of({"None", "Zstd"});
    }
    return out;
}

/// One element of backupDatasourceParametersList. What decides how a server is backed up is read
/// strictly; the kinds of other datasources (snapshots) are kept and shown, without effect here.
Json read_parameters(const JsonReader& parameters) {
    const std::string type = parameters.string("objectType");
    if (!equal_ignoring_case(type, kServerParameters)) {
        return parameters.value();
    }
    parameters.refuse_unknown({"objectType", "backupSolutionType", "holdfast"});
    Json out{
        {"objectType", kServerParameters},
        {"backupSolutionType",
         parameters.member("backupSolutionType").as_one_of({"LogicalBackup", "PhysicalBackup"})},
    };
    if (const auto own = parameters.optional_member("holdfast")) {
        out["holdfast"] = read_own_parameters(*own);
    }
    return out;
}

Json read_parameters_list(const JsonReader& list) {
    Json out = Json::array();
    bool seen = false;
    for (const JsonReader& element : list.elements()) {
        out.push_back(read_parameters(element));
        if (out.back().value("objectType", "") == kServerParameters) {
            if (seen) {
                element.fail("says a second time how the server is backed up", "one such element");
            }
            seen = true;
        }
    }
    return out;
}

void read_policy_info(
    const JsonReader& properties, catalog::InstanceRecord& record, IgnoredProperties& ignored
) {
    const JsonReader info = properties.member("policyInfo");
    ignored.note_unknown(info, {"policyId", "policyVersion", "policyParameters"});
    const JsonReader id = info.member("policyId");
    record.policy_id = ResourceId::parse(id.as_string(), id.path()).text();
    Json out{{"policyId", record.policy_id}};
    if (const auto parameters = info.optional_member("policyParameters")) {
        parameters->require_object();
        const auto list = parameters->optional_member(kParametersList);
        Json kept = Json::object();
        for (const auto& [name, value] : parameters->value().items()) {
            if (!value.is_null() && (!list || &value != &list->value())) {
                kept[name] = value;
            }
        }
        if (list) {
            kept[kParametersList] = read_parameters_list(*list);
        }
        if (!kept.empty()) {
            out["policyParameters"] = std::move(kept);
        }
    }
    record.properties["policyInfo"] = std::move(out);
}

void read_credentials(
    const JsonReader& properties, catalog::InstanceRecord& record, IgnoredProperties& ignored
) {
    const auto credentials = properties.optional_member("datasourceAuthCredentials");
    if (!credentials) {
        return;
    }
    ignored.note_unknown(*credentials, {"objectType", "secretStoreResource"});
    if (const auto type = credentials->optional_member("objectType")) {
        (void)type->as_one_of({"SecretStoreBasedAuthCredentials"});
    }
    const auto store = credentials->optional_member("secretStoreResource");
    if (!store) {
        return;
    }
    ignored.note_unknown(*store, {"secretStoreType", "uri", "value"});
    if (store->has("value")) {
        // A value here would be kept with the instance and shown to every reader of it.
        store->member("value").fail(
            "A secret's value does not belong here.", "the uri of a secret in the secret store"
        );
    }
    Json resource{{"secretStoreType", "AzureKeyVault"}};
    if (const auto type = store->optional_member("secretStoreType")) {
        resource["secretStoreType"] = type->as_one_of({"AzureKeyVault", "Invalid"});
    }
    if (const auto uri = store->optional_string("uri")) {
        record.secret_uri = *uri;
        resource["uri"] = *uri;
    }
    record.properties["datasourceAuthCredentials"] =
        Json{{"objectType", "SecretStoreBasedAuthCredentials"}, {"secretStoreResource", resource}};
}

/// Which of the vault's identities reaches the datasource: kept and shown; there is but one.
void read_identity(
    const JsonReader& identity, catalog::InstanceRecord& record, IgnoredProperties& ignored
) {
    ignored.note_unknown(identity, {"useSystemAssignedIdentity", "userAssignedIdentityArmUrl"});
    Json kept = Json::object();
    if (const auto own = identity.optional_bool("useSystemAssignedIdentity")) {
        kept["useSystemAssignedIdentity"] = *own;
    }
    if (const auto url = identity.optional_string("userAssignedIdentityArmUrl")) {
        kept["userAssignedIdentityArmUrl"] = *url;
    }
    record.properties["identityDetails"] = std::move(kept);
}

}  // namespace

InstanceRequest read_instance(const JsonReader& properties, IgnoredProperties& ignored) {
    ignored.note_unknown(
        properties,
        {"friendlyName",
         "dataSourceInfo",
         "dataSourceSetInfo",
         "policyInfo",
         "datasourceAuthCredentials",
         "validationType",
         "objectType",
         // What the server says of it, and clients send back as they were shown it.
         "protectionStatus",
         "protectionErrorDetails",
         "currentProtectionState",
         "provisioningState",
         "identityDetails",
         "resourceGuardOperationRequests",
         "holdfast"}
    );
    InstanceRequest request;
    read_datasource(properties, request.record, ignored);
    read_policy_info(properties, request.record, ignored);
    read_credentials(properties, request.record, ignored);
    if (const auto type = properties.optional_member("validationType")) {
        if (type->as_one_of({"ShallowValidation", "DeepValidation"}) == "ShallowValidation") {
            request.validation = jobs::ProtectionService::Validation::kShallow;
        }
    }
    // Go's clients send an empty text for what they leave out.
    if (const auto type = properties.optional_member("objectType");
        type && !type->as_string().empty()) {
        (void)type->as_one_of({"BackupInstance", "DeletedBackupInstance"});
    }
    if (const auto identity = properties.optional_member("identityDetails")) {
        read_identity(*identity, request.record, ignored);
    }
    const Json& info = request.record.properties.at("dataSourceInfo");
    request.record.friendly_name =
        properties.string_or("friendlyName", info.at("resourceName").get<std::string>());
    return request;
}

}  // namespace holdfast::control
