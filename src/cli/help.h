#pragma once

#include "cli/command_table.h"

#include <string>
#include <string_view>

namespace holdfast::cli {

/// The help of a verb or a group ("" is the root), as az lays it out.
[[nodiscard]] std::string help_text(const CommandTable& table, std::string_view path);

/// A script for `source <(holdfast completion bash)`: completes verbs, options and the values of
/// enumerations. Made from the table, so it needs no run of holdfast while typing.
[[nodiscard]] std::string bash_completion(const CommandTable& table);

}  // namespace holdfast::cli
