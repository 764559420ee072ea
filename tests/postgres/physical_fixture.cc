#include "postgres/physical_fixture.h"

#include "base/sha256.h"

#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

namespace holdfast::postgres {

namespace fs = std::filesystem;
using testing::PostgresServer;
using testing::PostgresServerOptions;

namespace {

constexpr int kDebianMajor = 15;

bool others_can_enter(fs::path path) {
    for (; path.has_relative_path(); path = path.parent_path()) {
        struct stat status {};
        if (::stat(path.c_str(), &status) != 0 || (status.st_mode & S_IXOTH) == 0) {
            return false;
        }
    }
    return true;
}

}  // namespace

std::optional<fs::path> server_programs(int major) {
    if (major == kDebianMajor) {
        return PostgresServerOptions{}.programs;
    }
    const fs::path native =
        fs::path{HOLDFAST_POSTGRES_VERSIONS_DIR} / fmt::format("postgres-{}", major) / "native";
    if (!fs::exists(native / "bin" / "postgres")) {
        return std::nullopt;
    }
    if (others_can_enter(native / "bin")) {
        return native / "bin";
    }
    // A checkout below somebody's home: the server's account gets a copy.
    static std::map<int, TemporaryDirectory> copies;
    const auto [copy, added] = copies.try_emplace(major, "holdfast-postgres");
    if (added) {
        fs::permissions(copy->second.path(), fs::perms::owner_all | fs::perms::others_exec);
        fs::copy(
            native,
            copy->second.path() / "native",
            fs::copy_options::recursive | fs::copy_options::copy_symlinks
        );
    }
    return copy->second.path() / "native" / "bin";
}

OpenDirectory::OpenDirectory() : directory_{"holdfast-physical"} {
    fs::permissions(path(), fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
}

PostgresServerOptions PhysicalTest::options() {
    PostgresServerOptions out;
    out.hba =
        "local all all trust\nlocal replication all trust\n"
        "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n";
    return out;
}

void PhysicalTest::fill(const PostgresServer& server, int rows) {
    server.sql(
        "postgres",
        fmt::format(
            "CREATE TABLE rows AS SELECT g AS id, repeat(md5(g::text), 8) AS text FROM "
            "generate_series(1, {}) g; CREATE INDEX ON rows (id); VACUUM rows;",
            rows
        )
    );
}

std::string PhysicalTest::digest(const PostgresServer& server) {
    return server.sql(
        "postgres",
        "SET enable_seqscan = off; "
        "SELECT count(*), md5(string_agg(id || text, ',' ORDER BY id)) FROM rows"
    );
}

PhysicalBackup PhysicalTest::back_up(
    const PostgresServer& server, BackupStreams& streams, const PhysicalBackupOptions& options
) {
    return run_physical_backup(superuser(server), clock_, streams, options);
}

RestoredCluster PhysicalTest::restore(const StreamSource& source, RestoreClusterOptions options) {
    options.durability = Durability::kNone;
    return restore_cluster(source, options);
}

void PhysicalTest::make_for_server(const fs::path& path) {
    fs::create_directories(path);
    if (::geteuid() == 0) {
        const passwd* user = ::getpwnam("postgres");
        ASSERT_NE(user, nullptr);
        ASSERT_EQ(::chown(path.c_str(), user->pw_uid, user->pw_gid), 0);
    }
}

std::map<std::string, std::string> contents_of(const fs::path& directory) {
    std::map<std::string, std::string> out;
    for (const auto& entry : fs::recursive_directory_iterator{directory}) {
        const std::string path = entry.path().lexically_relative(directory).string();
        const auto mode = static_cast<unsigned>(entry.symlink_status().permissions());
        std::string& what = out[path];
        what = fmt::format("{:o} ", mode);
        if (entry.is_symlink()) {
            what += fs::read_symlink(entry.path()).string();
        } else if (entry.is_regular_file()) {
            std::ifstream in{entry.path(), std::ios::binary};
            const std::string bytes{std::istreambuf_iterator<char>{in}, {}};
            what += to_hex(sha256(as_bytes(bytes)));
        }
    }
    return out;
}

}  // namespace holdfast::postgres
