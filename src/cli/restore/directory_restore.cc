#include "cli/restore/directory_restore.h"

#include "base/error.h"
#include "cli/commands/common.h"
#include "cli/progress.h"
#include "postgres/streams.h"

#include <filesystem>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

/// `OLD=NEW`; an equals sign in the old location is written `\=`, as pg_basebackup has it.
postgres::TablespaceMapping parse_mapping(const std::string& text) {
    postgres::TablespaceMapping mapping;
    std::string* part = &mapping.from;
    std::string to;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == '=') {
            part->push_back('=');
            ++i;
        } else if (text[i] == '=' && part == &mapping.from) {
            part = &to;
        } else {
            part->push_back(text[i]);
        }
    }
    if (mapping.from.empty() || to.empty()) {
        throw Error{
            ErrorKind::kUsage,
            ErrorText{
                .message = fmt::format("--tablespace-mapping takes OLD=NEW, not \"{}\".", text),
                .recommended_actions =
                    {"OLD is the tablespace's location on the backed-up server, or its OID."},
            }
        };
    }
    mapping.to = std::filesystem::absolute(to);
    return mapping;
}

postgres::FileOwner parse_owner(const std::string& name) {
    return postgres::find_file_owner(name);
}

}  // namespace

std::vector<Option> directory_restore_options() {
    return {
        required(
            {"--target-directory", "-D"}, "The data directory to be: absent, or empty."
        ),
        flag(
            {"--delta"},
            "The target may hold a data directory (its server stopped): only what differs is "
            "written, and what does not belong to the recovery point is removed."
        ),
        list(
            {"--tablespace-mapping", "-T"},
            "Where tablespaces go: OLD=NEW …; default: where they were."
        ),
        optional(
            {"--restore-command"},
            "Recover beyond the recovery point with the log that this command fetches (%f, %p)."
        ),
        optional(
            {"--owner"},
            "User who owns the files; default: as root postgres, else whoever runs this."
        ),
        optional({"--workers"}, "Files restored at a time, 1 to 16."),
    };
}

postgres::RestoreClusterOptions read_directory_restore(
    const Arguments& arguments, Session& /*session*/
) {
    postgres::RestoreClusterOptions options;
    options.target =
        std::filesystem::absolute(arguments.string("--target-directory")).lexically_normal();
    for (const std::string& mapping : arguments.list("--tablespace-mapping")) {
        options.tablespaces.push_back(parse_mapping(mapping));
    }
    if (arguments.flag("--delta")) {
        options.existing = postgres::ExistingFiles::kDelta;
    }
    if (arguments.given("--restore-command")) {
        options.restore_command = arguments.string("--restore-command");
    }
    if (arguments.given("--owner")) {
        options.owner = parse_owner(arguments.string("--owner"));
    }
    options.workers = static_cast<std::size_t>(
        whole_number(arguments, {.option = "--workers", .fallback = 4, .max = 16})
    );
    return options;
}

Json restore_into_directory(
    const postgres::StreamSource& source, postgres::RestoreClusterOptions options, Session& session
) {
    ProgressBar bar{session.console()};
    const SteadyInstant started = session.clock().steady_now();
    options.progress = [&](const postgres::ClusterRestoreProgress& progress) {
        JobProgress shown;
        shown.label = "Restore " + options.target.filename().string();
        shown.phase = fmt::format("{} files", progress.files_done);
        shown.status = "InProgress";
        if (progress.bytes_total > 0) {
            shown.percent = 100.0 * static_cast<double>(progress.bytes_done) /
                            static_cast<double>(progress.bytes_total);
            shown.bytes_all = progress.bytes_total;
        }
        shown.bytes = progress.bytes_done;
        const double seconds =
            std::chrono::duration<double>(session.clock().steady_now() - started).count();
        if (seconds > 1) {
            shown.bytes_per_second =
                static_cast<std::uint64_t>(static_cast<double>(progress.bytes_done) / seconds);
        }
        bar.show(shown);
    };
    const postgres::RestoredCluster restored = postgres::restore_cluster(source, options);
    bar.clear();
    for (const std::string& warning : restored.warnings) {
        session.warn(warning);
    }
    for (const std::string& step : restored.next_steps) {
        session.console().err << "Next: " << step << '\n';
    }
    session.console().err << std::flush;
    return Json{
        {"targetDirectory", restored.data_directory.string()},
        {"serverVersion", restored.cluster.server_version},
        {"systemIdentifier", restored.cluster.system_identifier},
        {"files", restored.file_count},
        {"bytes", restored.bytes},
        {"bytesWritten", restored.bytes_written},
        {"filesRemoved", restored.files_removed},
        {"warnings", restored.warnings},
        {"nextSteps", restored.next_steps},
    };
}

}  // namespace holdfast::cli
