// `vault restore`: a data directory out of a repository's files, without a server.
#include "base/error.h"
#include "cli/restore/directory_restore.h"
#include "cli/vault_tool/open_vault.h"
#include "jobs/point_streams.h"
#include "postgres/cluster_description.h"

namespace holdfast::cli {
namespace {

void require_physical(const postgres::StreamSource& source) {
    bool found = false;
    source.list(postgres::kClusterStream, [&](const postgres::StreamInfo& info) {
        found = found || info.spec.name == postgres::kClusterStream;
    });
    if (found) {
        return;
    }
    throw Error{
        ErrorKind::kUnsupportedOperation,
        ErrorText{
            .message = "This recovery point is of a logical backup: no data directory can be made "
                       "of it.",
            .target = "--point",
            .recommended_actions = {"Restore it as files: holdfast vault extract."},
        }
    };
}

Json restore(const Arguments& arguments, Session& session) {
    postgres::RestoreClusterOptions options = read_directory_restore(arguments, session);
    const Secret key = read_key(arguments.string("--key-file"));
    const OpenVault opened = open_vault(arguments.string("--path"), key, session);
    const auto reader =
        opened.repository->open_point(choose_point(arguments, *opened.repository), {});
    const jobs::PointSource source{*reader, {}};
    require_physical(source);
    Json result = restore_into_directory(source, std::move(options), session);
    result["recoveryPoint"] = point_json(reader->summary());
    return result;
}

}  // namespace

Command vault_restore_command() {
    std::vector<Option> options{path_option(), key_option(), point_option(), instance_option()};
    for (Option& option : directory_restore_options()) {
        options.push_back(std::move(option));
    }
    return Command{
        .path = "vault restore",
        .summary = "Restore a physical recovery point into a directory, without a server.",
        .options = std::move(options),
        .examples =
            {{"The server is lost, the vault's disk is here",
              "holdfast vault restore --path /srv/vaults/prod --key-file recovery-kit.txt "
              "--target-directory /var/lib/postgresql/15/main"},
             {"Make a damaged data directory equal to a recovery point again",
              "holdfast vault restore --path /srv/vaults/prod --key-file kek.key -D "
              "/var/lib/postgresql/15/main --delta"}},
        .handler = restore,
        .details = "Every file is checked while it is written, and pg_control comes last: what was "
                   "broken off never starts. With --delta only what differs is read and written.",
    };
}

}  // namespace holdfast::cli
