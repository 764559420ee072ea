#include "control/routes/providers/resource_graph/query.h"

#include "base/text.h"
#include "control/routes/providers/resource_graph/query_value.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using Kind = GraphExpression::Kind;

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

/// A value to sort by: documents are compared as text, which is made once.
Json sort_key(const GraphExpression& expression, const GraphRow& row) {
    Json key = value_of(expression, row);
    if (!key.is_null() && !key.is_number() && !key.is_string()) {
        key = to_text(key);
    }
    row.budget.keep(size_of(key), expression.position);
    return key;
}

void sort_rows(
    const std::vector<GraphColumn>& columns, std::vector<Json>& rows, GraphBudget& budget
) {
    struct Keyed {
        std::vector<Json> keys;
        Json row;
    };
    std::vector<Keyed> keyed;
    keyed.reserve(rows.size());
    for (Json& row : rows) {
        Keyed one;
        for (const GraphColumn& column : columns) {
            one.keys.push_back(sort_key(column.expression, {row, budget}));
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

Json kept_value(const GraphColumn& column, const GraphRow& row) {
    Json value = value_of(column.expression, row);
    row.budget.keep(column.name.size() + size_of(value), column.expression.position);
    return value;
}

Json project(const std::vector<GraphColumn>& columns, const GraphRow& row) {
    Json out = Json::object();
    for (const GraphColumn& column : columns) {
        out[column.name] = kept_value(column, row);
    }
    return out;
}

void summarize(const GraphOperator& step, std::vector<Json>& rows, GraphBudget& budget) {
    std::map<std::string, std::pair<Json, std::int64_t>> groups;
    for (const Json& row : rows) {
        Json group = project(step.columns, {row, budget});
        auto& entry = groups[to_text(group)];
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
bool apply_to_row(const GraphOperator& step, Json& row, GraphBudget& budget) {
    if (step.kind == GraphOperator::Kind::kWhere) {
        return holds(step.expression, {row, budget});
    }
    for (const GraphColumn& column : step.columns) {
        row[column.name] = kept_value(column, {row, budget});
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

bool evaluate(const GraphQuery& query, Json& row, GraphBudget& budget) {
    const auto end =
        query.operators.begin() + static_cast<std::ptrdiff_t>(count_row_operators(query));
    const std::size_t kept = budget.kept();
    const bool passed =
        std::all_of(query.operators.begin(), end, [&](const GraphOperator& step) {
            return apply_to_row(step, row, budget);
        });
    if (!passed) {
        budget.let_go(budget.kept() - kept);
    }
    return passed;
}

void finish(const GraphQuery& query, std::vector<Json>& rows, GraphBudget& budget) {
    using Step = GraphOperator::Kind;
    for (std::size_t i = count_row_operators(query); i < query.operators.size(); ++i) {
        const GraphOperator& step = query.operators[i];
        switch (step.kind) {
            case Step::kWhere:
            case Step::kExtend:
                std::erase_if(rows, [&](Json& row) { return !apply_to_row(step, row, budget); });
                break;
            case Step::kProject:
                for (Json& row : rows) {
                    row = project(step.columns, {row, budget});
                }
                break;
            case Step::kOrderBy:
                sort_rows(step.columns, rows, budget);
                break;
            case Step::kTake:
                rows.resize(std::min(rows.size(), step.limit));
                break;
            case Step::kSummarize:
                summarize(step, rows, budget);
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

void GraphBudget::spend(std::size_t bytes, std::size_t position) {
    if (bytes > work_left_) {
        throw_query_fault(position, "The query is too much work: ask for fewer rows, or less of each.");
    }
    work_left_ -= bytes;
}

void GraphBudget::keep(std::size_t bytes, std::size_t position) {
    kept_ += bytes;
    if (kept_ > kKeptMax) {
        throw_query_fault(
            position,
            fmt::format(
                "The columns that the query makes would take more than {} MiB: ask for fewer rows "
                "or columns.",
                kKeptMax >> 20U
            )
        );
    }
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
