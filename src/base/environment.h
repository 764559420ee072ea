#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast {

/// The environment variables as the process got them, passed down from main: nothing else asks the
/// operating system for them, so that a test can hand in its own.
class Environment {
public:
    Environment() = default;
    explicit Environment(std::map<std::string, std::string, std::less<>> variables)
        : variables_{std::move(variables)} {}

    [[nodiscard]] static Environment of_process();

    /// Nothing when the variable is unset or empty.
    [[nodiscard]] std::optional<std::string> get(std::string_view name) const;
    [[nodiscard]] const std::map<std::string, std::string, std::less<>>& variables(
    ) const noexcept {
        return variables_;
    }

private:
    std::map<std::string, std::string, std::less<>> variables_;
};

}  // namespace holdfast
