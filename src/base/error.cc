#include "base/error.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <system_error>

#include <fmt/format.h>

namespace holdfast {

ErrorTraits traits(ErrorKind kind) noexcept {
    switch (kind) {
#define X(k, arm_code, http_status, exit_code, retry) \
    case ErrorKind::k:                                \
        return {arm_code, http_status, exit_code, Retry::retry};
#include "base/error_codes.def"
#undef X
    }
    std::abort();  // A value outside the enum is a programmer error, never input.
}

const std::vector<ErrorKind>& all_error_kinds() {
    static const std::vector<ErrorKind> kinds{
#define X(kind, arm_code, http_status, exit_code, retry) ErrorKind::kind,
#include "base/error_codes.def"
#undef X
    };
    return kinds;
}

Error::Error(ErrorKind kind, ErrorText text, std::source_location where)
    : kind_{kind}, text_{std::make_shared<const ErrorText>(std::move(text))}, where_{where} {}

Error::Error(ErrorKind kind, std::string message, std::source_location where)
    : Error{kind, ErrorText{.message = std::move(message)}, where} {}

std::string Error::log_line() const {
    std::string line = fmt::format("{}: {}", code(), text_->message);
    if (!text_->internal.empty()) {
        line += fmt::format(" [{}]", text_->internal);
    }
    if (!text_->target.empty()) {
        line += fmt::format(" target={}", text_->target);
    }
    for (const ErrorDetail& detail : text_->details) {
        line += fmt::format(" ({}: {})", detail.code, detail.message);
    }
    std::string_view file = where_.file_name();
    if (const auto slash = file.find_last_of('/'); slash != std::string_view::npos) {
        file.remove_prefix(slash + 1);
    }
    return line + fmt::format(" at {}:{}", file, where_.line());
}

void throw_errno(
    std::string_view call, std::string_view object, int error_number, std::source_location where
) {
    const std::string reason = std::generic_category().message(error_number);
    ErrorText text{.message = fmt::format("{} failed on {}: {}.", call, object, reason)};
    text.properties["errno"] = std::to_string(error_number);
    switch (error_number) {
        case ENOSPC:
        case EDQUOT:
            text.recommended_actions = {
                "Free space on the file system, then run the operation again."
            };
            throw Error{ErrorKind::kStoreFull, std::move(text), where};
        case EACCES:
        case EPERM:
        case EROFS:
            text.recommended_actions = {"Give the user that runs Holdfast the right to this path."};
            throw Error{ErrorKind::kStoreDenied, std::move(text), where};
        default:
            throw Error{ErrorKind::kInternal, std::move(text), where};
    }
}

bool run_boundary(
    const std::function<void()>& body, const std::function<void(const Error&)>& report
) noexcept {
    try {
        body();
        return true;
    } catch (const Error& error) {
        report(error);
    } catch (const std::bad_alloc&) {
        std::fputs("holdfast: out of memory\n", stderr);
        std::abort();
    } catch (const std::exception& other) {
        report(Error{
            ErrorKind::kInternal,
            ErrorText{
                .message = "The service hit an internal error.",
                .internal = other.what(),
                .recommended_actions = {"Report it with the correlation id and the log line."},
            }
        });
    }
    return false;
}

void check_failed(std::string_view condition, std::source_location where) noexcept {
    std::fprintf(
        stderr,
        "holdfast: check failed: %.*s at %s:%u\n",
        static_cast<int>(condition.size()),
        condition.data(),
        where.file_name(),
        where.line()
    );
    std::abort();
}

}  // namespace holdfast
