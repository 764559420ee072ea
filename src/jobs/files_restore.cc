#include "jobs/files_restore.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "jobs/detail/cluster_files.h"
#include "jobs/detail/file_set.h"
#include "postgres/archive_composer.h"
#include "postgres/logical_restore.h"
#include "postgres/restore_files.h"

#include <algorithm>
#include <memory>
#include <optional>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr std::size_t kBufferBytes = 1 * kMiB;
constexpr std::uint64_t kServerManifestBytesMax = 64 * kMiB;

struct Names {
    explicit Names(const std::string& prefix)
        : roles{prefix + "_roles.sql"},
          tablespace{prefix + "_tablespace.sql"},
          schema{prefix + "_schema.sql"},
          script{prefix + "_restore.sh"},
          manifest{prefix + "_manifest.json"} {}
    std::string roles;
    std::string tablespace;
    std::string schema;
    std::string script;
    std::string manifest;
};

/// One database of the recovery point and the file it becomes.
struct DatabaseFile {
    std::string database;
    std::string file_name;
    bool opaque = false;  ///< Stored whole because its archive version was not understood.
    std::uint64_t size_bytes = 0;
};

std::string database_file_name(const std::string& prefix, const std::string& database) {
    // Percent-encoded: a database may be called anything, a file may not.
    return fmt::format("{}_database_{}.sql", prefix, percent_encode(database));
}

std::optional<std::uint64_t> stream_size(
    const postgres::StreamSource& source, const std::string& name
) {
    std::optional<std::uint64_t> size;
    source.list(name, [&](const postgres::StreamInfo& info) {
        if (info.spec.name == name) {
            size = info.size;
        }
    });
    return size;
}

std::vector<DatabaseFile> plan_databases(const FilesRestore& restore) {
    std::vector<DatabaseFile> files;
    for (const std::string& database : postgres::databases_in(restore.source)) {
        DatabaseFile file{
            .database = database, .file_name = database_file_name(restore.file_prefix, database)
        };
        const std::string prefix = postgres::database_prefix(database);
        if (const auto size = stream_size(restore.source, prefix + "archive")) {
            file.opaque = true;
            file.size_bytes = *size;
        } else {
            const postgres::ArchiveComposer composer{restore.source, prefix};
            file.size_bytes = composer.composed_size(postgres::ComposePlan{});
        }
        files.push_back(std::move(file));
    }
    return files;
}

bool has_globals(const postgres::StreamSource& source) {
    return stream_size(source, "globals/roles.sql").has_value();
}

void copy_stream(
    const postgres::StreamSource& source, const std::string& name, postgres::ByteSink& sink
) {
    const auto reader = source.open(name);
    Bytes buffer(kBufferBytes);
    while (const std::size_t got = reader->read(buffer)) {
        sink.write(ByteSpan{buffer}.first(got));
    }
}

void write_database(
    const FilesRestore& restore, const DatabaseFile& file, postgres::ByteSink& sink
) {
    const std::string prefix = postgres::database_prefix(file.database);
    if (file.opaque) {
        copy_stream(restore.source, prefix + "archive", sink);
        return;
    }
    const postgres::ArchiveComposer composer{restore.source, prefix};
    composer.compose(postgres::ComposePlan{.shape = postgres::ComposeShape::kFile}, sink);
}

Json read_server_manifest(const postgres::StreamSource& source) {
    if (!stream_size(source, "server/manifest.json")) {
        return Json::object();
    }
    const Bytes bytes =
        postgres::read_stream(source, "server/manifest.json", kServerManifestBytesMax);
    return parse_json(as_text(bytes), ErrorKind::kVaultCorrupt, "server/manifest.json");
}

/// The major version of the oldest client that reads the archives: that of the server.
int client_major(const Json& server_manifest) {
    const Json* server = find_member(server_manifest, "server");
    const Json* number = server == nullptr ? nullptr : find_member(*server, "versionNumber");
    return number != nullptr && number->is_number_integer()
               ? static_cast<int>(number->get<std::int64_t>() / 10000)
               : 0;
}

std::string restore_script(
    const FilesRestore& restore,
    const Names& names,
    const std::vector<DatabaseFile>& databases,
    const std::vector<RestoredFile>& written,
    const Json& server_manifest
) {
    postgres::RestoreScriptInput input;
    const bool globals = has_globals(restore.source);
    input.roles_file = globals ? names.roles : std::string{};
    input.tablespace_file = globals ? names.tablespace : std::string{};
    input.manifest_file = names.manifest;
    input.client_major_min = client_major(server_manifest);
    for (const DatabaseFile& file : databases) {
        input.databases.push_back(
            {.database = postgres::read_database_settings(restore.source, file.database),
             .file_name = file.file_name}
        );
    }
    for (const RestoredFile& file : written) {
        input.sha256.emplace(file.name, file.sha256);
    }
    return postgres::render_restore_script(input);
}

Json make_manifest(
    const FilesRestore& restore,
    const std::vector<RestoredFile>& files,
    const std::vector<DatabaseFile>& databases,
    const Json& server_manifest
) {
    Json by_database = Json::array();
    for (const DatabaseFile& file : databases) {
        by_database.push_back(Json{
            {"database", file.database},
            {"file", file.file_name},
            {"format", "pg_dump custom archive: read it with pg_restore"},
        });
    }
    return Json{
        {"format", 1},
        {"madeBy", "Holdfast"},
        {"restoredAt", format_instant(restore.now)},
        {"recoveryPoint", restore.point},
        {"files", to_json(files)},
        {"databases", std::move(by_database)},
        {"server", server_manifest},
    };
}

void write_all_files(
    const FilesRestore& restore, const std::vector<DatabaseFile>& databases, FileSet& set
) {
    const Names names{restore.file_prefix};
    const Json server_manifest = read_server_manifest(restore.source);
    if (has_globals(restore.source)) {
        const auto passwords = restore.role_passwords == RolePasswordFiles::kInclude
                                   ? postgres::RolePasswords::kInclude
                                   : postgres::RolePasswords::kLeaveOut;
        set.add(names.roles, postgres::render_roles_sql(restore.source, passwords));
        set.add(names.tablespace, postgres::render_tablespaces_sql(restore.source));
    }
    if (restore.schema_sql) {
        set.add(names.schema, restore.schema_sql(restore.stop));
    }
    for (const DatabaseFile& file : databases) {
        set.add(file.file_name, [&](postgres::ByteSink& sink) {
            write_database(restore, file, sink);
        });
    }
    set.add(names.script, restore_script(restore, names, databases, set.files(), server_manifest));
    // The manifest lists all others, so it comes last; where it is, the restore is whole.
    const Json manifest = make_manifest(restore, set.files(), databases, server_manifest);
    set.add(names.manifest, manifest.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace

std::vector<std::string> restore_file_names(const FilesRestore& restore) {
    if (is_cluster(restore.source)) {
        return cluster_file_names(restore);
    }
    const Names fixed{restore.file_prefix};
    std::vector<std::string> names;
    if (has_globals(restore.source)) {
        names.push_back(fixed.roles);
        names.push_back(fixed.tablespace);
    }
    if (restore.schema_sql) {
        names.push_back(fixed.schema);
    }
    for (const std::string& database : postgres::databases_in(restore.source)) {
        names.push_back(database_file_name(restore.file_prefix, database));
    }
    names.push_back(fixed.script);
    names.push_back(fixed.manifest);
    return names;
}

void check_files_absent(const FilesRestore& restore) {
    std::vector<ErrorDetail> existing;
    for (const std::string& name : restore_file_names(restore)) {
        if (restore.directory.exists(name)) {
            existing.push_back(
                {.code = "FileExists",
                 .message = fmt::format("\"{}\" exists.", name),
                 .target = name}
            );
        }
    }
    if (existing.empty()) {
        return;
    }
    throw Error{
        ErrorKind::kRestoreTargetExists,
        ErrorText{
            .message = fmt::format(
                "The restore target holds {} of the files that this restore would write, \"{}\" "
                "among them; "
                "nothing was changed.",
                existing.size(),
                existing.front().target
            ),
            .target = restore.directory.url(),
            .recommended_actions = {"Use another filePrefix, or move the existing files away."},
            .details = std::move(existing),
        }
    };
}

FilesRestoreReport restore_as_files(const FilesRestore& restore) {
    check_files_absent(restore);
    const bool cluster = is_cluster(restore.source);
    const std::vector<DatabaseFile> databases =
        cluster ? std::vector<DatabaseFile>{} : plan_databases(restore);
    std::uint64_t total = cluster ? cluster_files_size(restore) : 0;
    for (const DatabaseFile& file : databases) {
        total += file.size_bytes;
    }
    check_space(restore, total);
    FileSet set{restore, total};
    try {
        if (cluster) {
            write_cluster_files(restore, set);
        } else {
            write_all_files(restore, databases, set);
        }
        set.publish();
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kStoreFull) {
            throw;
        }
        ErrorText text = error.text();
        text.target = restore.directory.url();
        text.message =
            fmt::format("The restore target is full; nothing was left in it. {}", text.message);
        throw Error{ErrorKind::kRestoreTargetFull, std::move(text), error.where()};
    }
    FilesRestoreReport report{.files = set.files(), .bytes = 0, .warnings = {}};
    for (const RestoredFile& file : report.files) {
        report.bytes += file.size_bytes;
    }
    return report;
}

}  // namespace holdfast::jobs
