#pragma once

#include "base/json.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The verb table: everything the command line can do is a row (a Command). Parsing, help,
/// completion and the test that every verb has an example all read the same rows. Texts are
/// literals or live as long as the table.
namespace holdfast::cli {

class Session;

enum class OptionKind {
    kString,       ///< One value.
    kList,         ///< One or more values, up to the next flag. Given twice, the values add up.
    kFlag,         ///< No value.
    kFlagOrValue,  ///< `--name` or `--name=value`.
    kKeyValues,    ///< `a=b c=d`; each occurrence is one group. A value without `=` must be JSON or
                   ///< shorthand text.
};

enum class Presence { kOptional, kRequired };

struct Option {
    /// The first name is the one that Arguments is asked for. A name without a leading dash makes
    /// the option positional (kString or kList).
    std::vector<std::string_view> names;
    std::string_view help;
    OptionKind kind = OptionKind::kString;
    Presence presence = Presence::kOptional;
    /// When not empty, values are matched without case and handed over in this spelling.
    std::vector<std::string_view> allowed = {};
    std::string_view default_value = {};
};

struct Example {
    std::string_view title;
    std::string_view line;  ///< As typed, beginning with `holdfast`.
};

/// The parsed words of one command. Asking for a name that the command doesn't declare is a bug and
/// aborts.
class Arguments {
public:
    using KeyValues = std::vector<std::pair<std::string, std::string>>;

    /// Given by the user (a default doesn't count).
    [[nodiscard]] bool given(std::string_view name) const;
    /// kFlag, kFlagOrValue.
    [[nodiscard]] bool flag(std::string_view name) const { return given(name); }
    /// The last value given, else the default, else "".
    [[nodiscard]] const std::string& string(std::string_view name) const;
    /// As string(), but nothing when neither given nor defaulted.
    [[nodiscard]] std::optional<std::string> optional_string(std::string_view name) const;
    /// All values given; empty when none.
    [[nodiscard]] const std::vector<std::string>& list(std::string_view name) const;
    /// kKeyValues: one entry per occurrence, the words as typed.
    [[nodiscard]] const std::vector<std::vector<std::string>>& groups(std::string_view name) const;

private:
    friend class Parser;
    friend class ArgumentsEditor;
    struct Value {
        bool given = false;
        std::vector<std::string> values;
        std::vector<std::vector<std::string>> groups;
    };
    [[nodiscard]] const Value& at(std::string_view name) const;
    std::map<std::string, Value, std::less<>> values_;
};

/// Runs the verb and returns the result that is printed on stdout after `--query`, in the form `-o`
/// asks for; null prints nothing. Throws Error: its kind gives the exit code.
using Handler = std::function<Json(const Arguments&, Session&)>;

struct Command {
    /// "dataprotection backup-policy create".
    std::string_view path;
    std::string_view summary;  ///< One sentence.
    std::vector<Option> options = {};
    std::vector<Example> examples = {};
    Handler handler = {};
    std::string_view details = {};  ///< More help; optional.
    /// What `--ids` and resource_path() (session.h) are about:
    /// "Microsoft.DataProtection/backupVaults/--vault-name/ backupPolicies/--backup-policy-name":
    /// type words and option names by turns. Empty: no `--ids`.
    std::string_view resource = {};
    /// JMESPath that makes the rows of `-o table` when there is no `--query`. Empty: top-level
    /// scalars, as az.
    std::string_view table = {};
};

/// Shorthands for the table.
[[nodiscard]] Option required(std::vector<std::string_view> names, std::string_view help);
[[nodiscard]] Option optional(std::vector<std::string_view> names, std::string_view help);
[[nodiscard]] Option flag(std::vector<std::string_view> names, std::string_view help);
[[nodiscard]] Option list(std::vector<std::string_view> names, std::string_view help);
[[nodiscard]] Option required_list(std::vector<std::string_view> names, std::string_view help);
[[nodiscard]] Option key_values(std::vector<std::string_view> names, std::string_view help);
[[nodiscard]] Option one_of(
    std::vector<std::string_view> names,
    std::vector<std::string_view> allowed,
    std::string_view help
);
[[nodiscard]] Option as_required(Option option);
[[nodiscard]] Option with_default(Option option, std::string_view value);

}  // namespace holdfast::cli
