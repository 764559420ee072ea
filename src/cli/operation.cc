#include "base/error.h"
#include "base/text.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/session.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

/// Where the server doesn't say: soon at first, then slower.
std::chrono::microseconds poll_pause(const Response& response, int round) {
    constexpr std::chrono::seconds kPauseMax{30};
    if (const int ms = std::atoi(response.header("retry-after-ms").c_str()); ms > 0) {
        return std::min<std::chrono::microseconds>(std::chrono::milliseconds{ms}, kPauseMax);
    }
    if (const int seconds = std::atoi(response.header("retry-after").c_str()); seconds > 0) {
        return std::min(std::chrono::seconds{seconds}, kPauseMax);
    }
    return std::min<std::chrono::microseconds>(
        std::chrono::milliseconds{250} * (1 << std::min(round, 5)), std::chrono::seconds{5}
    );
}

Json body_of(const Response& response) {
    if (trim(response.body).empty()) {
        return nullptr;
    }
    Json body = Json::parse(response.body, nullptr, false);
    if (body.is_discarded()) {
        throw server_error(response.status, response.body);
    }
    return body;
}

}  // namespace

/// The status URL until it says how it ended. Throws what the operation failed with.
void Session::poll_status(const std::string& path) {
    Spinner spinner{services_.console};
    for (int round = 0;; ++round) {
        const Response response = call("GET", path);
        const Json body = body_of(response);
        const Json* status = find_member(body, "status");
        if (status == nullptr || !status->is_string()) {
            throw Error{
                ErrorKind::kInternal, "The server's answer about the operation has no status."
            };
        }
        const std::string word = to_lower(status->get<std::string>());
        if (word == "succeeded") {
            return;
        }
        if (word == "failed" || word == "canceled" || word == "cancelled") {
            const Json* error = find_member(body, "error");
            throw operation_error(
                response.status,
                error != nullptr
                    ? *error
                    : Json{{"code", "OperationFailed"}, {"message", "The operation ended as " + word + "."}}
            );
        }
        spinner.turn();
        (void)services_.clock.wait_for(poll_pause(response, round), {});
    }
}

/// GET until it is not 202.
Json Session::poll_location(const std::string& path) {
    Spinner spinner{services_.console};
    for (int round = 0;; ++round) {
        const Response response = call("GET", path);
        if (response.status != 202) {
            return body_of(response);
        }
        spinner.turn();
        (void)services_.clock.wait_for(poll_pause(response, round), {});
    }
}

/// A PUT that names no operation: the resource's own state tells.
Json Session::poll_resource(const std::string& path, Json resource) {
    Spinner spinner{services_.console};
    for (int round = 0;; ++round) {
        const Json* properties = find_member(resource, "properties");
        const Json* state =
            properties == nullptr ? nullptr : find_member(*properties, "provisioningState");
        const std::string word =
            state != nullptr && state->is_string() ? to_lower(state->get<std::string>()) : "";
        if (word.empty() || word == "succeeded") {
            return resource;
        }
        if (word == "failed" || word == "canceled") {
            throw Error{ErrorKind::kInternal, "The operation failed."};
        }
        spinner.turn();
        (void)services_.clock.wait_for(poll_pause({}, round), {});
        resource = get(path);
    }
}

Json Session::run_operation(
    std::string_view method, std::string_view path, const Json* body, Wait wait
) {
    const Response response = call(method, path, body);
    if (wait == Wait::kNo) {
        return nullptr;
    }
    const std::string status = own_path(response.header("azure-asyncoperation"));
    const std::string location = own_path(response.header("location"));
    if (!status.empty()) {
        poll_status(status);
        if (method == "PUT" || method == "PATCH") {
            return get(path);
        }
        return location.empty() || method == "DELETE" ? Json{} : poll_location(location);
    }
    if (response.status == 202 && !location.empty()) {
        Json result = poll_location(location);
        return method == "PUT" ? get(path) : result;
    }
    Json result = body_of(response);
    return method == "PUT" ? poll_resource(std::string{path}, std::move(result)) : result;
}

}  // namespace holdfast::cli
