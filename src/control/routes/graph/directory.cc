// /v1.0: the part of Microsoft Graph that az asks for: service principals, applications, users.
// An application and its service principal are one record here, with one object id.
#include "control/identity/directory.h"

#include "base/ids.h"
#include "base/text.h"
#include "control/arm.h"
#include "control/identity/identity.h"
#include "control/routes/providers/authorization/role_scope.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::PrincipalRecord;
using catalog::TokenRecord;

// Under Microsoft.Authorization, because who may reset another's credential can become that other:
// Contributor must not have it.
constexpr std::string_view kRead = "Microsoft.Authorization/principals/read";
constexpr std::string_view kWrite = "Microsoft.Authorization/principals/write";
constexpr std::string_view kDelete = "Microsoft.Authorization/principals/delete";
constexpr std::string_view kCredentials = "Microsoft.Authorization/principals/credentials/write";
constexpr std::string_view kRoot = "/";
constexpr std::size_t kIdsMax = 1000;

bool is_user(const PrincipalRecord& principal) {
    return principal.kind == "User";
}

/// Who is known to the directory by a client id: a vault's identity has its object id for one.
const std::string& client_id_of(const PrincipalRecord& principal) {
    return principal.login_name.empty() ? principal.id : principal.login_name;
}

Json credential_document(const TokenRecord& token) {
    return Json{
        {"keyId", token.id},
        {"displayName", token.description},
        {"startDateTime", format_instant_seconds(token.created_at)},
        {"endDateTime",
         token.expires_at ? Json(format_instant_seconds(*token.expires_at)) : Json(nullptr)},
        {"hint", nullptr},
        {"secretText", nullptr},
        {"customKeyIdentifier", nullptr}
    };
}

Json principal_document(const catalog::View& view, const PrincipalRecord& principal) {
    Json out{
        {"id", principal.id},
        {"displayName", principal.display_name},
        {"accountEnabled", principal.enabled},
        {"createdDateTime", format_instant_seconds(principal.created_at)},
    };
    if (is_user(principal)) {
        out["@odata.type"] = "#microsoft.graph.user";
        out["userPrincipalName"] = principal.login_name;
        out["mail"] = nullptr;
        return out;
    }
    const bool managed = principal.kind == "ManagedIdentity";
    out["@odata.type"] = "#microsoft.graph.servicePrincipal";
    out["appId"] = client_id_of(principal);
    out["appDisplayName"] = principal.display_name;
    out["servicePrincipalNames"] = Json::array({client_id_of(principal)});
    out["servicePrincipalType"] = managed ? "ManagedIdentity" : "Application";
    out["alternativeNames"] =
        managed ? Json::array({"isExplicit=False", principal.resource_id}) : Json::array();
    out["tags"] = principal.tags;
    out["identifierUris"] = Json::array();
    out["keyCredentials"] = Json::array();
    out["passwordCredentials"] = Json::array();
    for (const TokenRecord& token : view.list<TokenRecord>({.parent = principal.id})) {
        if (!token.revoked) {
            out["passwordCredentials"].push_back(credential_document(token));
        }
    }
    return out;
}

/// Everybody who has any part in this server may see who else has; who has none sees itself.
bool may_see(const RequestContext& context, const PrincipalRecord& principal) {
    return equal_ignoring_case(context.principal.object_id, principal.id) ||
           context.services.authorizer.allows_somewhere(context.principal, kRead);
}

/// One comparison of a Graph filter: what is compared, how, and with what.
struct GraphFilter {
    std::string property;
    bool prefix = false;
    std::string value;

    [[nodiscard]] bool passes(const PrincipalRecord& principal) const {
        std::string is = principal.display_name;
        if (property == "id") {
            is = principal.id;
        } else if (property == "appId" || property == "servicePrincipalNames") {
            is = is_user(principal) ? "" : client_id_of(principal);
        } else if (property == "userPrincipalName") {
            is = is_user(principal) ? principal.login_name : "";
        }
        return prefix ? starts_with_ignoring_case(is, value) : equal_ignoring_case(is, value);
    }
};

std::optional<GraphFilter> read_clause(std::string_view clause) {
    const auto open = clause.find('\'');
    const auto close = clause.rfind('\'');
    if (open == std::string_view::npos || close <= open) {
        return std::nullopt;
    }
    GraphFilter out;
    for (std::size_t i = open + 1; i < close; ++i) {
        out.value += clause[i];
        i += clause[i] == '\'' && i + 1 < close && clause[i + 1] == '\'';  // Doubled in quotes.
    }
    const std::string before = to_lower(trim(clause.substr(0, open)));
    const std::string_view after = trim(clause.substr(close + 1));
    for (const char* name : {"id", "appId", "displayName", "userPrincipalName"}) {
        out.property = name;
        if (before == to_lower(name) + " eq" && after.empty()) {
            return out;
        }
        if ((before == "startswith(" + to_lower(name) + "," ||
             before == "startswith(" + to_lower(name) + ", ") &&
            after == ")") {
            out.prefix = true;
            return out;
        }
    }
    out.property = "servicePrincipalNames";
    if (before == "serviceprincipalnames/any(c:c eq" && after == ")") {
        return out;
    }
    return std::nullopt;
}

std::vector<GraphFilter> read_graph_filter(const RequestContext& context) {
    std::vector<GraphFilter> filters;
    const std::string text = context.request.query.get_or("$filter", "");
    std::string_view rest = trim(text);
    while (!rest.empty()) {
        const auto join = to_lower(rest).find("' and ");
        const std::string_view clause =
            join == std::string::npos ? rest : trim(rest.substr(0, join + 1));
        rest = join == std::string::npos ? std::string_view{} : trim(rest.substr(join + 6));
        auto filter = read_clause(clause);
        if (!filter) {
            throw Error{
                ErrorKind::kInvalidQuery,
                ErrorText{
                    .message = fmt::format(
                        "The filter '{}' is not supported here.", clause.substr(0, 200)
                    ),
                    .target = "$filter",
                    .recommended_actions =
                        {"Use displayName, appId, id or userPrincipalName with eq, or "
                         "startswith(displayName,'…')."},
                }
            };
        }
        filters.push_back(std::move(*filter));
    }
    return filters;
}

enum class Kinds { kServicePrincipals, kUsers };

bool is_of(Kinds kinds, const PrincipalRecord& principal) {
    return is_user(principal) == (kinds == Kinds::kUsers);
}

Handler list_of(Kinds kinds) {
    return [kinds](const RequestContext& context) {
        const auto filters = read_graph_filter(context);
        Json value = Json::array();
        context.services.catalog.read([&](const catalog::View& view) {
            view.each<PrincipalRecord>({}, [&](const PrincipalRecord& principal) {
                const bool passes =
                    std::all_of(filters.begin(), filters.end(), [&](const GraphFilter& filter) {
                        return filter.passes(principal);
                    });
                if (is_of(kinds, principal) && passes && may_see(context, principal)) {
                    value.push_back(principal_document(view, principal));
                }
                return true;
            });
        });
        return Reply::ok(Json{{"value", std::move(value)}});
    };
}

Error no_such_object(const std::string& id) {
    return Error{
        ErrorKind::kPrincipalNotFound,
        ErrorText{
            .message = fmt::format(
                "Resource '{}' does not exist or one of its queried reference-property objects are "
                "not present.",
                id.substr(0, 100)
            ),
            .target = id.substr(0, 100),
            .recommended_actions = {"Give an object id, a client id or a user name."},
        }
    };
}

PrincipalRecord require_of(Kinds kinds, const catalog::View& view, const RequestContext& context) {
    const std::string& id = context.path.at("id");
    auto principal = find_principal(view, id);
    if (!principal || !is_of(kinds, *principal)) {
        throw no_such_object(id);
    }
    return std::move(*principal);
}

Handler show_of(Kinds kinds) {
    return [kinds](const RequestContext& context) {
        Json document;
        context.services.catalog.read([&](const catalog::View& view) {
            const PrincipalRecord principal = require_of(kinds, view, context);
            if (!may_see(context, principal)) {
                context.services.authorizer.authorize(context.principal, kRead, kRoot);
            }
            document = principal_document(view, principal);
        });
        return Reply::ok(std::move(document));
    };
}

Reply create_application(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    Json tags = Json::array();
    if (const auto given = body.optional_member("tags")) {
        for (const JsonReader& tag : given->elements()) {
            tags.push_back(tag.as_string());
        }
    }
    if (const auto keys = body.optional_member("keyCredentials")) {
        if (!keys->elements().empty()) {
            keys->fail("Logging in with a certificate is not supported; add a password.");
        }
    }
    Json document;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const auto principal =
            add_service_principal(transaction, body.string("displayName"), std::move(tags));
        document = principal_document(transaction, principal);
    });
    return Reply::json(201, std::move(document));
}

/// In Graph a second object for an application; here it is there already.
Reply create_service_principal(const RequestContext& context) {
    const std::string app_id = body_reader(context).string("appId");
    Json document;
    context.services.catalog.read([&](const catalog::View& view) {
        const auto principal = find_principal(view, app_id);
        if (!principal || is_user(*principal)) {
            throw no_such_object(app_id);
        }
        document = principal_document(view, *principal);
    });
    return Reply::json(201, std::move(document));
}

Reply create_user(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    const JsonReader profile = body.member("passwordProfile");
    const JsonReader password = profile.member("password");
    if (!password.value().is_string()) {
        // Not through the reader: its message would quote the value.
        profile.fail("password must be a string.");
    }
    const std::string hash = context.services.identity.passwords.hash(Secret{password.as_string()});
    const std::string name = body.string("userPrincipalName");
    Json document;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const auto user = add_user(transaction, name, body.string_or("displayName", name), hash);
        document = principal_document(transaction, user);
    });
    return Reply::json(201, std::move(document));
}

/// A user's password, name, or whether it may log in. What it had before ends with either of the
/// latter two.
Reply patch_user(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    std::string hash;
    if (const auto profile = body.optional_member("passwordProfile")) {
        const JsonReader password = profile->member("password");
        if (!password.value().is_string()) {
            profile->fail("password must be a string.");
        }
        hash = context.services.identity.passwords.hash(Secret{password.as_string()});
    }
    const auto enabled = body.optional_bool("accountEnabled");
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        PrincipalRecord user = require_of(Kinds::kUsers, transaction, context);
        user.enabled = enabled.value_or(user.enabled);
        user.display_name = body.string_or("displayName", user.display_name);
        if (!hash.empty()) {
            user.password_hash = hash;
        }
        if (!hash.empty() || !user.enabled) {
            revoke_credentials(transaction, user);
        } else {
            transaction.put(user);
        }
    });
    return Reply::empty(204);
}

Handler delete_of(Kinds kinds) {
    return [kinds](const RequestContext& context) {
        context.services.catalog.write([&](catalog::Transaction& transaction) {
            const PrincipalRecord principal = require_of(kinds, transaction, context);
            for (const auto& each :
                 transaction.list<catalog::RoleAssignmentRecord>({.subject = principal.id})) {
                check_roles_stay_assignable(transaction, each.id);
            }
            remove_principal(transaction, principal);
        });
        return Reply::empty(204);
    };
}

std::optional<Instant> end_of(const RequestContext& context, const JsonReader& body) {
    const auto credential = body.optional_member("passwordCredential");
    const auto text =
        credential ? credential->optional_string("endDateTime") : std::optional<std::string>{};
    if (!text) {
        return std::nullopt;
    }
    const auto end = parse_instant(*text);
    if (!end || *end <= context.services.clock.now()) {
        credential->member("endDateTime").fail("Expected an instant in the future.");
    }
    return end;
}

Reply add_password(const RequestContext& context) {
    const Json none = Json::object();
    const JsonReader body{
        context.body.is_null() ? none : context.body, "", ErrorKind::kInvalidRequestContent
    };
    const auto end = end_of(context, body);
    std::string name = "password";
    if (const auto credential = body.optional_member("passwordCredential")) {
        name = credential->string_or("displayName", name).substr(0, 256);
    }
    Json document;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const PrincipalRecord principal =
            require_of(Kinds::kServicePrincipals, transaction, context);
        if (principal.kind == "ManagedIdentity") {
            throw Error{
                ErrorKind::kConflict,
                ErrorText{
                    .message = "A vault's managed identity has no credentials.",
                    .target = principal.id,
                    .recommended_actions = {"Make a service principal: holdfast ad sp "
                                            "create-for-rbac"},
                }
            };
        }
        const IssuedToken issued = context.services.identity.tokens.issue(
            transaction, {.principal_id = principal.id, .description = name, .expires_at = end}
        );
        document = credential_document(*transaction.get<TokenRecord>(issued.id));
        document["secretText"] = issued.text.expose_text();
    });
    return Reply::ok(std::move(document));
}

Reply remove_password(const RequestContext& context) {
    const std::string key_id = body_reader(context).string("keyId");
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        PrincipalRecord principal = require_of(Kinds::kServicePrincipals, transaction, context);
        const auto token = transaction.get<TokenRecord>(key_id);
        if (!token || !equal_ignoring_case(token->principal_id, principal.id)) {
            throw no_such_object(key_id);
        }
        (void)context.services.identity.tokens.revoke(transaction, key_id);
        // What was got with it goes too; which that was, nobody has written down.
        principal.tokens_valid_from = transaction.now();
        transaction.put(principal);
    });
    return Reply::empty(204);
}

Handler revoke_of(Kinds kinds) {
    return [kinds](const RequestContext& context) {
        context.services.catalog.write([&](catalog::Transaction& transaction) {
            PrincipalRecord principal = require_of(kinds, transaction, context);
            principal.tokens_valid_from = transaction.now();
            transaction.put(principal);
        });
        return Reply::ok(Json{{"value", true}});
    };
}

Reply get_by_ids(const RequestContext& context) {
    const auto ids = body_reader(context).member("ids").elements();
    if (ids.size() > kIdsMax) {
        body_reader(context).member("ids").fail("At most 1000 ids are looked up at once.");
    }
    Json value = Json::array();
    context.services.catalog.read([&](const catalog::View& view) {
        for (const JsonReader& id : ids) {
            const auto principal = view.get<PrincipalRecord>(id.as_string());
            if (principal && may_see(context, *principal)) {
                value.push_back(principal_document(view, *principal));
            }
        }
    });
    return Reply::ok(Json{{"value", std::move(value)}});
}

Reply get_me(const RequestContext& context) {
    Json document;
    context.services.catalog.read([&](const catalog::View& view) {
        const auto principal = view.get<PrincipalRecord>(context.principal.object_id);
        if (!principal) {
            throw no_such_object(context.principal.object_id);
        }
        document = principal_document(view, *principal);
    });
    return Reply::ok(std::move(document));
}

struct Row {
    Verb verb;
    std::string_view path;
    std::string_view action;
    std::string_view summary;
    Handler handler;
};

void add_row(std::vector<Route>& routes, const Row& row) {
    const bool reads = row.action == kRead;
    routes.push_back(Route{
        .verb = row.verb,
        .pattern = fmt::format("/v1.0/{}", row.path),
        .action = std::string{row.action},
        .summary = std::string{row.summary},
        .handler = row.handler,
        .body = row.verb == Verb::kPost || row.verb == Verb::kPatch ? BodyRule::kOptional
                                                                    : BodyRule::kNone,
        .access = reads ? Access::kAuthenticated : Access::kAuthorized,
        .api_version = ApiVersion::kExempt,
        .auditing = reads ? Auditing::kNever : Auditing::kByVerb,
        .scope = [](const Services&,
                    const Request&,
                    const PathParameters&) { return std::string{kRoot}; },
    });
}

}  // namespace

void add_directory_routes(std::vector<Route>& routes) {
    for (const char* type : {"servicePrincipals", "applications"}) {
        const Kinds kind = Kinds::kServicePrincipals;
        const std::string all{type};
        const std::string one = all + "/{id}";
        add_row(routes, {Verb::kGet, all, kRead, "Lists service principals.", list_of(kind)});
        add_row(routes, {Verb::kGet, one, kRead, "Shows a service principal.", show_of(kind)});
        add_row(
            routes, {Verb::kDelete, one, kDelete, "Deletes a service principal.", delete_of(kind)}
        );
        add_row(
            routes,
            {Verb::kPost,
             one + "/addPassword",
             kCredentials,
             "Makes a client secret; the only time that it is shown.",
             add_password}
        );
        add_row(
            routes,
            {Verb::kPost,
             one + "/removePassword",
             kCredentials,
             "Revokes a client secret and all tokens of its service principal.",
             remove_password}
        );
    }
    add_row(
        routes,
        {Verb::kPost,
         "applications",
         kWrite,
         "Makes an application with its service principal.",
         create_application}
    );
    add_row(
        routes,
        {Verb::kPost,
         "servicePrincipals",
         kWrite,
         "Answers the service principal of an application.",
         create_service_principal}
    );
    add_row(
        routes,
        {Verb::kPost,
         "servicePrincipals/{id}/revokeSignInSessions",
         kCredentials,
         "Revokes all tokens of a service principal.",
         revoke_of(Kinds::kServicePrincipals)}
    );
    const Kinds users = Kinds::kUsers;
    add_row(routes, {Verb::kGet, "users", kRead, "Lists users.", list_of(users)});
    add_row(routes, {Verb::kPost, "users", kWrite, "Makes a user.", create_user});
    add_row(routes, {Verb::kGet, "users/{id}", kRead, "Shows a user.", show_of(users)});
    add_row(
        routes,
        {Verb::kPatch,
         "users/{id}",
         kCredentials,
         "Changes a user's password or name, or disables it.",
         patch_user}
    );
    add_row(routes, {Verb::kDelete, "users/{id}", kDelete, "Deletes a user.", delete_of(users)});
    add_row(
        routes,
        {Verb::kPost,
         "users/{id}/revokeSignInSessions",
         kCredentials,
         "Revokes all tokens of a user.",
         revoke_of(users)}
    );
    add_row(routes, {Verb::kGet, "me", kRead, "Shows who asks.", get_me});
    add_row(
        routes,
        {Verb::kPost,
         "directoryObjects/getByIds",
         kRead,
         "Looks principals up by object id.",
         get_by_ids}
    );
}

}  // namespace holdfast::control
