#include "jobs/user_error.h"

namespace holdfast::jobs {
namespace {

Json actions_json(const std::vector<std::string>& actions) {
    Json list = Json::array();
    for (const std::string& action : actions) {
        list.push_back(action);
    }
    return list;
}

/// A PostgreSQL server says in its own encoding what ends a login, and it may say file names: bytes
/// that are no UTF-8, which no record and no answer could hold. They show as U+FFFD.
Json as_utf8(const Json& object) {
    return parse_own_json(object.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

Json user_error(const Error& error, std::string_view activity_id) {
    const ErrorText& text = error.text();
    Json object{
        {"code", std::string{error.code()}},
        {"message", text.message},
        {"recommendedAction", actions_json(text.recommended_actions)},
        {"isRetryable", traits(error.kind()).retry == Retry::kBackoff},
        {"isUserError", traits(error.kind()).http_status < 500},
        {"target", text.target},
    };
    Json properties = Json::object();
    properties["ActivityId"] = std::string{activity_id};
    for (const auto& [name, value] : text.properties) {
        properties[name] = value;
    }
    object["properties"] = std::move(properties);
    Json details = Json::array();
    for (const ErrorDetail& detail : text.details) {
        details.push_back(
            Json{{"code", detail.code}, {"message", detail.message}, {"target", detail.target}}
        );
    }
    object["details"] = std::move(details);
    if (!text.properties.empty()) {
        Json additional = Json::object();
        for (const auto& [name, value] : text.properties) {
            additional[name] = value;
        }
        object["innerError"] =
            Json{{"code", std::string{error.code()}}, {"additionalInfo", std::move(additional)}};
    }
    return as_utf8(object);
}

Json warning_detail(const WarningText& warning) {
    return as_utf8(Json{
        {"resourceName", warning.resource_name},
        {"warning",
         Json{
             {"code", warning.code},
             {"message", warning.message},
             {"recommendedAction", actions_json(warning.recommended_actions)},
             {"isRetryable", false},
             {"isUserError", true},
         }},
    });
}

}  // namespace holdfast::jobs
