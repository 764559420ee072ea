// `holdfast restore`: run where PostgreSQL is to run; the data comes from the server over HTTPS.
#include "base/error.h"
#include "base/text.h"
#include "cli/commands/common.h"
#include "cli/restore/directory_restore.h"
#include "cli/restore/remote_point.h"

#include <mutex>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

std::string newest_point(const std::string& instance, Session& session) {
    const Json points = session.list(instance + "/recoveryPoints?$filter=");
    if (points.empty()) {
        throw Error{
            ErrorKind::kRecoveryPointNotFound,
            ErrorText{
                .message = "The backup instance has no recovery point.",
                .recommended_actions =
                    {"Back it up: holdfast dataprotection backup-instance adhoc-backup."},
            }
        };
    }
    return JsonReader{points.front(), "the server's list", ErrorKind::kInternal}.string("name");
}

/// Said before anything is fetched: a logical point has no data directory to make.
void require_physical(const std::string& path, Session& session) {
    const Json point = session.get(path);
    const JsonReader properties =
        JsonReader{point, "the recovery point", ErrorKind::kInternal}.member("properties");
    const auto own = properties.optional_member("holdfast");
    if (own && own->string_or("backupSolutionType", "") == "PhysicalBackup") {
        return;
    }
    throw Error{
        ErrorKind::kUnsupportedOperation,
        ErrorText{
            .message = "This recovery point is of a logical backup: no data directory can be made "
                       "of it.",
            .recommended_actions =
                {"Restore it to a server, or as files: holdfast dataprotection backup-instance "
                 "restore initialize-for-data-recovery[-as-files]."},
        }
    };
}

Json restore_directory(const Arguments& arguments, Session& session) {
    postgres::RestoreClusterOptions options = read_directory_restore(arguments, session);
    const std::string instance = resource_path(kInstanceResource, arguments, session);
    const std::string point = arguments.given("--recovery-point-id")
                                  ? arguments.string("--recovery-point-id")
                                  : newest_point(instance, session);
    const std::string path = fmt::format("{}/recoveryPoints/{}", instance, percent_encode(point));
    require_physical(path, session);
    std::mutex mutex;
    const RemotePointSource source{RemotePoint{
        .connect =
            [&] {
                // The session is one thread's; opening a connection only reads its profile.
                const std::lock_guard lock{mutex};
                return session.new_connection();
            },
        .list = session.prepare("POST", path + "/listStreams"),
        .read = session.prepare("POST", path + "/readStreams"),
        .guard_requests = arguments.list("--operation-requests"),
    }};
    Json result = restore_into_directory(source, std::move(options), session);
    result["recoveryPointId"] = point;
    return result;
}

}  // namespace

void add_restore_directory_commands(std::vector<Command>& table) {
    std::vector<Option> options{
        resource_group_option(),
        vault_name_option(),
        instance_name_option(),
        optional({"--recovery-point-id"}, "The recovery point; default: the newest."),
        operation_requests_option(),
    };
    for (Option& option : directory_restore_options()) {
        options.push_back(std::move(option));
    }
    table.push_back({
        .path = "restore",
        .summary = "Restore a physical recovery point into a directory of this machine.",
        .options = std::move(options),
        .examples =
            {{"On a new database host, as root",
              "holdfast restore -g testBkpVaultRG -v TestBkpVault -n ossserver-1 "
              "--target-directory /var/lib/postgresql/15/main"},
             {"Repair a damaged data directory, fetching what differs",
              "holdfast restore -g testBkpVaultRG -v TestBkpVault -n ossserver-1 -D "
              "/var/lib/postgresql/15/main --delta"}},
        .handler = restore_directory,
        .details = "The data is streamed from the server over HTTPS; the caller needs the role "
                   "Backup Recovery Point Data Reader. Every file is checked while it is written, "
                   "and pg_control comes last: what was broken off never starts.",
    });
}

}  // namespace holdfast::cli
