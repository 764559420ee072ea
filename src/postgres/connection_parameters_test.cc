#include "postgres/connection.h"

#include <random>

#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

Secret secret(std::string_view text) {
    return Secret{text};
}

TEST(SecretValue, ABarePasswordIsAPassword) {
    for (const std::string text :
         {"s3cret",
          "a=b",
          "p;w",
          "Password",
          "user=me",
          "x://y",
          "Server",
          " spaced ",
          "key=val;unknown",
          "Grüße"}) {
        const SecretConnection parsed = parse_secret_value(secret(text));
        EXPECT_EQ(parsed.password.expose_text(), text);
        EXPECT_EQ(parsed.user, "");
        EXPECT_EQ(parsed.host, "");
    }
    EXPECT_EQ(parse_secret_value(secret("pw\n")).password.expose_text(), "pw");
}

TEST(SecretValue, ReadsLibpqUris) {
    const SecretConnection parsed = parse_secret_value(
        secret("postgresql://al%40ice:p%3Aw%2Fd@db.example:5433/my%20db?sslmode=verify-ca")
    );
    EXPECT_EQ(parsed.user, "al@ice");
    EXPECT_EQ(parsed.password.expose_text(), "p:w/d");
    EXPECT_EQ(parsed.host, "db.example");
    EXPECT_EQ(parsed.port, 5433);
    EXPECT_EQ(parsed.database, "my db");
    EXPECT_EQ(parsed.ssl_mode, SslMode::kVerifyCa);

    const SecretConnection bracketed = parse_secret_value(secret("postgres://u:p@[::1]:6000"));
    EXPECT_EQ(bracketed.host, "::1");
    EXPECT_EQ(bracketed.port, 6000);
    EXPECT_EQ(
        parse_secret_value(secret("postgresql:///db?host=h&user=u&password=p"))
            .password.expose_text(),
        "p"
    );
}

TEST(SecretValue, ReadsAdoNetStrings) {
    const SecretConnection parsed =
        parse_secret_value(secret("Server=tcp:h.example,5433;Database=d;User "
                                  "Id=u@h;Password=\"p;\"\"w=\";SSL Mode=VerifyFull;Pooling=true;")
        );
    EXPECT_EQ(parsed.host, "h.example");
    EXPECT_EQ(parsed.port, 5433);
    EXPECT_EQ(parsed.database, "d");
    EXPECT_EQ(parsed.user, "u@h");
    EXPECT_EQ(parsed.password.expose_text(), "p;\"w=");
    EXPECT_EQ(parsed.ssl_mode, SslMode::kVerifyFull);
    EXPECT_EQ(
        parse_secret_value(secret("host=h;username=u;pwd='it''s'")).password.expose_text(), "it's"
    );
}

TEST(SecretValue, RefusesWhatIsMalformedWithoutShowingIt) {
    for (const std::string text :
         {"",
          "\n",
          "postgresql://u@h/db",
          "postgresql://u:hunter2@h:99999/db",
          "postgresql://u:hunter2@h:x/",
          "postgresql://u:hunter2%zz@h/",
          "postgresql://u:hunter2@h/db?sslmode=maybe",
          "postgresql://u:hunter2@h/db?evil=1",
          "postgresql://u:hunter2@a,b/db",
          "postgresql://u:hunter2@[::1/db",
          "postgresql://u:hunter2@h/db?sslrootcert=/etc/shadow",
          "Server=h;Password",
          "Server=h;User Id=u",
          "Server=h;Port=hunter2;Password=p",
          "Server=h;Password=\"hunter2",
          "Server=h;Password=\"a\"hunter2;",
          "Server=h;Ssl Mode=hunter2;Password=p"}) {
        try {
            [[maybe_unused]] const SecretConnection parsed = parse_secret_value(secret(text));
            ADD_FAILURE() << "accepted: " << text;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kSecretFormat) << text;
            EXPECT_EQ(error.log_line().find("hunter2"), std::string::npos) << error.log_line();
        }
    }
}

TEST(SecretValue, NeverFailsInAnotherWay) {
    const std::string alphabet = "=;:/@?&%[]'\"\\ aServerPasswordpostgresql://\n0159";
    std::mt19937 random{20240611};
    for (int round = 0; round < 20000; ++round) {
        std::string text = round % 3 == 0 ? "postgresql://" : round % 3 == 1 ? "Server=h;" : "";
        const std::size_t length = random() % 40;
        for (std::size_t i = 0; i < length; ++i) {
            text.push_back(alphabet[random() % alphabet.size()]);
        }
        try {
            [[maybe_unused]] const SecretConnection parsed = parse_secret_value(secret(text));
            EXPECT_FALSE(parsed.password.empty()) << text;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kSecretFormat) << text;
        }
    }
}

TEST(SecretValue, NeverRedirectsAConnection) {
    ConnectionParameters parameters;
    parameters.host = "real.example";
    parameters.user = "registered";
    apply_secret(
        parameters,
        parse_secret_value(secret("postgresql://other:pw@evil.example:1/db?sslmode=disable"))
    );
    EXPECT_EQ(parameters.host, "real.example");
    EXPECT_EQ(parameters.port, 5432);
    EXPECT_EQ(parameters.user, "other");
    EXPECT_EQ(parameters.database, "postgres");
    EXPECT_EQ(parameters.password.expose_text(), "pw");
    EXPECT_EQ(parameters.effective_ssl_mode(), SslMode::kDisable);
    EXPECT_EQ(tls_warnings(parameters).size(), 1U);
}

TEST(ConnectionParameters, TlsIsStrictBeyondThisMachine) {
    ConnectionParameters parameters;
    parameters.host = "db.example";
    EXPECT_EQ(parameters.effective_ssl_mode(), SslMode::kVerifyFull);
    EXPECT_TRUE(tls_warnings(parameters).empty());
    parameters.ssl_mode = SslMode::kRequire;
    EXPECT_EQ(tls_warnings(parameters).size(), 1U);
    for (const std::string host : {"localhost", "127.0.0.1", "::1", "/run/postgresql"}) {
        parameters.ssl_mode.reset();
        parameters.host = host;
        EXPECT_EQ(parameters.effective_ssl_mode(), SslMode::kPrefer) << host;
        EXPECT_TRUE(tls_warnings(parameters).empty());
    }
    parameters.host = "127.evil.example";
    EXPECT_EQ(parameters.effective_ssl_mode(), SslMode::kVerifyFull);
}

TEST(ConnectionParameters, QuotesWhateverComes) {
    EXPECT_EQ(quote_identifier("q\"'\\"), "\"q\"\"'\\\"");
    EXPECT_EQ(quote_literal("it's"), "'it''s'");
    EXPECT_EQ(quote_literal("a\\b"), "E'a\\\\b'");
    EXPECT_EQ(
        make_conninfo({{"dbname", "a=b 'c\\"}, {"port", "1"}}), "dbname='a=b \\'c\\\\' port='1'"
    );
}

TEST(ConnectionParameters, RedactsSecrets) {
    ConnectionParameters parameters;
    parameters.password = secret("hunter2");
    EXPECT_EQ(
        redact(
            "could not use \"password='x\\'y' host=h\" or hunter2 or postgresql://u:w@h/d",
            parameters
        ),
        "could not use \"password=*** host=h\" or *** or postgresql://u:***@h/d"
    );
}

}  // namespace
}  // namespace holdfast::postgres
