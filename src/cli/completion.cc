#include "cli/help.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

/// What follows the generated tables: finds the verb's path among the words, then asks the tables.
constexpr std::string_view kFunction = R"bash(
_holdfast() {
    local cur prev path="" word i=1
    cur="${COMP_WORDS[COMP_CWORD]}"
    prev="${COMP_WORDS[COMP_CWORD-1]}"
    while (( i < COMP_CWORD )); do
        word="${COMP_WORDS[i]}"
        [[ $word == -* ]] && break
        path="${path:+$path }$word"
        (( ++i ))
    done
    if [[ -n $path && " $(_holdfast_children '') " != *" ${path%% *} "* ]]; then
        path="dataprotection $path"
    fi
    local choices
    if [[ $prev == -* ]]; then
        choices="$(_holdfast_values "$path" "$prev")"
        if [[ -n $choices ]]; then
            COMPREPLY=($(compgen -W "$choices" -- "$cur"))
            return
        fi
    fi
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$(_holdfast_options "$path") $_holdfast_globals" -- "$cur"))
        return
    fi
    choices="$(_holdfast_children "$path")"
    if [[ -z $path ]]; then
        choices="$choices $(_holdfast_children dataprotection)"
    fi
    if [[ -n $choices ]]; then
        COMPREPLY=($(compgen -W "$choices" -- "$cur"))
    else
        COMPREPLY=($(compgen -f -- "$cur"))
    fi
}
complete -o filenames -F _holdfast holdfast
)bash";

std::string joined(const std::vector<std::string_view>& words) {
    std::string out;
    for (const std::string_view word : words) {
        out += fmt::format("{}{}", out.empty() ? "" : " ", word);
    }
    return out;
}

void collect_groups(
    const CommandTable& table, const std::string& path, std::vector<std::string>& out
) {
    out.push_back(path);
    for (const std::string_view word : table.children(path)) {
        const std::string full =
            path.empty() ? std::string{word} : fmt::format("{} {}", path, word);
        if (table.find(full) == nullptr) {
            collect_groups(table, full, out);
        }
    }
}

/// `path:option) values` arms for one command's options.
std::string value_arms(std::string_view path, const std::vector<Option>& options) {
    std::string out;
    for (const Option& option : options) {
        if (option.allowed.empty()) {
            continue;
        }
        std::string patterns;
        for (const std::string_view name : option.names) {
            patterns += fmt::format("{}{}{}", patterns.empty() ? "" : "|", path, name);
        }
        out += fmt::format("        {}) echo '{}' ;;\n", patterns, joined(option.allowed));
    }
    return out;
}

}  // namespace

std::string bash_completion(const CommandTable& table) {
    std::string out =
        "# bash completion of holdfast; load with: source <(holdfast completion bash)\n";
    out += "_holdfast_children() {\n    case \"$1\" in\n";
    std::vector<std::string> groups;
    collect_groups(table, "", groups);
    for (const std::string& group : groups) {
        out += fmt::format("        '{}') echo '{}' ;;\n", group, joined(table.children(group)));
    }
    out += "    esac\n}\n_holdfast_options() {\n    case \"$1\" in\n";
    for (const Command& command : table.commands()) {
        std::vector<std::string_view> names;
        for (const Option& option : command.options) {
            if (option.names.front().front() == '-') {
                names.insert(names.end(), option.names.begin(), option.names.end());
            }
        }
        if (!command.resource.empty()) {
            names.emplace_back("--ids");
        }
        if (!names.empty()) {
            out += fmt::format("        '{}') echo '{}' ;;\n", command.path, joined(names));
        }
    }
    out += "    esac\n}\n_holdfast_values() {\n    case \"$1 $2\" in\n";
    for (const Command& command : table.commands()) {
        // A quoted prefix: the path has blanks.
        out += value_arms(fmt::format("'{} '", command.path), command.options);
    }
    out += value_arms("*", global_options());
    std::vector<std::string_view> globals;
    for (const Option& option : global_options()) {
        globals.insert(globals.end(), option.names.begin(), option.names.end());
    }
    out += fmt::format("    esac\n}}\n_holdfast_globals='{}'\n", joined(globals));
    out += kFunction;
    return out;
}

}  // namespace holdfast::cli
