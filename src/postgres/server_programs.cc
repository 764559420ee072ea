#include "postgres/server_programs.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>
#include <array>
#include <system_error>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

/// pg_amcheck came with PostgreSQL 14, in the same package.
bool is_complete(const fs::path& directory) {
    std::error_code ignored;
    return std::ranges::all_of(
        std::array{"postgres", "pg_controldata", "pg_checksums"},
        [&](const char* program) { return fs::exists(directory / program, ignored); }
    );
}

}  // namespace

ServerPrograms::ServerPrograms(const std::vector<fs::path>& directories) {
    for (const fs::path& directory :
         directories.empty() ? standard_program_directories() : directories) {
        if (!is_complete(directory)) {
            continue;
        }
        if (auto programs = read_tool_version(directory, "postgres")) {
            found_.push_back(std::move(*programs));
        }
    }
    std::ranges::stable_sort(found_, {}, &ToolSet::major);
}

const ToolSet& ServerPrograms::of_major(int major) const {
    for (const ToolSet& programs : found_) {
        if (programs.major == major) {
            return programs;
        }
    }
    std::vector<std::string> versions;
    for (const ToolSet& programs : found_) {
        versions.push_back(programs.version);
    }
    throw Error{
        ErrorKind::kServerProgramsMissing,
        {.message = fmt::format(
             "A cluster of PostgreSQL {} needs the server programs of that version on this "
             "machine; {}.",
             major,
             versions.empty() ? "none were found" : "found were " + join(versions, ", ")
         ),
         .recommended_actions =
             {fmt::format(
                  "Install the package postgresql-{} (apt.postgresql.org has every version). The "
                  "cluster that it makes is not needed: "
                  "`create_main_cluster = false` in /etc/postgresql-common/createcluster.conf.",
                  major
              ),
              "Or name the directory that holds the programs in the configuration."},
         .properties = {{"requiredMajor", std::to_string(major)}}}
    };
}

}  // namespace holdfast::postgres
