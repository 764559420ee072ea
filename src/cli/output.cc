#include "cli/output.h"

#include "base/text.h"
#include "cli/jmespath.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr auto kReplace = Json::error_handler_t::replace;

// ---- Scalars

/// As Python prints them, which is what az's tables and tsv contain.
std::string scalar_text(const OrderedJson& value) {
    if (value.is_string()) {
        return value.get<std::string>();
    }
    if (value.is_boolean()) {
        return value.get<bool>() ? "True" : "False";
    }
    return value.is_null() ? "" : value.dump();
}

std::size_t width_of(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;
    }));
}

// ---- Tables

using Row = std::vector<std::pair<std::string, std::string>>;

/// A column is at least this much wider than its title, as in az (tabulate).
constexpr std::size_t kTitlePadding = 2;

/// What a server sends must not steer the terminal: control characters are shown as blanks.
std::string one_line(std::string text) {
    std::replace_if(
        text.begin(),
        text.end(),
        [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; },
        ' '
    );
    return text;
}

bool skipped(const std::string& key) {
    const std::string lower = to_lower(key);
    return lower == "id" || lower == "type" || lower == "etag";
}

// What a verb's own table shows for people. A table asked for with --query is az's, letter for
// letter.

bool is_digits(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// "2026-01-02T03:04:05.1234567Z" and "00:03:12.7189058" without their fractions.
std::string to_the_second(std::string text) {
    const std::size_t dot = text.find('.');
    if (dot == std::string::npos || dot < 8 || text[dot - 3] != ':' || text[dot - 6] != ':') {
        return text;
    }
    const bool utc = text.ends_with('Z');
    const std::string_view fraction =
        std::string_view{text}.substr(dot + 1, text.size() - dot - 1 - (utc ? 1 : 0));
    return is_digits(fraction) ? text.substr(0, dot) + (utc ? "Z" : "") : text;
}

/// "/subscriptions/…/providers/N/backupVaults/v/backupPolicies/p" as "v/p".
std::string names_of_id(const std::string& text) {
    constexpr std::string_view kProviders = "/providers/";
    const std::size_t at = to_lower(text).rfind(kProviders);
    if (!text.starts_with("/subscriptions/") || at == std::string::npos) {
        return text;
    }
    const std::vector<std::string> parts = split(text.substr(at + kProviders.size()), '/');
    std::string names;
    for (std::size_t i = 2; i < parts.size(); i += 2) {
        names += (names.empty() ? "" : "/") + parts[i];
    }
    return names.empty() ? text : names;
}

Row own_row_of(const OrderedJson& item) {
    Row row;
    for (const auto& [key, value] : item.items()) {
        std::string text = value.is_null() ? "-" : scalar_text(value);
        if ((key == "Size" || key == "Added") && value.is_number_unsigned()) {
            text = format_size(value.get<std::uint64_t>());
        }
        row.emplace_back(key, one_line(to_the_second(names_of_id(text))));
    }
    return row;
}

Row row_of(const OrderedJson& item) {
    Row row;
    if (item.is_object()) {
        for (const auto& [key, value] : item.items()) {
            if (skipped(key) || value.is_null() || value.is_structured()) {
                continue;
            }
            std::string title = key;
            if (!title.empty() && title[0] >= 'a' && title[0] <= 'z') {
                title[0] = static_cast<char>(title[0] - 'a' + 'A');
            }
            row.emplace_back(std::move(title), one_line(scalar_text(value)));
        }
    } else if (item.is_array()) {
        for (std::size_t i = 0; i < item.size(); ++i) {
            row.emplace_back(
                fmt::format("Column{}", i + 1),
                item[i].is_structured() ? item[i].dump() : one_line(scalar_text(item[i]))
            );
        }
    } else {
        row.emplace_back("Result", one_line(scalar_text(item)));
    }
    return row;
}

std::string render_rows(const std::vector<Row>& rows) {
    std::vector<std::string> titles;
    std::vector<std::size_t> widths;
    const auto column_of = [&](const std::string& title) {
        const auto found = std::find(titles.begin(), titles.end(), title);
        const auto at = static_cast<std::size_t>(found - titles.begin());
        if (found == titles.end()) {
            titles.push_back(title);
            widths.push_back(width_of(title) + kTitlePadding);
        }
        return at;
    };
    std::vector<std::map<std::size_t, std::string>> cells;
    for (const Row& row : rows) {
        auto& line = cells.emplace_back();
        for (const auto& [title, text] : row) {
            const std::size_t column = column_of(title);
            widths[column] = std::max(widths[column], width_of(text));
            line[column] = text;
        }
    }
    std::string out;
    const auto append_line = [&](const auto& text_of) {
        std::string line;
        for (std::size_t column = 0; column < titles.size(); ++column) {
            const std::string text = text_of(column);
            line += (column == 0 ? "" : "  ") + text;
            line += std::string(widths[column] - width_of(text), ' ');
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
    };
    append_line([&](std::size_t column) { return titles[column]; });
    append_line([&](std::size_t column) { return std::string(widths[column], '-'); });
    for (auto& line : cells) {
        append_line([&](std::size_t column) { return line[column]; });
    }
    return out;
}

enum class TableOf { kQuery, kVerb };

std::string render_table(const OrderedJson& result, TableOf of) {
    std::vector<Row> rows;
    const auto add = [&](const OrderedJson& item) {
        rows.push_back(of == TableOf::kVerb && item.is_object() ? own_row_of(item) : row_of(item));
    };
    if (result.is_array()) {
        for (const OrderedJson& item : result) {
            add(item);
        }
    } else {
        add(result);
    }
    if (rows.empty()) {
        return {};
    }
    if (std::all_of(rows.begin(), rows.end(), [](const Row& row) { return row.empty(); })) {
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = "Table output unavailable.",
                .recommended_actions = {"Use --query to select what the table should show."},
            }
        };
    }
    return render_rows(rows);
}

// ---- Tab-separated values

std::string tsv_cell(const OrderedJson& value) {
    if (value.is_array()) {
        return std::to_string(value.size());
    }
    if (value.is_object()) {
        return {};
    }
    if (value.is_boolean()) {
        return value.get<bool>() ? "true" : "false";
    }
    return value.is_null() ? "None" : scalar_text(value);
}

std::string render_tsv(const OrderedJson& result) {
    std::string out;
    const auto append = [&](const OrderedJson& item) {
        if (item.is_structured()) {
            std::string line;
            bool first = true;
            for (const OrderedJson& cell : item) {
                line += (first ? "" : "\t") + tsv_cell(cell);
                first = false;
            }
            out += line + "\n";
        } else {
            out += tsv_cell(item) + "\n";
        }
    };
    if (result.is_array()) {
        for (const OrderedJson& item : result) {
            append(item);
        }
    } else {
        append(result);
    }
    return out;
}

// ---- YAML

bool plain_in_yaml(const std::string& text) {
    constexpr std::string_view kFirst = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/";
    constexpr std::string_view kRest =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/0123456789 .-+@%";
    if (text.empty() || kFirst.find(text[0]) == std::string_view::npos || text.back() == ' ' ||
        text.find_first_not_of(kRest) != std::string::npos) {
        return false;
    }
    static constexpr std::array<std::string_view, 10> kWords{
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "~"
    };
    const std::string lower = to_lower(text);
    return std::find(kWords.begin(), kWords.end(), lower) == kWords.end();
}

std::string yaml_scalar(const Json& value) {
    if (!value.is_string()) {
        return value.dump(-1, ' ', false, kReplace);
    }
    const auto& text = value.get_ref<const std::string&>();
    return plain_in_yaml(text) ? text : value.dump(-1, ' ', false, kReplace);
}

void append_yaml(std::string& out, const Json& value, const std::string& indent);

/// What follows `key:` or `- `.
void append_yaml_value(std::string& out, const Json& value, const std::string& indent) {
    if (value.is_structured() && !value.empty()) {
        out += "\n";
        append_yaml(out, value, value.is_array() ? indent : indent + "  ");
    } else {
        out += " " + yaml_scalar(value) + "\n";
    }
}

void append_yaml(std::string& out, const Json& value, const std::string& indent) {
    if (value.is_object() && !value.empty()) {
        for (const auto& [key, member] : value.items()) {
            out += indent + yaml_scalar(Json(key)) + ":";
            append_yaml_value(out, member, indent);
        }
    } else if (value.is_array() && !value.empty()) {
        for (const Json& element : value) {
            if (element.is_structured() && !element.empty()) {
                std::string nested;
                append_yaml(nested, element, indent + "  ");
                out += indent + "- " + nested.substr(indent.size() + 2);
            } else {
                out += indent + "- " + yaml_scalar(element) + "\n";
            }
        }
    } else {
        out += indent + yaml_scalar(value) + "\n";
    }
}

// ---- Colours

constexpr std::string_view kKeyColour = "\x1b[34m";
constexpr std::string_view kStringColour = "\x1b[32m";
constexpr std::string_view kErrorColour = "\x1b[31m";
constexpr std::string_view kPlain = "\x1b[0m";

std::string coloured_json(const std::string& text) {
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
        if (text[i] != '"') {
            out += text[i++];
            continue;
        }
        std::size_t end = i + 1;
        while (end < text.size() && text[end] != '"') {
            end += text[end] == '\\' ? 2U : 1U;
        }
        end = std::min(end + 1, text.size());
        const bool key = end < text.size() && text[end] == ':';
        out += key ? kKeyColour : kStringColour;
        out += text.substr(i, end - i);
        out += kPlain;
        i = end;
    }
    return out;
}

std::string json_text(const OrderedJson& result) {
    return Json(result).dump(2, ' ', false, kReplace) + "\n";  // Json sorts the keys.
}

}  // namespace

std::string render_result(const Json& result, const OutputOptions& options) {
    OrderedJson shown = result;
    TableOf table_of = TableOf::kQuery;
    if (!options.query.empty()) {
        shown = JmesPath::compile(options.query).search(shown);
    } else if (options.form == "table" && !options.table.empty()) {
        shown = JmesPath::compile(options.table).search(shown);
        table_of = TableOf::kVerb;
    }
    if (shown.is_null() || options.form == "none") {
        return {};
    }
    if (options.form == "table") {
        return render_table(shown, table_of);
    }
    if (options.form == "tsv") {
        return render_tsv(shown);
    }
    if (options.form == "yaml") {
        std::string out;
        append_yaml(out, Json(shown), "");
        return out;
    }
    const bool coloured = options.form == "jsonc" && options.colour == Colour::kYes;
    return coloured ? coloured_json(json_text(shown)) : json_text(shown);
}

namespace {

/// As one_line, but lines stay lines.
std::string printable(std::string text) {
    std::replace_if(
        text.begin(),
        text.end(),
        [](char c) {
            return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
        },
        ' '
    );
    return text;
}

ErrorText printable(ErrorText text) {
    text.message = printable(std::move(text.message));
    text.internal = printable(std::move(text.internal));
    text.target = printable(std::move(text.target));
    for (std::string& action : text.recommended_actions) {
        action = printable(std::move(action));
    }
    for (ErrorDetail& detail : text.details) {
        detail = {
            .code = printable(std::move(detail.code)),
            .message = printable(std::move(detail.message)),
            .target = printable(std::move(detail.target))
        };
    }
    for (auto& [name, value] : text.properties) {
        value = printable(std::move(value));
    }
    return text;
}

}  // namespace

std::string render_error(const Error& error, Colour colour) {
    const ErrorText text = printable(error.text());
    const auto spelt = text.properties.find("code");
    const bool from_server = spelt != text.properties.end();
    std::string out = colour == Colour::kYes ? std::string{kErrorColour} : std::string{};
    if (!from_server) {
        out += fmt::format("ERROR: {}\n", text.message);
    } else {
        const std::string& code = spelt->second;
        out += fmt::format("ERROR: ({}) {}\n", code, text.message);
        out += fmt::format("Code: {}\nMessage: {}\n", code, text.message);
    }
    if (!text.target.empty()) {
        out += fmt::format("Target: {}\n", text.target);
    }
    for (std::size_t i = 0; i < text.details.size(); ++i) {
        const ErrorDetail& detail = text.details[i];
        out += i == 0 ? "Exception Details:" : "";
        out += fmt::format("\t({}) {}\n", detail.code, detail.message);
        out += fmt::format("\tCode: {}\n\tMessage: {}\n", detail.code, detail.message);
        if (!detail.target.empty()) {
            out += fmt::format("\tTarget: {}\n", detail.target);
        }
    }
    out += colour == Colour::kYes ? kPlain : "";
    if (!from_server && error.kind() == ErrorKind::kInternal && !text.internal.empty()) {
        out += fmt::format("Detail: {}\n", text.internal);
    }
    for (const std::string& action : text.recommended_actions) {
        out += from_server ? fmt::format("Recommended action: {}\n", action) : action + "\n";
    }
    return out;
}

}  // namespace holdfast::cli
