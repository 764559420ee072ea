#include "control/identity/login.h"

#include "base/error.h"
#include "base/text.h"
#include "control/identity/directory.h"
#include "control/identity/identity.h"
#include "control/routes/routes.h"
#include "control/testing/control_plane.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

using testing::body_of;
using testing::ControlPlane;
using ::testing::HasSubstr;

class Login : public ::testing::Test {
protected:
    Login() {
        plane_.catalog->write([&](catalog::Transaction& transaction) {
            client_ = add_service_principal(transaction, "deployer", Json::array());
            secret_ = plane_.identity.tokens
                          .issue(transaction, {.principal_id = client_.id, .description = "rbac"})
                          .text.expose_text();
        });
    }

    void add_alice() {
        const std::string hash =
            plane_.identity.passwords.hash(Secret{std::string_view{"correct horse battery"}});
        plane_.catalog->write([&](catalog::Transaction& transaction) {
            alice_ = add_user(transaction, "alice@example.org", "Alice", hash);
        });
    }

    Reply post(const std::string& form, const std::string& peer = "192.0.2.1:4711") {
        Request request;
        request.method = "POST";
        request.raw_target = "/adfs/oauth2/token";
        request.headers.set("Host", "localhost:8443");
        request.headers.set("Content-Type", "application/x-www-form-urlencoded");
        request.body = form;
        request.peer_address = peer;
        return plane_.dispatcher.handle(std::move(request));
    }
    [[nodiscard]] std::string client_form(const std::string& secret) const {
        return "client_id=" + client_.login_name + "&client_secret=" + percent_encode(secret) +
               "&grant_type=client_credentials&client_info=1"
               "&scope=https%3A%2F%2Flocalhost%3A8443%2F%2F.default";
    }
    static std::string user_form(const std::string& name, const std::string& password) {
        return "client_id=04b07795-8ddb-461a-bbee-02f9e1bf7b46&grant_type=password&username=" +
               percent_encode(name) + "&password=" + percent_encode(password) +
               "&scope=https%3A%2F%2Flocalhost%3A8443%2F%2F.default+offline_access+openid+profile";
    }
    Reply me(const std::string& token) {
        return plane_.call({.target = "/v1.0/me", .token = token});
    }

    ControlPlane plane_{all_routes()};
    catalog::PrincipalRecord client_;
    catalog::PrincipalRecord alice_;
    std::string secret_;
};

TEST_F(Login, AClientSecretGetsAToken) {
    const Reply reply = post(client_form(secret_));
    ASSERT_EQ(reply.status, 200);
    EXPECT_EQ(body_of(reply)["token_type"], "Bearer");
    EXPECT_EQ(body_of(reply)["expires_in"], 3600);
    EXPECT_EQ(reply.headers.get_or("Cache-Control", ""), "no-store");
    EXPECT_FALSE(body_of(reply).contains("refresh_token"));
    const Reply who = me(body_of(reply)["access_token"]);
    ASSERT_EQ(who.status, 200);
    EXPECT_EQ(body_of(who)["id"], client_.id);
    EXPECT_EQ(body_of(who)["appId"], client_.login_name);
}

TEST_F(Login, FailuresHaveTheShapeThatClientsPrint) {
    const Reply wrong = post(client_form("hf_0123456789abcdef_" + std::string(43, 'a')));
    EXPECT_EQ(wrong.status, 401);
    EXPECT_EQ(body_of(wrong)["error"], "invalid_client");
    EXPECT_THAT(body_of(wrong)["error_description"], HasSubstr("AADSTS7000215: Invalid client"));
    EXPECT_EQ(body_of(wrong)["error_codes"], Json::array({7000215}));
    // Whether there is such a client is not said.
    const std::string unknown =
        "client_id=11111111-1111-1111-1111-111111111111&client_secret=x&grant_type="
        "client_credentials";
    const Reply nobody = post(unknown);
    EXPECT_EQ(nobody.status, wrong.status);
    EXPECT_EQ(body_of(nobody)["error_description"], body_of(wrong)["error_description"]);

    EXPECT_EQ(body_of(post("grant_type=magic&client_id=x"))["error"], "unsupported_grant_type");
    EXPECT_EQ(body_of(post("grant_type=client_credentials"))["error"], "invalid_request");
    std::string elsewhere = client_form(secret_);
    elsewhere.replace(elsewhere.find("localhost"), 9, "management.azure.com");
    EXPECT_EQ(body_of(post(elsewhere))["error"], "invalid_resource");
    Request json;
    json.method = "POST";
    json.raw_target = "/adfs/oauth2/token";
    json.headers.set("Content-Type", "application/json");
    json.body = "{}";
    EXPECT_EQ(plane_.dispatcher.handle(std::move(json)).status, 415);
}

TEST_F(Login, ASecretIsOnlyItsOwnClients) {
    std::string form = client_form(plane_.owner_token);
    EXPECT_EQ(post(form).status, 401);
    plane_.catalog->write([&](catalog::Transaction& transaction) {
        revoke_credentials(transaction, client_);
    });
    EXPECT_EQ(post(client_form(secret_)).status, 401);
}

TEST_F(Login, APasswordGetsAllThreeTokens) {
    add_alice();
    const Reply reply = post(user_form("ALICE@example.org", "correct horse battery"));
    ASSERT_EQ(reply.status, 200);
    const Json& body = body_of(reply);
    const auto id = read_unverified(body["id_token"].get<std::string>());
    ASSERT_TRUE(id);
    EXPECT_EQ(id->claims["aud"], "04b07795-8ddb-461a-bbee-02f9e1bf7b46");
    EXPECT_EQ(id->claims["upn"], "alice@example.org");
    EXPECT_EQ(id->claims["tid"], plane_.tenant_id);
    EXPECT_EQ(body_of(me(body["access_token"]))["userPrincipalName"], "alice@example.org");

    const std::string refresh = body["refresh_token"];
    const Reply again =
        post("grant_type=refresh_token&client_id=x&refresh_token=" + percent_encode(refresh));
    ASSERT_EQ(again.status, 200);
    EXPECT_EQ(me(body_of(again)["access_token"]).status, 200);
    EXPECT_EQ(me(refresh).status, 401);
    const Reply forged = post("grant_type=refresh_token&client_id=x&refresh_token=a.b.c");
    EXPECT_EQ(body_of(forged)["error"], "invalid_grant");

    EXPECT_EQ(post(user_form("alice@example.org", "wrong")).status, 400);
    EXPECT_EQ(
        body_of(post(user_form("nobody@example.org", "wrong")))["error_description"],
        body_of(post(user_form("alice@example.org", "wrong")))["error_description"]
    );
    // A service principal has no password, not even an empty one.
    EXPECT_EQ(post(user_form(client_.login_name, "x")).status, 400);
}

TEST_F(Login, PasswordsAreKeptAsArgon2idOnly) {
    add_alice();
    EXPECT_TRUE(alice_.password_hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    EXPECT_EQ(plane_.catalog->export_resources().dump().find("correct horse"), std::string::npos);
    EXPECT_THROW((void)plane_.identity.passwords.hash(Secret{std::string_view{"short"}}), Error);
}

TEST_F(Login, GuessingIsSlowedDownForTheGuesserAlone) {
    for (std::size_t i = 0; i < LoginLimiter::kPairFailuresMax; ++i) {
        EXPECT_EQ(post(client_form("wrong")).status, 401);
    }
    const Reply blocked = post(client_form(secret_));
    EXPECT_EQ(blocked.status, 429);
    EXPECT_EQ(blocked.headers.get_or("Retry-After", ""), "300");
    EXPECT_EQ(body_of(blocked)["error"], "temporarily_unavailable");
    // The owner of the account, from elsewhere, is not locked out.
    EXPECT_EQ(post(client_form(secret_), "192.0.2.2:1").status, 200);
    // Another port or another address of the same network changes nothing.
    EXPECT_EQ(post(client_form(secret_), "192.0.2.1:9").status, 429);
    plane_.clock.advance(LoginLimiter::kWindow);
    EXPECT_EQ(post(client_form(secret_)).status, 200);
}

TEST_F(Login, SprayingOverAccountsIsSlowedDownToo) {
    std::size_t refused = 0;
    for (std::size_t i = 0; i < LoginLimiter::kAddressFailuresMax + 5; ++i) {
        const Reply reply = post(
            fmt::format("client_id=c{}&client_secret=x&grant_type=client_credentials", i),
            fmt::format("[2001:db8::{:x}]:77", i)
        );
        refused += reply.status == 429 ? 1 : 0;
    }
    EXPECT_EQ(refused, 5U);
}

TEST_F(Login, TheTrailNamesWhoTriedAndNeverTheSecret) {
    (void)post(client_form("wrong-secret"));
    (void)post(client_form(secret_));
    const auto trail = plane_.audit_trail();
    ASSERT_GE(trail.size(), 2U);
    EXPECT_EQ(trail[0].status, 200);
    EXPECT_EQ(trail[0].principal_id, client_.id);
    EXPECT_EQ(trail[0].path, "/adfs/oauth2/token");
    EXPECT_EQ(trail[1].code, "invalid_client");
    EXPECT_EQ(trail[1].details["account"], client_.login_name);
    for (const auto& record : trail) {
        EXPECT_EQ(Json(record).dump().find("wrong-secret"), std::string::npos);
        EXPECT_EQ(Json(record).dump().find(secret_), std::string::npos);
    }
}

TEST_F(Login, AFloodThatGuessesNothingLeavesNoTrail) {
    const std::size_t before = plane_.audit_trail().size();
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(post("grant_type=magic&client_id=x").status, 400);
        EXPECT_EQ(post("grant_type=client_credentials").status, 400);
    }
    EXPECT_EQ(plane_.audit_trail().size(), before);
}

TEST_F(Login, DiscoveryLeadsToTheTokenEndpoint) {
    const Reply found = plane_.call({.target = "/adfs/.well-known/openid-configuration"});
    ASSERT_EQ(found.status, 200);
    const Json& body = body_of(found);
    EXPECT_EQ(body["issuer"], "https://localhost:8443/" + plane_.tenant_id + "/");
    EXPECT_EQ(body["token_endpoint"], "https://localhost:8443/adfs/oauth2/token");
    EXPECT_EQ(body["jwks_uri"], "https://localhost:8443/adfs/keys");
    EXPECT_EQ(
        body_of(plane_.call({.target = "/adfs/friendly/v2.0/.well-known/openid-configuration"})),
        body
    );
    const Reply keys = plane_.call({.target = "/adfs/keys"});
    ASSERT_EQ(body_of(keys)["keys"].size(), 1U);
    const Json& key = body_of(keys)["keys"][0];
    EXPECT_EQ(key["kty"], "RSA");
    EXPECT_FALSE(key.contains("d"));
    // What anybody can do with it: check a token.
    const std::string token = body_of(post(client_form(secret_)))["access_token"];
    EXPECT_TRUE(VerificationKey::from_jwk(key)->verifies(token));
}

TEST_F(Login, ALostSigningKeyEndsItsTokens) {
    const std::string token = body_of(post(client_form(secret_)))["access_token"];
    const std::string rotate = "/providers/Holdfast.Identity/rotateSigningKey";
    EXPECT_EQ(plane_.call({.method = "POST", .target = rotate, .token = token}).status, 403);
    EXPECT_EQ(plane_.as_owner("POST", rotate, R"({"oldKeys":"Burn"})").status, 400);
    EXPECT_EQ(body_of(plane_.as_owner("POST", rotate))["keys"], 2);
    EXPECT_EQ(me(token).status, 200);
    EXPECT_EQ(body_of(plane_.as_owner("POST", rotate, R"({"oldKeys":"Remove"})"))["keys"], 1);
    EXPECT_EQ(me(token).status, 401);
    EXPECT_EQ(me(body_of(post(client_form(secret_)))["access_token"]).status, 200);
}

TEST_F(Login, ManyPasswordsAtOnceAreCheckedTwoAtATime) {
    add_alice();
    PasswordHasher& hasher = plane_.identity.passwords;
    std::vector<std::jthread> threads;
    std::atomic<int> right{0};
    for (int i = 0; i < 6; ++i) {
        threads.emplace_back([&] {
            run_boundary(
                [&] {
                    right += hasher.matches(
                        alice_.password_hash, Secret{std::string_view{"correct horse battery"}}
                    );
                },
                // On a machine that is busy some give up waiting; none is judged wrongly.
                [&](const Error& error) {
                    EXPECT_EQ(error.kind(), ErrorKind::kTooManyRequests);
                    ++right;
                }
            );
        });
    }
    threads.clear();
    EXPECT_EQ(right, 6);
}

}  // namespace
}  // namespace holdfast::control
