#include "control/routes/providers/resource_graph/query.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using Kind = GraphExpression::Kind;

struct FunctionRow {
    std::string_view name;
    std::size_t arguments_min;
    std::size_t arguments_max;
};

constexpr std::size_t kArgumentsMax = 64;
constexpr std::array<FunctionRow, 11> kFunctions{{
    {"case", 3, kArgumentsMax},
    {"iff", 3, 3},
    {"isempty", 1, 1},
    {"isnotempty", 1, 1},
    {"not", 1, 1},
    {"split", 2, 2},
    {"strcat", 1, kArgumentsMax},
    {"todatetime", 1, 1},
    {"tolower", 1, 1},
    {"tostring", 1, 1},
    {"toupper", 1, 1},
}};

/// What a scalar is as text; dynamic values compare with strings this way (`properties.flag ==
/// 'true'`).
std::string to_text(const Json& value) {
    if (value.is_null()) {
        return {};
    }
    return value.is_string() ? value.get<std::string>() : value.dump();
}

bool is_true(const Json& value) {
    return value.is_boolean() && value.get<bool>();
}

bool texts_equal(const Json& a, const Json& b, bool fold_case) {
    const std::string left = to_text(a);
    const std::string right = to_text(b);
    return fold_case ? equal_ignoring_case(left, right) : left == right;
}

Json call(const GraphExpression& expression, const Json& row);

Json value_of(const GraphExpression& expression, const Json& row);

std::optional<Instant> instant_of(const GraphExpression& expression, const Json& row) {
    if (expression.kind == Kind::kDatetime) {
        return expression.instant;
    }
    const Json value = value_of(expression, row);
    return value.is_string() ? parse_instant(value.get_ref<const std::string&>()) : std::nullopt;
}

/// Datetimes compare as instants when either side is one; numbers as numbers; the rest as text. A
/// null is in no order.
std::optional<int> order(const GraphExpression& expression, const Json& row) {
    const GraphExpression& left = expression.children[0];
    const GraphExpression& right = expression.children[1];
    const auto is_datetime = [](const GraphExpression& side) {
        return side.kind == Kind::kDatetime ||
               (side.kind == Kind::kCall && side.text == "todatetime");
    };
    const auto compare = [](const auto& a, const auto& b) { return a < b ? -1 : (b < a ? 1 : 0); };
    if (is_datetime(left) || is_datetime(right)) {
        const auto a = instant_of(left, row);
        const auto b = instant_of(right, row);
        return a && b ? std::optional{compare(*a, *b)} : std::nullopt;
    }
    const Json a = value_of(left, row);
    const Json b = value_of(right, row);
    if (a.is_null() || b.is_null()) {
        return std::nullopt;
    }
    if (a.is_number() && b.is_number()) {
        return compare(a.get<double>(), b.get<double>());
    }
    return compare(to_text(a), to_text(b));
}

bool equal(const GraphExpression& expression, const Json& row) {
    const GraphExpression& left = expression.children[0];
    const GraphExpression& right = expression.children[1];
    if (left.kind == Kind::kDatetime || right.kind == Kind::kDatetime) {
        return order(expression, row) == 0;
    }
    return texts_equal(value_of(left, row), value_of(right, row), expression.fold_case);
}

bool is_in(const GraphExpression& expression, const Json& row) {
    const Json left = value_of(expression.children[0], row);
    return std::any_of(
        expression.children.begin() + 1,
        expression.children.end(),
        [&](const GraphExpression& candidate) {
            return texts_equal(left, value_of(candidate, row), expression.fold_case);
        }
    );
}

bool text_test(const GraphExpression& expression, const Json& row) {
    std::string text = to_text(value_of(expression.children[0], row));
    std::string part = to_text(value_of(expression.children[1], row));
    if (expression.fold_case) {
        text = to_lower(text);
        part = to_lower(part);
    }
    return expression.kind == Kind::kStartsWith ? text.starts_with(part)
                                                : text.find(part) != std::string::npos;
}

bool ordered(const GraphExpression& expression, const Json& row) {
    const auto sign = order(expression, row);
    if (!sign) {
        return false;
    }
    if (expression.kind == Kind::kLess) {
        return *sign < 0;
    }
    if (expression.kind == Kind::kLessOrEqual) {
        return *sign <= 0;
    }
    return expression.kind == Kind::kGreater ? *sign > 0 : *sign >= 0;
}

bool holds(const GraphExpression& part, const Json& row) {
    return is_true(value_of(part, row));
}

/// What a column or a chain of members stands for, without copying the documents on the way; null
/// where something is absent, and for every other kind of expression.
const Json* reference_to(const GraphExpression& expression, const Json& row) {
    if (expression.kind != Kind::kColumn && expression.kind != Kind::kMember) {
        return nullptr;
    }
    const Json* object =
        expression.kind == Kind::kColumn ? &row : reference_to(expression.children[0], row);
    if (object == nullptr || !object->is_object()) {
        return nullptr;
    }
    const auto found = object->find(expression.text);
    return found == object->end() ? nullptr : &*found;
}

Json member_of(const GraphExpression& expression, const Json& row) {
    if (const Json* found = reference_to(expression, row)) {
        return *found;
    }
    const Kind kind = expression.children[0].kind;
    if (kind == Kind::kColumn || kind == Kind::kMember) {
        return {};
    }
    const Json object = value_of(expression.children[0], row);
    const auto found = object.is_object() ? object.find(expression.text) : object.end();
    return object.is_object() && found != object.end() ? *found : Json{};
}

Json element_of(const GraphExpression& expression, const Json& row) {
    const Json array = value_of(expression.children[0], row);
    const auto index = static_cast<std::size_t>(expression.number);
    return array.is_array() && index < array.size() ? array[index] : Json{};
}

Json value_of(const GraphExpression& expression, const Json& row) {
    const auto& children = expression.children;
    switch (expression.kind) {
        case Kind::kString:
            return expression.text;
        case Kind::kNumber:
            return expression.number;
        case Kind::kBool:
            return expression.number != 0;
        case Kind::kDatetime:
            return format_instant(expression.instant);
        case Kind::kColumn: {
            const auto found = row.find(expression.text);
            return found == row.end() ? Json{} : *found;
        }
        case Kind::kMember:
            return member_of(expression, row);
        case Kind::kIndex:
            return element_of(expression, row);
        case Kind::kCall:
            return call(expression, row);
        case Kind::kEqual:
            return equal(expression, row);
        case Kind::kNotEqual:
            return !equal(expression, row);
        case Kind::kIn:
            return is_in(expression, row);
        case Kind::kNotIn:
            return !is_in(expression, row);
        case Kind::kLess:
        case Kind::kLessOrEqual:
        case Kind::kGreater:
        case Kind::kGreaterOrEqual:
            return ordered(expression, row);
        case Kind::kStartsWith:
        case Kind::kContains:
            return text_test(expression, row);
        case Kind::kAnd:
            return std::all_of(children.begin(), children.end(), [&](const GraphExpression& part) {
                return holds(part, row);
            });
        case Kind::kOr:
            return std::any_of(children.begin(), children.end(), [&](const GraphExpression& part) {
                return holds(part, row);
            });
    }
    return {};
}

Json split_text(const Json& value, const std::string& separator) {
    Json parts = Json::array();
    if (value.is_null()) {
        return {};
    }
    const std::string text = to_text(value);
    std::size_t start = 0;
    while (!separator.empty()) {
        const std::size_t at = text.find(separator, start);
        if (at == std::string::npos) {
            break;
        }
        parts.push_back(text.substr(start, at - start));
        start = at + separator.size();
    }
    parts.push_back(text.substr(start));
    return parts;
}

Json choose_case(const GraphExpression& expression, const Json& row) {
    const auto& arguments = expression.children;
    for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
        if (holds(arguments[i], row)) {
            return value_of(arguments[i + 1], row);
        }
    }
    return value_of(arguments.back(), row);
}

Json call(const GraphExpression& expression, const Json& row) {
    const std::string& name = expression.text;
    const auto& arguments = expression.children;
    if (name == "case" || name == "iff") {
        return choose_case(expression, row);
    }
    if (name == "strcat") {
        std::string out;
        for (const GraphExpression& argument : arguments) {
            out += to_text(value_of(argument, row));
        }
        return out;
    }
    const Json first = value_of(arguments[0], row);
    if (name == "split") {
        return split_text(first, to_text(value_of(arguments[1], row)));
    }
    if (name == "tolower") {
        return to_lower(to_text(first));
    }
    if (name == "toupper") {
        std::string out = to_text(first);
        std::transform(out.begin(), out.end(), out.begin(), [](char c) {
            return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
        });
        return out;
    }
    if (name == "not") {
        return !is_true(first);
    }
    if (name == "isempty") {
        return to_text(first).empty();
    }
    if (name == "isnotempty") {
        return !to_text(first).empty();
    }
    if (name == "tostring") {
        return to_text(first);
    }
    return first;  // todatetime: order() reads it as an instant.
}

void check_call(const GraphExpression& expression) {
    std::string names;
    for (const FunctionRow& row : kFunctions) {
        names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
        if (row.name != expression.text) {
            continue;
        }
        const std::size_t count = expression.children.size();
        if (count < row.arguments_min || count > row.arguments_max) {
            throw_query_fault(
                expression.position,
                fmt::format("{}() does not take {} arguments.", row.name, count)
            );
        }
        if (row.name == "case" && count % 2 == 0) {
            throw_query_fault(
                expression.position, "case() needs pairs of condition and value, then a default."
            );
        }
        return;
    }
    throw_query_fault(
        expression.position,
        fmt::format("The function {}() is not known. Known: {}.", expression.text, names)
    );
}

void check_expression(
    const GraphExpression& expression, const std::vector<std::string_view>& columns
) {
    if (expression.kind == Kind::kColumn &&
        std::find(columns.begin(), columns.end(), expression.text) == columns.end()) {
        std::string listed;
        for (const std::string_view column : columns) {
            listed += fmt::format("{}{}", listed.empty() ? "" : ", ", column);
        }
        throw_query_fault(
            expression.position,
            fmt::format("The column {} does not exist. Columns: {}.", expression.text, listed)
        );
    }
    if (expression.kind == Kind::kCall) {
        check_call(expression);
    }
    for (const GraphExpression& child : expression.children) {
        check_expression(child, columns);
    }
}

/// `properties.status` of a plain path, after columns extended from plain paths are put in; else
/// nothing.
std::optional<std::string> plain_path(
    const GraphExpression& expression, const std::map<std::string, std::string>& aliases
) {
    if (expression.kind == Kind::kColumn) {
        const auto alias = aliases.find(expression.text);
        return alias == aliases.end() ? expression.text : alias->second;
    }
    if (expression.kind == Kind::kMember) {
        const auto parent = plain_path(expression.children[0], aliases);
        return parent ? std::optional{*parent + "." + expression.text} : std::nullopt;
    }
    return std::nullopt;
}

bool same(const GraphExpression& a, const GraphExpression& b) {
    return a.kind == b.kind && a.text == b.text && a.number == b.number && a.instant == b.instant &&
           a.fold_case == b.fold_case &&
           std::equal(
               a.children.begin(), a.children.end(), b.children.begin(), b.children.end(), same
           );
}

/// What the client's job query computes as `operation`: the catalog keeps it for each job.
bool is_job_activity(const GraphExpression& expression) {
    static const GraphQuery known = parse_graph_query(
        "jobs | extend operation = case( tolower(properties.operationCategory) startswith 'backup' "
        "and properties.isUserTriggered == 'true', "
        "strcat('OnDemand',properties.operationCategory), "
        "tolower(properties.operationCategory) startswith 'backup' and properties.isUserTriggered "
        "== 'false', strcat('Scheduled', properties.operationCategory), type =~ "
        "'microsoft.dataprotection/backupVaults/backupJobs', properties.operationCategory, "
        "'Invalid')"
    );
    return same(expression, known.operators[0].columns[0].expression);
}

bool is_literal(const GraphExpression& expression) {
    return expression.kind == Kind::kString || expression.kind == Kind::kNumber ||
           expression.kind == Kind::kBool || expression.kind == Kind::kDatetime;
}

/// Kusto sorts nulls last in a descending order, and first in an ascending one.
int compare_values(const Json& a, const Json& b) {
    if (a.is_null() || b.is_null()) {
        return static_cast<int>(b.is_null()) - static_cast<int>(a.is_null());
    }
    if (a.is_number() && b.is_number()) {
        return a < b ? -1 : (b < a ? 1 : 0);
    }
    return to_text(a).compare(to_text(b));
}

void sort_rows(const std::vector<GraphColumn>& columns, std::vector<Json>& rows) {
    struct Keyed {
        std::vector<Json> keys;
        Json row;
    };
    std::vector<Keyed> keyed;
    keyed.reserve(rows.size());
    for (Json& row : rows) {
        Keyed one;
        for (const GraphColumn& column : columns) {
            one.keys.push_back(value_of(column.expression, row));
        }
        one.row = std::move(row);
        keyed.push_back(std::move(one));
    }
    std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
        for (std::size_t i = 0; i < columns.size(); ++i) {
            const int sign = compare_values(a.keys[i], b.keys[i]);
            if (sign != 0) {
                return columns[i].direction == GraphColumn::Direction::kAscending ? sign < 0
                                                                                  : sign > 0;
            }
        }
        return false;
    });
    std::transform(keyed.begin(), keyed.end(), rows.begin(), [](Keyed& one) {
        return std::move(one.row);
    });
}

Json project(const std::vector<GraphColumn>& columns, const Json& row) {
    Json out = Json::object();
    for (const GraphColumn& column : columns) {
        out[column.name] = value_of(column.expression, row);
    }
    return out;
}

void summarize(const GraphOperator& step, std::vector<Json>& rows) {
    std::map<std::string, std::pair<Json, std::int64_t>> groups;
    for (const Json& row : rows) {
        Json group = project(step.columns, row);
        auto& entry = groups[group.dump()];
        entry.first = std::move(group);
        ++entry.second;
    }
    if (groups.empty() && step.columns.empty()) {
        groups[""] = {Json::object(), 0};
    }
    rows.clear();
    for (auto& [key, entry] : groups) {
        entry.first[step.name] = entry.second;
        rows.push_back(std::move(entry.first));
    }
}

/// where and extend. Returns whether the row passed.
bool apply_to_row(const GraphOperator& step, Json& row) {
    if (step.kind == GraphOperator::Kind::kWhere) {
        return holds(step.expression, row);
    }
    for (const GraphColumn& column : step.columns) {
        row[column.name] = value_of(column.expression, row);
    }
    return true;
}

}  // namespace

void for_each_condition(
    const GraphQuery& query,
    const std::function<void(const std::string& path, const GraphExpression& condition)>& visit
) {
    std::map<std::string, std::string> aliases;
    const auto visit_condition = [&](const GraphExpression& condition) {
        const auto& children = condition.children;
        const bool compares = condition.kind != Kind::kAnd && condition.kind != Kind::kOr &&
                              condition.kind != Kind::kCall && children.size() >= 2 &&
                              std::all_of(children.begin() + 1, children.end(), is_literal);
        const auto path = compares ? plain_path(children[0], aliases) : std::nullopt;
        visit(path.value_or(std::string{}), condition);
    };
    for (std::size_t i = 0; i < count_row_operators(query); ++i) {
        const GraphOperator& step = query.operators[i];
        if (step.kind == GraphOperator::Kind::kExtend) {
            for (const GraphColumn& column : step.columns) {
                // A computed column may hide one of the table's: its name must not be taken for
                // that one's.
                aliases[column.name] =
                    is_job_activity(column.expression)
                        ? "job.activity"
                        : plain_path(column.expression, aliases).value_or("extend:" + column.name);
            }
        } else if (step.expression.kind == Kind::kAnd) {
            for (const GraphExpression& part : step.expression.children) {
                visit_condition(part);
            }
        } else {
            visit_condition(step.expression);
        }
    }
}

void check_columns(const GraphQuery& query, const std::vector<std::string_view>& columns) {
    using Step = GraphOperator::Kind;
    std::vector<std::string_view> known = columns;
    for (const GraphOperator& step : query.operators) {
        if (step.kind == Step::kWhere) {
            check_expression(step.expression, known);
        }
        for (const GraphColumn& column : step.columns) {
            check_expression(column.expression, known);
            if (step.kind == Step::kExtend) {
                known.push_back(column.name);
            }
        }
        if (step.kind == Step::kProject || step.kind == Step::kSummarize ||
            step.kind == Step::kCount) {
            known.clear();
            for (const GraphColumn& column : step.columns) {
                known.push_back(column.name);
            }
        }
        if (step.kind == Step::kSummarize) {
            known.push_back(step.name);
        } else if (step.kind == Step::kCount) {
            known.push_back("Count");
        }
    }
}

std::size_t count_row_operators(const GraphQuery& query) {
    const auto end =
        std::find_if(query.operators.begin(), query.operators.end(), [](const auto& step) {
            return step.kind != GraphOperator::Kind::kWhere &&
                   step.kind != GraphOperator::Kind::kExtend;
        });
    return static_cast<std::size_t>(end - query.operators.begin());
}

bool evaluate(const GraphQuery& query, Json& row) {
    const auto end =
        query.operators.begin() + static_cast<std::ptrdiff_t>(count_row_operators(query));
    return std::all_of(query.operators.begin(), end, [&](const GraphOperator& step) {
        return apply_to_row(step, row);
    });
}

void finish(const GraphQuery& query, std::vector<Json>& rows) {
    using Step = GraphOperator::Kind;
    for (std::size_t i = count_row_operators(query); i < query.operators.size(); ++i) {
        const GraphOperator& step = query.operators[i];
        switch (step.kind) {
            case Step::kWhere:
            case Step::kExtend:
                std::erase_if(rows, [&](Json& row) { return !apply_to_row(step, row); });
                break;
            case Step::kProject:
                for (Json& row : rows) {
                    row = project(step.columns, row);
                }
                break;
            case Step::kOrderBy:
                sort_rows(step.columns, rows);
                break;
            case Step::kTake:
                rows.resize(std::min(rows.size(), step.limit));
                break;
            case Step::kSummarize:
                summarize(step, rows);
                break;
            case Step::kCount:
                rows = {Json{{"Count", rows.size()}}};
                break;
        }
    }
}

std::optional<std::vector<std::string>> allowed_values(
    const GraphQuery& query, std::string_view path
) {
    std::optional<std::vector<std::string>> allowed;
    for_each_condition(query, [&](const std::string& found, const GraphExpression& condition) {
        if (found != path || (condition.kind != Kind::kIn && condition.kind != Kind::kEqual)) {
            return;
        }
        std::vector<std::string> values;
        for (std::size_t i = 1; i < condition.children.size(); ++i) {
            if (condition.children[i].kind != Kind::kString) {
                return;
            }
            values.push_back(condition.children[i].text);
        }
        if (allowed) {
            std::erase_if(*allowed, [&](const std::string& value) {
                return std::none_of(values.begin(), values.end(), [&](const std::string& other) {
                    return equal_ignoring_case(value, other);
                });
            });
        } else {
            allowed = std::move(values);
        }
    });
    return allowed;
}

void throw_query_fault(std::size_t position, const std::string& problem) {
    const std::string message =
        fmt::format("The query is not understood at character {}: {}", position, problem);
    throw Error{
        ErrorKind::kBadRequest,  // As Azure's graph does it: what is wrong stands in the details.
        ErrorText{
            .message = message,
            .target = "query",
            .recommended_actions =
                {"Correct the query at the character named. Known are a table, where, extend, "
                 "project, order by, take, summarize count() by, and count."},
            .details = {{.code = "InvalidQuery", .message = message, .target = "query"}},
            .properties = {{"position", std::to_string(position)}},
        }
    };
}

}  // namespace holdfast::control
