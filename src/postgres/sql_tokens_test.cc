#include "postgres/sql_tokens.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> values(std::string_view text) {
    const auto tokens = tokenize_sql(text);
    if (!tokens) {
        return {"(broken)"};
    }
    std::vector<std::string> out;
    for (const SqlToken& token : *tokens) {
        out.push_back(token.value);
        EXPECT_LE(token.end, text.size());
        EXPECT_LT(token.begin, token.end);
    }
    return out;
}

TEST(SqlTokens, TellNamesFromEverythingElse) {
    EXPECT_THAT(values("Sales.\"O\"\"K\" 'it''s'"), ElementsAre("sales", ".", "O\"K", "it's"));
    EXPECT_THAT(values("a -- b\n/* c /* d */ e */ f"), ElementsAre("a", "f"));
    EXPECT_THAT(
        values("$$ a.b $$ $x$ $$ $x$ $1"), ElementsAre("$$ a.b $$", "$x$ $$ $x$", "$", "1")
    );
    EXPECT_THAT(values("E'a\\'b' B'01' x::int"), ElementsAre("E'a\\'b'", "01", "x", "::", "int"));
    EXPECT_THAT(values("1.5e3 t1 -1"), ElementsAre("1.5e3", "t1", "-", "1"));
    EXPECT_THAT(values(""), ElementsAre());
}

TEST(SqlTokens, RefuseWhatDoesNotEnd) {
    for (const char* text : {"'a", "\"a", "$$ a", "/* a", "E'a\\'", "a 'b''"}) {
        EXPECT_FALSE(tokenize_sql(text).has_value()) << text;
    }
}

TEST(SqlTokens, ReadQualifiedNames) {
    EXPECT_EQ(parse_qualified_name("a.\"B c\""), (QualifiedName{"a", "B c"}));
    EXPECT_EQ(parse_qualified_name("a"), std::nullopt);
    EXPECT_EQ(parse_qualified_name("a.b.c"), std::nullopt);
    EXPECT_EQ(parse_qualified_name("a.'b'"), std::nullopt);
}

}  // namespace
}  // namespace holdfast::postgres
