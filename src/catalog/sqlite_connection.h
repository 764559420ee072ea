#pragma once

#include <filesystem>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include <SQLiteCpp/SQLiteCpp.h>

namespace holdfast::catalog {

/// A connection to the catalog's file that keeps its prepared statements: compiling one takes
/// longer than most of them run. One thread at a time. Throws SQLite::Exception.
class SqliteConnection {
    using Statements = std::list<std::unique_ptr<SQLite::Statement>>;

public:
    /// The file exists. `synchronous`: the pragma's value.
    SqliteConnection(const std::filesystem::path& path, std::string_view synchronous);
    SqliteConnection(const SqliteConnection&) = delete;
    SqliteConnection& operator=(const SqliteConnection&) = delete;

    [[nodiscard]] SQLite::Database& database() noexcept { return database_; }

    /// A prepared statement without bindings, its taker's alone until it is given back. Ends before
    /// its connection.
    class Prepared {
    public:
        ~Prepared() { from_.give_back(std::move(node_)); }
        Prepared(const Prepared&) = delete;
        Prepared& operator=(const Prepared&) = delete;

        SQLite::Statement& operator*() const noexcept { return *node_.front(); }
        SQLite::Statement* operator->() const noexcept { return node_.front().get(); }

    private:
        friend class SqliteConnection;
        Prepared(SqliteConnection& from, Statements node) : from_{from}, node_{std::move(node)} {}

        SqliteConnection& from_;
        Statements node_;  // Of one element.
    };
    /// Values belong into bindings, so that few texts stand for all queries.
    [[nodiscard]] Prepared prepare(const std::string& sql);

    enum class Purpose { kRead, kWrite };
    /// A transaction: undone at its end unless committed.
    class Scope {
    public:
        Scope(SqliteConnection& connection, Purpose purpose);
        ~Scope();
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;
        void commit();

    private:
        SqliteConnection& connection_;
    };
    /// Whether a transaction is open: it could not be ended, and the connection is of no more use.
    [[nodiscard]] bool in_transaction() const noexcept;

private:
    void run(const std::string& sql) { prepare(sql)->exec(); }
    void give_back(Statements node) noexcept;

    SQLite::Database database_;
    Statements idle_;  // The last used first.
};

}  // namespace holdfast::catalog
