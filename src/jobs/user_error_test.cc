#include "jobs/user_error.h"

#include <gtest/gtest.h>

namespace holdfast::jobs {
namespace {

/// What a German server of Latin 1 answers to a wrong password. A record that cannot be written
/// would leave the job running for ever.
TEST(UserErrorTest, BytesThatAreNoTextAreReplaced) {
    const std::string said = "FATAL: Passwort-Authentifizierung f\xfcr Benutzer \xbbmax\xab";
    const std::string shown =
        "FATAL: Passwort-Authentifizierung f\xef\xbf\xbdr "
        "Benutzer \xef\xbf\xbdmax\xef\xbf\xbd";
    const Json error = user_error(
        Error{
            ErrorKind::kServerNotReachable,
            ErrorText{
                .message = said,
                .details = {{.code = "28P01", .message = said, .target = ""}},
                .properties = {{"sqlstate", "28P01"}, {"said", said}}
            }
        },
        "id"
    );
    EXPECT_EQ(error["message"], shown);
    EXPECT_EQ(error["details"][0]["message"], shown);
    EXPECT_EQ(error["innerError"]["additionalInfo"]["said"], shown);
    EXPECT_NO_THROW((void)error.dump());
    EXPECT_NO_THROW((void)warning_detail({said, "Code", said, {said}}).dump());
}

}  // namespace
}  // namespace holdfast::jobs
