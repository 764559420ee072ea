#include "catalog/sqlite_connection.h"

#include "base/file.h"

#include <fstream>

#include <gtest/gtest.h>

namespace holdfast::catalog {
namespace {

class SqliteConnectionTest : public testing::Test {
protected:
    SqliteConnectionTest() { connection_.database().exec("CREATE TABLE t (a INTEGER UNIQUE)"); }

    int count() {
        const auto statement = connection_.prepare("SELECT count(*) FROM t");
        statement->executeStep();
        return statement->getColumn(0).getInt();
    }
    void insert(int value) {
        const auto statement = connection_.prepare("INSERT INTO t VALUES (?)");
        statement->bind(1, value);
        statement->exec();
    }
    std::filesystem::path new_file() {
        const auto path = directory_.path() / "database";
        std::ofstream{path};
        return path;
    }

    TemporaryDirectory directory_{"sqlite-connection"};
    SqliteConnection connection_{new_file(), "OFF"};
};

TEST_F(SqliteConnectionTest, KeepsStatementsWithoutWhatWasBound) {
    const std::string sql = "SELECT ?";
    const SQLite::Statement* first = nullptr;
    {
        const auto statement = connection_.prepare(sql);
        statement->bind(1, "secret");
        statement->executeStep();
        first = &*statement;
    }
    const auto again = connection_.prepare(sql);
    EXPECT_EQ(&*again, first);
    again->executeStep();
    EXPECT_TRUE(again->getColumn(0).isNull());
    const auto beside = connection_.prepare(sql);
    EXPECT_NE(&*beside, first);
}

TEST_F(SqliteConnectionTest, GoesOnAfterAStatementThatFailed) {
    insert(1);
    EXPECT_THROW(insert(1), SQLite::Exception);
    insert(2);
    EXPECT_EQ(count(), 2);
}

TEST_F(SqliteConnectionTest, UndoesWhatIsNotCommitted) {
    {
        SqliteConnection::Scope scope{connection_, SqliteConnection::Purpose::kWrite};
        insert(1);
        scope.commit();
    }
    {
        const SqliteConnection::Scope scope{connection_, SqliteConnection::Purpose::kWrite};
        insert(2);
        EXPECT_TRUE(connection_.in_transaction());
    }
    EXPECT_FALSE(connection_.in_transaction());
    EXPECT_EQ(count(), 1);
}

TEST_F(SqliteConnectionTest, CompilesAnewWhatItForgot) {
    // More than are kept.
    for (int i = 0; i < 200; ++i) {
        const auto statement = connection_.prepare("SELECT " + std::to_string(i % 100));
        ASSERT_TRUE(statement->executeStep());
        EXPECT_EQ(statement->getColumn(0).getInt(), i % 100);
    }
}

}  // namespace
}  // namespace holdfast::catalog
