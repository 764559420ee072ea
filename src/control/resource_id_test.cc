#include "control/resource_id.h"

#include "base/error.h"

#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

constexpr std::string_view kVault =
    "/subscriptions/SUB/resourcegroups/Rg/providers/Microsoft.DataProtection/backupVaults/V1";

TEST(ResourceId, keeps_the_casing_and_compares_without) {
    const auto a = ResourceId::parse(kVault, "id");
    const auto b = ResourceId::parse(
        "/Subscriptions/sub/resourceGroups/RG/Providers/microsoft.dataprotection/BackupVaults/v1/",
        "id"
    );
    EXPECT_EQ(a, b);
    EXPECT_EQ(a.text(), kVault);
    EXPECT_EQ(b.name(), "v1");
    EXPECT_EQ(a.group_name(), "Rg");
    EXPECT_TRUE(b.is_type("Microsoft.DataProtection/backupVaults"));
}

TEST(ResourceId, names_parents_and_children) {
    const auto instance = ResourceId::parse(kVault, "id").child("backupInstances", "BI");
    EXPECT_EQ(instance.type(), "Microsoft.DataProtection/backupVaults/backupInstances");
    EXPECT_EQ(*instance.name_of("backupvaults"), "V1");
    EXPECT_EQ(instance.name_of("backupPolicies"), nullptr);
    std::vector<std::string> chain;
    for (auto at = instance.parent(); at; at = at->parent()) {
        chain.push_back(at->text());
    }
    EXPECT_EQ(
        chain,
        (std::vector<std::string>{
            std::string{kVault}, "/subscriptions/SUB/resourcegroups/Rg", "/subscriptions/SUB"
        })
    );
    EXPECT_EQ(
        ResourceId::resource_group("S", "G")
            .provider_child("Microsoft.DBforPostgreSQL", "flexibleServers", "srv")
            .text(),
        "/subscriptions/S/resourceGroups/G/providers/Microsoft.DBforPostgreSQL/flexibleServers/srv"
    );
}

TEST(ResourceId, refuses_what_is_none) {
    for (const std::string_view text :
         {"",
          "/",
          "x",
          "not-an-arm-id",
          "/subscriptions",
          "/subscriptions/",
          "/subscriptions//x",
          "/subscriptions/a b",
          "/subscriptions/S/resourceGroups",
          "/subscriptions/S/other/G",
          "/subscriptions/S/resourceGroups/G/providers/NS",
          "/subscriptions/S/resourceGroups/G/providers/NS/type",
          "/subscriptions/S/resourceGroups/G/providers/NS/t/n/t2",
          "/subscriptions/S/resourceGroups/../providers/N/t/n",
          "/subscriptions/S%2F/resourceGroups/G",
          "/subscriptions/S?x=1",
          "/resourceGroups/G",
          "/subscriptions/S'/x/y"}) {
        EXPECT_FALSE(ResourceId::try_parse(text)) << text;
    }
    EXPECT_FALSE(ResourceId::try_parse("/subscriptions/" + std::string(3000, 'a')));
    try {
        (void)ResourceId::parse("junk", "properties.policyInfo.policyId");
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kInvalidResourceId);
        EXPECT_EQ(error.text().target, "properties.policyInfo.policyId");
        EXPECT_FALSE(error.text().recommended_actions.empty());
    }
    try {
        (void)ResourceId::parse("/subscriptions/S/resourceGroups/my group", "id");
        FAIL();
    } catch (const Error& error) {
        EXPECT_NE(error.text().message.find("'my group' cannot be a name"), std::string::npos);
    }
}

TEST(RequireName, states_the_rule) {
    const NameRule rule{
        .what = "backup vault", .length_min = 2, .length_max = 50, .first_is_letter = true
    };
    require_name("Vault-1", rule);
    for (const std::string& name :
         {std::string{"v"},
          std::string(51, 'a'),
          std::string{"1vault"},
          std::string{"-v1"},
          std::string{"va ult"},
          std::string{"va/ult"},
          std::string{"v\xc3\xa4"}}) {
        try {
            require_name(name, rule);
            ADD_FAILURE() << name;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kInvalidResourceName);
            EXPECT_NE(
                std::string_view{error.what()}.find("2 to 50 characters"), std::string_view::npos
            );
        }
    }
}

}  // namespace
}  // namespace holdfast::control
