#include "base/ids.h"
#include "control/identity/authorize.h"
#include "control/routes/routes.h"
#include "control/routes/testing/api_fixture.h"

namespace holdfast::control {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kAssignments = "/providers/Microsoft.Authorization/roleAssignments";
constexpr const char* kDefinitions = "/providers/Microsoft.Authorization/roleDefinitions";
constexpr const char* kBackupReader = "a795c7a0-d4a2-40c1-ae25-d81f01202912";
constexpr const char* kAccessAdministrator = "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9";

class Roles : public ApiFixture {
protected:
    Roles() : subscription_{fmt::format("/subscriptions/{}", kSubscription)} {
        bob_ = post("/v1.0/applications", {{"displayName", "bob"}}).body["id"];
    }

    static Json body(const std::string& role, const std::string& principal) {
        return Json{
            {"properties",
             {{"roleDefinitionId",
               fmt::format("/subscriptions/{}{}/{}", kSubscription, kDefinitions, role)},
              {"principalId", principal},
              {"principalType", "ServicePrincipal"}}}
        };
    }
    Answer assign(
        const std::string& scope,
        const std::string& role,
        const std::string& principal,
        const std::string& as = "owner"
    ) {
        return call("PUT", scope + kAssignments + "/" + new_guid(), body(role, principal), {}, as);
    }
    Answer as(const std::string& token, std::string_view method, const std::string& path) {
        return call(method, path, nullptr, {}, token);
    }

    std::string subscription_;
    std::string bob_;
};

TEST_F(Roles, AnAssignmentLivesAndDies) {
    make_vault();
    EXPECT_EQ(as(bob_, "GET", vault()).status, 403);
    const std::string path = group() + kAssignments + "/" + new_guid();
    const Answer made = call("PUT", path, body(kBackupReader, bob_), {}, "owner");
    ASSERT_EQ(made.status, 201) << made.body.dump(1);
    EXPECT_EQ(made.body["id"], path);
    EXPECT_EQ(made.body["type"], "Microsoft.Authorization/roleAssignments");
    const Json& properties = made.body["properties"];
    EXPECT_EQ(properties["scope"], group());
    EXPECT_EQ(properties["principalId"], bob_);
    EXPECT_EQ(properties["principalType"], "ServicePrincipal");
    EXPECT_EQ(
        properties["roleDefinitionId"],
        fmt::format("{}{}/{}", subscription_, kDefinitions, kBackupReader)
    );
    EXPECT_EQ(properties["createdBy"], "owner");
    EXPECT_EQ(as(bob_, "GET", vault()).status, 200);
    EXPECT_EQ(call("PUT", vault(), vault_body(), {}, bob_).status, 403);

    EXPECT_EQ(get(path).body, made.body);
    EXPECT_EQ(put(path, body(kBackupReader, bob_)).status, 200);
    EXPECT_EQ(assign(group(), kBackupReader, bob_).code(), "RoleAssignmentExists");
    EXPECT_EQ(put(path, body(std::string{kOwnerRoleId}, bob_)).status, 409);

    const Answer gone = del(path);
    EXPECT_EQ(gone.status, 200);
    EXPECT_EQ(gone.body["name"], made.body["name"]);
    EXPECT_EQ(del(path).status, 204);
    EXPECT_EQ(get(path).status, 404);
    EXPECT_EQ(as(bob_, "GET", vault()).status, 403);
}

TEST_F(Roles, ListsByScopeAndPrincipal) {
    ASSERT_EQ(assign("", kBackupReader, bob_).status, 201);
    ASSERT_EQ(assign(subscription_, kBackupReader, bob_).status, 201);
    ASSERT_EQ(assign(group(), kBackupReader, bob_).status, 201);
    const auto scopes = [&](const std::string& path) {
        std::vector<std::string> out;
        const Answer answer = get(path);
        for (const Json& each : answer.body["value"]) {
            out.push_back(each["properties"]["scope"]);
        }
        return out;
    };
    const std::string at = subscription_ + kAssignments;
    EXPECT_THAT(
        scopes(at + "?$filter=atScope()"), testing::UnorderedElementsAre("/", subscription_)
    );
    EXPECT_THAT(scopes(at), testing::UnorderedElementsAre("/", subscription_, group()));
    EXPECT_EQ(scopes(at + "?$filter=principalId%20eq%20'" + bob_ + "'").size(), 3U);
    EXPECT_EQ(scopes(at + "?$filter=assignedTo('nobody')%20and%20atScope()").size(), 0U);
    EXPECT_EQ(get(at + "?$filter=role%20eq%20'x'").code(), "InvalidQuery");
}

TEST_F(Roles, NobodyGivesRightsAboveHisOwnScope) {
    grant("admin", kAccessAdministrator, group());
    EXPECT_EQ(assign(group(), kBackupReader, bob_, "admin").status, 201);
    EXPECT_EQ(assign(group() + "/providers/A.B/c/d", kBackupReader, bob_, "admin").status, 201);
    // Above, beside, and every way of writing a scope that only looks as if it were below.
    for (const std::string& scope :
         {std::string{},
          subscription_,
          group("rg2"),
          group("rg/../rg2"),
          group() + "2",
          group() + "/../..",
          group() + "%2F..%2Frg2",
          std::string{"//"},
          std::string{"/subscriptions"}}) {
        const Answer refused = assign(scope, kBackupReader, "admin", "admin");
        EXPECT_GE(refused.status, 400) << scope;
        EXPECT_LT(refused.status, 500) << scope;
    }
    for (const char* role : {"Contributor", "Reader", "Backup Contributor"}) {
        grant("worker", role, "/");
        EXPECT_EQ(assign(group(), std::string{kOwnerRoleId}, "worker", "worker").status, 403);
        EXPECT_EQ(
            call(
                "POST", "/v1.0/applications/" + bob_ + "/addPassword", Json::object(), {}, "worker"
            )
                .status,
            403
        );
        EXPECT_EQ(
            call("POST", "/v1.0/applications", {{"displayName", "x"}}, {}, "worker").status, 403
        );
        EXPECT_EQ(as("worker", "DELETE", "/v1.0/servicePrincipals/" + bob_).status, 403);
    }
    // Who administrates a group has no say in the directory.
    EXPECT_EQ(
        call("POST", "/v1.0/applications/" + bob_ + "/addPassword", Json::object(), {}, "admin")
            .status,
        403
    );
}

TEST_F(Roles, RefusesWhatIsWrong) {
    EXPECT_EQ(assign(group(), new_guid(), bob_).code(), "RoleDefinitionDoesNotExist");
    EXPECT_EQ(assign(group(), kBackupReader, new_guid()).code(), "PrincipalNotFound");
    EXPECT_EQ(
        assign("/subscriptions/" + new_guid(), kBackupReader, bob_).code(), "SubscriptionNotFound"
    );
    EXPECT_EQ(put(group() + kAssignments + "/no-guid", body(kBackupReader, bob_)).status, 400);
    Json conditional = body(kBackupReader, bob_);
    conditional["properties"]["condition"] = "@Resource[x] StringEquals 'y'";
    const Answer refused = put(group() + kAssignments + "/" + new_guid(), conditional);
    EXPECT_EQ(refused.status, 400);
    EXPECT_THAT(refused.body.dump(), HasSubstr("Conditions are not supported"));
    EXPECT_EQ(get(group() + kAssignments).body["value"], Json::array());
}

TEST_F(Roles, BuiltInRolesHaveTheShapeThatClientsRead) {
    const Answer list =
        get(subscription_ + kDefinitions +
            "?$filter=roleName%20eq%20'Storage%20Blob%20Data%20Contributor'");
    ASSERT_EQ(list.body["value"].size(), 1U);
    const Json& role = list.body["value"][0];
    EXPECT_EQ(role["name"], "ba92f5b4-2d11-453d-a403-e96b0029c9fe");
    EXPECT_EQ(
        role["id"],
        fmt::format("{}{}/{}", subscription_, kDefinitions, role["name"].get<std::string>())
    );
    EXPECT_EQ(role["properties"]["type"], "BuiltInRole");
    EXPECT_EQ(role["properties"]["assignableScopes"], Json::array({"/"}));
    EXPECT_EQ(role["properties"]["permissions"][0]["dataActions"].size(), 5U);
    std::vector<std::string> names;
    const Answer every = get(subscription_ + kDefinitions);
    for (const Json& each : every.body["value"]) {
        names.push_back(each["properties"]["roleName"]);
    }
    EXPECT_THAT(
        names,
        testing::IsSupersetOf(
            {"Owner",
             "Contributor",
             "Reader",
             "User Access Administrator",
             "Backup Contributor",
             "Backup Operator",
             "Backup Reader",
             "Backup MUA Operator",
             "PostgreSQL Flexible Server Long Term Retention Backup Role",
             "Storage Blob Data Contributor",
             "Key Vault Secrets User",
             "Key Vault Secrets Officer"}
        )
    );
    EXPECT_EQ(get(std::string{kDefinitions} + "/" + kBackupReader).status, 200);
    EXPECT_EQ(get(std::string{kDefinitions} + "/" + new_guid()).status, 404);
    EXPECT_EQ(
        put(subscription_ + kDefinitions + "/" + kBackupReader, Json{{"properties", {}}}).status,
        400
    );
    EXPECT_EQ(del(subscription_ + kDefinitions + "/" + kBackupReader).status, 409);
}

Json custom_role(const std::string& name, const std::string& scope, const std::string& action) {
    return Json{
        {"properties",
         {{"roleName", name},
          {"type", "CustomRole"},
          {"description", "test"},
          {"assignableScopes", Json::array({scope})},
          {"permissions", Json::array({{{"actions", {action}}, {"notActions", {"*/delete"}}}})}}}
    };
}

TEST_F(Roles, CustomRolesCountAndChangeAtOnce) {
    make_vault();
    const std::string guid = new_guid();
    const std::string path = group() + kDefinitions + "/" + guid;
    const Answer made =
        put(path, custom_role("Looker", group(), "Microsoft.DataProtection/backupVaults/*"));
    ASSERT_EQ(made.status, 201) << made.body.dump(1);
    EXPECT_EQ(made.body["properties"]["type"], "CustomRole");
    ASSERT_EQ(assign(group(), guid, bob_).status, 201);
    EXPECT_EQ(as(bob_, "GET", vault()).status, 200);
    EXPECT_EQ(as(bob_, "DELETE", vault()).status, 403);
    EXPECT_EQ(as(bob_, "GET", server()).status, 403);

    ASSERT_EQ(put(path, custom_role("Looker", group(), "A.B/c/read")).status, 200);
    EXPECT_EQ(as(bob_, "GET", vault()).status, 403);
    EXPECT_EQ(assign(subscription_, guid, bob_).status, 400);
    EXPECT_EQ(del(path).code(), "RoleDefinitionHasAssignments");
    EXPECT_EQ(
        put(group() + kDefinitions + "/" + new_guid(), custom_role("looker", group(), "*")).status,
        409
    );
    EXPECT_EQ(
        put(group() + kDefinitions + "/" + new_guid(), custom_role("Owner", group(), "*")).status,
        409
    );
}

TEST_F(Roles, ACustomRoleIsNoWayAboveOnesScope) {
    grant("admin", kAccessAdministrator, group());
    const auto write = [&](const std::string& at, const Json& role, const std::string& guid) {
        return call("PUT", at + kDefinitions + "/" + guid, role, {}, "admin").status;
    };
    EXPECT_EQ(write(group(), custom_role("Mine", group(), "*"), new_guid()), 201);
    EXPECT_EQ(write(group(), custom_role("Wide", "/", "*"), new_guid()), 403);
    EXPECT_EQ(write(group(), custom_role("Side", group("rg2"), "*"), new_guid()), 403);
    // A role of everybody's is not changed from within one group, whatever the new scopes are.
    const std::string shared = new_guid();
    ASSERT_EQ(
        put(std::string{kDefinitions} + "/" + shared, custom_role("Shared", "/", "A.B/c/read"))
            .status,
        201
    );
    EXPECT_EQ(write(group(), custom_role("Shared", group(), "*"), shared), 403);
    EXPECT_EQ(
        call("DELETE", group() + kDefinitions + "/" + shared, nullptr, {}, "admin").status, 403
    );
}

TEST_F(Roles, TheLastWhoCanAssignStays) {
    // The fixture's owner has no record: bob becomes the only one who has.
    const Answer only = assign("", std::string{kOwnerRoleId}, bob_);
    ASSERT_EQ(only.status, 201);
    EXPECT_EQ(del(only.body["id"]).status, 409);
    EXPECT_EQ(as("owner", "DELETE", "/v1.0/servicePrincipals/" + bob_).status, 409);
    const std::string other = post("/v1.0/applications", {{"displayName", "eve"}}).body["id"];
    ASSERT_EQ(assign("", kAccessAdministrator, other).status, 201);
    EXPECT_EQ(del(only.body["id"]).status, 200);
}

TEST_F(Roles, OwnersManageAndDoNotReadData) {
    grant("manager", "Owner", "/");
    grant("reader", "Key Vault Secrets User", "/");
    ASSERT_EQ(put("/secrets/db", {{"value", "pw"}}).status, 200);
    EXPECT_EQ(as("manager", "GET", "/secrets/db").status, 403);
    EXPECT_EQ(as("reader", "GET", "/secrets/db").body["value"], "pw");
    EXPECT_EQ(call("PUT", "/secrets/db", {{"value", "x"}}, {}, "reader").status, 403);
    // A role on one secret is not a role on another.
    grant(
        "one",
        "Key Vault Secrets User",
        group("default") + "/providers/Microsoft.KeyVault/vaults/default/secrets/db"
    );
    ASSERT_EQ(put("/secrets/db2", {{"value", "pw2"}}).status, 200);
    EXPECT_EQ(as("one", "GET", "/secrets/DB").status, 200);
    EXPECT_EQ(as("one", "GET", "/secrets/db2").status, 403);
    EXPECT_EQ(as("one", "GET", "/secrets").status, 403);
}

// ---- the directory

TEST_F(Roles, GraphAnswersWhatAzAsks) {
    const Answer made = post("/v1.0/applications", {{"displayName", "it's \"me\""}});
    ASSERT_EQ(made.status, 201);
    const std::string id = made.body["id"];
    const std::string app = made.body["appId"];
    EXPECT_EQ(post("/v1.0/servicePrincipals", {{"appId", app}}).body["id"], id);
    const auto find = [&](const std::string& type, const std::string& filter) {
        return get("/v1.0/" + type + "?$filter=" + percent_encode(filter)).body["value"];
    };
    EXPECT_EQ(
        find("servicePrincipals", "servicePrincipalNames/any(c:c eq '" + app + "')")[0]["id"], id
    );
    EXPECT_EQ(find("servicePrincipals", "displayName eq 'it''s \"me\"'")[0]["id"], id);
    EXPECT_EQ(find("applications", "startswith(displayName,'it''s')").size(), 1U);
    EXPECT_EQ(find("applications", "appId eq '" + id + "'"), Json::array());
    EXPECT_EQ(get("/v1.0/servicePrincipals?$filter=x").code(), "InvalidQuery");
    const Answer looked = post(
        "/v1.0/directoryObjects/getByIds",
        {{"ids", {id, new_guid()}}, {"types", {"user", "servicePrincipal"}}}
    );
    ASSERT_EQ(looked.body["value"].size(), 1U);
    EXPECT_EQ(looked.body["value"][0]["@odata.type"], "#microsoft.graph.servicePrincipal");
    make_vault();
    const std::string identity = get(vault()).body["identity"]["principalId"];
    EXPECT_EQ(get("/v1.0/servicePrincipals/" + identity).body["displayName"], "TestBkpVault");
    EXPECT_EQ(del("/v1.0/servicePrincipals/" + identity).status, 409);
    EXPECT_EQ(post("/v1.0/servicePrincipals/" + identity + "/addPassword").status, 409);
    // Who has no part in this server sees itself only.
    EXPECT_EQ(as(bob_, "GET", "/v1.0/servicePrincipals").body["value"].size(), 1U);
    EXPECT_EQ(as(bob_, "GET", "/v1.0/servicePrincipals/" + id).status, 403);
    EXPECT_EQ(as(bob_, "GET", "/v1.0/me").body["displayName"], "bob");
}

TEST_F(Roles, SecretsOfPrincipalsAreShownOnceAndRevoked) {
    const std::string one = "/v1.0/servicePrincipals/" + bob_;
    const Answer made =
        post(one + "/addPassword", {{"passwordCredential", {{"displayName", "rbac"}}}});
    ASSERT_EQ(made.status, 200);
    const std::string secret = made.body["secretText"];
    EXPECT_THAT(secret, testing::StartsWith("hf_"));
    const Answer shown = get(one);
    ASSERT_EQ(shown.body["passwordCredentials"].size(), 1U);
    EXPECT_THAT(shown.body.dump(), Not(HasSubstr(secret)));
    EXPECT_EQ(
        post(
            one + "/addPassword",
            {{"passwordCredential", {{"endDateTime", "2001-01-01T00:00:00Z"}}}}
        ).status,
        400
    );
    const Json key{{"keyId", made.body["keyId"]}};
    EXPECT_EQ(post("/v1.0/applications/" + bob_ + "/removePassword", key).status, 204);
    EXPECT_EQ(get(one).body["passwordCredentials"], Json::array());
    EXPECT_EQ(post(one + "/removePassword", {{"keyId", "0123456789abcdef"}}).status, 404);
}

TEST_F(Roles, UsersAreMadeAndDisabled) {
    const Json user{
        {"userPrincipalName", "alice@example.org"},
        {"displayName", "Alice"},
        {"passwordProfile", {{"password", "correct horse battery"}}}
    };
    const Answer made = post("/v1.0/users", user);
    ASSERT_EQ(made.status, 201) << made.body.dump();
    EXPECT_THAT(made.body.dump(), Not(HasSubstr("correct horse")));
    EXPECT_EQ(post("/v1.0/users", user).status, 409);
    EXPECT_EQ(get("/v1.0/users/ALICE@example.org").body["id"], made.body["id"]);
    EXPECT_EQ(
        call("PATCH", "/v1.0/users/alice@example.org", {{"accountEnabled", false}}).status, 204
    );
    EXPECT_EQ(get("/v1.0/users/alice@example.org").body["accountEnabled"], false);
    Json bad = user;
    bad["userPrincipalName"] = "no-at";
    EXPECT_EQ(post("/v1.0/users", bad).status, 400);
    bad = user;
    bad["userPrincipalName"] = "bob@example.org";
    bad["passwordProfile"]["password"] = "short";
    const Answer refused = post("/v1.0/users", bad);
    EXPECT_EQ(refused.status, 400);
    EXPECT_THAT(refused.body.dump(), Not(HasSubstr("\"short\"")));
    EXPECT_EQ(del("/v1.0/users/alice@example.org").status, 204);
    EXPECT_EQ(get("/v1.0/users/alice@example.org").status, 404);
}

// ---- the vault's identity

TEST_F(Roles, AVaultsIdentityIsGivenWhatItNeedsByWhoMay) {
    make_vault();
    make_server();
    make_policy();
    // By whom may configure protection and read, but not assign roles: named, and nothing changes.
    grant("operator", "Backup Contributor", group());
    const std::string instance = vault() + "/backupInstances/BI";
    const Answer refused = call("PUT", instance, instance_body(), {}, "operator");
    EXPECT_EQ(refused.status, 403);
    EXPECT_EQ(refused.code(), "UserErrorMissingRequiredPermissions");
    const std::string identity = get(vault()).body["identity"]["principalId"];
    EXPECT_EQ(refused.body["error"]["details"].size(), 2U);
    const std::string text = refused.body.dump();
    EXPECT_THAT(text, HasSubstr("'Reader' on " + group("ossrg")));
    EXPECT_THAT(
        text,
        HasSubstr("'PostgreSQL Flexible Server Long Term Retention Backup Role' on " + server())
    );
    EXPECT_THAT(
        text, HasSubstr("holdfast role assignment create --assignee-object-id " + identity)
    );
    EXPECT_EQ(get(instance).status, 404);
    EXPECT_EQ(get(server() + kAssignments).body["value"], Json::array());
    // By the owner: granted, visible, audited; and from then on the operator may too.
    ASSERT_EQ(call("PUT", instance, instance_body()).status, 201);
    const Json granted = get(server() + kAssignments).body["value"];
    ASSERT_EQ(granted.size(), 2U);
    EXPECT_EQ(granted[0]["properties"]["principalId"], identity);
    bool audited = false;
    catalog().read([&](const catalog::View& view) {
        for (const auto& record : view.audit(std::nullopt, 20)) {
            audited =
                audited || (record.details.contains("automatic") && record.principal_id == "owner");
        }
    });
    EXPECT_TRUE(audited);
    EXPECT_EQ(call("PUT", instance, instance_body(), {}, "operator").status, 201);
    // Taken away, it is missed again.
    for (const Json& each : granted) {
        ASSERT_EQ(del(each["id"]).status, 200);
    }
    EXPECT_EQ(
        call(
            "POST",
            instance + "/backup",
            {{"backupRuleOptions", {{"ruleName", "BackupWeekly"}, {"triggerOption", Json::object()}}
            }},
            {},
            "operator"
        )
            .code(),
        "UserErrorMissingRequiredPermissions"
    );
}

TEST_F(Roles, AVaultWithoutIdentityProtectsNothing) {
    Json body = vault_body();
    body["identity"] = {{"type", "None"}};
    ASSERT_EQ(put(vault(), body).status, 201);
    make_server();
    make_policy();
    const Answer refused = put(vault() + "/backupInstances/BI", instance_body());
    EXPECT_EQ(refused.code(), "UserErrorMissingRequiredPermissions");
    EXPECT_THAT(refused.body.dump(), HasSubstr("has no identity"));
}

// ---- the matrix

/// Every route, with values for its parameters, below the scope that a grant is on.
std::string path_for(const Route& route, const std::string& subscription) {
    std::string out;
    for (const std::string& segment : split(route.pattern, '/')) {
        if (segment.empty()) {
            continue;
        }
        if (segment == "{*scope}") {
            out += "/subscriptions/" + subscription + "/resourceGroups/rg";
        } else if (segment == "{subscriptionId}") {
            out += "/" + subscription;
        } else if (segment == "{resourceGroupName}") {
            out += "/rg";
        } else if (segment.front() == '{') {
            out += "/x";
        } else {
            out += "/" + segment;
        }
    }
    return out;
}

TEST_F(Roles, MatrixOfEveryRouteRoleAndScope) {
    const std::string at = group();
    const std::vector<std::pair<std::string, std::string>> scopes{
        {"above", "/"},
        {"above", subscription_},
        {"at", at},
        {"beside", group("other")},
        {"beside", "/subscriptions/" + new_guid()},
    };
    std::size_t judged = 0;
    for (const RoleDefinition& role : builtin_roles()) {
        for (const auto& [where, scope] : scopes) {
            const std::string who = fmt::format("m{}", judged);
            grant(who, role.id, scope);
            for (const Route& route : all_routes()) {
                if (route.access != Access::kAuthorized) {
                    continue;
                }
                const std::string path = path_for(route, std::string{kSubscription});
                // The reference: what the role says, and whether its scope reaches the request's.
                std::string request_scope = path;
                if (route.scope) {
                    request_scope = is_data_action(route.action)
                                        ? fmt::format("{}/providers/x", group("default"))
                                        : "/";
                }
                const bool may = role_permits(role, route.action) &&
                                 (scope == "/" || (request_scope + "/").starts_with(scope + "/"));
                const Answer answer = call(to_string(route.verb), path, nullptr, {}, who);
                const bool refused = answer.status == 403 && answer.code() == "AuthorizationFailed";
                EXPECT_EQ(!refused, may)
                    << role.name << " " << where << " (" << scope << "): " << to_string(route.verb)
                    << " " << path << " -> " << answer.status << " " << answer.code();
                ++judged;
            }
        }
    }
    EXPECT_GT(judged, 3000U);
}

}  // namespace
}  // namespace holdfast::control
