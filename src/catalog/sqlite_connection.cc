#include "catalog/sqlite_connection.h"

#include <algorithm>

#include <fmt/format.h>
#include <sqlite3.h>

namespace holdfast::catalog {
namespace {

// Long enough for a writer of another process (a backup of the file) to finish, short enough to be
// an answer.
constexpr int kBusyTimeoutMs = 10'000;
// More than a request or a job asks; the rarest go first.
constexpr std::size_t kStatementsKept = 48;

}  // namespace

SqliteConnection::SqliteConnection(const std::filesystem::path& path, std::string_view synchronous)
    // Without SQLite's own mutex: there is only ever one thread.
    : database_{path.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX, kBusyTimeoutMs} {
    database_.exec("PRAGMA journal_mode = WAL");
    database_.exec(fmt::format("PRAGMA synchronous = {}", synchronous));
    database_.exec("PRAGMA foreign_keys = ON");
    database_.exec("PRAGMA trusted_schema = OFF");
}

SqliteConnection::Prepared SqliteConnection::prepare(const std::string& sql) {
    const auto known = std::find_if(idle_.begin(), idle_.end(), [&](const auto& statement) {
        return statement->getQuery() == sql;
    });
    Statements node;
    if (known == idle_.end()) {
        node.push_back(std::make_unique<SQLite::Statement>(database_, sql));
    } else {
        node.splice(node.begin(), idle_, known);
    }
    return Prepared{*this, std::move(node)};
}

void SqliteConnection::give_back(Statements node) noexcept {
    // One that failed goes with whatever made it fail.
    if (node.empty() || node.front()->tryReset() != SQLITE_OK) {
        return;
    }
    try {
        // What was bound may be large, or not for the next one's eyes.
        node.front()->clearBindings();
    } catch (const SQLite::Exception&) {
        return;
    }
    idle_.splice(idle_.begin(), node);
    if (idle_.size() > kStatementsKept) {
        idle_.pop_back();
    }
}

bool SqliteConnection::in_transaction() const noexcept {
    return sqlite3_get_autocommit(database_.getHandle()) == 0;
}

SqliteConnection::Scope::Scope(SqliteConnection& connection, Purpose purpose)
    : connection_{connection} {
    connection_.run(purpose == Purpose::kWrite ? "BEGIN IMMEDIATE" : "BEGIN");
}

SqliteConnection::Scope::~Scope() {
    // SQLite may have undone it by itself, when a disk is full for instance.
    if (connection_.in_transaction()) {
        try {
            connection_.run("ROLLBACK");
        } catch (const SQLite::Exception&) {
            // in_transaction() tells.
        }
    }
}

void SqliteConnection::Scope::commit() {
    connection_.run("COMMIT");
}

}  // namespace holdfast::catalog
