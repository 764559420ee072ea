#include "cli/output.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

ErrorKind kind_of_status(int status) {
    switch (status) {
        case 401:
            return ErrorKind::kAuthenticationFailed;
        case 403:
            return ErrorKind::kAuthorizationFailed;
        case 404:
            return ErrorKind::kResourceNotFound;
        case 405:
            return ErrorKind::kMethodNotAllowed;
        case 409:
            return ErrorKind::kConflict;
        case 412:
            return ErrorKind::kPreconditionFailed;
        case 413:
            return ErrorKind::kPayloadTooLarge;
        case 429:
            return ErrorKind::kTooManyRequests;
        case 503:
            return ErrorKind::kStoreUnavailable;
        case 504:
            return ErrorKind::kTimeout;
        default:
            return status >= 500 ? ErrorKind::kInternal : ErrorKind::kBadRequest;
    }
}

ErrorKind kind_of(int status, std::string_view code) {
    for (const ErrorKind kind : all_error_kinds()) {
        if (traits(kind).arm_code == code && traits(kind).exit_code != 2) {
            return kind;
        }
    }
    return kind_of_status(status);
}

std::string text_of(const Json& object, std::string_view name) {
    const Json* value = find_member(object, name);
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string{};
}

void append_details(const Json& error, std::vector<ErrorDetail>& out) {
    const Json* details = find_member(error, "details");
    if (details == nullptr || !details->is_array()) {
        return;
    }
    for (const Json& detail : *details) {
        out.push_back(
            {.code = text_of(detail, "code"),
             .message = text_of(detail, "message"),
             .target = text_of(detail, "target")}
        );
        append_details(detail, out);
    }
}

void append_actions(const Json& object, std::vector<std::string>& out) {
    const Json* actions = find_member(object, "recommendedAction");
    if (actions == nullptr || !actions->is_array()) {
        return;
    }
    for (const Json& action : *actions) {
        if (action.is_string()) {
            out.push_back(action.get<std::string>());
        }
    }
}

std::vector<std::string> actions_of(const Json& error) {
    std::vector<std::string> out;
    append_actions(error, out);
    if (const Json* infos = find_member(error, "additionalInfo");
        infos != nullptr && infos->is_array()) {
        for (const Json& entry : *infos) {
            if (const Json* info = find_member(entry, "info"); info != nullptr) {
                append_actions(*info, out);
            }
        }
    }
    return out;
}

}  // namespace

Error operation_error(int status, const Json& error) {
    const std::string code = text_of(error, "code");
    ErrorText text{
        .message = text_of(error, "message"),
        .internal = error.dump(-1, ' ', false, Json::error_handler_t::replace),
        .target = text_of(error, "target"),
        .recommended_actions = actions_of(error),
    };
    append_details(error, text.details);
    const ErrorKind kind = kind_of(status, code);
    text.properties["code"] = code.empty() ? std::string{traits(kind).arm_code} : code;
    if (text.message.empty()) {
        text.message = "The server gave no reason.";
    }
    if (kind == ErrorKind::kAuthenticationFailed && text.recommended_actions.empty()) {
        text.recommended_actions.emplace_back("Run: holdfast login --server URL");
    }
    return Error{kind, std::move(text)};
}

Error server_error(int status, std::string_view body) {
    const Json parsed = Json::parse(body.begin(), body.end(), nullptr, false);
    if (const Json* error = find_member(parsed, "error"); error != nullptr && error->is_object()) {
        return operation_error(status, *error);
    }
    if (parsed.is_object() && find_member(parsed, "code") != nullptr) {
        return operation_error(status, parsed);
    }
    return Error{
        kind_of_status(status),
        ErrorText{
            .message = fmt::format("Operation returned an invalid status '{}'.", status),
            .recommended_actions = {"Check that the URL is that of a Holdfast server."},
        }
    };
}

}  // namespace holdfast::cli
