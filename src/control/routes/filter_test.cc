#include "control/routes/filter.h"

#include "base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

std::string shown(std::string_view text) {
    try {
        std::string out;
        for (const FilterClause& clause :
             parse_filter(text, {"startDate", "endDate", "isVisible"})) {
            out += clause.name + "=" + clause.value + ";";
        }
        return out;
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kInvalidQuery);
        EXPECT_EQ(error.text().target, "$filter");
        return error.what();
    }
}

TEST(Filter, ReadsWhatTheClientsSend) {
    EXPECT_EQ(shown(""), "");
    EXPECT_EQ(shown("  "), "");
    EXPECT_EQ(
        shown("startDate eq '2021-01-01T00:00:00.0000000Z' and endDate eq '2031-01-01'"),
        "startDate=2021-01-01T00:00:00.0000000Z;endDate=2031-01-01;"
    );
    EXPECT_EQ(shown("STARTDATE EQ 'x'"), "startDate=x;");
    EXPECT_EQ(shown("isVisible eq true"), "isVisible=true;");
    EXPECT_EQ(shown("startDate eq 'it''s'"), "startDate=it's;");
}

TEST(Filter, NamesTheCharacterOfAFault) {
    using testing::HasSubstr;
    EXPECT_THAT(shown("banana eq '1'"), HasSubstr("character 1: \"banana\" is not known"));
    EXPECT_THAT(shown("startDate gt '1'"), HasSubstr("character 11: \"eq\" was expected"));
    EXPECT_THAT(shown("startDate eq"), HasSubstr("A value was expected"));
    EXPECT_THAT(shown("startDate eq 'x"), HasSubstr("not closed"));
    EXPECT_THAT(shown("startDate eq 'x' or endDate eq 'y'"), HasSubstr("\"and\" was expected"));
    EXPECT_THAT(shown("startDate eq 'x' and"), HasSubstr("is not known here"));
}

}  // namespace
}  // namespace holdfast::control
