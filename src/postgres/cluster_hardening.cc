#include "postgres/cluster_hardening.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "postgres/connection.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <map>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

/// Each says something about how a server starts, or was left by one that ran.
constexpr std::array kRemoved{
    "postgresql.conf",
    "postgresql.auto.conf",
    "pg_hba.conf",
    "pg_ident.conf",
    "recovery.conf",
    "recovery.signal",
    "standby.signal",
    "promote",
    "promote.signal",
    "postmaster.pid",
    "postmaster.opts",
    // The original places of tablespaces: recovery would link to them.
    "tablespace_map",
};
/// Emptied: slots would keep the log, or stop a start without the right wal_level; the others hold
/// what a server left behind.
constexpr std::array kEmptied{"pg_replslot", "pg_dynshmem", "pg_notify", "pg_snapshots"};

/// Locks are for tables: pg_dump holds one on each of a database.
constexpr std::uint32_t kLocksPerTransactionMin = 2048;
constexpr std::uint32_t kLocksPerTransactionMax = 65'536;
constexpr std::uint32_t kPreparedTransactionsMax = 262'143;
constexpr int kConnectionsMax = 40;

[[noreturn]] void fail(std::string message) {
    throw Error{ErrorKind::kScratchServerFailed, std::move(message)};
}

std::optional<std::uint32_t> number_in(std::string_view text) {
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional{number}
                                                                    : std::nullopt;
}

/// One line of a file that should be small, without following a link or waiting for a pipe.
std::string first_line(const fs::path& path) {
    const FileDescriptor file{
        ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    };
    struct stat facts{};
    if (!file.valid() || ::fstat(file.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) {
        return {};
    }
    std::array<std::byte, 64> bytes{};
    const std::size_t count = read_up_to(file.get(), bytes, path.string());
    const std::string_view text = as_text(ByteSpan{bytes}.first(count));
    return std::string{trim(text.substr(0, text.find('\n')))};
}

int read_major(const fs::path& data) {
    const std::string version = first_line(data / "PG_VERSION");
    const auto major = number_in(version);
    if (!major) {
        fail("The restored directory is no PostgreSQL data directory: PG_VERSION is missing or odd."
        );
    }
    return static_cast<int>(*major);
}

void require_directory(const fs::path& path) {
    if (fs::symlink_status(path).type() != fs::file_type::directory) {
        fail(fmt::format("{} is not a directory.", path.filename().string()));
    }
}

void discard(const fs::path& path) {
    std::error_code error;
    fs::remove_all(path, error);
    if (error) {
        throw_errno("remove", path.string(), error.value());
    }
}

void empty(const fs::path& directory) {
    if (!fs::is_directory(fs::symlink_status(directory))) {
        discard(directory);
        fs::create_directory(directory);
    }
    std::vector<fs::path> entries;
    for (const fs::directory_entry& entry : fs::directory_iterator{directory}) {
        entries.push_back(entry.path());
    }
    std::ranges::for_each(entries, discard);
}

/// Returns whether there are tablespaces that lie in pg_tblspc itself.
bool relink_tablespaces(const ScratchDirectory& directory) {
    const fs::path links = directory.data() / "pg_tblspc";
    if (!fs::is_directory(fs::symlink_status(links))) {
        discard(links);
        fs::create_directory(links);
    }
    bool in_place = false;
    std::vector<fs::path> old;
    for (const fs::directory_entry& entry : fs::directory_iterator{links}) {
        if (entry.is_symlink()) {
            old.push_back(entry.path());
        } else {
            in_place = in_place || entry.is_directory();
        }
    }
    std::ranges::for_each(old, discard);
    for (const fs::directory_entry& entry : fs::directory_iterator{directory.tablespaces()}) {
        const fs::path name = entry.path().filename();
        if (number_in(name.string()) && entry.is_directory()) {
            fs::create_symlink(Sandbox::inside() / "tablespaces" / name, links / name);
        }
    }
    for (const fs::path& link : old) {
        if (!fs::is_symlink(link)) {
            fail(fmt::format(
                "Tablespace {} was not restored beside the scratch data directory.",
                link.filename().string()
            ));
        }
    }
    return in_place;
}

void write_new(const fs::path& path, std::string_view text, uid_t uid) {
    discard(path);
    const FileDescriptor file{::open(
        path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600
    )};
    if (!file.valid()) {
        throw_errno("open", path.string(), errno);
    }
    write_all(file.get(), as_bytes(text), path.string());
    if (::geteuid() == 0 && ::fchown(file.get(), uid, uid) != 0) {
        throw_errno("fchown", path.string(), errno);
    }
}

std::map<std::string, std::string> control_lines(std::string_view output) {
    std::map<std::string, std::string> lines;
    for (const std::string& line : split(output, '\n')) {
        if (const std::size_t at = line.find(':'); at != std::string::npos) {
            lines[line.substr(0, at)] = std::string{trim(std::string_view{line}.substr(at + 1))};
        }
    }
    return lines;
}

struct SettingLine {
    std::string_view name;
    std::string_view value;
    int since = 0;  ///< The first major version that knows it.
};

/// For every scratch server. What is not here has PostgreSQL's own default.
constexpr std::array kSettings{
    // Who may reach it.
    SettingLine{"listen_addresses", "''"},
    SettingLine{"port", "5432"},
    SettingLine{"unix_socket_directories", "'/cluster/socket'"},
    SettingLine{"unix_socket_permissions", "0700"},
    SettingLine{"ssl", "off"},
    SettingLine{"bonjour", "off"},
    // Whom it may reach, and what it may run.
    SettingLine{"archive_mode", "off"},
    SettingLine{"archive_command", "''"},
    SettingLine{"archive_library", "''", 15},
    SettingLine{"archive_cleanup_command", "''"},
    SettingLine{"recovery_end_command", "''"},
    SettingLine{"restore_command", "''"},
    SettingLine{"primary_conninfo", "''"},
    SettingLine{"primary_slot_name", "''"},
    SettingLine{"ssl_passphrase_command", "''"},
    SettingLine{"shared_preload_libraries", "''"},
    SettingLine{"session_preload_libraries", "''"},
    SettingLine{"local_preload_libraries", "''"},
    SettingLine{"jit", "off"},
    SettingLine{"event_triggers", "off", 17},
    SettingLine{"max_logical_replication_workers", "0"},
    SettingLine{"max_replication_slots", "0"},
    SettingLine{"max_active_replication_origins", "0", 18},
    SettingLine{"max_wal_senders", "0"},
    SettingLine{"wal_level", "minimal"},
    SettingLine{"hot_standby", "off"},
    SettingLine{"autovacuum", "off"},
    SettingLine{"autovacuum_freeze_max_age", "2000000000"},
    SettingLine{"autovacuum_multixact_freeze_max_age", "2000000000"},
    // A crash is an answer; going on after it would hide it.
    SettingLine{"restart_after_crash", "off"},
    // It is thrown away: nothing needs to survive.
    SettingLine{"fsync", "off"},
    SettingLine{"synchronous_commit", "off"},
    SettingLine{"full_page_writes", "off"},
    // What it takes.
    SettingLine{"max_worker_processes", "8"},
    SettingLine{"shared_buffers", "128MB"},
    SettingLine{"huge_pages", "off"},
    SettingLine{"dynamic_shared_memory_type", "mmap"},
    SettingLine{"io_method", "sync", 18},
    // Its log goes to the service, without the contents of anybody's tables.
    SettingLine{"log_destination", "'stderr'"},
    SettingLine{"logging_collector", "off"},
    SettingLine{"log_line_prefix", "''"},
    SettingLine{"log_checkpoints", "off"},
    SettingLine{"log_error_verbosity", "terse"},
    SettingLine{"log_min_error_statement", "panic"},
    SettingLine{"lc_messages", "'C'"},
    SettingLine{"timezone", "'UTC'"},
    SettingLine{"log_timezone", "'UTC'"},
};

}  // namespace

ControlFacts parse_control_data(std::string_view output) {
    const std::map<std::string, std::string> lines = control_lines(output);
    const auto text = [&](const std::string& name) {
        const auto at = lines.find(name);
        if (at == lines.end()) {
            fail(fmt::format("pg_controldata does not say \"{}\".", name));
        }
        return at->second;
    };
    const auto number = [&](const std::string& name) {
        const auto value = number_in(text(name));
        if (!value) {
            fail(fmt::format("pg_controldata says \"{}: {}\".", name, text(name)));
        }
        return *value;
    };
    return {
        .prepared_transactions_max = number("max_prepared_xacts setting"),
        .locks_per_transaction_max = number("max_locks_per_xact setting"),
        .data_checksums = number("Data page checksum version") != 0,
        .system_identifier = text("Database system identifier"),
        .state = text("Database cluster state"),
    };
}

ClearedCluster clear_cluster(const ScratchDirectory& directory) {
    const fs::path data = directory.data();
    require_directory(data);
    if (::chmod(data.c_str(), 0700) != 0) {
        throw_errno("chmod", data.string(), errno);
    }
    ClearedCluster cleared;
    cleared.major = read_major(data);
    for (const char* name : kRemoved) {
        discard(data / name);
    }
    for (const char* name : kEmptied) {
        empty(data / name);
    }
    cleared.has_backup_label =
        fs::symlink_status(data / "backup_label").type() == fs::file_type::regular;
    cleared.has_in_place_tablespaces = relink_tablespaces(directory);
    return cleared;
}

std::string scratch_configuration(const ScratchConfiguration& facts) {
    std::string text = "# Written for a scratch server.\n";
    for (const SettingLine& line : kSettings) {
        if (facts.major >= line.since) {
            text += fmt::format("{} = {}\n", line.name, line.value);
        }
    }
    text += fmt::format("max_connections = {}\n", kConnectionsMax);
    text += fmt::format(
        "max_prepared_transactions = {}\n",
        std::min(facts.control.prepared_transactions_max, kPreparedTransactionsMax)
    );
    text += fmt::format(
        "max_locks_per_transaction = {}\n",
        std::clamp(
            facts.control.locks_per_transaction_max,
            kLocksPerTransactionMin,
            kLocksPerTransactionMax
        )
    );
    // In kB, and an int.
    constexpr std::uint64_t kTempKibMax = 2'000'000'000;
    text += fmt::format(
        "temp_file_limit = {}\n", std::min(facts.limits.disk_bytes / kKiB, kTempKibMax)
    );
    if (facts.in_place_tablespaces) {
        text += "allow_in_place_tablespaces = on\n";
    }
    return text;
}

void write_configuration(
    const ScratchDirectory& directory, const Sandbox& sandbox, const ScratchConfiguration& facts
) {
    const fs::path data = directory.data();
    const uid_t uid = sandbox.uid();
    write_new(data / "postgresql.conf", scratch_configuration(facts), uid);
    write_new(
        data / "pg_hba.conf", fmt::format("local all {} trust\n", quote_identifier(facts.role)), uid
    );
    write_new(data / "pg_ident.conf", "", uid);
}

}  // namespace holdfast::postgres
