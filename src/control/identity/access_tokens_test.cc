#include "control/identity/access_tokens.h"

#include "base/error.h"
#include "base/text.h"
#include "control/identity/directory.h"
#include "control/identity/identity.h"

#include <cjose/cjose.h>
#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

constexpr const char* kTenant = "99999999-9999-9999-9999-999999999999";
constexpr const char* kOrigin = "https://localhost:8443";

/// One key for all tests: making one takes a while, and none of them changes it.
const SigningKey& stranger() {
    static const SigningKey key = SigningKey::generate("stranger");
    return key;
}

std::string encode(const std::string& text) {
    return to_base64url(as_bytes(text));
}

/// HS256 with whatever key: what a forger does who hopes that the server takes the header's word.
std::string sign_symmetric(const Json& claims, const std::string& kid, std::string_view key) {
    cjose_err fault{};
    cjose_jwk_t* jwk = cjose_jwk_create_oct_spec(
        reinterpret_cast<const std::uint8_t*>(key.data()), key.size(), &fault
    );
    cjose_header_t* header = cjose_header_new(&fault);
    cjose_header_set(header, "alg", "HS256", &fault);
    cjose_header_set(header, "kid", kid.c_str(), &fault);
    cjose_header_set(header, "typ", "at+jwt", &fault);
    const std::string text = claims.dump();
    cjose_jws_t* jws = cjose_jws_sign(
        jwk, header, reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), &fault
    );
    const char* compact = nullptr;
    EXPECT_TRUE(jws != nullptr && cjose_jws_export(jws, &compact, &fault));
    std::string out = compact == nullptr ? "" : compact;
    cjose_jws_release(jws);
    cjose_header_release(header);
    cjose_jwk_release(jwk);
    return out;
}

class AccessTokensTest : public testing::Test {
protected:
    AccessTokensTest() {
        catalog_->write([&](catalog::Transaction& transaction) {
            alice_ = add_service_principal(transaction, "alice", Json::array());
        });
        // A key made elsewhere is cheaper to put into the catalog than to make again in each test.
        token_ = tokens().issue(alice_, kOrigin);
    }

    AccessTokens& tokens() { return identity_.access_tokens; }

    /// The reason of the refusal; "accepted", or "not ours".
    std::string verdict(std::string_view token) {
        std::string out;
        run_boundary(
            [&] {
                const auto who = tokens().authenticate(token);
                out = who ? "accepted" : "not ours";
            },
            [&](const Error& error) {
                EXPECT_EQ(error.kind(), ErrorKind::kAuthenticationFailed);
                out = error.what();
            }
        );
        return out;
    }

    [[nodiscard]] std::vector<std::string> parts() const { return split(token_, '.'); }
    [[nodiscard]] Json claims() const { return read_unverified(token_)->claims; }
    [[nodiscard]] std::string kid() const { return read_unverified(token_)->header["kid"]; }

    /// Signed with the server's own key, so that nothing but the claims is wrong with it.
    std::string reissue(const Json& claims, std::string_view type = "at+jwt") {
        return identity_.keys.sign(claims, type);
    }

    FakeClock clock_{*parse_instant("2026-05-01T12:00:00Z")};
    std::unique_ptr<catalog::Catalog> catalog_ = catalog::open_sqlite_catalog(":memory:", clock_);
    Identity identity_{*catalog_, Secret::random(32), {.tenant_id = kTenant}, clock_};
    catalog::PrincipalRecord alice_;
    std::string token_;
};

TEST_F(AccessTokensTest, AcceptsItsOwn) {
    const auto who = tokens().authenticate(token_);
    ASSERT_TRUE(who);
    EXPECT_EQ(who->object_id, alice_.id);
    EXPECT_EQ(who->tenant_id, kTenant);
    EXPECT_EQ(who->display_name, "alice");
    EXPECT_EQ(who->token_id, claims()["jti"]);
    EXPECT_EQ(claims()["iss"], std::string{kOrigin} + "/" + kTenant + "/");
    EXPECT_EQ(claims()["appid"], alice_.login_name);
}

TEST_F(AccessTokensTest, RefusesTheAlgorithmNone) {
    for (const char* name : {"none", "None", "NONE", "nOnE", ""}) {
        const std::string header =
            encode(Json{{"alg", name}, {"typ", "at+jwt"}, {"kid", kid()}}.dump());
        EXPECT_NE(verdict(header + "." + parts()[1] + "."), "accepted") << name;
        EXPECT_NE(verdict(header + "." + parts()[1] + "." + parts()[2]), "accepted") << name;
        EXPECT_NE(verdict(header + "." + parts()[1]), "accepted") << name;
    }
}

TEST_F(AccessTokensTest, RefusesASymmetricSignatureWithThePublicKey) {
    const Json published = identity_.keys.published()["keys"][0];
    for (const std::string& key :
         {published.dump(), published["n"].get<std::string>(), std::string{"secret"}}) {
        EXPECT_EQ(
            verdict(sign_symmetric(claims(), kid(), key)),
            "The access token's signature is not valid."
        );
    }
}

TEST_F(AccessTokensTest, RefusesAnotherAlgorithmOfTheSameKey) {
    for (const char* name : {"RS384", "RS512", "PS256", "ES256", "HS256", "rs256", "RS256 "}) {
        const std::string header =
            encode(Json{{"alg", name}, {"typ", "at+jwt"}, {"kid", kid()}}.dump());
        EXPECT_EQ(
            verdict(header + "." + parts()[1] + "." + parts()[2]),
            "The access token's signature is not valid."
        ) << name;
    }
}

TEST_F(AccessTokensTest, RefusesKeysThatTheTokenBrings) {
    Json header = read_unverified(token_)->header;
    header["jwk"] = stranger().public_jwk();
    header["jku"] = "https://evil.example/keys";
    const std::string foreign = stranger().sign(claims(), "at+jwt");
    EXPECT_EQ(verdict(foreign), "not ours");
    const auto foreign_parts = split(foreign, '.');
    EXPECT_EQ(
        verdict(encode(header.dump()) + "." + foreign_parts[1] + "." + foreign_parts[2]),
        "The access token's signature is not valid."
    );
    header["kid"] = "../../etc/passwd";
    EXPECT_EQ(
        verdict(encode(header.dump()) + "." + foreign_parts[1] + "." + foreign_parts[2]), "not ours"
    );
    header["kid"] = 7;
    EXPECT_EQ(
        verdict(encode(header.dump()) + "." + foreign_parts[1] + "." + foreign_parts[2]), "not ours"
    );
}

TEST_F(AccessTokensTest, RefusesCriticalExtensions) {
    Json header = read_unverified(token_)->header;
    header["crit"] = Json::array({"exp"});
    EXPECT_NE(verdict(encode(header.dump()) + "." + parts()[1] + "." + parts()[2]), "accepted");
}

TEST_F(AccessTokensTest, RefusesEveryTruncationAndEveryChangedByte) {
    for (std::size_t size = 0; size < token_.size(); size += 1 + size / 16) {
        EXPECT_NE(verdict(std::string_view{token_}.substr(0, size)), "accepted") << size;
    }
    EXPECT_NE(verdict(std::string_view{token_}.substr(0, token_.size() - 1)), "accepted");
    for (std::size_t at = 0; at < token_.size(); at += 7) {
        std::string changed = token_;
        changed[at] = changed[at] == 'A' ? 'B' : 'A';
        EXPECT_NE(verdict(changed), "accepted") << at;
    }
    EXPECT_NE(verdict(token_ + "."), "accepted");
    EXPECT_NE(verdict(token_ + ".x"), "accepted");
    EXPECT_NE(verdict(token_ + "="), "accepted");
    EXPECT_NE(verdict(std::string(20'000, 'a')), "accepted");
    EXPECT_NE(verdict("a.b.c"), "accepted");
    EXPECT_NE(verdict(".."), "accepted");
}

TEST_F(AccessTokensTest, RefusesAnotherIssuerTenantOrAudience) {
    Json other = claims();
    other["iss"] = "https://localhost:8443/11111111-1111-1111-1111-111111111111/";
    EXPECT_EQ(verdict(reissue(other)), "The token was issued by another directory.");
    other["iss"] = std::string{"http://localhost:8443/"} + kTenant + "/";
    EXPECT_EQ(verdict(reissue(other)), "The token was issued by another directory.");
    other.erase("iss");
    EXPECT_EQ(verdict(reissue(other)), "The token was issued by another directory.");
    other = claims();
    other["tid"] = "11111111-1111-1111-1111-111111111111";
    EXPECT_EQ(verdict(reissue(other)), "The token was issued by another directory.");
    for (const Json& audience :
         {Json("https://management.azure.com/"),
          Json(nullptr),
          Json(Json::array({tokens().audience()})),
          Json(7)}) {
        other = claims();
        other["aud"] = audience;
        EXPECT_EQ(verdict(reissue(other)), "The token was issued for another purpose.");
    }
}

TEST_F(AccessTokensTest, RefusesTokensOfAnotherPurpose) {
    EXPECT_EQ(
        verdict(tokens().issue_refresh(alice_, kOrigin)),
        "The token was issued for another purpose."
    );
    EXPECT_EQ(
        verdict(tokens().issue_id(alice_, kOrigin, tokens().audience())),
        "The token was issued for another purpose."
    );
    EXPECT_THROW((void)tokens().open_refresh(token_), Error);
    EXPECT_EQ(tokens().open_refresh(tokens().issue_refresh(alice_, kOrigin)).id, alice_.id);
}

TEST_F(AccessTokensTest, RefusesExpiredAndPrematureTokens) {
    clock_.advance(std::chrono::seconds{3599});
    EXPECT_EQ(verdict(token_), "accepted");
    clock_.advance(std::chrono::seconds{1});
    EXPECT_EQ(verdict(token_), "The access token has expired.");
    Json later = claims();
    later["exp"] = 4'000'000'000;
    later["nbf"] = 3'999'999'999;
    EXPECT_EQ(verdict(reissue(later)), "The access token is not valid yet.");
    for (const char* name : {"exp", "nbf", "hf_iat"}) {
        Json without = claims();
        without["exp"] = 4'000'000'000;
        without.erase(name);
        EXPECT_NE(verdict(reissue(without)), "accepted") << name;
        without[name] = "4000000000";
        EXPECT_NE(verdict(reissue(without)), "accepted") << name;
    }
}

TEST_F(AccessTokensTest, RefusesTokensOfWhoIsGone) {
    catalog_->write([&](catalog::Transaction& transaction) {
        auto disabled = alice_;
        disabled.enabled = false;
        transaction.put(disabled);
    });
    EXPECT_EQ(verdict(token_), "The principal of the access token is disabled or was deleted.");
    catalog_->write([&](catalog::Transaction& transaction) {
        remove_principal(transaction, alice_);
    });
    EXPECT_EQ(verdict(token_), "The principal of the access token is disabled or was deleted.");
}

TEST_F(AccessTokensTest, RevocationEndsATokenOrAll) {
    const std::string other = tokens().issue(alice_, kOrigin);
    catalog_->write([&](catalog::Transaction& transaction) {
        AccessTokens::revoke(transaction, claims());
    });
    EXPECT_EQ(verdict(token_), "The access token has been revoked.");
    EXPECT_EQ(verdict(other), "accepted");
    clock_.advance(std::chrono::milliseconds{1});
    catalog_->write([&](catalog::Transaction& transaction) {
        revoke_credentials(transaction, alice_);
    });
    EXPECT_EQ(verdict(other), "The access token has been revoked.");
    clock_.advance(std::chrono::milliseconds{1});
    EXPECT_EQ(verdict(tokens().issue(alice_, kOrigin)), "accepted");
}

TEST_F(AccessTokensTest, JudgesATokenAnewThatItAcceptedBefore) {
    ASSERT_EQ(verdict(token_), "accepted");
    ASSERT_EQ(verdict(token_), "accepted");
    // Another signature of the same claims is another token.
    std::string forged = token_;
    forged[forged.size() - 20] = forged[forged.size() - 20] == 'A' ? 'B' : 'A';
    EXPECT_EQ(verdict(forged), "The access token's signature is not valid.");
    auto disabled = alice_;
    disabled.enabled = false;
    catalog_->write([&](catalog::Transaction& transaction) { transaction.put(disabled); });
    EXPECT_EQ(verdict(token_), "The principal of the access token is disabled or was deleted.");
    catalog_->write([&](catalog::Transaction& transaction) { transaction.put(alice_); });
    EXPECT_EQ(verdict(token_), "accepted");
    const std::string other = tokens().issue(alice_, kOrigin);
    ASSERT_EQ(verdict(other), "accepted");
    catalog_->write([&](catalog::Transaction& transaction) {
        AccessTokens::revoke(transaction, claims());
    });
    EXPECT_EQ(verdict(token_), "The access token has been revoked.");
    EXPECT_EQ(verdict(other), "accepted");
    (void)identity_.keys.rotate(KeyRing::OldKeys::kRemove);
    EXPECT_EQ(verdict(other), "not ours");
    const std::string last = tokens().issue(alice_, kOrigin);
    ASSERT_EQ(verdict(last), "accepted");
    clock_.advance(tokens().life());
    EXPECT_EQ(verdict(last), "The access token has expired.");
}

TEST(VerifiedTokensTest, ForgetsTheLongestUnused) {
    VerifiedTokens tokens{2};
    const auto digest = [](std::string_view text) { return sha256(as_bytes(text)); };
    const auto token = std::make_shared<const VerifiedToken>();
    tokens.add(digest("a"), token);
    tokens.add(digest("b"), token);
    EXPECT_EQ(tokens.find(digest("a")), token);
    tokens.add(digest("c"), token);
    EXPECT_EQ(tokens.find(digest("b")), nullptr);
    EXPECT_EQ(tokens.find(digest("a")), token);
    EXPECT_EQ(tokens.find(digest("c")), token);
    const auto renewed = std::make_shared<const VerifiedToken>();
    tokens.add(digest("a"), renewed);
    EXPECT_EQ(tokens.find(digest("a")), renewed);
    EXPECT_EQ(tokens.find(digest("c")), token);
}

TEST_F(AccessTokensTest, RotationKeepsOldTokensUnlessTheirKeyWasLost) {
    clock_.advance(std::chrono::seconds{1});
    const std::string second_key = identity_.keys.rotate(KeyRing::OldKeys::kVerify);
    EXPECT_EQ(verdict(token_), "accepted");
    const std::string second = tokens().issue(alice_, kOrigin);
    EXPECT_EQ(read_unverified(second)->header["kid"], second_key);
    EXPECT_EQ(identity_.keys.published()["keys"].size(), 2U);
    EXPECT_EQ(identity_.keys.published()["keys"][0]["kid"], second_key);
    (void)identity_.keys.rotate(KeyRing::OldKeys::kRemove);
    EXPECT_EQ(verdict(token_), "not ours");
    EXPECT_EQ(verdict(second), "not ours");
    EXPECT_EQ(identity_.keys.published()["keys"].size(), 1U);
}

TEST_F(AccessTokensTest, TokensOutliveARestartAndKeysAreSealed) {
    // The same root key finds the same signing key; another one cannot sign with it and makes its
    // own: so a catalog that came back under another key file goes on.
    const Secret root = Secret::random(32);
    const auto catalog = catalog::open_sqlite_catalog(":memory:", clock_);
    catalog->write([&](catalog::Transaction& transaction) { transaction.put(alice_); });
    std::string token;
    {
        Identity before{*catalog, root, {.tenant_id = kTenant}, clock_};
        token = before.access_tokens.issue(alice_, kOrigin);
    }
    Identity after{*catalog, root, {.tenant_id = kTenant}, clock_};
    EXPECT_TRUE(after.access_tokens.authenticate(token));
    Identity other{*catalog, Secret::random(32), {.tenant_id = kTenant}, clock_};
    const std::string another = other.access_tokens.issue(alice_, kOrigin);
    EXPECT_NE(read_unverified(another)->header["kid"], read_unverified(token)->header["kid"]);
    EXPECT_EQ(other.keys.published()["keys"].size(), 2U);
    EXPECT_TRUE(other.access_tokens.authenticate(another));
    EXPECT_TRUE(other.access_tokens.authenticate(token));
    EXPECT_EQ(catalog->export_resources().dump().find("\"d\":"), std::string::npos);
}

TEST(VerificationKeyTest, TakesOnlyPublicKeysThatAreFitForIt) {
    const Json good = stranger().public_jwk();
    EXPECT_TRUE(VerificationKey::from_jwk(good));
    EXPECT_FALSE(good.contains("d"));
    for (const Json& change : {
             Json{{"kty", "oct"}, {"k", "c2VjcmV0"}},
             Json{{"alg", "RS512"}},
             Json{{"alg", "HS256"}},
             Json{{"use", "enc"}},
             Json{{"n", "AQAB"}},
             Json{{"n", 7}},
             Json{{"n", nullptr}},
             // The library's decoder asserts that these do not come.
             Json{
                 {"n",
                  good["n"].get<std::string>().substr(0, 100) + "=" +
                      good["n"].get<std::string>().substr(100)}
             },
             Json{{"n", good["n"].get<std::string>() + "="}},
             Json{{"e", "A"}},
             Json{{"kty", 1}},
             Json{{"kty", "EC"}, {"crv", "P-521"}},
         }) {
        Json jwk = good;
        jwk.update(change);
        EXPECT_FALSE(VerificationKey::from_jwk(jwk)) << change;
    }
    EXPECT_FALSE(VerificationKey::from_jwk(Json::array()));
}

TEST(VerificationKeyTest, VerifiesEllipticCurves) {
    // RFC 7515, appendix A.3.
    const Json jwk{
        {"kty", "EC"},
        {"crv", "P-256"},
        {"x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"},
        {"y", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
    };
    const std::string token =
        "eyJhbGciOiJFUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-"
        "Kg6NU"
        "1Q";
    const auto key = VerificationKey::from_jwk(jwk);
    ASSERT_TRUE(key);
    EXPECT_TRUE(key->verifies(token));
    std::string changed = token;
    changed[60] = changed[60] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(key->verifies(changed));
}

}  // namespace
}  // namespace holdfast::control
