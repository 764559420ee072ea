#include "alerts/settings.h"

#include "base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::alerts {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

template <typename Parse>
std::string refusal(const Parse& parse, const SettingMembers& members) {
    try {
        (void)parse(members);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kConfigInvalid);
        return error.what();
    }
    return {};
}

TEST(AlertSettings, ReadsAWebhook) {
    const WebhookSettings read = webhook_from(
        {{"name", {"chat"}},
         {"url", {"https://chat.example.org/hooks/x?y=z"}},
         {"secret_file", {"/etc/holdfast/hook.key"}}}
    );
    EXPECT_EQ(read.name, "chat");
    EXPECT_EQ(read.secret_file, "/etc/holdfast/hook.key");
}

TEST(AlertSettings, RefusesWhatIsNoWebhook) {
    const auto with_url = [](const std::string& url) {
        return refusal(webhook_from, {{"name", {"chat"}}, {"url", {url}}});
    };
    for (const char* url :
         {"",
          "http://chat.example.org/",
          "ftp://chat.example.org/",
          "https://",
          "https://user:pw@chat.example.org/",
          "https://chat.example.org/#x",
          "https://chat.example.org\\@localhost/",
          "http://127.0.0.1.example.org/",
          "file:///etc/passwd"}) {
        EXPECT_NE(with_url(url), "") << url;
    }
    for (const char* url : {"http://127.0.0.1:9/x", "http://[::1]:9/x", "http://localhost/x"}) {
        EXPECT_EQ(with_url(url), "") << url;
    }
    // A URL may hold a key.
    EXPECT_THAT(with_url("http://chat.example.org/hooks/KEY"), Not(HasSubstr("KEY")));
    EXPECT_THAT(
        refusal(
            webhook_from,
            {{"name", {"a"}}, {"url", {"https://h/"}}, {"secret", {"literal"}}}
        ),
        HasSubstr("'secret' is not known")
    );
    EXPECT_NE(
        refusal(
            webhook_from,
            {{"name", {"a"}},
             {"url", {"https://h/"}},
             {"secret_file", {"/x"}},
             {"secret_uri", {"secret:x"}}}
        ),
        ""
    );
    EXPECT_NE(refusal(webhook_from, {{"name", {"A b"}}, {"url", {"https://h/"}}}), "");
}

TEST(AlertSettings, ReadsAMailbox) {
    SettingMembers members{
        {"name", {"mail"}},
        {"host", {"smtp.example.org"}},
        {"from", {"backup@example.org"}},
        {"to", {"a@example.org", "b@example.org"}},
    };
    EXPECT_EQ(email_from(members).port, 587);
    EXPECT_EQ(email_from(members).security, EmailSettings::Security::kStartTls);
    members["security"] = {"tls"};
    EXPECT_EQ(email_from(members).port, 465);
}

TEST(AlertSettings, RefusesWhatIsNoMailbox) {
    const SettingMembers good{
        {"name", {"mail"}},
        {"host", {"smtp.example.org"}},
        {"from", {"backup@example.org"}},
        {"to", {"a@example.org"}},
    };
    const auto with = [&](const std::string& member, const std::string& value) {
        SettingMembers members = good;
        members[member] = {value};
        return refusal(email_from, members);
    };
    EXPECT_EQ(refusal(email_from, good), "");
    EXPECT_NE(with("security", "none"), "") << "not to another machine";
    EXPECT_NE(with("security", "ssl"), "");
    EXPECT_NE(with("port", "0"), "");
    EXPECT_NE(with("port", "70000"), "");
    EXPECT_NE(with("host", "smtp.example.org/x"), "");
    EXPECT_NE(with("from", "backup"), "");
    EXPECT_NE(with("to", "a@example.org>\r\nRCPT TO:<b@example.org"), "");
    EXPECT_NE(with("user", "backup"), "") << "a user without a password";
    EXPECT_NE(with("password", "x"), "") << "never a password in the configuration itself";
    EXPECT_NE(with("password_file", "relative"), "");
}

}  // namespace
}  // namespace holdfast::alerts
