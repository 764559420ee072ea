#include "cli/command.h"

#include "base/error.h"

namespace holdfast::cli {
namespace {

const std::string kNothing;

}  // namespace

const Arguments::Value& Arguments::at(std::string_view name) const {
    const auto found = values_.find(name);
    HOLDFAST_CHECK(found != values_.end());
    return found->second;
}

bool Arguments::given(std::string_view name) const {
    return at(name).given;
}

const std::string& Arguments::string(std::string_view name) const {
    const Value& value = at(name);
    return value.values.empty() ? kNothing : value.values.back();
}

std::optional<std::string> Arguments::optional_string(std::string_view name) const {
    const Value& value = at(name);
    return value.values.empty() ? std::nullopt : std::optional{value.values.back()};
}

const std::vector<std::string>& Arguments::list(std::string_view name) const {
    return at(name).values;
}

const std::vector<std::vector<std::string>>& Arguments::groups(std::string_view name) const {
    return at(name).groups;
}

Option required(std::vector<std::string_view> names, std::string_view help) {
    return {.names = std::move(names), .help = help, .presence = Presence::kRequired};
}

Option optional(std::vector<std::string_view> names, std::string_view help) {
    return {.names = std::move(names), .help = help};
}

Option flag(std::vector<std::string_view> names, std::string_view help) {
    return {.names = std::move(names), .help = help, .kind = OptionKind::kFlag};
}

Option list(std::vector<std::string_view> names, std::string_view help) {
    return {.names = std::move(names), .help = help, .kind = OptionKind::kList};
}

Option required_list(std::vector<std::string_view> names, std::string_view help) {
    return as_required(list(std::move(names), help));
}

Option key_values(std::vector<std::string_view> names, std::string_view help) {
    return {.names = std::move(names), .help = help, .kind = OptionKind::kKeyValues};
}

Option one_of(
    std::vector<std::string_view> names,
    std::vector<std::string_view> allowed,
    std::string_view help
) {
    return {.names = std::move(names), .help = help, .allowed = std::move(allowed)};
}

Option as_required(Option option) {
    option.presence = Presence::kRequired;
    return option;
}

Option with_default(Option option, std::string_view value) {
    option.default_value = value;
    return option;
}

}  // namespace holdfast::cli
