#include "control/dispatcher.h"

#include "control/arm.h"
#include "control/testing/control_plane.h"

#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

using testing::body_of;
using testing::code_of;
using testing::ControlPlane;

const std::string kVaults =
    "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/providers/"
    "Microsoft.DataProtection/"
    "backupVaults";
const std::string kVault =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.DataProtection/backupVaults/v";
const std::string kVersion = "?api-version=2024-04-01";

Reply echo(const RequestContext& context) {
    return Reply::ok(Json{
        {"vault", context.path.has("vaultName") ? context.path.at("vaultName") : ""},
        {"version", context.api_version},
        {"base", context.base_url},
        {"scope", context.scope},
        {"body", context.body},
        {"who", context.principal.display_name},
    });
}

std::vector<Route> routes() {
    return {
        {.verb = Verb::kGet,
         .pattern = kVaults + "/{vaultName}",
         .action = "Microsoft.DataProtection/backupVaults/read",
         .summary = "Reads.",
         .handler = echo},
        {.verb = Verb::kPut,
         .pattern = kVaults + "/{vaultName}",
         .action = "Microsoft.DataProtection/backupVaults/write",
         .summary = "Writes.",
         .handler = echo,
         .body = BodyRule::kRequired},
        {.verb = Verb::kPost,
         .pattern = kVaults + "/{vaultName}/ask",
         .action = "Microsoft.DataProtection/backupVaults/ask/action",
         .summary = "Asks.",
         .handler = echo,
         .body = BodyRule::kOptional,
         .auditing = Auditing::kNever},
        {.verb = Verb::kGet,
         .pattern = "/open",
         .action = "Test/open/read",
         .summary = "Open.",
         .handler = echo,
         .access = Access::kAnonymous,
         .api_version = ApiVersion::kExempt},
        {.verb = Verb::kGet,
         .pattern = "/secret",
         .action = "Test/secret/read",
         .summary = "Data.",
         .handler = echo,
         .api_version = ApiVersion::kExempt,
         .auditing = Auditing::kAlways},
        {.verb = Verb::kGet,
         .pattern = "/other",
         .action = "Test/other/read",
         .summary = "Another provider's.",
         .handler = echo},
        {.verb = Verb::kGet,
         .pattern = "/fails/{how}",
         .action = "Test/fails/read",
         .summary = "Fails.",
         .handler = [](const RequestContext& context) -> Reply {
             if (context.path.at("how") == "bug") {
                 (void)std::vector<int>{}.at(3);
             }
             if (context.path.at("how") == "internal") {
                 throw Error{
                     ErrorKind::kInternal,
                     ErrorText{.message = "open failed on /var/lib/x", .internal = "SELECT 1"}
                 };
             }
             throw Error{
                 ErrorKind::kDatasourceAlreadyProtected,
                 ErrorText{
                     .message = "Datasource is already protected.",
                     .internal = "row 17",
                     .target = "properties.dataSourceInfo.resourceID",
                     .recommended_actions =
                         {"Delete the other instance.", "Or protect another database."},
                     .details = {{.code = "Sub", .message = "first", .target = ""}},
                     .properties = {{"vault", "V2"}},
                 }
             };
         },
         .api_version = ApiVersion::kExempt},
    };
}

class DispatcherTest : public ::testing::Test {
protected:
    ControlPlane plane{routes()};
};

/// The next request after a change knows of it, whatever was asked and allowed before.
TEST_F(DispatcherTest, changes_of_rights_count_from_the_next_request_on) {
    const std::string origin = "https://localhost:8443";
    catalog::PrincipalRecord reader;
    catalog::RoleAssignmentRecord assignment;
    plane.catalog->write([&](catalog::Transaction& transaction) {
        reader.id = "11111111-0000-0000-0000-000000000001";
        reader.kind = "ServicePrincipal";
        transaction.put(reader);
        assignment.id = "11111111-0000-0000-0000-000000000002";
        assignment.scope = "/subscriptions/s";
        assignment.role_definition_id = find_builtin_role("Reader")->id;
        assignment.principal_id = reader.id;
        transaction.put(assignment);
    });
    const std::string token = plane.identity.access_tokens.issue(reader, origin);
    const auto status = [&] {
        return plane.call({.target = kVault + kVersion, .token = token}).status;
    };
    EXPECT_EQ(status(), 200);
    EXPECT_EQ(status(), 200);
    plane.catalog->write([&](catalog::Transaction& transaction) {
        transaction.remove<catalog::RoleAssignmentRecord>(assignment.id);
    });
    EXPECT_EQ(status(), 403);
    plane.catalog->write([&](catalog::Transaction& transaction) { transaction.put(assignment); });
    EXPECT_EQ(status(), 200);
    plane.catalog->write([&](catalog::Transaction& transaction) {
        AccessTokens::revoke(transaction, read_unverified(token)->claims);
    });
    EXPECT_EQ(status(), 401);
}

TEST_F(DispatcherTest, hands_the_handler_what_it_needs) {
    const Reply reply = plane.as_owner(
        "PUT",
        "//SUBSCRIPTIONS/s/resourcegroups/G/providers/microsoft.dataprotection/"
        "BACKUPVAULTS/My%20Vault?API-VERSION=2024-04-01",
        R"({"a":1})"
    );
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(
        body_of(reply),
        (Json{
            {"vault", "My Vault"},
            {"version", "2024-04-01"},
            {"base", "https://localhost:8443"},
            {"scope",
             "/SUBSCRIPTIONS/s/resourcegroups/G/providers/microsoft.dataprotection/BACKUPVAULTS/My "
             "Vault"},
            {"body", {{"a", 1}}},
            {"who", "owner"},
        })
    );
}

TEST_F(DispatcherTest, answers_404_and_405) {
    const Reply nowhere = plane.as_owner("GET", "/nowhere" + kVersion);
    EXPECT_EQ(nowhere.status, 404);
    EXPECT_EQ(code_of(nowhere), "ResourceNotFound");
    const Reply wrong = plane.as_owner("DELETE", kVault + kVersion);
    EXPECT_EQ(wrong.status, 405);
    EXPECT_EQ(code_of(wrong), "MethodNotAllowed");
    EXPECT_EQ(wrong.headers.get_or("Allow", ""), "GET, HEAD, PUT");
    const Reply unknown = plane.as_owner("PROPFIND", kVault + kVersion);
    EXPECT_EQ(unknown.status, 405);
    EXPECT_EQ(unknown.headers.get_or("Allow", ""), "GET, HEAD, PUT");
    EXPECT_EQ(plane.as_owner("HEAD", kVault + kVersion).status, 200);
}

TEST_F(DispatcherTest, asks_for_a_token_before_it_says_anything) {
    for (const std::string& target : {kVault + kVersion, std::string{"/nowhere"}, kVault}) {
        const Reply reply = plane.call({.target = target});
        EXPECT_EQ(reply.status, 401) << target;
        EXPECT_EQ(code_of(reply), "AuthenticationFailed");
        EXPECT_TRUE(reply.headers.get_or("WWW-Authenticate", "").starts_with("Bearer "));
    }
    EXPECT_EQ(plane.call({.target = "/open"}).status, 200);
}

TEST_F(DispatcherTest, refuses_tokens_that_are_none) {
    const std::string& good = plane.owner_token;
    std::string changed = good;
    changed.back() = changed.back() == 'A' ? 'B' : 'A';
    std::string other_id = good;
    other_id[3] = other_id[3] == '0' ? '1' : '0';
    for (const std::string& token :
         {std::string{"x"},
          std::string{"hf_"},
          changed,
          other_id,
          good + "A",
          good.substr(0, good.size() - 1),
          std::string{"eyJhbGciOiJub25lIn0.e30."}}) {
        EXPECT_EQ(plane.call({.target = kVault + kVersion, .token = token}).status, 401) << token;
    }
    Headers basic;
    basic.set("Authorization", "Basic b3duZXI6cHc=");
    EXPECT_EQ(plane.call({.target = kVault + kVersion, .headers = basic}).status, 401);
    EXPECT_EQ(plane.call({.target = kVault + kVersion, .token = good}).status, 200);
}

TEST_F(DispatcherTest, checks_api_versions) {
    struct Case {
        std::string query;
        int status;
        std::string code;
    };
    const std::vector<Case> cases{
        {"", 400, "MissingApiVersionParameter"},
        {"?api-version=", 400, "MissingApiVersionParameter"},
        {"?api-version=2021-01-01", 200, ""},
        {"?api-version=2026-03-01", 200, ""},
        {"?api-version=2023-01-01-preview", 200, ""},
        {"?api-version=2020-12-31", 400, "InvalidApiVersionParameter"},
        {"?api-version=2024-13-01", 400, "InvalidApiVersionParameter"},
        {"?api-version=2024-02-30", 400, "InvalidApiVersionParameter"},
        {"?api-version=2024-4-1", 400, "InvalidApiVersionParameter"},
        {"?api-version=latest", 400, "InvalidApiVersionParameter"},
        {"?api-version=2024-04-01-", 400, "InvalidApiVersionParameter"},
        {"?api-version=2024-04-01%20", 400, "InvalidApiVersionParameter"},
        {"?api-version=2024-04-01%27--", 400, "InvalidApiVersionParameter"},
        {"?api-version=-024-04-01", 400, "InvalidApiVersionParameter"},
    };
    for (const Case& row : cases) {
        const Reply reply = plane.as_owner("GET", kVault + row.query);
        EXPECT_EQ(reply.status, row.status) << row.query;
        EXPECT_EQ(code_of(reply), row.code) << row.query;
    }
    EXPECT_EQ(plane.as_owner("GET", "/other?api-version=2015-01-01").status, 200);
    EXPECT_EQ(plane.as_owner("GET", "/other").status, 400);
    EXPECT_EQ(plane.as_owner("GET", "/secret").status, 200);
}

TEST_F(DispatcherTest, judges_the_role_at_the_scope) {
    const std::string reader =
        plane.add_principal("rita", "Reader", "/subscriptions/s/resourceGroups/g");
    const std::string nobody = plane.add_principal("nobody", "", "");
    EXPECT_EQ(plane.call({.target = kVault + kVersion, .token = reader}).status, 200);
    EXPECT_EQ(plane.call({.target = kVault + kVersion, .token = nobody}).status, 403);
    std::string elsewhere = kVault;
    elsewhere.replace(elsewhere.find("/g/"), 3, "/g2/");
    EXPECT_EQ(plane.call({.target = elsewhere + kVersion, .token = reader}).status, 403);
    const Reply refused =
        plane.call({.method = "PUT", .target = kVault + kVersion, .token = reader, .body = "{}"});
    EXPECT_EQ(refused.status, 403);
    EXPECT_EQ(code_of(refused), "AuthorizationFailed");
    const std::string message = body_of(refused)["error"]["message"];
    EXPECT_NE(message.find("The client 'rita' with object id"), std::string::npos);
    EXPECT_NE(
        message.find("'Microsoft.DataProtection/backupVaults/write' over scope '" + kVault + "'"),
        std::string::npos
    );
}

TEST_F(DispatcherTest, reads_bodies_strictly) {
    const auto put = [&](const std::string& body, const std::string& type) {
        ControlPlane::Call call{
            .method = "PUT", .target = kVault + kVersion, .token = plane.owner_token, .body = body
        };
        if (!type.empty()) {
            call.headers.set("Content-Type", type);
        }
        return plane.call(call);
    };
    EXPECT_EQ(put("{}", "").status, 200);
    EXPECT_EQ(put("{}", "application/json; charset=utf-8").status, 200);
    EXPECT_EQ(put("{}", "application/merge-patch+json").status, 200);
    EXPECT_EQ(put("{}", "text/plain").status, 415);
    EXPECT_EQ(put("{}", "application/x-www-form-urlencoded").status, 415);
    EXPECT_EQ(code_of(put("", "")), "InvalidRequestContent");
    EXPECT_EQ(code_of(put("  \n", "")), "InvalidRequestContent");
    EXPECT_EQ(code_of(put("[]", "")), "InvalidRequestContent");
    EXPECT_EQ(code_of(put("\"x\"", "")), "InvalidRequestContent");
    EXPECT_EQ(code_of(put("{\"a\": \"\xff\"}", "")), "InvalidRequestContent");
    const Reply broken = put("{\n  \"a\": 1,\n  oops\n}", "");
    EXPECT_EQ(broken.status, 400);
    EXPECT_EQ(code_of(broken), "InvalidRequestContent");
    EXPECT_NE(
        body_of(broken)["error"]["message"].get<std::string>().find("line 3, column 3"),
        std::string::npos
    );
    EXPECT_EQ(put(std::string(200, '[') + std::string(200, ']'), "").status, 400);
    EXPECT_EQ(plane.as_owner("POST", kVault + "/ask" + kVersion).status, 200);
}

TEST_F(DispatcherTest, refuses_path_tricks) {
    for (const std::string& target :
         {std::string{"/subscriptions/s/../x"},
          std::string{"/%2e%2e/x"},
          std::string{"/a%00b"},
          std::string{"/%ff"},
          std::string{"x"},
          std::string{"/a%zz"}}) {
        const Reply reply = plane.as_owner("GET", target);
        EXPECT_EQ(reply.status, 400) << target;
        EXPECT_EQ(code_of(reply), "BadRequest");
    }
    // An encoded slash stays inside its segment and never becomes another path.
    std::string encoded = kVault + kVersion;
    encoded.replace(encoded.find("/v?"), 3, "%2Fv?");
    EXPECT_EQ(plane.as_owner("GET", encoded).status, 404);
}

TEST_F(DispatcherTest, error_envelope_is_arms) {
    ControlPlane::Call call{.target = "/fails/known", .token = plane.owner_token};
    call.headers.set("x-ms-correlation-request-id", "AAAAAAAA-0000-4000-8000-000000000001");
    call.headers.set("x-ms-client-request-id", "my-id");
    const Reply reply = plane.call(call);
    EXPECT_EQ(reply.status, 400);
    EXPECT_EQ(
        body_of(reply), Json::parse(R"({"error":{
        "code":"UserErrorDppDatasourceAlreadyHasBackupInstance",
        "message":"Datasource is already protected.",
        "target":"properties.dataSourceInfo.resourceID",
        "details":[{"code":"Sub","message":"first"}],
        "additionalInfo":[{"type":"UserFacingError","info":{
            "code":"UserErrorDppDatasourceAlreadyHasBackupInstance",
            "message":"Datasource is already protected.",
            "recommendedAction":["Delete the other instance.","Or protect another database."],
            "isRetryable":false,
            "properties":{"ActivityId":"aaaaaaaa-0000-4000-8000-000000000001","vault":"V2"}}}]}})")
    );
    EXPECT_EQ(
        reply.headers.get_or("x-ms-error-code", ""),
        "UserErrorDppDatasourceAlreadyHasBackupInstance"
    );
    EXPECT_EQ(
        reply.headers.get_or("x-ms-correlation-request-id", ""),
        "aaaaaaaa-0000-4000-8000-000000000001"
    );
    EXPECT_EQ(reply.headers.get_or("x-ms-client-request-id", ""), "my-id");
    EXPECT_TRUE(is_guid(reply.headers.get_or("x-ms-request-id", "")));
    // Without details the member is left out, never null.
    EXPECT_FALSE(body_of(plane.as_owner("GET", "/nowhere"))["error"].contains("details"));
}

TEST_F(DispatcherTest, tells_nothing_of_its_own_faults) {
    for (const std::string& how : {std::string{"bug"}, std::string{"internal"}}) {
        const Reply reply = plane.as_owner("GET", "/fails/" + how);
        EXPECT_EQ(reply.status, 500);
        EXPECT_EQ(code_of(reply), "CloudInternalError");
        const std::string text = body_of(reply).dump();
        EXPECT_EQ(text.find("/var/lib"), std::string::npos);
        EXPECT_EQ(text.find("SELECT"), std::string::npos);
        EXPECT_EQ(text.find("vector"), std::string::npos);
        EXPECT_NE(
            text.find(reply.headers.get_or("x-ms-correlation-request-id", "?")), std::string::npos
        );
    }
}

TEST_F(DispatcherTest, audits_changes_refusals_and_access_to_data) {
    plane.as_owner("GET", kVault + kVersion);
    plane.as_owner("POST", kVault + "/ask" + kVersion);
    EXPECT_TRUE(plane.audit_trail().empty());
    plane.as_owner("PUT", kVault + kVersion, "{}");
    plane.as_owner("PUT", kVault + kVersion, "oops");
    plane.as_owner("GET", "/secret");
    const std::string nobody = plane.add_principal("nobody", "", "");
    plane.call({.target = kVault + kVersion, .token = nobody});
    plane.call({.target = kVault + kVersion + "&token=x"});
    const auto trail = plane.audit_trail();  // Newest first.
    ASSERT_EQ(trail.size(), 5U);
    EXPECT_EQ(trail[4].status, 200);
    EXPECT_EQ(trail[4].principal_name, "owner");
    EXPECT_EQ(trail[4].peer, "192.0.2.1:4711");
    EXPECT_EQ(trail[4].method, "PUT");
    EXPECT_EQ(trail[4].path, kVault);
    EXPECT_EQ(trail[4].scope, kVault);
    EXPECT_EQ(trail[4].action, "Microsoft.DataProtection/backupVaults/write");
    EXPECT_TRUE(is_guid(trail[4].correlation_id));
    EXPECT_EQ(trail[3].status, 400);
    EXPECT_EQ(trail[3].code, "InvalidRequestContent");
    EXPECT_EQ(trail[2].action, "Test/secret/read");
    EXPECT_EQ(trail[1].status, 403);
    EXPECT_EQ(trail[1].principal_name, "nobody");
    EXPECT_EQ(trail[0].status, 401);
    EXPECT_EQ(trail[0].principal_id, "");
    for (const auto& record : trail) {
        EXPECT_EQ(record.path.find("token"), std::string::npos);
        EXPECT_EQ(record.details.dump().find("hf_"), std::string::npos);
    }
}

TEST_F(DispatcherTest, strangers_cannot_flood_the_audit_trail) {
    for (int i = 0; i < 100; ++i) {
        plane.call({.target = kVault + kVersion});
    }
    EXPECT_LE(plane.audit_trail().size(), 10U);
    plane.clock.advance(std::chrono::seconds{2});
    plane.call({.target = kVault + kVersion});
    EXPECT_LE(plane.audit_trail().size(), 11U);
}

TEST_F(DispatcherTest, a_host_header_cannot_redirect_the_links) {
    ControlPlane::Call call{.target = "/open"};
    Request request;
    request.method = "GET";
    request.raw_target = "/open";
    for (const std::string_view host : {"evil.example/path?", "a b", "user@evil.example", ""}) {
        request.headers.set("Host", std::string{host});
        EXPECT_EQ(body_of(plane.dispatcher.handle(request))["base"], "https://localhost") << host;
    }
    request.headers.set("Host", "[2001:db8::1]:8443");
    EXPECT_EQ(body_of(plane.dispatcher.handle(request))["base"], "https://[2001:db8::1]:8443");
}

class TokenTest : public DispatcherTest {};

TEST_F(TokenTest, only_a_hash_is_kept) {
    const auto records = plane.catalog->list<catalog::TokenRecord>();
    ASSERT_EQ(records.size(), 1U);
    const std::string secret = plane.owner_token.substr(3 + 16 + 1);  // It may hold a `_` itself.
    EXPECT_EQ(records[0].hash.size(), 64U);
    EXPECT_EQ(Json(records[0]).dump().find(secret), std::string::npos);
    EXPECT_EQ(plane.owner_token.size(), 3U + 16 + 1 + 43);
}

TEST_F(TokenTest, ends_with_revocation_expiry_or_the_principal) {
    const auto status = [&](const std::string& token) {
        return plane.call({.target = kVault + kVersion, .token = token}).status;
    };
    const std::string revoked = plane.add_principal("a", "Reader", "/");
    EXPECT_EQ(status(revoked), 200);
    plane.catalog->write([&](catalog::Transaction& transaction) {
        EXPECT_TRUE(plane.tokens.revoke(transaction, revoked.substr(3, 16)));
        EXPECT_FALSE(plane.tokens.revoke(transaction, "0000000000000000"));
    });
    EXPECT_EQ(status(revoked), 401);

    const std::string disabled = plane.add_principal("b", "Reader", "/");
    plane.catalog->write([&](catalog::Transaction& transaction) {
        auto token = transaction.get<catalog::TokenRecord>(disabled.substr(3, 16));
        auto principal = transaction.get<catalog::PrincipalRecord>(token->principal_id);
        principal->enabled = false;
        transaction.put(*principal);
    });
    EXPECT_EQ(status(disabled), 401);

    std::string expiring;
    plane.catalog->write([&](catalog::Transaction& transaction) {
        const auto owner = *transaction.get<catalog::TokenRecord>(plane.owner_token.substr(3, 16));
        expiring = plane.tokens
                       .issue(
                           transaction,
                           {.principal_id = owner.principal_id,
                            .description = "short",
                            .expires_at = plane.clock.now() + std::chrono::hours{1}}
                       )
                       .text.expose_text();
    });
    EXPECT_EQ(status(expiring), 200);
    plane.clock.advance(std::chrono::hours{1});
    EXPECT_EQ(status(expiring), 401);
}

}  // namespace
}  // namespace holdfast::control
