#include "base/json.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(JsonReader, FindsMembersWhateverTheSpelling) {
    const Json object = Json::parse(R"({"resourceID": "a", "days_of_month": 3, "gone": null})");
    EXPECT_NE(find_member(object, "resourceId"), nullptr);
    EXPECT_NE(find_member(object, "daysOfMonth"), nullptr);
    EXPECT_EQ(find_member(object, "gone"), nullptr);
}

TEST(JsonReader, NamesThePathOfAWrongType) {
    const Json document = Json::parse(R"({"rules": [{"name": 5}]})");
    const JsonReader reader{document, "properties", ErrorKind::kInvalidPolicy};
    try {
        (void)reader.member("rules").elements().at(0).string("name");
        FAIL() << "a number passed for a string";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kInvalidPolicy);
        EXPECT_EQ(error.text().target, "properties.rules[0].name");
        EXPECT_STREQ(
            error.what(), "properties.rules[0].name: Expected a string, found the number 5."
        );
    }
}

TEST(JsonReader, SuggestsTheNearestKnownName) {
    const Json document = Json::parse(R"({"tirgger": {}})");
    const JsonReader reader{document, "rule", ErrorKind::kInvalidPolicy};
    try {
        reader.refuse_unknown({"name", "trigger"});
        FAIL() << "an unknown property passed";
    } catch (const Error& error) {
        EXPECT_STREQ(
            error.what(),
            "rule.tirgger: The property is not known here. Did you mean \"trigger\"? Allowed: "
            "name, trigger."
        );
    }
}

TEST(ParseJson, RefusesDeepNestingAndGarbage) {
    const std::string deep(100, '[');
    EXPECT_THROW((void)parse_json(deep, ErrorKind::kBadRequest, "The body"), Error);
    EXPECT_THROW((void)parse_json("{\"a\":", ErrorKind::kBadRequest, "The body"), Error);
    EXPECT_THROW((void)parse_json("\xff\xfe", ErrorKind::kBadRequest, "The body"), Error);
}

}  // namespace
}  // namespace holdfast
