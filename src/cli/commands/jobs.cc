#include "cli/commands/jobs.h"

#include "base/error.h"
#include "base/text.h"
#include "cli/commands/common.h"
#include "cli/output.h"

#include <charconv>
#include <iostream>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::chrono::milliseconds kJobInterval{1000};

const Json& member_or_null(const Json& object, std::string_view name) {
    static const Json kNull;
    const Json* found = find_member(object, name);
    return found != nullptr ? *found : kNull;
}

/// The wire has numbers as texts in places.
std::optional<double> number_of(const Json& value) {
    if (value.is_number()) {
        return value.get<double>();
    }
    if (value.is_string()) {
        const auto& text = value.get_ref<const std::string&>();
        double number = 0;
        const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
        if (read.ec == std::errc{}) {
            return number;
        }
    }
    return std::nullopt;
}

std::optional<std::uint64_t> count_of(const Json& value) {
    const auto number = number_of(value);
    if (!number || *number <= 0 || *number > 1e18) {
        return std::nullopt;
    }
    return static_cast<std::uint64_t>(*number);
}

std::string text_of(const Json& object, std::string_view name) {
    const Json& value = member_or_null(object, name);
    return value.is_string() ? value.get<std::string>() : std::string{};
}

bool has_ended(std::string_view status) {
    static constexpr std::array<std::string_view, 5> kEnds{
        "Completed", "CompletedWithWarnings", "Failed", "Cancelled", "Canceled"
    };
    return std::any_of(kEnds.begin(), kEnds.end(), [&](std::string_view end) {
        return equal_ignoring_case(end, status);
    });
}

/// Errors and warnings of an ended job, for people; the document has them too.
void report_end(const Json& job, Session& session) {
    const Json& properties = member_or_null(job, "properties");
    const std::string status = text_of(properties, "status");
    const Json& warnings =
        member_or_null(member_or_null(properties, "extendedInfo"), "warningDetails");
    for (const Json& warning : warnings.is_array() ? warnings : Json::array()) {
        session.warn(text_of(member_or_null(warning, "warning"), "message"));
    }
    if (starts_with_ignoring_case(status, "Completed")) {
        return;
    }
    session.set_exit_code(1);
    const Json& errors = member_or_null(properties, "errorDetails");
    Console& console = session.console();
    const Colour colour = console.err_is_terminal ? Colour::kYes : Colour::kNo;
    if (!errors.is_array() || errors.empty()) {
        console.err
            << render_error(
                   Error{ErrorKind::kCancelled, fmt::format("The job ended as {}.", status)}, colour
               )
            << std::flush;
        return;
    }
    for (const Json& error : errors) {
        console.err << render_error(operation_error(400, error), colour) << std::flush;
    }
}

}  // namespace

JobProgress progress_of(const Json& job) {
    const Json& properties = member_or_null(job, "properties");
    const Json& info = member_or_null(properties, "extendedInfo");
    const Json& own = member_or_null(member_or_null(properties, "holdfast"), "progress");
    JobProgress out;
    out.status = text_of(properties, "status");
    out.label = fmt::format(
        "{} {}", text_of(properties, "operation"), text_of(properties, "backupInstanceFriendlyName")
    );
    out.percent = number_of(member_or_null(own, "percent"));
    out.bytes = count_of(member_or_null(own, "bytesDone"));
    out.bytes_all = count_of(member_or_null(own, "bytesTotal"));
    out.bytes_per_second = count_of(member_or_null(own, "rateBytesPerSecond"));
    if (const auto left = number_of(member_or_null(own, "secondsLeft"))) {
        out.remaining = std::chrono::seconds{static_cast<std::int64_t>(*left)};
    }
    out.phase = text_of(own, "phase");
    const Json& tasks = member_or_null(info, "subTasks");
    for (const Json& task : tasks.is_array() ? tasks : Json::array()) {
        const bool runs = !has_ended(text_of(task, "taskStatus"));
        if (runs && !out.percent) {
            out.percent = number_of(member_or_null(task, "taskProgress"));
        }
    }
    if (!out.bytes) {
        out.bytes = count_of(member_or_null(info, "dataTransferredInBytes"));
    }
    return out;
}

Json follow_job(const std::string& job_path, Session& session) {
    ProgressBar bar{session.console()};
    while (true) {
        Json job = session.get(job_path);
        const JobProgress progress = progress_of(job);
        if (has_ended(progress.status)) {
            bar.clear();
            report_end(job, session);
            return without_nulls(std::move(job));
        }
        bar.show(progress);
        (void)session.clock().wait_for(kJobInterval, {});
    }
}

Option wait_for_job_option() {
    return flag({"--wait"}, "Follow the job to its end; exit code 1 when it fails. Not in az.");
}

Json finish_job_verb(Json result, const Arguments& arguments, Session& session) {
    const std::string job = text_of(result, "jobId");
    if (!arguments.flag("--wait") || job.empty()) {
        return without_nulls(std::move(result));
    }
    return follow_job(job, session);
}

namespace {

Json cancel_job(const Arguments& arguments, Session& session) {
    const std::string path = resource_path(kJobResource, arguments, session);
    const Json job = session.run_operation("POST", path + "/cancel", nullptr, wait_of(arguments));
    return without_nulls(job);
}

}  // namespace

void add_job_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "dataprotection job list",
        .summary = "List the jobs of a vault, newest first.",
        .options = {resource_group_option(), vault_name_option(), max_items_option()},
        .examples =
            {{"The jobs of a vault",
              "holdfast dataprotection job list -g testBkpVaultRG --vault-name TestBkpVault -o "
              "table"}},
        .handler = list_handler(kJobResource),
        .table = kJobTable,
    });
    table.push_back({
        .path = "dataprotection job show",
        .summary = "Show a job with its sub-tasks, progress and errors.",
        .options = {resource_group_option(), vault_name_option(), job_id_option()},
        .examples =
            {{"By the id that adhoc-backup printed",
              "holdfast dataprotection job show --ids \"$jobId\""}},
        .handler = show_handler(kJobResource),
        .resource = kJobResource,
        .table = kJobTable,
    });
    table.push_back({
        .path = "dataprotection job cancel",
        .summary = "Ask a queued or running job to stop. Not in az.",
        .options =
            {resource_group_option(), vault_name_option(), job_id_option(), no_wait_option()},
        .examples =
            {{"Cancel a job",
              "holdfast dataprotection job cancel -g testBkpVaultRG -v TestBkpVault -n "
              "11111111-2222-3333-4444-555555555555"}},
        .handler = cancel_job,
        .resource = kJobResource,
    });
    table.push_back({
        .path = "dataprotection job wait",
        .summary = "Follow a job to its end, with a progress bar on a terminal; exit code 1 when "
                   "it failed. Not in az.",
        .options = {resource_group_option(), vault_name_option(), job_id_option()},
        .examples = {{"Wait for a job", "holdfast dataprotection job wait --ids \"$jobId\" -o none"}
        },
        .handler =
            [](const Arguments& arguments, Session& session) {
                return follow_job(resource_path(kJobResource, arguments, session), session);
            },
        .resource = kJobResource,
        .table = kJobTable,
    });
}

}  // namespace holdfast::cli
