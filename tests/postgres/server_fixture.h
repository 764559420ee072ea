#pragma once

#include "base/clock.h"
#include "base/error.h"
#include "postgres/client_tools.h"
#include "postgres/connection.h"
#include "postgres/logical_backup.h"
#include "postgres/streams.h"
#include "postgres/testing/postgres_server.h"

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace holdfast::postgres {

/// Databases whose names have caught out other tools.
[[nodiscard]] const std::vector<std::string>& odd_database_names();

/// Tests that need a server of their own, or share one.
class ServerTest : public ::testing::Test {
protected:
    void SetUp() override;

    /// Over the Unix socket, as the superuser.
    [[nodiscard]] static ConnectionParameters superuser(
        const testing::PostgresServer& server, std::string_view database = "postgres"
    );
    /// Runs a backup of one database into memory.
    [[nodiscard]] LogicalBackup back_up(
        const testing::PostgresServer& server, const std::string& database, MemoryStreams& streams
    );

    /// What `body` throws; a test failure when nothing.
    [[nodiscard]] static Error error_of(const std::function<void()>& body);

    SystemClock clock_;
    ClientTools tools_;
};

/// Makes a certificate for `subject_name` (`IP:127.0.0.1`) with /usr/bin/openssl, restarts the
/// server with TLS on, and returns the certificate, which is its own authority.
[[nodiscard]] std::string turn_on_tls(
    testing::PostgresServer& server, const std::string& subject_name
);

/// CREATE TABLE and the like with one of everything that a dump must carry.
[[nodiscard]] const std::string& rich_schema_sql();
/// A digest of everything in the database that a restore must bring back, one line per object.
[[nodiscard]] std::string fingerprint(
    const testing::PostgresServer& server, const std::string& database
);

/// Empty when equal.
[[nodiscard]] std::string first_difference(std::string_view expected, std::string_view found);

}  // namespace holdfast::postgres
