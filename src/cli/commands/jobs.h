#pragma once

#include "cli/progress.h"
#include "cli/session.h"

#include <string>

namespace holdfast::cli {

/// What a job's document says of its progress: our own figures (properties.holdfast.progress), else
/// the sub-tasks'.
[[nodiscard]] JobProgress progress_of(const Json& job);

/// Follows a job to its end, with a bar on a terminal. When it failed or was cancelled, its errors
/// go to stderr and the exit code becomes 1. Returns the job as it ended.
[[nodiscard]] Json follow_job(const std::string& job_path, Session& session);

/// Columns of one job, of a list of them, or of the answer that names a job that was started.
inline constexpr std::string_view kJobTable =
    "[@][].{Name: name || jobId, Operation: properties.operation, Status: properties.status, "
    "Instance: properties.backupInstanceFriendlyName, Started: properties.startTime, Duration: "
    "properties.duration}";

/// For verbs that start a job: prints the operation's result, or with `--wait` the job as it ended.
[[nodiscard]] Option wait_for_job_option();
[[nodiscard]] Json finish_job_verb(Json result, const Arguments& arguments, Session& session);

}  // namespace holdfast::cli
