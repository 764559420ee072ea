// /secrets: the Key Vault data plane on the built-in store.
#include "base/secret.h"
#include "catalog/catalog.h"
#include "catalog/secret_store.h"
#include "control/arm.h"
#include "control/key_vault_names.h"
#include "control/routes/documents.h"
#include "control/routes/providers/authorization/role_scope.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::SecretRecord;
using catalog::SecretStore;

/// Key Vault counts in seconds since 1970.
std::int64_t unix_seconds(Instant instant) {
    return std::chrono::duration_cast<std::chrono::seconds>(instant.time_since_epoch()).count();
}

Json attributes_of(const SecretRecord& record) {
    return Json{
        {"enabled", record.enabled},
        {"created", unix_seconds(record.created_at)},
        {"updated", unix_seconds(record.modified_at)},
        {"recoveryLevel", "Purgeable"},
        {"recoverableDays", 0}
    };
}

/// The store is the label in front of the vaults' suffix in the host that the client asked for, as
/// in Key Vault's URLs; any other host means the default store.
std::string store_of_origin(const Services& services, std::string_view origin) {
    std::string store = vault_of_host(services.config, origin);
    return store.empty() ? std::string{SecretStore::kDefaultStore} : store;
}

std::string store_of(const RequestContext& context) {
    std::string store = store_of_origin(context.services, context.base_url);
    if (store == kServerSecretStore) {
        // The passwords of registrations are write-only, whatever the Host header says.
        throw Error{
            ErrorKind::kResourceNotFound,
            ErrorText{
                .message = fmt::format("There is no key vault '{}'.", store),
                .target = "Host",
                .recommended_actions = {"Ask the server by its own name, or name another vault."},
            }
        };
    }
    return store;
}

/// Without the value; `id` names the version or, in a list, the secret.
Json secret_item(const RequestContext& context, const SecretRecord& record) {
    Json out{
        {"id", fmt::format("{}/secrets/{}", context.base_url, record.name)},
        {"attributes", attributes_of(record)},
        {"tags", record.tags}
    };
    if (!record.content_type.empty()) {
        out["contentType"] = record.content_type;
    }
    return out;
}

Json secret_bundle(const RequestContext& context, const SecretRecord& record) {
    Json out = secret_item(context, record);
    out["id"] = fmt::format("{}/secrets/{}/{}", context.base_url, record.name, record.version);
    return out;
}

Error no_such_secret(const std::string& name) {
    return Error{
        ErrorKind::kSecretNotFound,
        ErrorText{
            .message = fmt::format(
                "A secret with (name/id) {} was not found in this key vault.", name.substr(0, 200)
            ),
            .target = name,
            .recommended_actions = {"List the secrets, or set this one first."},
        }
    };
}

std::string version_of(const RequestContext& context) {
    return context.path.has("secretVersion") ? context.path.at("secretVersion") : std::string{};
}

Reply get_secret(const RequestContext& context) {
    const SecretStore& secrets = context.services.secrets;
    const std::string& name = context.path.at("secretName");
    std::optional<SecretRecord> record;
    context.services.catalog.read([&](const catalog::View& view) {
        record = secrets.find(view, store_of(context), name, version_of(context));
    });
    if (!record) {
        throw no_such_secret(name);
    }
    if (!record->enabled) {
        throw Error{
            ErrorKind::kAuthorizationFailed,
            ErrorText{
                .message = "Operation get is not allowed on a disabled secret.",
                .target = name,
                .recommended_actions = {"Enable it, or set a new version."},
            }
        };
    }
    Json bundle = secret_bundle(context, *record);
    bundle["value"] = std::string{secrets.open(*record).expose_text()};
    return Reply::ok(std::move(bundle));
}

Reply set_secret(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    IgnoredProperties ignored;
    ignored.note_unknown(body, {"value", "contentType", "tags", "attributes"});
    const JsonReader value = body.member("value");
    if (!value.value().is_string()) {
        // Not through the reader: its message would quote the value.
        throw Error{
            ErrorKind::kInvalidRequestContent,
            ErrorText{
                .message = "value: Expected a string.",
                .target = "value",
                .recommended_actions = {"Send the secret as a JSON string."},
            }
        };
    }
    catalog::SecretProperties properties;
    properties.content_type = body.string_or("contentType", "");
    properties.tags = read_tags(body).value_or(Json::object());
    bool enabled = true;
    if (const auto attributes = body.optional_member("attributes")) {
        ignored.note_unknown(*attributes, {"enabled"});
        enabled = attributes->optional_bool("enabled").value_or(true);
    }
    SecretRecord record;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        record = context.services.secrets.set(
            transaction,
            store_of(context),
            context.path.at("secretName"),
            Secret{value.as_string()},
            properties
        );
        if (!enabled) {
            record.enabled = false;
            transaction.put(record);
        }
    });
    Json bundle = secret_bundle(context, record);
    bundle["value"] = value.as_string();
    Reply reply = Reply::ok(std::move(bundle));
    ignored.report(context, reply);
    return reply;
}

Reply list_secrets(const RequestContext& context) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        for (const SecretRecord& record : context.services.secrets.list(view, store_of(context))) {
            items.push_back(secret_item(context, record));
        }
    });
    return list_reply(context, std::move(items));
}

Reply list_versions(const RequestContext& context) {
    const std::string& name = context.path.at("secretName");
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        view.each<SecretRecord>(
            {.parent = catalog::secret_parent(store_of(context), name)},
            [&](const SecretRecord& record) {
                items.push_back(secret_bundle(context, record));
                return true;
            }
        );
    });
    return list_reply(context, std::move(items));
}

Reply delete_secret(const RequestContext& context) {
    const std::string& name = context.path.at("secretName");
    const SecretStore& secrets = context.services.secrets;
    Json bundle;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const auto record = secrets.find(transaction, store_of(context), name);
        if (!record) {
            throw no_such_secret(name);
        }
        bundle = secret_bundle(context, *record);
        context.services.secrets.remove(transaction, store_of(context), name);
    });
    // Gone at once: this store keeps no deleted secrets. With a recoveryId, clients would wait
    // until the secret shows up among those.
    return Reply::ok(std::move(bundle));
}

}  // namespace

namespace {

/// `…/Microsoft.KeyVault/vaults/KV/secrets/NAME`: where roles on secrets are given.
std::string secret_scope(
    const Services& services, const Request& request, const PathParameters& path
) {
    std::string subscription;
    services.catalog.read([&](const catalog::View& view) {
        subscription = first_subscription(view);
    });
    const std::string store =
        store_of_origin(services, "https://" + request.headers.get_or("Host", ""));
    const std::string vault = key_vault_id(services.config, subscription, store);
    return path.has("secretName") ? vault + "/secrets/" + path.at("secretName") : vault;
}

}  // namespace

void add_secret_routes(std::vector<Route>& routes) {
    const auto add =
        [&](Verb verb, std::string pattern, std::string action, std::string summary, Handler handler
        ) {
            const bool reads_value = action == "getSecret/action";
            routes.push_back(Route{
                .verb = verb,
                .pattern = std::move(pattern),
                .action = "Microsoft.KeyVault/vaults/secrets/" + std::move(action),
                .summary = std::move(summary),
                .handler = std::move(handler),
                .body = verb == Verb::kPut ? BodyRule::kRequired : BodyRule::kNone,
                .api_version = ApiVersion::kExempt,
                .auditing = reads_value ? Auditing::kAlways : Auditing::kByVerb,
                .scope = secret_scope,
            });
        };
    add(Verb::kGet,
        "/secrets",
        "readMetadata/action",
        "Lists the secrets, without their values.",
        list_secrets);
    add(Verb::kPut, "/secrets/{secretName}", "setSecret/action", "Sets a secret.", set_secret);
    add(Verb::kGet,
        "/secrets/{secretName}",
        "getSecret/action",
        "Shows the newest version of a secret, with its value.",
        get_secret);
    add(Verb::kDelete,
        "/secrets/{secretName}",
        "delete",
        "Deletes all versions of a secret.",
        delete_secret);
    add(Verb::kGet,
        "/secrets/{secretName}/versions",
        "readMetadata/action",
        "Lists the versions of a secret, without their values.",
        list_versions);
    add(Verb::kGet,
        "/secrets/{secretName}/{secretVersion}",
        "getSecret/action",
        "Shows one version of a secret, with its value.",
        get_secret);
}

}  // namespace holdfast::control
