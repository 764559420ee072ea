#include "jobs/detail/cluster_files.h"

#include "base/error.h"
#include "jobs/detail/file_set.h"
#include "postgres/cluster_archive.h"
#include "postgres/cluster_description.h"

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

std::string file_name(const FilesRestore& restore, const std::string& archive) {
    return fmt::format("{}_{}", restore.file_prefix, archive);
}

std::string manifest_name(const FilesRestore& restore) {
    return file_name(restore, "manifest.json");
}

/// What makes a data directory of the files, for a person with a shell.
Json steps_of(const FilesRestore& restore, const postgres::ClusterDescription& cluster) {
    Json steps = Json::array();
    steps.push_back("mkdir -m 700 DATA  # an empty directory of the user that PostgreSQL runs as");
    steps.push_back(fmt::format("tar -C DATA -xf {}", file_name(restore, "base.tar")));
    steps.push_back(fmt::format("tar -C DATA/pg_wal -xf {}", file_name(restore, "pg_wal.tar")));
    steps.push_back(fmt::format("cp {} DATA/backup_manifest", file_name(restore, "backup_manifest"))
    );
    for (const postgres::ClusterTablespace& tablespace : cluster.tablespaces) {
        steps.push_back(fmt::format(
            "tar -C DIRECTORY -xf {}  # an empty directory for the tablespace that was in {}; name "
            "it in DATA/tablespace_map where it differs",
            file_name(restore, fmt::format("{}.tar", tablespace.oid)),
            tablespace.location
        ));
    }
    steps.push_back("pg_verifybackup DATA");
    steps.push_back(
        fmt::format("pg_ctl -D DATA start  # PostgreSQL {}; it recovers by itself", cluster.major())
    );
    return steps;
}

}  // namespace

bool is_cluster(const postgres::StreamSource& source) {
    bool found = false;
    source.list(postgres::kClusterStream, [&](const postgres::StreamInfo& info) {
        found = found || info.spec.name == postgres::kClusterStream;
    });
    return found;
}

std::vector<std::string> cluster_file_names(const FilesRestore& restore) {
    std::vector<std::string> names;
    for (const auto& archive : postgres::list_cluster_archives(restore.source)) {
        names.push_back(file_name(restore, archive.name));
    }
    names.push_back(manifest_name(restore));
    return names;
}

std::uint64_t cluster_files_size(const FilesRestore& restore) {
    std::uint64_t size = 0;
    for (const auto& archive : postgres::list_cluster_archives(restore.source)) {
        size += archive.size;
    }
    return size;
}

void write_cluster_files(const FilesRestore& restore, FileSet& set) {
    const auto cluster = postgres::read_cluster_description(restore.source);
    for (const auto& archive : postgres::list_cluster_archives(restore.source)) {
        set.add(file_name(restore, archive.name), [&](postgres::ByteSink& sink) {
            postgres::write_cluster_archive(restore.source, archive.name, sink, restore.stop);
        });
    }
    // It lists all others, so it comes last; where it is, the restore is whole.
    const Json manifest{
        {"format", 1},
        {"madeBy", "Holdfast"},
        {"restoredAt", format_instant(restore.now)},
        {"recoveryPoint", restore.point},
        {"files", to_json(set.files())},
        {"cluster", to_json(cluster)},
        {"steps", steps_of(restore, cluster)},
    };
    set.add(manifest_name(restore), manifest.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace holdfast::jobs
