// …/locations/{location}: features and other regions; and what an instance has no archive for
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/identity/authorize.h"
#include "control/operations.h"
#include "control/routes/documents.h"
#include "control/routes/lookup.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"
#include "jobs/protection_service.h"
#include "protection/datasource.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::InstanceRecord;
using catalog::VaultRecord;

Reply check_feature_support(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    IgnoredProperties ignored;
    ignored.note_unknown(body, {"objectType", "featureName", "featureType"});
    const std::string name = body.string_or("featureName", "");
    const std::string type =
        body.has("featureType")
            ? body.member("featureType").as_one_of({"Invalid", "DataSourceType"})
            : std::string{"DataSourceType"};
    const bool known =
        type == "DataSourceType" && protection::parse_datasource_type(name).has_value();
    Reply reply = Reply::ok(Json{
        {"objectType", "FeatureValidationResponse"},
        {"featureType", type},
        {"features",
         Json::array(
             {{{"name", name},
               {"supportStatus", known ? "GenerallyAvailable" : "NotSupported"},
               {"exposureControlledFeatures", Json::array()}}}
         )}
    });
    ignored.report(context, reply);
    return reply;
}

/// There is one region: this server. That is said at once, instead of an empty answer that would
/// look like a second region without data.
Reply refuse_cross_region(const RequestContext& context) {
    throw Error{
        ErrorKind::kUnsupportedOperation,
        ErrorText{
            .message = fmt::format(
                "Nothing is replicated to another region: the location '{}' has no secondary one.",
                context.path.at("location")
            ),
            .target = "location",
            .recommended_actions = {"Restore from the vault itself, without --use-secondary-region."
            },
        }
    };
}

Reply refuse_rehydration(const RequestContext& context) {
    context.services.catalog.read([&](const catalog::View& view) {
        (void)require_instance(view, context);
    });
    (void)body_reader(context).string("recoveryPointId");
    throw Error{
        ErrorKind::kUnsupportedOperation,
        ErrorText{
            .message = "No recovery point has to be rehydrated: all of them lie in the VaultStore.",
            .target = "recoveryPointId",
            .recommended_actions = {"Restore from the recovery point directly."},
        }
    };
}

Reply refuse_export(const RequestContext& context) {
    context.services.catalog.read([&](const catalog::View& view) {
        (void)require_vault(view, context);
    });
    throw Error{
        ErrorKind::kUnsupportedOperation,
        ErrorText{
            .message = "Jobs are not exported into a spreadsheet.",
            .target = "exportBackupJobs",
            .recommended_actions =
                {"List them (GET …/backupJobs, with $filter) or query the resource graph."},
        }
    };
}

/// Looks at the datasource again, so that what is wrong with it is known now and not at night.
Reply sync_instance(const RequestContext& context) {
    if (context.body.is_object()) {
        const JsonReader body = body_reader(context);
        if (const auto type = body.optional_member("syncType")) {
            (void)type->as_one_of({"Default", "ForceResync"});
        }
    }
    VaultRecord vault;
    InstanceRecord instance;
    context.services.catalog.read([&](const catalog::View& view) {
        vault = require_vault(view, context);
        instance = require_instance(view, context);
    });
    jobs::ProtectionService& protection = context.services.protection;
    const std::string operation = context.services.operations.start(
        context,
        {.kind = "sync", .vault_id = vault.id, .location = vault.location},
        [&protection, instance](std::stop_token stop) -> Json {
            (void)protection.preflight(instance, stop);
            return nullptr;
        }
    );
    return context.services.operations.accepted(context, operation);
}

/// The instances that protect a resource, asked for at the resource.
Reply list_of_resource(const RequestContext& context) {
    std::string id;
    for (const std::string& segment : context.request.path) {
        id += "/" + segment;
    }
    const std::size_t end =
        to_lower(id).rfind("/providers/microsoft.dataprotection/backupinstances");
    id.resize(end);
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        view.each<InstanceRecord>({.subject = id}, [&](const InstanceRecord& instance) {
            if (!instance.soft_deleted &&
                context.services.authorizer.allows(
                    context.principal, fmt::format("{}/read", kInstanceType), instance.id
                )) {
                items.push_back(instance_document(instance));
            }
            return true;
        });
    });
    return list_reply(context, std::move(items));
}

}  // namespace

void add_location_routes(std::vector<Route>& routes) {
    const std::string location = "/providers/Microsoft.DataProtection/locations/{location}";
    const auto add = [&](std::string pattern,
                         std::string action,
                         std::string summary,
                         Handler handler,
                         BodyRule body) {
        routes.push_back(Route{
            .verb = Verb::kPost,
            .pattern = std::move(pattern),
            .action = std::move(action),
            .summary = std::move(summary),
            .handler = std::move(handler),
            .body = body,
        });
    };
    add("/subscriptions/{subscriptionId}" + location + "/checkFeatureSupport",
        "Microsoft.DataProtection/locations/checkFeatureSupport/action",
        "Says whether a kind of datasource can be protected.",
        check_feature_support,
        BodyRule::kRequired);
    for (const char* verb :
         {"crossRegionRestore",
          "validateCrossRegionRestore",
          "fetchSecondaryRecoveryPoints",
          "fetchCrossRegionRestoreJob",
          "fetchCrossRegionRestoreJobs"}) {
        add(fmt::format("{}{}/{}", kGroupPattern, location, verb),
            fmt::format("Microsoft.DataProtection/locations/{}/action", verb),
            "Refused: a server has no second region.",
            refuse_cross_region,
            BodyRule::kOptional);
    }
    add(std::string{kInstancePattern} + "/rehydrate",
        std::string{kInstanceType} + "/rehydrate/action",
        "Refused: no recovery point lies in an archive.",
        refuse_rehydration,
        BodyRule::kRequired);
    add(std::string{kInstancePattern} + "/sync",
        std::string{kInstanceType} + "/sync/action",
        "Looks at the datasource again and reports what a backup would miss.",
        sync_instance,
        BodyRule::kOptional);
    add(std::string{kVaultPattern} + "/exportBackupJobs",
        "Microsoft.DataProtection/backupVaults/exportBackupJobs/action",
        "Refused: jobs are listed, not exported.",
        refuse_export,
        BodyRule::kOptional);
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/{*resourceId}/providers/Microsoft.DataProtection/backupInstances",
        .action = std::string{kInstanceType} + "/read",
        .summary = "Lists the backup instances that protect a resource.",
        .handler = list_of_resource,
        .access = Access::kAuthenticated,
    });
}

}  // namespace holdfast::control
