#pragma once

#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast {

/// Every failure that a user can meet. The table is error_codes.def.
enum class ErrorKind {
#define X(kind, arm_code, http_status, exit_code, retry) kind,
#include "base/error_codes.def"
#undef X
};

enum class Retry {
    kNever,    ///< The same request fails again until somebody changes something.
    kBackoff,  ///< May pass by itself.
    kVerify,   ///< Look at the state first: the request may have taken effect.
};

struct ErrorTraits {
    std::string_view arm_code;
    int http_status;
    int exit_code;
    Retry retry;
};

[[nodiscard]] ErrorTraits traits(ErrorKind kind) noexcept;

/// Every kind, in the order of the table. For generated documentation and tests.
[[nodiscard]] const std::vector<ErrorKind>& all_error_kinds();

/// One of several causes below an Error: shown as ARM `details`.
struct ErrorDetail {
    std::string code;
    std::string message;
    std::string target;
};

/// What an error says. Everything but `internal` may be shown to an API caller: no paths outside
/// the caller's own input, no SQL, no secrets.
struct ErrorText {
    std::string message;        ///< What failed, on what. One or more sentences.
    std::string internal = {};  ///< For the log only.
    std::string target = {};    ///< JSON path, resource id, parameter or file that is at fault.
    std::vector<std::string> recommended_actions = {};  ///< What to do next, one sentence each.
    std::vector<ErrorDetail> details = {};
    std::map<std::string, std::string> properties = {};  ///< Facts for programs, e.g. SQLSTATE.
};

/// The one exception class. Branch on kind(); there is no hierarchy. Copying never throws.
class Error final : public std::exception {
public:
    Error(
        ErrorKind kind, ErrorText text, std::source_location where = std::source_location::current()
    );
    Error(
        ErrorKind kind,
        std::string message,
        std::source_location where = std::source_location::current()
    );

    [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }
    [[nodiscard]] const ErrorText& text() const noexcept { return *text_; }
    [[nodiscard]] const char* what() const noexcept override { return text_->message.c_str(); }
    [[nodiscard]] std::string_view code() const noexcept { return traits(kind_).arm_code; }
    [[nodiscard]] const std::source_location& where() const noexcept { return where_; }

    /// One line for the log: code, message, internal detail, source location.
    [[nodiscard]] std::string log_line() const;

private:
    ErrorKind kind_;
    std::shared_ptr<const ErrorText> text_;
    std::source_location where_;
};

/// Throws kStoreFull, kStoreDenied or kInternal from `errno`, naming the call and the object.
[[noreturn]] void throw_errno(
    std::string_view call,
    std::string_view object,
    int error_number,
    std::source_location where = std::source_location::current()
);

/// One of the four boundaries (request, job step, command, thread): turns whatever `body` throws
/// into an Error. Returns true when `body` ended normally.
bool run_boundary(
    const std::function<void()>& body, const std::function<void(const Error&)>& report
) noexcept;

[[noreturn]] void check_failed(std::string_view condition, std::source_location where) noexcept;

}  // namespace holdfast

/// For our own bugs only, always on; aborts. Bytes from disk, network, PostgreSQL or a client are
/// never asserted.
#define HOLDFAST_CHECK(condition)                                                  \
    do {                                                                           \
        if (!(condition)) {                                                        \
            ::holdfast::check_failed(#condition, std::source_location::current()); \
        }                                                                          \
    } while (false)
