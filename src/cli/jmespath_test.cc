#include "cli/jmespath.h"

#include "base/error.h"

#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

/// Written after the specification, by its sections; every result was compared with the reference
/// implementation's.
OrderedJson cases() {
    std::ifstream file{HOLDFAST_CLI_TESTDATA "/jmespath_cases.json"};
    std::ostringstream text;
    text << file.rdbuf();
    return OrderedJson::parse(text.str());
}

ErrorKind kind_of_failure(const std::string& expression) {
    try {
        (void)JmesPath::compile(expression).search(OrderedJson::object());
    } catch (const Error& error) {
        return error.kind();
    }
    return ErrorKind::kInternal;
}

TEST(JmesPath, GivesTheResultsOfTheSpecification) {
    std::size_t run = 0;
    const OrderedJson all = cases();
    for (const OrderedJson& section : all["sections"]) {
        for (const OrderedJson& row : section["cases"]) {
            const auto expression = row[0].get<std::string>();
            SCOPED_TRACE(section["name"].get<std::string>() + ": " + expression);
            const OrderedJson result = JmesPath::compile(expression).search(section["given"]);
            EXPECT_EQ(Json(result), Json(row[1]));
            ++run;
        }
    }
    EXPECT_GT(run, 200U);
}

TEST(JmesPath, RefusesBrokenExpressions) {
    const OrderedJson all = cases();
    for (const OrderedJson& expression : all["syntax_errors"]) {
        SCOPED_TRACE(expression.get<std::string>());
        EXPECT_EQ(kind_of_failure(expression), ErrorKind::kUsage);
    }
}

TEST(JmesPath, RefusesWrongTypesOfArguments) {
    const OrderedJson all = cases();
    for (const OrderedJson& expression : all["type_errors"]) {
        SCOPED_TRACE(expression.get<std::string>());
        EXPECT_EQ(kind_of_failure(expression), ErrorKind::kInvalidParameter);
    }
}

TEST(JmesPath, KeepsTheOrderOfAMultiSelectHash) {
    const OrderedJson out = JmesPath::compile("{z: a, b: a, y: a}").search({{"a", 1}});
    EXPECT_EQ(out.dump(), R"({"z":1,"b":1,"y":1})");
}

TEST(JmesPath, NamesThePlaceOfTheFault) {
    try {
        (void)JmesPath::compile("foo[?a=b]");
        FAIL();
    } catch (const Error& error) {
        EXPECT_NE(std::string{error.what()}.find("position 7"), std::string::npos) << error.what();
    }
}

TEST(JmesPath, SurvivesDeepNestingAndHugeSlices) {
    EXPECT_EQ(kind_of_failure(std::string(20000, '(')), ErrorKind::kUsage);
    EXPECT_EQ(kind_of_failure(std::string(20000, '!')), ErrorKind::kUsage);
    EXPECT_EQ(kind_of_failure("a[99999999999999999999999]"), ErrorKind::kUsage);
    const OrderedJson list = OrderedJson::array({1, 2, 3});
    const auto search = [&](std::string_view text) { return JmesPath::compile(text).search(list); };
    EXPECT_EQ(search("[::9223372036854775807]"), OrderedJson::array({1}));
    EXPECT_EQ(search("[::-9223372036854775808]"), OrderedJson::array({3}));
    EXPECT_EQ(search("[-9223372036854775808:9223372036854775807]"), list);
    EXPECT_TRUE(search("[-9223372036854775808]").is_null());
}

}  // namespace
}  // namespace holdfast::cli
