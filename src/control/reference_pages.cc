#include "control/reference_pages.h"

#include "base/error.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

std::string_view describe(Retry retry) noexcept {
    switch (retry) {
        case Retry::kNever:
            return "no: something must be changed first";
        case Retry::kBackoff:
            return "yes, after a while";
        case Retry::kVerify:
            break;
    }
    return "look first: the request may have taken effect";
}

}  // namespace

std::string describe_errors() {
    std::string out =
        "# Error codes\n\n"
        "This page is written by `holdfast docs errors` from `src/base/error_codes.def`; a test "
        "keeps it true.\n\n"
        "An error of the API is `{\"error\": {\"code\", \"message\", \"target\"?, \"details\"?, "
        "\"additionalInfo\"}}` with the\n"
        "HTTP status below; `additionalInfo[0].info.recommendedAction` says what to do next. "
        "Failed jobs and operations\n"
        "carry the same codes. The exit code is that of the command line.\n\n"
        "| code | HTTP | exit | try again? |\n| --- | --- | --- | --- |\n";
    for (const ErrorKind kind : all_error_kinds()) {
        const ErrorTraits row = traits(kind);
        out += fmt::format(
            "| `{}` | {} | {} | {} |\n",
            row.arm_code,
            row.http_status,
            row.exit_code,
            describe(row.retry)
        );
    }
    return out;
}

}  // namespace holdfast::control
