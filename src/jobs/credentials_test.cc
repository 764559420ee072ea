#include "jobs/credentials.h"

#include "base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::jobs {
namespace {

const std::string kGroup = "/subscriptions/S/resourceGroups/G/providers/Microsoft.DBforPostgreSQL";

ErrorKind kind_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error.kind();
    }
    ADD_FAILURE() << "nothing was thrown";
    return ErrorKind::kInternal;
}

TEST(DatasourceIdTest, ReadsServersAndDatabasesInAnyCasing) {
    const auto server = parse_datasource_id(kGroup + "/flexibleServers/pg", "t");
    EXPECT_EQ(server.server_name, "pg");
    EXPECT_FALSE(server.database.has_value());
    const auto database = parse_datasource_id(
        "/SUBSCRIPTIONS/S/resourcegroups/G/providers/microsoft.dbforpostgresql/FLEXIBLESERVERS/pg/"
        "Databases/my%20db",
        "t"
    );
    EXPECT_EQ(database.database, "my db");
    EXPECT_EQ(server_key(database), server_key(server));
    // The single server's type names the same registration.
    EXPECT_EQ(
        server_key(parse_datasource_id(kGroup + "/servers/pg/databases/x", "t")), server_key(server)
    );
}

TEST(DatasourceIdTest, RefusesEverythingElse) {
    for (const std::string& id : std::vector<std::string>{
             "",
             "pg",
             kGroup,
             kGroup + "/flexibleServers",
             kGroup + "/flexibleServers/",
             kGroup + "/flexibleServers/pg/databases",
             kGroup + "/flexibleServers/pg/databases/",
             kGroup + "/flexibleServers/pg/tables/x",
             kGroup + "/flexibleServers/pg/databases/x/y",
             "/subscriptions/S/resourceGroups/G/providers/Microsoft.Sql/servers/x",
             "x" + kGroup + "/flexibleServers/pg",
         }) {
        EXPECT_EQ(
            kind_of([&] { (void)parse_datasource_id(id, "t"); }), ErrorKind::kInvalidResourceId
        ) << id;
    }
}

class CredentialsTest : public ::testing::Test {
protected:
    CredentialsTest()
        : clock_{parse_instant("2026-01-01T00:00:00Z").value()},
          catalog_{catalog::open_sqlite_catalog(":memory:", clock_)},
          secrets_{Secret::random(32), clock_},
          resolver_{*catalog_, secrets_} {
        catalog_->write([&](catalog::Transaction& transaction) {
            secrets_.set(transaction, "default", "registered", Secret{"first"});
            secrets_.set(
                transaction, "default", "own", Secret{"postgresql://other:second@evil:1/x"}
            );
            secrets_.set(transaction, "default", "broken", Secret{"postgresql://[::1"});
            catalog::ServerRecord server;
            server.id = kGroup + "/flexibleServers/pg";
            server.name = "pg";
            server.host = "db.example";
            server.port = 6432;
            server.login = "backup";
            server.secret_uri = "secret:registered";
            transaction.put(server);
        });
    }

    FakeClock clock_;
    std::unique_ptr<catalog::Catalog> catalog_;
    catalog::SecretStore secrets_;
    CredentialResolver resolver_;
};

TEST_F(CredentialsTest, TheRegistrationSaysWhereAndTheSecretWho) {
    const auto plain = resolver_.resolve(kGroup + "/flexibleServers/PG/databases/app", "");
    EXPECT_EQ(plain.connection.host, "db.example");
    EXPECT_EQ(plain.connection.port, 6432);
    EXPECT_EQ(plain.connection.user, "backup");
    EXPECT_EQ(plain.connection.database, "app");
    EXPECT_EQ(plain.connection.password.expose_text(), "first");

    const auto own = resolver_.resolve(kGroup + "/flexibleServers/pg/databases/app", "secret:own");
    EXPECT_EQ(own.connection.host, "db.example") << "a secret must not redirect a connection";
    EXPECT_EQ(own.connection.port, 6432);
    EXPECT_EQ(own.connection.user, "other");
    EXPECT_EQ(own.connection.password.expose_text(), "second");
    EXPECT_EQ(own.connection.database, "app");
}

TEST_F(CredentialsTest, Refusals) {
    const std::string id = kGroup + "/flexibleServers/pg";
    EXPECT_EQ(
        kind_of([&] { (void)resolver_.resolve(kGroup + "/flexibleServers/other", ""); }),
        ErrorKind::kServerNotRegistered
    );
    EXPECT_EQ(
        kind_of([&] { (void)resolver_.resolve(id, "secret:none"); }), ErrorKind::kSecretNotFound
    );
    EXPECT_EQ(kind_of([&] { (void)resolver_.resolve(id, "ftp://x"); }), ErrorKind::kInvalidSecret);
    EXPECT_EQ(
        kind_of([&] { (void)resolver_.resolve(id, "secret:broken"); }), ErrorKind::kSecretFormat
    );
}

}  // namespace
}  // namespace holdfast::jobs
