#include "alerts/courier.h"

#include "alerts/message.h"
#include "alerts/testing/loopback_server.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace holdfast::alerts {
namespace {

using catalog::AlertRecord;
using testing::HttpSink;
using testing::SmtpSink;
using testing::TestCertificate;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kPassword = "correct-horse-battery";

class CourierTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() { set_log_level(LogLevel::kError); }

    std::filesystem::path secret_file(std::string_view value = kPassword) {
        const auto file = directory.path() / "secret";
        std::ofstream{file} << value << "\n";
        ::chmod(file.c_str(), 0600);
        return file;
    }
    ChannelContext context() {
        return {
            .source = "https://backup.example.org:8443",
            .secrets = [](const std::string& uri) -> Secret {
                if (uri != "secret:hook") {
                    throw Error{ErrorKind::kSecretNotFound, "No such secret."};
                }
                return Secret{std::string_view{"hook-key"}};
            },
            .clock = clock
        };
    }
    std::unique_ptr<Channel> hook(const HttpSink& sink, WebhookSettings settings = {}) {
        settings.name = "hook";
        if (settings.url.empty()) {
            settings.url = fmt::format("http://127.0.0.1:{}/in?key=abc", sink.port());
        }
        return make_webhook(std::move(settings), context());
    }
    EmailSettings mail_settings(const SmtpSink& sink) {
        return {
            .name = "mail",
            .host = "127.0.0.1",
            .port = sink.port(),
            .security = EmailSettings::Security::kNone,
            .from = "backup@example.org",
            .to = {"dba@example.org", "night@example.org"},
        };
    }
    Courier courier(std::unique_ptr<Channel> one, std::unique_ptr<Channel> two = nullptr) {
        std::vector<std::unique_ptr<Channel>> channels;
        channels.push_back(std::move(one));
        if (two) {
            channels.push_back(std::move(two));
        }
        return Courier{*catalog, clock, std::move(channels)};
    }
    void raise(std::vector<std::string> channels = {"hook"}, std::string subject = "") {
        const Outbox outbox{{.channels = std::move(channels)}};
        catalog->write([&](catalog::Transaction& transaction) {
            outbox.raise_in(
                transaction,
                {.kind = Kind::kJobFailed,
                 .scope = "/vaults/v",
                 .subject = std::move(subject),
                 .message = "The backup of \"bücher\" failed.\r\nBcc: evil@example.org",
                 .actions = {"Look at the job."},
                 .details = {{"jobId", "j1"}}}
            );
        });
    }
    AlertRecord only() {
        const auto all = catalog->list<AlertRecord>();
        EXPECT_EQ(all.size(), 1U);
        return all.front();
    }

    FakeClock clock{*parse_instant("2026-05-01T12:00:00Z")};
    TemporaryDirectory directory{"holdfast-alerts"};
    std::unique_ptr<catalog::Catalog> catalog = catalog::open_sqlite_catalog(":memory:", clock);
};

TEST_F(CourierTest, PostsADocumentOnce) {
    HttpSink sink;
    Courier courier = this->courier(hook(sink));
    raise();
    EXPECT_EQ(courier.deliver_due({}), 1U);
    EXPECT_EQ(courier.deliver_due({}), 0U);
    const auto received = sink.received();
    ASSERT_EQ(received.size(), 1U);
    EXPECT_EQ(received[0].first_line, "POST /in?key=abc HTTP/1.1");
    EXPECT_EQ(received[0].header("Content-Type"), "application/json");
    EXPECT_EQ(received[0].header("X-Holdfast-Signature"), "");
    const Json body = Json::parse(received[0].body);
    EXPECT_EQ(body["schema"], "holdfast.alert/1");
    EXPECT_EQ(body["kind"], "JobFailed");
    EXPECT_EQ(body["severity"], "Error");
    EXPECT_EQ(body["security"], false);
    EXPECT_EQ(body["scope"], "/vaults/v");
    EXPECT_EQ(body["count"], 1);
    EXPECT_EQ(body["details"]["jobId"], "j1");
    EXPECT_EQ(body["server"], "https://backup.example.org:8443");
    EXPECT_EQ(received[0].header("X-Holdfast-Alert"), body["id"]);
    EXPECT_EQ(only().state, kSent);
}

TEST_F(CourierTest, SignsWithTheSecretOfAFileOrOfTheStore) {
    HttpSink sink;
    raise();
    (void)courier(hook(sink, {.secret_file = secret_file("file-key")})).deliver_due({});
    clock.advance(std::chrono::hours{2});
    raise();
    (void)courier(hook(sink, {.secret_uri = "secret:hook"})).deliver_due({});
    const auto received = sink.received();
    ASSERT_EQ(received.size(), 2U);
    const Instant first = *parse_instant("2026-05-01T12:00:00Z");
    EXPECT_EQ(
        received[0].header("X-Holdfast-Signature"),
        signature_of(Secret{std::string_view{"file-key"}}, received[0].body, first)
    );
    EXPECT_EQ(
        received[1].header("X-Holdfast-Signature"),
        signature_of(
            Secret{std::string_view{"hook-key"}}, received[1].body, first + std::chrono::hours{2}
        )
    );
}

TEST_F(CourierTest, KnownSignature) {
    // printf '1000.{}' | openssl dgst -sha256 -hmac key
    EXPECT_EQ(
        signature_of(Secret{std::string_view{"key"}}, "{}", Instant{std::chrono::seconds{1000}}),
        "t=1000,v1=c32de42341dece79a1511c9e7f74a2734112edcfcf48943c976faf07047065db"
    );
}

TEST_F(CourierTest, VerifiesTheCertificate) {
    const TestCertificate certificate;
    const TestCertificate other;
    HttpSink sink{certificate.context()};
    const auto ca = directory.path() / "ca.pem";
    const std::string url = fmt::format("https://127.0.0.1:{}/", sink.port());
    raise();
    other.write_pem(ca);
    EXPECT_EQ(courier(hook(sink, {.url = url, .ca_file = ca})).deliver_due({}), 0U);
    EXPECT_TRUE(sink.received().empty());
    EXPECT_THAT(only().deliveries[0]["detail"], HasSubstr("certificate"));
    clock.advance(Courier::kPauseMin);
    certificate.write_pem(ca);
    EXPECT_EQ(courier(hook(sink, {.url = url, .ca_file = ca})).deliver_due({}), 1U);
}

TEST_F(CourierTest, VerifiesTheName) {
    const TestCertificate certificate{"DNS:elsewhere.example"};
    HttpSink sink{certificate.context()};
    const auto ca = directory.path() / "ca.pem";
    certificate.write_pem(ca);
    raise();
    const std::string url = fmt::format("https://127.0.0.1:{}/", sink.port());
    EXPECT_EQ(courier(hook(sink, {.url = url, .ca_file = ca})).deliver_due({}), 0U);
    EXPECT_TRUE(sink.received().empty());
}

TEST_F(CourierTest, TriesAgainWithGrowingPauses) {
    HttpSink sink;
    sink.answer_with({503, 503});
    Courier courier = this->courier(hook(sink));
    raise();
    EXPECT_EQ(courier.deliver_due({}), 0U);
    EXPECT_EQ(courier.deliver_due({}), 0U);
    EXPECT_EQ(sink.received().size(), 1U) << "not before the pause is over";
    clock.advance(std::chrono::seconds{30});
    EXPECT_EQ(courier.deliver_due({}), 0U);
    EXPECT_EQ(sink.received().size(), 2U);
    clock.advance(std::chrono::seconds{30});
    EXPECT_EQ(courier.deliver_due({}), 0U);
    EXPECT_EQ(sink.received().size(), 2U) << "the second pause is twice as long";
    clock.advance(std::chrono::seconds{30});
    EXPECT_EQ(courier.deliver_due({}), 1U);
    EXPECT_EQ(only().deliveries[0]["attempts"], 3);
}

TEST_F(CourierTest, SurvivesARestart) {
    HttpSink sink;
    sink.answer_with({500});
    raise();
    EXPECT_EQ(courier(hook(sink)).deliver_due({}), 0U);
    clock.advance(std::chrono::minutes{1});
    EXPECT_EQ(courier(hook(sink)).deliver_due({}), 1U);
    const auto received = sink.received();
    ASSERT_EQ(received.size(), 2U);
    EXPECT_EQ(Json::parse(received[0].body)["id"], Json::parse(received[1].body)["id"]);
}

TEST_F(CourierTest, ADeadChannelIsLeftAloneAndHoldsUpNoOther) {
    HttpSink sink;
    SmtpSink mails;
    sink.answer_with({503, 503, 503});
    Courier courier = this->courier(hook(sink), make_email(mail_settings(mails), context()));
    raise({"hook", "mail"}, "a");
    raise({"hook", "mail"}, "b");
    EXPECT_EQ(courier.deliver_due({}), 2U);
    EXPECT_EQ(mails.mails().size(), 2U);
    EXPECT_EQ(sink.received().size(), 1U) << "the second alert waits for the channel";
}

TEST_F(CourierTest, ARefusedMessageHoldsUpNoOther) {
    HttpSink sink;
    sink.answer_with({400, 200});
    Courier courier = this->courier(hook(sink));
    raise({"hook"}, "a");
    raise({"hook"}, "b");
    EXPECT_EQ(courier.deliver_due({}), 1U);
    EXPECT_EQ(sink.received().size(), 2U);
}

TEST_F(CourierTest, FollowsNoRedirect) {
    HttpSink sink;
    sink.answer_with({302});
    raise();
    EXPECT_EQ(courier(hook(sink)).deliver_due({}), 0U);
    EXPECT_THAT(only().deliveries[0]["detail"], HasSubstr("redirect"));
    EXPECT_EQ(sink.received().size(), 1U);
}

TEST_F(CourierTest, GivesUpAfterThreeDays) {
    HttpSink sink;
    sink.answer_with(std::vector<int>(100, 503));
    Courier courier = this->courier(hook(sink));
    raise();
    for (int hour = 0; hour < 73; ++hour) {
        (void)courier.deliver_due({});
        clock.advance(std::chrono::hours{1});
    }
    (void)courier.deliver_due({});
    EXPECT_EQ(only().state, kFailed);
    const std::size_t attempts = sink.received().size();
    EXPECT_LE(attempts, 80U);
    clock.advance(std::chrono::hours{24});
    (void)courier.deliver_due({});
    EXPECT_EQ(sink.received().size(), attempts);
}

TEST_F(CourierTest, AChannelThatIsGoneEndsItsDeliveries) {
    HttpSink sink;
    Courier courier = this->courier(hook(sink));
    raise({"gone", "hook"});
    EXPECT_EQ(courier.deliver_due({}), 1U);
    EXPECT_EQ(only().state, kFailed);
    EXPECT_EQ(sink.received().size(), 1U);
}

TEST_F(CourierTest, ACountThatRisesWhileItIsSentIsNotLost) {
    HttpSink sink;
    Courier courier = this->courier(hook(sink));
    raise();
    EXPECT_EQ(courier.deliver_due({}), 1U);
    raise();
    EXPECT_EQ(courier.deliver_due({}), 0U) << "one alert within the window";
    EXPECT_EQ(only().count, 2);
    clock.advance(std::chrono::hours{2});
    raise();
    EXPECT_EQ(courier.deliver_due({}), 1U);
    EXPECT_EQ(Json::parse(sink.received()[1].body)["earlierUnsent"], 1);
}

TEST_F(CourierTest, MailsToEverybodyAndAddsNoHeader) {
    SmtpSink sink;
    raise({"mail"});
    EXPECT_EQ(courier(make_email(mail_settings(sink), context())).deliver_due({}), 1U);
    ASSERT_EQ(sink.mails().size(), 1U);
    const SmtpSink::Mail mail = sink.mails()[0];
    EXPECT_THAT(mail.commands, ::testing::Contains(HasSubstr("MAIL FROM:<backup@example.org>")));
    EXPECT_THAT(mail.commands, ::testing::Contains(HasSubstr("RCPT TO:<dba@example.org>")));
    EXPECT_THAT(mail.commands, ::testing::Contains(HasSubstr("RCPT TO:<night@example.org>")));
    const auto body_at = mail.message.find("\n\n");
    ASSERT_NE(body_at, std::string::npos);
    const std::string head = mail.message.substr(0, body_at);
    EXPECT_THAT(head, HasSubstr("Subject: [Holdfast] Error: A job failed\n"));
    EXPECT_THAT(head, HasSubstr("Date: Fri, 01 May 2026 12:00:00 +0000\n"));
    EXPECT_THAT(head, Not(HasSubstr("Bcc")));
    std::string encoded = mail.message.substr(body_at + 2);
    std::erase(encoded, '\n');
    const auto text = from_base64(encoded);
    ASSERT_TRUE(text);
    EXPECT_THAT(std::string{as_text(*text)}, HasSubstr("The backup of \"bücher\" failed."));
    EXPECT_THAT(std::string{as_text(*text)}, HasSubstr("Look at the job."));
}

TEST_F(CourierTest, LogsInAfterStartTlsOnly) {
    const TestCertificate certificate;
    const auto ca = directory.path() / "ca.pem";
    certificate.write_pem(ca);
    SmtpSink sink{certificate.context()};
    EmailSettings settings = mail_settings(sink);
    settings.security = EmailSettings::Security::kStartTls;
    settings.user = "backup";
    settings.password_file = secret_file();
    settings.ca_file = ca;
    raise({"mail"});
    EXPECT_EQ(courier(make_email(settings, context())).deliver_due({}), 1U);
    ASSERT_EQ(sink.mails().size(), 1U);
    EXPECT_TRUE(sink.mails()[0].tls);
    const std::string plain = to_base64(as_bytes(fmt::format("{0}backup{0}{1}", '\0', kPassword)));
    EXPECT_THAT(sink.mails()[0].commands, ::testing::Contains(HasSubstr(plain)));
}

TEST_F(CourierTest, SendsNothingWithoutTheTlsThatWasAskedFor) {
    SmtpSink plain;
    EmailSettings settings = mail_settings(plain);
    settings.security = EmailSettings::Security::kStartTls;
    settings.user = "backup";
    settings.password_file = secret_file();
    raise({"mail"});
    EXPECT_EQ(courier(make_email(settings, context())).deliver_due({}), 0U);
    for (const auto& mail : plain.mails()) {
        EXPECT_TRUE(mail.message.empty());
        EXPECT_THAT(mail.commands, Not(::testing::Contains(HasSubstr("AUTH"))));
        EXPECT_THAT(mail.commands, Not(::testing::Contains(HasSubstr("MAIL"))));
    }
}

TEST_F(CourierTest, TellsARefusedMailFromABusyServer) {
    SmtpSink sink;
    Courier courier = this->courier(make_email(mail_settings(sink), context()));
    sink.refuse_next("550 no such user");
    raise({"mail"}, "a");
    raise({"mail"}, "b");
    EXPECT_EQ(courier.deliver_due({}), 1U) << "the second one passes";
    clock.advance(std::chrono::hours{1});
    sink.refuse_next("451 try later");
    raise({"mail"}, "c");
    EXPECT_EQ(courier.deliver_due({}), 0U) << "the server is busy: nothing is tried behind it";
}

TEST_F(CourierTest, NoSecretIsKeptOrSaid) {
    SmtpSink sink;
    EmailSettings settings = mail_settings(sink);
    settings.user = "backup";
    settings.password_file = secret_file();
    ::chmod(settings.password_file.c_str(), 0644);
    raise({"mail"});
    EXPECT_EQ(courier(make_email(settings, context())).deliver_due({}), 0U);
    const std::string kept = Json(only()).dump();
    EXPECT_THAT(kept, Not(HasSubstr(std::string{kPassword})));
    EXPECT_TRUE(sink.mails().empty()) << "a password that others can read is not used";

    HttpSink web;
    const auto channel = hook(web);
    EXPECT_THAT(channel->describe(), Not(HasSubstr("abc")));
}

TEST_F(CourierTest, TestsEveryChannelAndTellsEachResult) {
    HttpSink good;
    HttpSink bad;
    bad.answer_with({404});
    std::vector<std::unique_ptr<Channel>> channels;
    channels.push_back(hook(good));
    channels.push_back(make_webhook(
        {.name = "bad", .url = fmt::format("http://127.0.0.1:{}/", bad.port())}, context()
    ));
    Courier courier{*catalog, clock, std::move(channels)};
    const auto results = courier.test("alice", {});
    ASSERT_EQ(results.size(), 2U);
    EXPECT_TRUE(results[0].delivered);
    EXPECT_FALSE(results[1].delivered);
    EXPECT_EQ(results[1].detail, "HTTP 404");
    EXPECT_EQ(Json::parse(good.received()[0].body)["kind"], "Test");
    EXPECT_TRUE(catalog->list<AlertRecord>().empty());
}

TEST_F(CourierTest, ForgetsWhatIsOldAndDone) {
    HttpSink sink;
    Courier courier = this->courier(hook(sink));
    raise({"hook"}, "sent");
    (void)courier.deliver_due({});
    sink.answer_with({503});
    raise({"hook"}, "waits");
    (void)courier.deliver_due({});
    clock.advance(Courier::kKept + std::chrono::hours{1});
    courier.forget_old();
    EXPECT_EQ(only().state, kPending);
}

TEST_F(CourierTest, TheThreadDeliversAndStops) {
    HttpSink sink;
    SystemClock system;
    const auto real = catalog::open_sqlite_catalog(":memory:", system);
    const Outbox outbox{{.channels = {"hook"}}};
    real->write([&](catalog::Transaction& transaction) {
        outbox.raise_in(transaction, {.kind = Kind::kJobFailed, .message = "x"});
    });
    std::vector<std::unique_ptr<Channel>> channels;
    channels.push_back(hook(sink));
    Courier courier{*real, system, std::move(channels)};
    courier.start();
    const SteadyInstant patience = system.steady_now() + std::chrono::seconds{30};
    while (real->list<AlertRecord>({.states = {std::string{kSent}}}).empty() &&
           system.steady_now() < patience) {
        (void)system.wait_for(std::chrono::milliseconds{20}, {});
    }
    courier.stop();
    EXPECT_EQ(sink.received().size(), 1U);
}

}  // namespace
}  // namespace holdfast::alerts
