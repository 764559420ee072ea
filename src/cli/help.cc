#include "cli/help.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::size_t kHelpColumnMax = 38;
constexpr std::size_t kWidth = 100;

/// Breaks `text` into lines that begin at column `indent`; the first is already there.
std::string wrap(std::string_view text, std::size_t indent) {
    std::string out;
    std::size_t column = indent;
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(' '));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        if (column > indent && column + 1 + word.size() > kWidth) {
            out += "\n" + std::string(indent, ' ');
            column = indent;
        } else if (column > indent) {
            out += ' ';
            ++column;
        }
        out += word;
        column += word.size();
    }
    return out;
}

std::string label_of(const Option& option) {
    std::string label = "   ";
    for (const std::string_view name : option.names) {
        label += fmt::format(" {}", name);
    }
    if (option.presence == Presence::kRequired) {
        label += " [Required]";
    }
    return label;
}

std::string describe(const Option& option) {
    std::string text{option.help};
    if (option.kind == OptionKind::kList) {
        text += " Space-separated.";
    }
    if (!option.allowed.empty()) {
        text += " Allowed values: ";
        for (std::size_t i = 0; i < option.allowed.size(); ++i) {
            text += fmt::format("{}{}", i == 0 ? "" : ", ", option.allowed[i]);
        }
        text += '.';
    }
    if (!option.default_value.empty()) {
        text += fmt::format(" Default: {}.", option.default_value);
    }
    return text;
}

void append_options(std::string& out, const std::vector<Option>& options, Presence presence) {
    std::size_t width = 0;
    for (const Option& option : options) {
        width = std::max(width, std::min(label_of(option).size(), kHelpColumnMax));
    }
    for (const Option& option : options) {
        if (option.presence != presence) {
            continue;
        }
        const std::string label = label_of(option);
        out += fmt::format("{:<{}} :{}", label, width, label.size() > width ? "" : " ");
        if (label.size() > width) {
            out += "\n" + std::string(width + 3, ' ');
        }
        out += wrap(describe(option), width + 3) + "\n";
    }
}

std::string command_help(const Command& command) {
    std::string out =
        fmt::format("\nCommand\n    holdfast {} : {}\n", command.path, wrap(command.summary, 8));
    if (!command.details.empty()) {
        out += fmt::format("        {}\n", wrap(command.details, 8));
    }
    if (!command.options.empty() || !command.resource.empty()) {
        std::vector<Option> options = command.options;
        if (!command.resource.empty()) {
            options.push_back(list(
                {"--ids"}, "One or more resource ids, in the place of the names and the group."
            ));
        }
        out += "\nArguments\n";
        append_options(out, options, Presence::kRequired);
        append_options(out, options, Presence::kOptional);
    }
    out += "\nGlobal Arguments\n";
    append_options(out, global_options(), Presence::kOptional);
    if (!command.examples.empty()) {
        out += "\nExamples\n";
        for (const Example& example : command.examples) {
            out += fmt::format("    {}\n        {}\n", example.title, example.line);
        }
    }
    return out + "\n";
}

std::string group_help(const CommandTable& table, std::string_view path) {
    std::string out = fmt::format("\nGroup\n    holdfast{}{}", path.empty() ? "" : " ", path);
    const std::string_view summary =
        path.empty() ? "Backup and restore of PostgreSQL. `az X` is `holdfast X`."
                     : group_summary(path);
    out += summary.empty() ? "\n" : fmt::format(" : {}\n", summary);
    std::string groups;
    std::string commands;
    for (const std::string_view word : table.children(path)) {
        const std::string full =
            path.empty() ? std::string{word} : fmt::format("{} {}", path, word);
        if (const Command* row = table.find(full); row != nullptr) {
            commands += fmt::format("    {:<30} : {}\n", word, row->summary);
        } else {
            groups += fmt::format("    {:<30} : {}\n", word, group_summary(full));
        }
    }
    if (!groups.empty()) {
        out += "\nSubgroups:\n" + groups;
    }
    if (!commands.empty()) {
        out += "\nCommands:\n" + commands;
    }
    if (path.empty()) {
        out +=
            "\nThe groups of `dataprotection` may be named without it: `holdfast backup-vault "
            "list`.\n";
    }
    return out + "\n";
}

}  // namespace

std::string help_text(const CommandTable& table, std::string_view path) {
    const Command* command = table.find(path);
    return command != nullptr ? command_help(*command) : group_help(table, path);
}

}  // namespace holdfast::cli
