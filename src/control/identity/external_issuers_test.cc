#include "control/identity/external_issuers.h"

#include "base/error.h"
#include "control/identity/authorize.h"

#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

const SigningKey& issuers_key() {
    static const SigningKey key = SigningKey::generate("k1");
    return key;
}
const SigningKey& other_key() {
    static const SigningKey key = SigningKey::generate("k2");
    return key;
}

class ExternalIssuersTest : public testing::Test {
protected:
    ExternalIssuersTest() {
        config_.issuer = "https://sso.example/realms/main";
        config_.audiences = {"holdfast", "api://holdfast"};
        config_.jwks_uri = "https://sso.example/keys";
        config_.roles = {
            {"backup-admins", "Backup Contributor", "/subscriptions/s"}, {"lookers", "Reader", "/"}
        };
        set_ = Json{{"keys", Json::array({issuers_key().public_jwk()})}};
        issuers_.emplace(
            std::vector{config_},
            [this](const IssuerConfig& issuer) {
                EXPECT_EQ(issuer.jwks_uri, "https://sso.example/keys");
                ++fetches_;
                if (down_) {
                    throw Error{ErrorKind::kServerNotReachable, "down"};
                }
                return set_.dump();
            },
            *catalog_,
            "99999999-9999-9999-9999-999999999999",
            clock_
        );
    }

    [[nodiscard]] Json claims() const {
        const auto now =
            std::chrono::floor<std::chrono::seconds>(clock_.now().time_since_epoch()).count();
        return Json{
            {"iss", config_.issuer},
            {"aud", Json::array({"account", "holdfast"})},
            {"sub", "alice-1"},
            {"preferred_username", "alice"},
            {"roles", Json::array({"x", "backup-admins"})},
            {"iat", now},
            {"exp", now + 300}
        };
    }
    std::string verdict(const std::string& token) {
        std::string out;
        run_boundary(
            [&] { out = issuers_->authenticate(token) ? "accepted" : "not ours"; },
            [&](const Error& error) { out = error.what(); }
        );
        return out;
    }
    std::string verdict_on(const Json& claims) {
        return verdict(issuers_key().sign(claims, "JWT"));
    }

    mutable FakeClock clock_{*parse_instant("2026-05-01T12:00:00Z")};
    std::unique_ptr<catalog::Catalog> catalog_ = catalog::open_sqlite_catalog(":memory:", clock_);
    IssuerConfig config_;
    Json set_;
    int fetches_ = 0;
    bool down_ = false;
    std::optional<ExternalIssuers> issuers_;
};

TEST_F(ExternalIssuersTest, TakesTokensAndMapsClaimsToRoles) {
    const auto who = issuers_->authenticate(issuers_key().sign(claims(), "JWT"));
    ASSERT_TRUE(who);
    EXPECT_EQ(who->display_name, "alice");
    EXPECT_EQ(who->kind, PrincipalKind::kUser);
    EXPECT_EQ(who->object_id, external_object_id(config_.issuer, "alice-1"));
    ASSERT_EQ(who->claimed_grants.size(), 1U);
    const Authorizer authorizer{[](const std::string&) { return std::vector<RoleGrant>{}; }};
    const std::string write = "Microsoft.DataProtection/backupVaults/write";
    EXPECT_TRUE(authorizer.allows(*who, write, "/subscriptions/s/resourceGroups/g"));
    EXPECT_FALSE(authorizer.allows(*who, write, "/subscriptions/t"));
    // Known to the directory from now on; once disabled, the issuer's word is not enough.
    auto record = catalog_->get<catalog::PrincipalRecord>(who->object_id);
    ASSERT_TRUE(record);
    record->enabled = false;
    catalog_->write([&](catalog::Transaction& transaction) { transaction.put(*record); });
    EXPECT_EQ(
        verdict_on(claims()),
        "The principal of the token is disabled here, or its tokens were revoked."
    );
}

TEST_F(ExternalIssuersTest, RefusesWhatIsNotForUsOrNotNow) {
    Json other = claims();
    other["aud"] = "someone-else";
    EXPECT_EQ(verdict_on(other), "The token was issued for another audience.");
    other.erase("aud");
    EXPECT_EQ(verdict_on(other), "The token was issued for another audience.");
    other = claims();
    other["exp"] = other["iat"].get<std::int64_t>() - 61;
    EXPECT_EQ(verdict_on(other), "The token has expired.");
    other.erase("exp");
    EXPECT_EQ(verdict_on(other), "The token has expired.");
    other = claims();
    other["nbf"] = other["iat"].get<std::int64_t>() + 120;
    EXPECT_EQ(verdict_on(other), "The token is not valid yet.");
    other["nbf"] = "now";
    EXPECT_EQ(verdict_on(other), "The token is not valid yet.");
    other = claims();
    other.erase("sub");
    EXPECT_EQ(verdict_on(other), "The token does not say who its subject is.");
    other = claims();
    other["iss"] = "https://sso.example/realms/main/";
    EXPECT_EQ(verdict_on(other), "not ours");
    EXPECT_EQ(verdict("hf_x"), "not ours");
}

TEST_F(ExternalIssuersTest, RefusesOtherKeysAndAsksForNewOnesOnlyNowAndThen) {
    const std::string wrong = "The token's signature is not one of its issuer's.";
    EXPECT_EQ(verdict_on(claims()), "accepted");
    EXPECT_EQ(fetches_, 1);
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(verdict(other_key().sign(claims(), "JWT")), wrong);
    }
    EXPECT_EQ(fetches_, 1);
    // Its name does not make it the issuer's.
    EXPECT_EQ(verdict(SigningKey::generate("k1").sign(claims(), "JWT")), wrong);
    // The issuer has a new key: it is found within a minute.
    set_["keys"].push_back(other_key().public_jwk());
    clock_.advance(ExternalIssuers::kFetchInterval);
    EXPECT_EQ(verdict(other_key().sign(claims(), "JWT")), "accepted");
    EXPECT_EQ(fetches_, 2);
    // An issuer that is away locks nobody out; a key that it withdrew is no good any more.
    down_ = true;
    clock_.advance(ExternalIssuers::kKeysLife);
    EXPECT_EQ(verdict_on(claims()), "accepted");
    EXPECT_EQ(fetches_, 3);
    down_ = false;
    set_["keys"].erase(0);
    clock_.advance(ExternalIssuers::kKeysLife);
    EXPECT_EQ(verdict_on(claims()), wrong);
}

TEST_F(ExternalIssuersTest, DamagedKeySetsAreNoKeySets) {
    for (const Json& set :
         {Json{{"keys", "x"}}, Json::array(), Json{{"keys", {{{"kty", "oct"}, {"k", "AA"}}}}}}) {
        set_ = set;
        clock_.advance(ExternalIssuers::kFetchInterval);
        EXPECT_NE(verdict_on(claims()), "accepted") << set;
    }
}

}  // namespace
}  // namespace holdfast::control
