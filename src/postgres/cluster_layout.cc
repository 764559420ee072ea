#include "postgres/cluster_layout.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <pwd.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace holdfast::postgres {

namespace fs = std::filesystem;

namespace {

constexpr mode_t kPrivate = 0700;
constexpr std::string_view kTablespaces = "pg_tblspc/";

enum class Found { kNothing, kEmptyDirectory, kDirectory, kOther };

/// Throws kContainerNotAccessible when it cannot be told.
Found look_at(const fs::path& path) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (status.type() == fs::file_type::not_found) {
        return Found::kNothing;
    }
    if (error) {
        throw_target_errno("look at", path, error.value());
    }
    if (status.type() != fs::file_type::directory) {
        return Found::kOther;
    }
    for (fs::directory_iterator it{path, error}, end; !error && it != end; it.increment(error)) {
        if (it->path().filename() != "lost+found") {  // Of a filesystem mounted here.
            return Found::kDirectory;
        }
    }
    if (error) {
        throw_target_errno("read", path, error.value());
    }
    return Found::kEmptyDirectory;
}

[[noreturn]] void refuse(
    ErrorKind kind, const fs::path& path, std::string message, std::vector<std::string> actions
) {
    throw Error{
        kind,
        {.message = std::move(message),
         .target = path.string(),
         .recommended_actions = std::move(actions)}
    };
}

/// A postmaster whose working directory is this one; where that cannot be seen, whoever has the
/// process id that its lock file names.
bool server_runs_in(const fs::path& data) {
    const auto lock = read_file(data / "postmaster.pid", kMiB);
    if (!lock) {
        return false;
    }
    pid_t pid = 0;
    const auto parsed = std::from_chars(lock->data(), lock->data() + lock->size(), pid);
    if (parsed.ec != std::errc{} || pid <= 1 || pid == ::getpid()) {
        return false;
    }
    if (::kill(pid, 0) != 0 && errno == ESRCH) {
        return false;
    }
    std::error_code hidden;
    const fs::path at = fs::read_symlink(fmt::format("/proc/{}/cwd", pid), hidden);
    std::error_code error;
    return hidden || at == fs::canonical(data, error);
}

void check_data_directory(const RestoreClusterOptions& options) {
    const fs::path& target = options.target;
    if (!target.is_absolute()) {
        refuse(
            ErrorKind::kInvalidParameter,
            target,
            fmt::format("The target \"{}\" is not an absolute path.", target.string()),
            {"Name it from the root, as in /var/lib/postgresql/15/main."}
        );
    }
    const Found found = look_at(target);
    if (found == Found::kDirectory && server_runs_in(target)) {
        refuse(
            ErrorKind::kConflict,
            target,
            fmt::format("A PostgreSQL server runs in {}.", target.string()),
            {"Stop it first."}
        );
    }
    if (found == Found::kOther ||
        (found == Found::kDirectory && options.existing == ExistingFiles::kRefuse)) {
        refuse(
            ErrorKind::kRestoreTargetExists,
            target,
            fmt::format("{} exists and is not an empty directory.", target.string()),
            {"Restore to another directory, or empty this one.",
             "If it holds a data directory that is to be made equal to the recovery point, ask for "
             "a delta restore."}
        );
    }
    if (found == Found::kDirectory && !fs::exists(target / "PG_VERSION") &&
        !fs::exists(target / kRestoreMark)) {
        refuse(
            ErrorKind::kRestoreTargetExists,
            target,
            fmt::format(
                "{} holds something that is not a PostgreSQL data directory; a delta restore would "
                "remove it.",
                target.string()
            ),
            {"Restore to another directory, or empty this one."}
        );
    }
}

/// Directories by OID, of the tablespaces that lie outside the data directory.
std::map<std::string, fs::path> plan_tablespaces(
    const ClusterDescription& cluster, const RestoreClusterOptions& options
) {
    std::set<std::string> used;
    std::map<std::string, fs::path> places;
    for (const ClusterTablespace& one : cluster.tablespaces) {
        if (!one.location.starts_with('/')) {
            continue;  // In place: within the data directory.
        }
        const std::string oid = fmt::format("{}", one.oid);
        fs::path place{one.location};
        for (const TablespaceMapping& mapping : options.tablespaces) {
            if (mapping.from == oid || mapping.from == one.location) {
                place = mapping.to;
                used.insert(mapping.from);
            }
        }
        places[oid] = place.lexically_normal();
    }
    for (const TablespaceMapping& mapping : options.tablespaces) {
        if (!used.contains(mapping.from)) {
            refuse(
                ErrorKind::kInvalidParameter,
                mapping.from,
                fmt::format(
                    "The recovery point has no tablespace \"{}\" outside the data directory.",
                    mapping.from
                ),
                {"Name it by its OID or by its location on the server."}
            );
        }
    }
    return places;
}

bool is_within(const fs::path& path, const fs::path& directory) {
    const fs::path relative = path.lexically_relative(directory);
    return !relative.empty() && *relative.begin() != "..";
}

void check_tablespaces(
    const std::map<std::string, fs::path>& places, const RestoreClusterOptions& options
) {
    const fs::path data = options.target.lexically_normal();
    for (const auto& [oid, place] : places) {
        if (!place.is_absolute()) {
            refuse(
                ErrorKind::kInvalidParameter,
                place,
                fmt::format(
                    "The place \"{}\" of tablespace {} is not absolute.", place.string(), oid
                ),
                {}
            );
        }
        const bool shared = std::count_if(places.begin(), places.end(), [&](const auto& other) {
                                return is_within(other.second, place);
                            }) > 1;
        if (shared || is_within(place, data) || is_within(data, place)) {
            refuse(
                ErrorKind::kInvalidParameter,
                place,
                fmt::format(
                    "The place {} of tablespace {} overlaps another directory of the cluster.",
                    place.string(),
                    oid
                ),
                {"Give each tablespace a directory of its own, outside the data directory."}
            );
        }
        const Found found = look_at(place);
        if (found == Found::kOther ||
            (found == Found::kDirectory && options.existing == ExistingFiles::kRefuse)) {
            refuse(
                ErrorKind::kRestoreTargetExists,
                place,
                fmt::format(
                    "The place {} of tablespace {} exists and is not an empty directory.",
                    place.string(),
                    oid
                ),
                {"Map the tablespace to another directory, or empty this one."}
            );
        }
    }
}

std::uint64_t free_bytes(fs::path path) {
    while (!fs::exists(path) && path.has_parent_path() && path != path.root_path()) {
        path = path.parent_path();
    }
    struct statvfs status {};
    return ::statvfs(path.c_str(), &status) == 0 ? status.f_bavail * status.f_frsize : UINT64_MAX;
}

/// Room for all of it, where nothing is there yet. Directories of one filesystem are not added up:
/// this is for the plain cases, the rest is found while writing.
void check_room(
    const ClusterDescription& cluster,
    const std::map<std::string, fs::path>& places,
    const RestoreClusterOptions& options
) {
    if (options.existing == ExistingFiles::kDelta) {
        return;
    }
    std::uint64_t data_bytes = cluster.bytes + cluster.wal_bytes;
    std::vector<std::pair<fs::path, std::uint64_t>> wanted;
    for (const ClusterTablespace& one : cluster.tablespaces) {
        const auto found = places.find(fmt::format("{}", one.oid));
        if (found != places.end()) {
            wanted.emplace_back(found->second, one.bytes);
            data_bytes -= std::min(data_bytes, one.bytes);
        }
    }
    wanted.emplace_back(options.target, data_bytes);
    for (const auto& [path, bytes] : wanted) {
        if (const std::uint64_t free = free_bytes(path); free < bytes) {
            refuse(
                ErrorKind::kRestoreTargetFull,
                path,
                fmt::format(
                    "{} has room for {}; the restore needs {} there.",
                    path.string(),
                    format_size(free),
                    format_size(bytes)
                ),
                {"Make room there, or restore elsewhere."}
            );
        }
    }
}

std::optional<FileOwner> choose_owner(const RestoreClusterOptions& options) {
    if (options.owner) {
        return options.owner;
    }
    if (::geteuid() != 0) {
        return std::nullopt;
    }
    struct stat status {};
    if (::stat(options.target.c_str(), &status) == 0 && status.st_uid != 0) {
        return FileOwner{.user = status.st_uid, .group = status.st_gid};
    }
    const passwd* user = ::getpwnam("postgres");
    return user == nullptr ? std::nullopt
                           : std::optional{FileOwner{.user = user->pw_uid, .group = user->pw_gid}};
}

/// Parents too, as whoever runs this: only the directory itself is the server's.
TargetTree make_and_open(const fs::path& path, mode_t mode, std::optional<FileOwner> owner) {
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    if (error) {
        throw_target_errno("make", path.parent_path(), error.value());
    }
    if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
        throw_target_errno("make", path, errno);
    }
    TargetTree tree = TargetTree::open(path, owner);
    tree.give(tree.descriptor(), {}, mode);
    return tree;
}

/// Or else the link would lead a privileged restore where the server's account may not write.
void require_same_owner(const TargetTree& wal, const TargetTree& data) {
    struct stat there {};
    struct stat here {};
    if (::fstat(wal.descriptor(), &there) != 0 || ::fstat(data.descriptor(), &here) != 0 ||
        there.st_uid != here.st_uid) {
        refuse(
            ErrorKind::kRestoreTargetExists,
            data.root() / "pg_wal",
            "pg_wal is a link to a directory of another owner.",
            {"Remove the link, or give the directory to the owner of the data directory."}
        );
    }
}

}  // namespace

FileOwner find_file_owner(const std::string& user_name) {
    const passwd* user = ::getpwnam(user_name.c_str());
    if (user == nullptr) {
        throw Error{
            ErrorKind::kInvalidParameter,
            fmt::format("This machine has no user \"{}\".", user_name)
        };
    }
    return {.user = user->pw_uid, .group = user->pw_gid};
}

ClusterLayout ClusterLayout::prepare(
    const ClusterDescription& cluster, const RestoreClusterOptions& options
) {
    check_data_directory(options);
    const std::map<std::string, fs::path> places = plan_tablespaces(cluster, options);
    check_tablespaces(places, options);
    check_room(cluster, places, options);

    ClusterLayout layout;
    layout.owner_ = choose_owner(options);
    layout.data_ = make_and_open(options.target, cluster.directory_mode, layout.owner_);
    layout.data_->write_file(kRestoreMark, as_bytes("A restore goes on here.\n"), 0600);
    for (const auto& [oid, place] : places) {
        layout.tablespaces_.emplace(oid, make_and_open(place, kPrivate, layout.owner_));
    }
    const auto wal = layout.data_->look("pg_wal");
    if (wal && S_ISLNK(wal->st_mode) && fs::is_directory(options.target / "pg_wal")) {
        layout.wal_ = TargetTree::open(options.target / "pg_wal", layout.owner_);
        require_same_owner(*layout.wal_, *layout.data_);
    }
    return layout;
}

ClusterLayout::Place ClusterLayout::place_of(const std::string& path) const {
    if (path.starts_with(kTablespaces)) {
        const std::size_t slash = path.find('/', kTablespaces.size());
        if (slash != std::string::npos) {
            const auto found =
                tablespaces_.find(path.substr(kTablespaces.size(), slash - kTablespaces.size()));
            if (found != tablespaces_.end()) {
                return {&found->second, path.substr(slash + 1)};
            }
        }
    }
    constexpr std::string_view kWalDirectory = "pg_wal/";
    if (wal_ && path.starts_with(kWalDirectory)) {
        return {&*wal_, path.substr(kWalDirectory.size())};
    }
    return {&*data_, path};
}

void ClusterLayout::sync() const {
    data_->sync();
    for (const auto& [oid, tree] : tablespaces_) {
        tree.sync();
    }
    if (wal_) {
        wal_->sync();
    }
}

}  // namespace holdfast::postgres
