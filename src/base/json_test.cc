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

TEST(ParseJson, RefusesANameThatAnObjectHasTwice) {
    const auto path_of = [](std::string_view text) {
        try {
            (void)parse_json(text, ErrorKind::kInvalidPolicy, "The body");
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kInvalidPolicy);
            EXPECT_EQ(std::string{error.what()}, error.text().target + ": The property is there twice.");
            return error.text().target;
        }
        return std::string{"none"};
    };
    EXPECT_EQ(path_of(R"({"a": 1, "b": 2, "a": 1})"), "a");
    EXPECT_EQ(path_of(R"({"a": 1, "\u0061": 2})"), "a");
    EXPECT_EQ(path_of(R"({"x": [1, {"y": {}}, {"y": [[{"z": 0, "z": {"y": 1}}]]}]})"), "x[2].y[0][0].z");
    EXPECT_EQ(path_of(R"([{"a": null}, {"a": null, "b": {}, "a": null}])"), "[1].a");
    EXPECT_EQ(path_of(R"({"a": {"a": {"b": 1}, "b": 1}, "b": [{"a": 1}, {"a": 1}]})"), "none");
    // Two names that are read as one: az sends both, and an exact match wins.
    EXPECT_EQ(path_of(R"({"criteria": [], "Criteria": []})"), "none");
}

TEST(ParseJson, RefusesNumbersThatAreNone) {
    for (const char* text : {"1e999", "-1e999", "[01]", "+1", "0x10", "NaN", "Infinity", "1.", ".5", "1e"}) {
        try {
            (void)parse_json(text, ErrorKind::kBadRequest, "The body");
            ADD_FAILURE() << text;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kBadRequest) << text;
        }
    }
}

TEST(JsonReader, TakesNoNumberForAnotherOne) {
    for (const char* text :
         {"18446744073709551615",
          "9223372036854775808",
          "99999999999999999999",
          "-9223372036854775809",
          "1e300",
          "-1e300",
          "1e19",
          "0.5",
          "1e-320"}) {
        const Json number = Json::parse(text);
        EXPECT_THROW((void)(JsonReader{number, "n", ErrorKind::kBadRequest}.as_integer()), Error) << text;
    }
    for (const auto& [text, value] : std::map<std::string, std::int64_t>{
             {"9223372036854775807", INT64_MAX},
             {"-9223372036854775808", INT64_MIN},
             {"14.0", 14},
             {"1e3", 1000},
             {"-0.0", 0}
         }) {
        const Json number = Json::parse(text);
        EXPECT_EQ((JsonReader{number, "n", ErrorKind::kBadRequest}.as_integer()), value) << text;
    }
}

}  // namespace
}  // namespace holdfast
