#include "postgres/configuration_files.h"

#include "base/error.h"
#include "base/text.h"
#include "postgres/streams.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

namespace fs = std::filesystem;

// A file larger than this is no configuration, and would go through memory.
constexpr std::uint64_t kFileBytesMax = 8 * kMiB;
constexpr std::size_t kFilesMax = 1000;

bool is_below(const fs::path& path, const fs::path& directory) {
    const fs::path relative = path.lexically_normal().lexically_relative(directory);
    return !relative.empty() && *relative.begin() != "..";
}

struct Located {
    std::string name;  ///< What it is saved as.
    std::string path;
};

std::string setting(Connection& session, const std::string& name, const std::stop_token& stop) {
    return session.query("SELECT current_setting($1) AS value", {name}, {.stop = stop})
        .text(0, "value");
}

/// Empty when this role may not ask.
std::vector<Located> locate_outside(Connection& session, const std::stop_token& stop) {
    const fs::path data{setting(session, "data_directory", stop)};
    std::vector<Located> files;
    const auto add = [&](const std::string& name, const std::string& path) {
        const bool known = std::any_of(files.begin(), files.end(), [&](const Located& one) {
            return one.path == path || one.name == name;
        });
        if (!path.empty() && !known && !is_below(path, data) && files.size() < kFilesMax) {
            files.push_back({.name = name, .path = path});
        }
    };
    const std::string main = setting(session, "config_file", stop);
    add("postgresql.conf", main);
    add("pg_hba.conf", setting(session, "hba_file", stop));
    add("pg_ident.conf", setting(session, "ident_file", stop));
    return files;
}

/// Files that postgresql.conf includes; those from elsewhere than its own directory keep only their
/// last name, below `included/`.
void add_included(Connection& session, std::vector<Located>& files, const std::stop_token& stop) {
    const fs::path data{setting(session, "data_directory", stop)};
    const fs::path home = fs::path{setting(session, "config_file", stop)}.parent_path();
    const QueryResult rows = session.execute(
        "SELECT DISTINCT sourcefile FROM pg_catalog.pg_file_settings WHERE sourcefile IS NOT NULL "
        "ORDER BY 1",
        {.stop = stop}
    );
    for (std::size_t i = 0; i < rows.row_count() && files.size() < kFilesMax; ++i) {
        const std::string path = rows.text(i, "sourcefile");
        const bool known = std::any_of(files.begin(), files.end(), [&](const Located& one) {
            return one.path == path;
        });
        if (known || is_below(path, data)) {
            continue;
        }
        std::string name = is_below(path, home)
                               ? fs::path{path}.lexically_normal().lexically_relative(home).string()
                               : "included/" + fs::path{path}.filename().string();
        files.push_back({.name = std::move(name), .path = path});
    }
}

void save(
    Connection& session, BackupStreams& streams, const Located& file, const std::stop_token& stop
) {
    // Hexadecimal, so that any encoding comes through as it is.
    const QueryResult rows = session.query(
        "SELECT pg_catalog.encode(pg_catalog.pg_read_binary_file($1, 0, $2, true), 'hex') AS bytes",
        {file.path, fmt::format("{}", kFileBytesMax)},
        {.stop = stop}
    );
    const auto bytes = from_hex(rows.text(0, "bytes"));
    if (!bytes) {
        throw Error{ErrorKind::kPostgresQuery, "The server did not send hexadecimal digits."};
    }
    StreamSpec spec;
    spec.name = stream_name_of_path(kConfigurationPrefix, file.name);
    spec.kind = StreamKind::kConfiguration;
    spec.attributes["path"] = file.path;
    spec.size_hint_bytes = bytes->size();
    const auto writer = streams.open(spec);
    writer->write(*bytes);
    writer->close();
}

bool is_refusal(const Error& error) {
    return error.kind() == ErrorKind::kMissingDatabasePermissions ||
           error.kind() == ErrorKind::kPostgresQuery;
}

}  // namespace

std::vector<SavedConfiguration> save_configuration(
    Connection& session,
    BackupStreams& streams,
    std::vector<std::string>& notes,
    std::stop_token stop
) {
    std::vector<SavedConfiguration> saved;
    std::vector<Located> files;
    try {
        files = locate_outside(session, stop);
        if (!files.empty()) {
            add_included(session, files, stop);
        }
    } catch (const Error& error) {
        if (!is_refusal(error)) {
            throw;
        }
        if (files.empty()) {
            notes.push_back(fmt::format(
                "Configuration files outside the data directory were not saved: {}", error.what()
            ));
        }
    }
    for (const Located& file : files) {
        try {
            save(session, streams, file, stop);
            saved.push_back({.name = file.name, .path = file.path});
        } catch (const Error& error) {
            if (!is_refusal(error)) {
                throw;
            }
            notes.push_back(fmt::format("{} was not saved: {}", file.path, error.what()));
        }
    }
    return saved;
}

std::optional<Finding> find_unreadable_configuration(
    Connection& session, const std::string& role, std::stop_token stop
) {
    const std::string name = quote_identifier(role);
    Finding finding{
        .severity = Severity::kNote,
        .code = "ConfigurationUnreadable",
        .message = {},
        .remedies = {
            fmt::format("GRANT pg_read_all_settings, pg_read_server_files TO {};", name),
            fmt::format(
                "GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO "
                "{};",
                name
            )}};
    try {
        const std::vector<Located> files = locate_outside(session, stop);
        if (files.empty()) {
            return std::nullopt;
        }
        const QueryResult may = session.execute(
            "SELECT pg_catalog.has_function_privilege("
            "'pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)', 'EXECUTE') AND "
            "pg_catalog.pg_has_role('pg_read_server_files', 'USAGE') AS readable",
            {.stop = std::move(stop)}
        );
        if (may.boolean(0, "readable")) {
            return std::nullopt;
        }
        finding.message = fmt::format(
            "The server's configuration ({}) lies outside its data directory and will not be "
            "saved: this role may not read it.",
            files.front().path
        );
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kMissingDatabasePermissions) {
            throw;
        }
        finding.message =
            "This role may not ask where the server's configuration lies; what is outside the data "
            "directory will not be saved.";
    }
    return finding;
}

}  // namespace holdfast::postgres
