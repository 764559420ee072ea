#include "cli/parser.h"

#include "base/error.h"
#include "base/text.h"

#include <cctype>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

[[noreturn]] void usage(std::string message, std::vector<std::string> actions = {}) {
    throw Error{
        ErrorKind::kUsage,
        ErrorText{.message = std::move(message), .recommended_actions = std::move(actions)}
    };
}

/// As argparse: a dash begins a flag, unless it stands alone, begins a negative number or a text
/// with blanks.
bool looks_like_flag(std::string_view word) {
    if (word.size() < 2 || word.front() != '-') {
        return false;
    }
    if (word.find(' ') != std::string_view::npos) {
        return false;
    }
    const bool number = std::all_of(word.begin() + 1, word.end(), [](char c) {
        return (c >= '0' && c <= '9') || c == '.';
    });
    return !number;
}

bool is_positional(const Option& option) {
    return option.names.front().front() != '-';
}

std::string display_names(const Option& option) {
    std::string out;
    for (const std::string_view name : option.names) {
        out += fmt::format("{}{}", out.empty() ? "" : "/", name);
    }
    return out;
}

/// The nearest of `candidates`, when it is near enough to be a slip: "bakup-vault", and "vault"
/// (as Azure's own guide has it) for "backup-vault".
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates) {
    std::string_view best;
    std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
    for (const std::string_view candidate : candidates) {
        if (!word.empty() && candidate.ends_with(fmt::format("-{}", word))) {
            return candidate;
        }
        const std::size_t apart = edit_distance(word, candidate);
        if (apart < best_distance) {
            best = candidate;
            best_distance = apart;
        }
    }
    return best;
}

}  // namespace

/// Writes what the user's ids say into parsed arguments.
class ArgumentsEditor {
public:
    static void set(Arguments& arguments, std::string_view name, std::string value) {
        Arguments::Value& slot = arguments.values_[std::string{name}];
        slot.given = true;
        slot.values = {std::move(value)};
    }
};

/// One command's words.
class Parser {
public:
    explicit Parser(const Command& command) : command_{command} {
        for (const Option& option : command.options) {
            options_.push_back(&option);
        }
        if (!command.resource.empty()) {
            options_.push_back(&ids_);
        }
        for (const Option& option : global_options()) {
            options_.push_back(&option);
        }
        for (const Option* option : options_) {
            Arguments::Value value;
            if (!option->default_value.empty()) {
                value.values = {std::string{option->default_value}};
            }
            arguments_.values_.emplace(std::string{option->names.front()}, std::move(value));
        }
    }

    Arguments parse(const std::vector<std::string>& words) {
        for (std::size_t i = 0; i < words.size();) {
            i = looks_like_flag(words[i]) ? take_flag(words, i) : take_positional(words, i);
        }
        check_required();
        if (!strays_.empty()) {
            refuse_strays();
        }
        return std::move(arguments_);
    }

private:
    const Option* find_option(std::string_view name) const {
        const Option* prefixed = nullptr;
        std::vector<std::string_view> matches;
        for (const Option* option : options_) {
            for (const std::string_view candidate : option->names) {
                if (candidate == name) {
                    return option;
                }
                // --token is not short for --token-file: it would look as if it took the secret.
                if (name.size() > 2 && name.starts_with("--") && candidate.starts_with(name) &&
                    !candidate.ends_with("-file")) {
                    if (prefixed != option) {
                        matches.push_back(candidate);
                    }
                    prefixed = option;
                }
            }
        }
        if (matches.size() > 1) {
            std::string listed;
            for (const std::string_view match : matches) {
                listed += fmt::format("{}{}", listed.empty() ? "" : ", ", match);
            }
            usage(fmt::format("ambiguous option: {} could match {}", name, listed));
        }
        return prefixed;
    }

    std::size_t take_flag(const std::vector<std::string>& words, std::size_t at) {
        std::string name = words[at];
        std::optional<std::string> attached;
        if (name.starts_with("--")) {
            if (const std::size_t equals = name.find('='); equals != std::string::npos) {
                attached = name.substr(equals + 1);
                name.resize(equals);
            }
        } else if (name.size() > 2 && find_option(name) == nullptr) {  // -ojson
            attached = name.substr(name[2] == '=' ? 3 : 2);
            name.resize(2);
        }
        const Option* option = find_option(name);
        if (option == nullptr || is_positional(*option)) {
            strays_.push_back(words[at]);
            return at + 1;
        }
        Arguments::Value& value = arguments_.values_[std::string{option->names.front()}];
        std::vector<std::string> taken;
        std::size_t next = at + 1;
        if (attached) {
            taken.push_back(*attached);
        } else if (takes_values(*option)) {
            const bool many = option->kind != OptionKind::kString;
            while (next < words.size() && !looks_like_flag(words[next]) && (many || taken.empty())
            ) {
                taken.push_back(words[next++]);
            }
        }
        store(*option, value, std::move(taken), attached.has_value());
        return next;
    }

    static bool takes_values(const Option& option) {
        return option.kind == OptionKind::kString || option.kind == OptionKind::kList ||
               option.kind == OptionKind::kKeyValues;
    }

    void store(
        const Option& option, Arguments::Value& value, std::vector<std::string> taken, bool attached
    ) {
        if (option.kind == OptionKind::kFlag && attached) {
            usage(fmt::format(
                "argument {}: ignored explicit argument '{}'", display_names(option), taken.front()
            ));
        }
        if (takes_values(option) && taken.empty()) {
            usage(fmt::format(
                "argument {}: expected {}",
                display_names(option),
                option.kind == OptionKind::kString ? "one argument" : "at least one argument"
            ));
        }
        for (std::string& word : taken) {
            check_allowed(option, word);
        }
        if (option.kind == OptionKind::kKeyValues) {
            value.groups.push_back(taken);
        }
        if (option.kind == OptionKind::kList || option.kind == OptionKind::kKeyValues) {
            if (!value.given) {
                value.values.clear();  // The default gives way.
            }
            value.values.insert(value.values.end(), taken.begin(), taken.end());
        } else {
            value.values = std::move(taken);
        }
        value.given = true;
    }

    void check_allowed(const Option& option, std::string& word) const {
        if (option.allowed.empty()) {
            return;
        }
        std::string listed;
        for (const std::string_view allowed : option.allowed) {
            if (equal_ignoring_case(word, allowed)) {
                word = allowed;
                return;
            }
            listed += fmt::format("{}{}", listed.empty() ? "" : ", ", allowed);
        }
        const std::string_view close = nearest(word, option.allowed);
        usage(
            fmt::format(
                "holdfast {}: '{}' is not a valid value for '{}'. Allowed values: {}.",
                command_.path,
                word,
                option.names.front(),
                listed
            ),
            close.empty() ? std::vector<std::string>{}
                          : std::vector{fmt::format("Did you mean '{}'?", close)}
        );
    }

    std::size_t take_positional(const std::vector<std::string>& words, std::size_t at) {
        for (const Option* option : options_) {
            if (!is_positional(*option)) {
                continue;
            }
            Arguments::Value& value = arguments_.values_[std::string{option->names.front()}];
            if (value.given && option->kind != OptionKind::kList) {
                continue;
            }
            store(*option, value, {words[at]}, false);
            return at + 1;
        }
        strays_.push_back(words[at]);
        return at + 1;
    }

    void check_required() const {
        const bool by_id = !command_.resource.empty() && arguments_.given("--ids");
        std::vector<std::string> missing;
        for (const Option* option : options_) {
            if (option->presence != Presence::kRequired ||
                arguments_.given(option->names.front())) {
                continue;
            }
            if (by_id && named_by_id(option->names.front())) {
                continue;
            }
            missing.push_back(display_names(*option));
        }
        if (!missing.empty()) {
            usage(
                fmt::format("the following arguments are required: {}", join(missing, ", ")),
                {fmt::format("See: holdfast {} -h", command_.path)}
            );
        }
    }

    bool named_by_id(std::string_view name) const {
        return name == "--resource-group" || command_.resource.find(name) != std::string_view::npos;
    }

    [[noreturn]] void refuse_strays() const {
        std::vector<std::string> actions;
        std::vector<std::string_view> names;
        for (const Option* option : options_) {
            names.insert(names.end(), option->names.begin(), option->names.end());
        }
        for (const std::string& stray : strays_) {
            const std::string_view close =
                stray.starts_with("--") ? nearest(stray, names) : std::string_view{};
            if (!close.empty()) {
                actions.push_back(fmt::format("Did you mean '{}'?", close));
            }
        }
        if (actions.empty()) {
            actions.push_back(fmt::format("See: holdfast {} -h", command_.path));
        }
        usage(fmt::format("unrecognized arguments: {}", join(strays_, " ")), std::move(actions));
    }

    const Command& command_;
    const Option ids_ =
        list({"--ids"}, "One or more resource ids, in the place of the names and the group.");
    std::vector<const Option*> options_;
    Arguments arguments_;
    std::vector<std::string> strays_;
};

namespace {

/// Fills the names of `pattern` from `id`; returns the subscription. Throws kUsage when the id is
/// of another type.
std::string apply_id(const Command& command, const std::string& id, Arguments& arguments) {
    const auto refuse = [&] {
        usage(
            fmt::format("'{}' is not an id that this command works on.", id),
            {fmt::format("Give an id of the form /subscriptions/…/providers/{}.", command.resource)}
        );
    };
    const std::vector<std::string> parts = split(id, '/');
    const std::vector<std::string> pattern = split(command.resource, '/');
    // "", subscriptions, S, resourceGroups, G, providers, then the pattern.
    if (parts.size() != 6 + pattern.size() || !parts[0].empty() ||
        !equal_ignoring_case(parts[1], "subscriptions") ||
        !equal_ignoring_case(parts[3], "resourceGroups") ||
        !equal_ignoring_case(parts[5], "providers")) {
        refuse();
    }
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        const std::string& word = parts[6 + i];
        if (pattern[i].starts_with("--")) {
            ArgumentsEditor::set(arguments, pattern[i], percent_decode(word));
        } else if (!equal_ignoring_case(word, pattern[i])) {
            refuse();
        }
    }
    ArgumentsEditor::set(arguments, "--resource-group", percent_decode(parts[4]));
    return parts[2];
}

[[noreturn]] void refuse_word(
    const CommandTable& table, std::string_view path, const std::string& word
) {
    std::vector<std::string_view> candidates = table.children(path);
    if (path.empty()) {
        for (const std::string_view alias : table.children("dataprotection")) {
            candidates.push_back(alias);
        }
    }
    const std::string_view close = nearest(word, candidates);
    usage(
        path.empty()
            ? fmt::format("'{}' is misspelled or not recognized by the system.", word)
            : fmt::format(
                  "'{}' is misspelled or not recognized by the system below 'holdfast {}'.",
                  word,
                  path
              ),
        {close.empty() ? fmt::format("See: holdfast{}{} -h", path.empty() ? "" : " ", path)
                       : fmt::format("Did you mean '{}'?", close)}
    );
}

/// Consumes the leading words that name a verb or group; returns its path.
std::string resolve_path(
    const CommandTable& table, const std::vector<std::string>& words, std::size_t& at
) {
    std::string path;
    while (at < words.size() && !looks_like_flag(words[at])) {
        std::string longer = path.empty() ? words[at] : path + " " + words[at];
        if (path.empty() && table.find(longer) == nullptr && !table.is_group(longer)) {
            longer = "dataprotection " + words[at];  // `holdfast backup-vault …`
        }
        if (table.find(longer) == nullptr && !table.is_group(longer)) {
            refuse_word(table, path, words[at]);
        }
        ++at;
        path = std::move(longer);
        if (table.find(path) != nullptr) {
            break;
        }
    }
    return path;
}

Globals globals_of(const Arguments& arguments) {
    Globals out;
    out.output = arguments.string("--output");
    out.query = arguments.string("--query");
    out.subscription = arguments.string("--subscription");
    out.only_show_errors = arguments.flag("--only-show-errors");
    out.verbose = arguments.flag("--verbose");
    out.debug = arguments.flag("--debug");
    return out;
}

}  // namespace

ParsedLine parse_line(const CommandTable& table, const std::vector<std::string>& words) {
    ParsedLine line;
    if (!words.empty() && (words[0] == "--version" || words[0] == "-v" || words[0] == "version")) {
        line.kind = ParsedLine::Kind::kVersion;
        return line;
    }
    std::size_t at = 0;
    line.path = resolve_path(table, words, at);
    const std::vector<std::string> rest{
        words.begin() + static_cast<std::ptrdiff_t>(at), words.end()
    };
    const bool help = std::any_of(rest.begin(), rest.end(), [](const std::string& word) {
        return word == "-h" || word == "--help";
    });
    line.command = table.find(line.path);
    if (help) {
        line.kind = ParsedLine::Kind::kHelp;
        return line;
    }
    if (line.command == nullptr) {
        if (!rest.empty()) {
            usage(fmt::format("unrecognized arguments: {}", join(rest, " ")));
        }
        line.kind = ParsedLine::Kind::kGroupWithoutVerb;
        return line;
    }
    const Arguments arguments = Parser{*line.command}.parse(rest);
    line.globals = globals_of(arguments);
    if (!line.command->resource.empty() && arguments.given("--ids")) {
        for (const std::string& id : arguments.list("--ids")) {
            line.runs.push_back(arguments);
            line.subscriptions.push_back(apply_id(*line.command, id, line.runs.back()));
        }
    } else {
        line.runs.push_back(arguments);
        line.subscriptions.emplace_back();
    }
    return line;
}

}  // namespace holdfast::cli
