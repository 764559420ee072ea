// …/backupVaults/{vaultName}/backupPolicies
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/guards.h"
#include "control/resource_id.h"
#include "control/routes/documents.h"
#include "control/routes/lookup.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"
#include "protection/policy.h"
#include "protection/simulate.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::InstanceRecord;
using catalog::PolicyRecord;
using catalog::PolicyVersionRecord;
using catalog::VaultRecord;

constexpr NameRule kPolicyRule{
    .what = "backup policy", .length_min = 1, .length_max = 150, .extra_characters = "-_"
};
constexpr std::int64_t kSimulatedRunsDefault = 20;
constexpr std::int64_t kSimulatedRunsMax = 10'000;

Reply policy_reply(const PolicyRecord& policy) {
    Reply reply = Reply::ok(policy_document(policy));
    reply.headers.set("ETag", quote_etag(policy.etag));
    return reply;
}

Reply list_policies(const RequestContext& context) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        const VaultRecord vault = require_vault(view, context);
        view.each<PolicyRecord>({.parent = vault.id}, [&](const PolicyRecord& policy) {
            items.push_back(policy_document(policy));
            return true;
        });
    });
    return list_reply(context, std::move(items));
}

Reply get_policy(const RequestContext& context) {
    PolicyRecord policy;
    context.services.catalog.read([&](const catalog::View& view) {
        policy = require_policy(view, context);
    });
    return policy_reply(policy);
}

/// In a guarded vault the edit of a policy in use is a change of what it protects.
void require_edit_allowed(
    const catalog::View& view,
    const RequestContext& context,
    const VaultRecord& vault,
    const PolicyRecord& policy
) {
    bool used = false;
    view.each<InstanceRecord>({.parent = vault.id}, [&](const InstanceRecord& instance) {
        used = equal_ignoring_case(instance.policy_id, policy.id);
        return !used;
    });
    if (used) {
        require_guard_approval(
            view,
            context,
            vault,
            CriticalOperation::kModifyInstance,
            read_guard_requests(body_reader(context).member("properties"))
        );
    }
}

/// One more than the versions that are there: a policy that was deleted and made again goes on
/// counting, so that no version ever means two things.
std::int64_t next_version(const catalog::View& view, const std::string& policy_id) {
    std::int64_t last = 0;
    view.each<PolicyVersionRecord>({.parent = policy_id}, [&](const PolicyVersionRecord& version) {
        last = std::max(last, version.version);
        return true;
    });
    return last + 1;
}

void put_version(catalog::Transaction& transaction, const PolicyRecord& policy) {
    PolicyVersionRecord version{
        .policy_id = policy.id,
        .version = policy.version,
        .properties = policy.properties,
        .created_at = transaction.now(),
    };
    transaction.put(version);
}

/// A new policy, or an edit in place: points keep what they were made under, so an edit counts the
/// version up and changes no expiry.
PolicyRecord store_policy(
    catalog::Transaction& transaction, const RequestContext& context, const Json& properties
) {
    const VaultRecord vault = require_vault(transaction, context);
    const std::string& name = context.path.at("backupPolicyName");
    const std::string id = child_id(vault.id, "backupPolicies", name);
    const auto existing = transaction.get<PolicyRecord>(id);
    check_preconditions(context.request, existing ? std::optional{existing->etag} : std::nullopt);
    if (existing && existing->properties == properties) {
        return *existing;
    }
    PolicyRecord policy;
    if (existing) {
        require_edit_allowed(transaction, context, vault, *existing);
        policy = *existing;
        ++policy.version;
    } else {
        require_name(name, kPolicyRule);
        policy.id = id;
        policy.vault_id = vault.id;
        policy.name = name;
        policy.created_at = transaction.now();
        policy.version = next_version(transaction, id);
    }
    policy.properties = properties;
    transaction.put(policy);
    put_version(transaction, policy);
    return policy;
}

Reply put_policy(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    IgnoredProperties ignored;
    ignored.note_unknown(body, {"id", "name", "type", "systemData", "properties"});
    protection::PolicyNotes notes;
    Json given = body.member("properties").value();
    if (given.is_object()) {
        given.erase("resourceGuardOperationRequests");  // Judged, never kept.
        given.erase("holdfast");                        // Ours, sent back as it was shown.
    }
    const Json properties = to_json(protection::parse_policy(given, "properties", &notes));
    for (std::string& path : notes.ignored) {
        ignored.note(std::move(path));
    }
    PolicyRecord policy;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        policy = store_policy(transaction, context, properties);
    });
    // 200 for a new one too: the clients take no other status here.
    Reply reply = policy_reply(policy);
    ignored.report(context, reply);
    return reply;
}

Reply delete_policy(const RequestContext& context) {
    bool removed = false;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const VaultRecord vault = require_vault(transaction, context);
        const std::string id =
            child_id(vault.id, "backupPolicies", context.path.at("backupPolicyName"));
        const auto policy = transaction.get<PolicyRecord>(id);
        if (!policy) {
            return;
        }
        check_preconditions(context.request, policy->etag);
        ErrorText in_use{
            .message =
                "Cannot delete the backup policy as one or more backup instances have been "
                "configured for protection with this policy.",
            .target = policy->id,
            .recommended_actions =
                {"Give these backup instances another policy, or delete them, then try again."},
        };
        transaction.each<InstanceRecord>({.parent = vault.id}, [&](const InstanceRecord& instance) {
            if (equal_ignoring_case(instance.policy_id, policy->id)) {
                // A soft-deleted one counts: undeleted, it needs its policy again.
                in_use.details.push_back(
                    {.code = "UserErrorDppPolicyObjectInUse",
                     .message = fmt::format(
                         "The {}backup instance '{}' uses it.",
                         instance.soft_deleted ? "soft-deleted " : "",
                         instance.name
                     ),
                     .target = instance.id}
                );
            }
            return in_use.details.size() < 20;
        });
        if (!in_use.details.empty()) {
            throw Error{ErrorKind::kPolicyInUse, std::move(in_use)};
        }
        removed = transaction.remove<PolicyRecord>(policy->id);
        // The versions stay: points of the policy may outlive it.
    });
    return Reply::empty(removed ? 200 : 204);
}

Json version_document(const PolicyVersionRecord& version) {
    return Json{
        {"id", child_id(version.policy_id, "versions", std::to_string(version.version))},
        {"name", std::to_string(version.version)},
        {"type", std::string{kPolicyType} + "/versions"},
        {"properties",
         {{"version", version.version},
          {"inForceSince", format_instant(version.created_at)},
          {"policy", version.properties}}}
    };
}

Reply list_versions(const RequestContext& context) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        const PolicyRecord policy = require_policy(view, context);
        view.each<PolicyVersionRecord>(
            {.parent = policy.id, .order = catalog::Order::kNewestFirst},
            [&](const PolicyVersionRecord& version) {
                items.push_back(version_document(version));
                return true;
            }
        );
    });
    return list_reply(context, std::move(items));
}

Reply simulate_policy(const RequestContext& context) {
    std::int64_t count = kSimulatedRunsDefault;
    Instant from = context.services.clock.now();
    if (context.body.is_object()) {
        const JsonReader body = body_reader(context);
        count = body.optional_integer("count").value_or(count);
        if (count < 1 || count > kSimulatedRunsMax) {
            body.member("count").fail("The number of runs is out of range.", "1 to 10000");
        }
        if (const auto text = body.optional_member("from")) {
            const auto given = parse_instant(text->as_string());
            if (!given) {
                text->fail("Not a date and time.", "2026-01-31T22:00:00Z");
            }
            from = *given;
        }
    }
    PolicyRecord policy;
    context.services.catalog.read([&](const catalog::View& view) {
        policy = require_policy(view, context);
    });
    const protection::BackupPolicy parsed =
        protection::parse_policy(policy.properties, "properties");
    return Reply::ok(to_json(protection::simulate(parsed, from, static_cast<std::size_t>(count))));
}

}  // namespace

void add_backup_policy_routes(std::vector<Route>& routes) {
    const std::string collection = std::string{kVaultPattern} + "/backupPolicies";
    const std::string item = collection + "/{backupPolicyName}";
    const std::string action = std::string{kPolicyType} + "/";
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = collection,
        .action = action + "read",
        .summary = "Lists the backup policies of a vault.",
        .handler = list_policies,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = item,
        .action = action + "read",
        .summary = "Shows a backup policy.",
        .handler = get_policy,
    });
    routes.push_back(Route{
        .verb = Verb::kPut,
        .pattern = item,
        .action = action + "write",
        .summary = "Creates a backup policy or edits it in place.",
        .handler = put_policy,
        .body = BodyRule::kRequired,
    });
    routes.push_back(Route{
        .verb = Verb::kDelete,
        .pattern = item,
        .action = action + "delete",
        .summary = "Deletes a backup policy that no backup instance uses.",
        .handler = delete_policy,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = item + "/versions",
        .action = action + "read",
        .summary = "Lists what a backup policy said before each edit, newest first.",
        .handler = list_versions,
    });
    routes.push_back(Route{
        .verb = Verb::kPost,
        .pattern = item + "/simulate",
        .action = action + "read",
        .summary = "Computes the next runs with tag and expiry, and how many points will be held.",
        .handler = simulate_policy,
        .body = BodyRule::kOptional,
        .auditing = Auditing::kNever,
    });
}

}  // namespace holdfast::control
