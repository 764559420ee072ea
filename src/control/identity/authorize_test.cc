#include "control/identity/authorize.h"

#include "base/error.h"

#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

constexpr const char* kAlice = "11111111-1111-1111-1111-111111111111";

Principal alice() {
    return {.kind = PrincipalKind::kUser, .object_id = kAlice, .display_name = "alice"};
}

Authorizer with(std::vector<RoleGrant> grants) {
    return Authorizer{[grants = std::move(grants)](const std::string& id) {
        return id == kAlice ? grants : std::vector<RoleGrant>{};
    }};
}

TEST(ActionMatches, wildcards) {
    EXPECT_TRUE(action_matches("*", "a/b/read"));
    EXPECT_TRUE(action_matches("*/read", "A/b/READ"));
    EXPECT_TRUE(action_matches(
        "Microsoft.Authorization/*/Delete", "microsoft.authorization/roleAssignments/delete"
    ));
    EXPECT_FALSE(action_matches("*/read", "a/b/write"));
    EXPECT_FALSE(action_matches("a/*/c", "a/b/d"));
    EXPECT_FALSE(action_matches("a/read", "a/read/x"));
    EXPECT_TRUE(action_matches("a*b*c", "a--b--b--c"));
}

TEST(ScopeContains, goes_by_whole_segments) {
    EXPECT_TRUE(scope_contains("/", "/subscriptions/s"));
    EXPECT_TRUE(scope_contains("/subscriptions/S", "/Subscriptions/s/resourceGroups/g"));
    EXPECT_TRUE(scope_contains("/subscriptions/s/", "/subscriptions/s"));
    EXPECT_FALSE(scope_contains("/subscriptions/s", "/subscriptions/s2"));
    EXPECT_FALSE(scope_contains("/subscriptions/s/resourceGroups/g", "/subscriptions/s"));
}

TEST(Authorizer, denies_by_default) {
    EXPECT_FALSE(with({}).allows(alice(), "a/read", "/"));
    EXPECT_FALSE(with({{kAlice, std::string{kOwnerRoleId}, "/"}}).allows(Principal{}, "a/read", "/")
    );
    EXPECT_FALSE(with({{kAlice, "no such role", "/"}}).allows(alice(), "a/read", "/"));
}

TEST(Authorizer, judges_role_and_scope_together) {
    const Authorizer authorizer = with({
        {kAlice,
         "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7",
         "/subscriptions/s"},
        {kAlice, "b24988ac-6180-42a0-ab88-20f7382dd24c", "/subscriptions/s/resourceGroups/mine"},
    });
    EXPECT_TRUE(authorizer.allows(
        alice(), "Microsoft.DataProtection/backupVaults/read", "/subscriptions/s/x"
    ));
    EXPECT_FALSE(authorizer.allows(
        alice(), "Microsoft.DataProtection/backupVaults/write", "/subscriptions/s/x"
    ));
    EXPECT_TRUE(authorizer.allows(
        alice(),
        "Microsoft.DataProtection/backupVaults/write",
        "/subscriptions/s/resourcegroups/MINE/x"
    ));
    EXPECT_FALSE(authorizer.allows(
        alice(),
        "Microsoft.Authorization/roleAssignments/write",
        "/subscriptions/s/resourceGroups/mine"
    ));
    EXPECT_FALSE(authorizer.allows(alice(), "a/read", "/"));
}

TEST(Authorizer, names_principal_action_and_scope) {
    try {
        with({}).authorize(alice(), "A/b/write", "/subscriptions/s");
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kAuthorizationFailed);
        EXPECT_STREQ(
            error.what(),
            "The client 'alice' with object id '11111111-1111-1111-1111-111111111111' does not "
            "have authorization to "
            "perform action 'A/b/write' over scope '/subscriptions/s' or the scope is invalid. If "
            "access was recently "
            "granted, please refresh your credentials."
        );
    }
}

}  // namespace
}  // namespace holdfast::control
