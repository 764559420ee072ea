#pragma once

#include "cli/command.h"

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

/// All verbs, looked up by path. Groups exist by being the beginning of a path.
class CommandTable {
public:
    /// Sorted by path here. Two rows with one path are a bug and abort.
    explicit CommandTable(std::vector<Command> commands);

    [[nodiscard]] const std::vector<Command>& commands() const noexcept { return commands_; }
    [[nodiscard]] const Command* find(std::string_view path) const;
    /// "" is the root group.
    [[nodiscard]] bool is_group(std::string_view path) const;
    /// The words that may follow `path`, sorted.
    [[nodiscard]] std::vector<std::string_view> children(std::string_view path) const;

private:
    std::vector<Command> commands_;
};

/// One sentence about a group; "" for one that has none.
[[nodiscard]] std::string_view group_summary(std::string_view path);

/// Every row of the server and client verbs of this folder.
[[nodiscard]] std::vector<Command> standard_commands();

/// Options that every command takes, in the order help shows them.
[[nodiscard]] const std::vector<Option>& global_options();

}  // namespace holdfast::cli
