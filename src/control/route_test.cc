#include "control/route.h"

#include "base/text.h"

#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

Route row(Verb verb, std::string pattern, std::string action = "Test/things/read") {
    return Route{
        .verb = verb,
        .pattern = std::move(pattern),
        .action = std::move(action),
        .summary = "A row.",
        .handler = [](const RequestContext&) { return Reply::empty(200); },
    };
}

std::vector<std::string> path_of(std::string_view text) {
    return parse_target(text).path;
}

const std::string kVaults =
    "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/providers/"
    "Microsoft.DataProtection/backupVaults";

RoutingTable table() {
    return RoutingTable{{
        row(Verb::kGet, kVaults),
        row(Verb::kGet, kVaults + "/{vaultName}"),
        row(Verb::kPut, kVaults + "/{vaultName}"),
        row(Verb::kPost, kVaults + "/{vaultName}/validateForBackup"),
        row(Verb::kGet, kVaults + "/{vaultName}/{child}"),
        row(Verb::kGet, "/subscriptions"),
        row(Verb::kGet, "/{*scope}/providers/Microsoft.Authorization/roleAssignments/{name}"),
    }};
}

TEST(RoutingTable, matches_any_casing_and_keeps_the_callers) {
    const RoutingTable routes = table();
    const auto match = routes.find(
        Verb::kGet,
        path_of("/SUBSCRIPTIONS/s/resourcegroups/RG/providers/microsoft.dataprotection/"
                "BACKUPVAULTS/MyVault")
    );
    ASSERT_NE(match.route, nullptr);
    EXPECT_EQ(match.path.at("vaultName"), "MyVault");
    EXPECT_EQ(match.path.at("resourceGroupName"), "RG");
    EXPECT_EQ(
        match.scope,
        "/SUBSCRIPTIONS/s/resourcegroups/RG/providers/microsoft.dataprotection/BACKUPVAULTS/MyVault"
    );
}

TEST(RoutingTable, scopes_a_collection_at_its_parent_and_an_action_at_its_resource) {
    const RoutingTable routes = table();
    EXPECT_EQ(
        routes
            .find(
                Verb::kGet,
                path_of("/subscriptions/s/resourceGroups/g/providers/Microsoft.DataProtection/"
                        "backupVaults")
            )
            .scope,
        "/subscriptions/s/resourceGroups/g"
    );
    const std::string vault =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.DataProtection/backupVaults/v";
    EXPECT_EQ(routes.find(Verb::kPost, path_of(vault + "/validateForBackup")).scope, vault);
    EXPECT_EQ(routes.find(Verb::kGet, path_of("/subscriptions")).scope, "/");
}

TEST(RoutingTable, prefers_literals_and_lists_the_verbs_of_a_path) {
    const RoutingTable routes = table();
    const std::string vault =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.DataProtection/backupVaults/v";
    const auto wrong_verb = routes.find(Verb::kDelete, path_of(vault));
    EXPECT_EQ(wrong_verb.route, nullptr);
    EXPECT_EQ(wrong_verb.allowed, (std::vector<Verb>{Verb::kGet, Verb::kPut}));
    EXPECT_EQ(
        routes.find(Verb::kPost, path_of(vault + "/validateforbackup")).route->verb, Verb::kPost
    );
    const auto nowhere = routes.find(Verb::kGet, path_of("/nowhere"));
    EXPECT_EQ(nowhere.route, nullptr);
    EXPECT_TRUE(nowhere.allowed.empty());
    EXPECT_EQ(routes.find(Verb::kHead, path_of("/subscriptions")).route->pattern, "/subscriptions");
}

TEST(RoutingTable, binds_the_scope_wildcard) {
    const RoutingTable routes = table();
    const auto deep = routes.find(
        Verb::kGet,
        path_of(
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Authorization/roleAssignments/n"
        )
    );
    ASSERT_NE(deep.route, nullptr);
    EXPECT_EQ(deep.path.at("scope"), "/subscriptions/s/resourceGroups/g");
    EXPECT_EQ(deep.path.at("name"), "n");
    const auto root =
        routes.find(Verb::kGet, path_of("/providers/Microsoft.Authorization/roleAssignments/n"));
    ASSERT_NE(root.route, nullptr);
    EXPECT_EQ(root.path.at("scope"), "/");
    EXPECT_EQ(root.scope, "/providers/Microsoft.Authorization/roleAssignments/n");
}

TEST(RoutingTable, refuses_two_rows_for_one_request) {
    EXPECT_DEATH(
        (RoutingTable{{row(Verb::kGet, "/a/{x}"), row(Verb::kGet, "/A/{y}")}}), "check failed"
    );
}

}  // namespace
}  // namespace holdfast::control
