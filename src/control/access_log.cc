#include "control/access_log.h"

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"

#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace holdfast::control {
namespace {

FileDescriptor open_file(const std::filesystem::path& path) {
    FileDescriptor file{
        ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640)
    };
    if (!file.valid()) {
        throw Error{
            ErrorKind::kConfigInvalid,
            ErrorText{
                .message = fmt::format(
                    "The access log {} cannot be opened: {}.", path.string(), std::strerror(errno)
                ),
                .target = "log.access_file",
                .recommended_actions =
                    {"Make its directory, writable for the service, or correct log.access_file."},
            }
        };
    }
    return file;
}

std::string line_of(const AccessEntry& entry) {
    const Json json{
        {"time", format_instant(entry.at)},
        {"method", entry.method},
        {"path", entry.path},
        {"route", entry.route},
        {"status", entry.status},
        {"code", entry.code},
        {"bytes", entry.bytes},
        {"durationUs", entry.took.count()},
        {"principal", entry.principal},
        {"address", entry.address},
        {"requestId", entry.request_id},
        {"correlationId", entry.correlation_id},
    };
    return json.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace

AccessLog::AccessLog(std::filesystem::path file) : path_{std::move(file)} {
    if (!path_.empty()) {
        file_ = open_file(path_);
    }
}

void AccessLog::reopen() {
    if (path_.empty()) {
        return;
    }
    FileDescriptor fresh = open_file(path_);
    const std::lock_guard lock{mutex_};
    file_ = std::move(fresh);
}

void AccessLog::write(const AccessEntry& entry, Weight weight) noexcept {
    if (path_.empty()) {
        log(weight == Weight::kProbe ? LogLevel::kDebug : LogLevel::kInfo,
            "request",
            {{"method", entry.method},
             {"path", entry.path},
             {"route", entry.route},
             {"status", std::to_string(entry.status)},
             {"code", entry.code},
             {"bytes", std::to_string(entry.bytes)},
             {"ms", fmt::format("{:.1f}", static_cast<double>(entry.took.count()) / 1000)},
             {"principal", entry.principal},
             {"peer", entry.address},
             {"request_id", entry.request_id},
             {"correlation_id", entry.correlation_id}});
        return;
    }
    run_boundary(
        [&] {
            const std::string line = line_of(entry);
            const std::lock_guard lock{mutex_};
            // One write appends one whole line, whoever else writes.
            const bool written =
                ::write(file_.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size());
            if (!written && !failing_) {
                log_error("The access log cannot be written", {{"file", path_.string()}});
            }
            failing_ = !written;
        },
        [](const Error& error) {
            log_error("A request could not be logged", {{"reason", error.log_line()}});
        }
    );
}

}  // namespace holdfast::control
