// /adfs: the authority that az and the SDKs log in at. In the manner of ADFS, because only then do
// the clients ask nobody else.
#include "base/log.h"
#include "base/text.h"
#include "control/audit.h"
#include "control/identity/identity.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

constexpr std::size_t kFormBytesMax = 64 * 1024;

Reply get_configuration(const RequestContext& context) {
    const std::string authority = context.base_url + "/adfs";
    return Reply::ok(Json{
        // az takes the tenant's id from the first segment of the issuer's path.
        {"issuer", fmt::format("{}/{}/", context.base_url, context.services.identity.tenant_id)},
        {"authorization_endpoint", authority + "/oauth2/authorize"},
        {"token_endpoint", authority + "/oauth2/token"},
        {"jwks_uri", authority + "/keys"},
        {"grant_types_supported", Json::array({"client_credentials", "password", "refresh_token"})},
        {"token_endpoint_auth_methods_supported", Json::array({"client_secret_post"})},
        {"response_types_supported", Json::array({"code"})},
        {"subject_types_supported", Json::array({"pairwise"})},
        {"id_token_signing_alg_values_supported", Json::array({"RS256"})}
    });
}

Reply get_keys(const RequestContext& context) {
    return Reply::ok(context.services.identity.keys.published());
}

Query read_form(const Request& request) {
    const std::string type = to_lower(request.headers.get_or("Content-Type", ""));
    if (!type.starts_with("application/x-www-form-urlencoded")) {
        throw Error{
            ErrorKind::kUnsupportedMediaType,
            ErrorText{
                .message = "A token is asked for with a form.",
                .target = "Content-Type",
                .recommended_actions = {"Send Content-Type: application/x-www-form-urlencoded."},
            }
        };
    }
    if (request.body.size() > kFormBytesMax) {
        throw Error{ErrorKind::kPayloadTooLarge, "The form is too large for a token request."};
    }
    return parse_target("/?" + request.body).query;
}

/// Who tried, and what came of it; never what was given as a secret.
void audit_login(const RequestContext& context, const LoginOutcome& outcome) {
    catalog::AuditRecord record;
    if (outcome.principal) {
        record.principal_id = outcome.principal->id;
        record.principal_name = outcome.principal->display_name;
    }
    record.peer = context.request.peer_address;
    record.method = context.request.method;
    record.path = "/adfs/oauth2/token";
    record.action = context.route.action;
    record.scope = "/";
    record.status = outcome.status;
    record.code = outcome.code;
    record.correlation_id = context.request.correlation_id;
    record.details["account"] = outcome.account;
    context.services.audit.write(std::move(record));
}

Reply post_token(const RequestContext& context) {
    const Query form = read_form(context.request);
    const LoginOutcome outcome = context.services.identity.logins.login(
        {.form = form, .origin = context.base_url, .peer = context.request.peer_address}
    );
    // Successes, and the failures that the limiter counts. Nobody is judged by what is refused
    // unread, and a flood of it must not fill the disk.
    if (outcome.principal || outcome.code == "invalid_client" || outcome.code == "invalid_grant") {
        audit_login(context, outcome);
    } else {
        log_warning(
            "login refused",
            {{"code", outcome.code},
             {"peer", context.request.peer_address},
             {"correlation_id", context.request.correlation_id}}
        );
    }
    Reply reply = Reply::json(outcome.status, outcome.body);
    reply.headers.set("Cache-Control", "no-store");
    reply.headers.set("Pragma", "no-cache");
    if (outcome.retry_after) {
        reply.headers.set("Retry-After", std::to_string(outcome.retry_after->count()));
    }
    return reply;
}

/// `{"oldKeys":"Keep"|"Remove"}`: whether tokens that were issued until now stay good.
Reply rotate_key(const RequestContext& context) {
    auto old = KeyRing::OldKeys::kVerify;
    if (!context.body.is_null()) {
        const JsonReader body = body_reader(context);
        body.refuse_unknown({"oldKeys"});
        if (const auto given = body.optional_member("oldKeys")) {
            old = given->as_one_of({"Keep", "Remove"}) == "Remove" ? KeyRing::OldKeys::kRemove
                                                                   : KeyRing::OldKeys::kVerify;
        }
    }
    const std::string id = context.services.identity.keys.rotate(old);
    return Reply::ok(
        Json{{"keyId", id}, {"keys", context.services.identity.keys.published()["keys"].size()}}
    );
}

}  // namespace

void add_adfs_routes(std::vector<Route>& routes) {
    const auto add = [&](std::string pattern, std::string summary, Handler handler) {
        routes.push_back(Route{
            .pattern = std::move(pattern),
            .action = "Microsoft.Authorization/metadata/read",
            .summary = std::move(summary),
            .handler = std::move(handler),
            .access = Access::kAnonymous,
            .api_version = ApiVersion::kExempt,
        });
    };
    add("/adfs/.well-known/openid-configuration",
        "Describes the authority that clients log in at.",
        get_configuration);
    add("/adfs/{tenant}/.well-known/openid-configuration",
        "The same, for clients that name a tenant.",
        get_configuration);
    add("/adfs/{tenant}/v2.0/.well-known/openid-configuration",
        "The same, for newer clients that name a tenant.",
        get_configuration);
    add("/adfs/keys", "Publishes the keys that tokens are signed with (JWKS).", get_keys);
    const auto add_token = [&](std::string pattern, std::string summary) {
        routes.push_back(Route{
            .verb = Verb::kPost,
            .pattern = std::move(pattern),
            .action = "Microsoft.Authorization/tokens/action",
            .summary = std::move(summary),
            .handler = post_token,
            .body = BodyRule::kRaw,
            .access = Access::kAnonymous,
            .api_version = ApiVersion::kExempt,
            .auditing = Auditing::kByHandler,
        });
    };
    add_token(
        "/adfs/oauth2/token",
        "Issues an access token for a client secret, a password or a refresh token."
    );
    // Terraform's azurerm reads no openid-configuration: it puts this behind the login endpoint.
    add_token(
        "/adfs/{tenant}/oauth2/v2.0/token", "The same, for clients that build the URL themselves."
    );
    routes.push_back(Route{
        .verb = Verb::kPost,
        .pattern = "/providers/Holdfast.Identity/rotateSigningKey",
        .action = "Microsoft.Authorization/signingKeys/write",
        .summary = "Signs tokens with a new key from now on; old ones verify on, or are removed.",
        .handler = rotate_key,
        .body = BodyRule::kOptional,
        .api_version = ApiVersion::kExempt,
        .scope =
            [](const Services&, const Request&, const PathParameters&) { return std::string{"/"}; },
    });
}

}  // namespace holdfast::control
