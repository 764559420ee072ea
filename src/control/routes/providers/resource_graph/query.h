#pragma once

#include "base/clock.h"
#include "base/json.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::control {

/// The part of the Kusto query language that the resource graph answers: a table, then any number
/// of the operators `where`, `extend`, `project`, `order by`, `take`, `summarize count() by` and
/// `count`, over expressions of columns, dynamic properties, literals, comparisons, `and`, `or`,
/// `not`, and the functions of kFunctions in query_value.cc. Whatever else a text holds is an error
/// with its place.
struct GraphExpression {
    enum class Kind {
        kString,    ///< text
        kNumber,    ///< number
        kBool,      ///< number is 0 or 1
        kDatetime,  ///< instant
        kColumn,    ///< text: a column of the table or of an earlier extend
        kMember,    ///< children[0] . text
        kIndex,     ///< children[0] [ number ]
        kCall,      ///< text ( children )
        kEqual,     ///< children[0] == children[1]; with fold_case: =~
        kNotEqual,
        kIn,  ///< children[0] in (children[1..]); with fold_case: in~
        kNotIn,
        kLess,
        kLessOrEqual,
        kGreater,
        kGreaterOrEqual,
        kStartsWith,
        kContains,
        kAnd,
        kOr,
    };

    Kind kind = Kind::kString;
    std::size_t position = 0;  ///< Of its first character, counted from 1.
    std::string text = {};
    double number = 0;
    Instant instant = {};
    bool fold_case = false;
    std::vector<GraphExpression> children = {};
};

/// One of the list of an operator: `name = expression`, or `expression asc`.
struct GraphColumn {
    std::string name;
    GraphExpression expression;
    enum class Direction { kAscending, kDescending } direction = Direction::kAscending;
};

struct GraphOperator {
    enum class Kind { kWhere, kExtend, kProject, kOrderBy, kTake, kSummarize, kCount };
    Kind kind = Kind::kWhere;
    GraphExpression expression = {};  ///< kWhere.
    std::vector<GraphColumn> columns = {
    };  ///< kExtend, kProject, kOrderBy; kSummarize: the groups.
    std::string name = {};  ///< kSummarize: of the column that counts.
    std::size_t limit = 0;  ///< kTake.
};

struct GraphQuery {
    std::string table;  ///< As written.
    std::size_t table_position = 1;
    std::vector<GraphOperator> operators;
};

/// What answering one query may cost, however its operators make texts of texts and columns of
/// columns. Counted in bytes, so that the same query over the same rows always ends the same way.
class GraphBudget {
public:
    /// Of values computed, those of sub-expressions too: some seconds. Ten operators over 200,000
    /// jobs take a tenth of it.
    static constexpr std::size_t kWorkMax = std::size_t{2} << 30U;
    /// Of what is added to rows, and of what they are sorted and grouped by, at any time.
    static constexpr std::size_t kKeptMax = std::size_t{128} << 20U;

    explicit GraphBudget(std::size_t work_max = kWorkMax) : work_left_{work_max} {}

    /// Both throw kBadRequest with the position when it is too much.
    void spend(std::size_t bytes, std::size_t position);
    void keep(std::size_t bytes, std::size_t position);
    /// Of rows that did not stay.
    void let_go(std::size_t bytes) noexcept { kept_ -= std::min(bytes, kept_); }
    [[nodiscard]] std::size_t kept() const noexcept { return kept_; }

private:
    std::size_t work_left_;
    std::size_t kept_ = 0;
};

/// Throws kBadRequest with the position of the first thing that is not understood.
[[nodiscard]] GraphQuery parse_graph_query(std::string_view text);

/// Throws kBadRequest unless every column named is one of `columns` or defined by an earlier
/// extend.
void check_columns(const GraphQuery& query, const std::vector<std::string_view>& columns);

/// The operators at the query's start that look at one row alone: where and extend.
[[nodiscard]] std::size_t count_row_operators(const GraphQuery& query);
/// Applies those to `row`, which gains the extended columns. Returns whether it passed every where.
/// Throws kBadRequest when it costs too much, as finish() does.
[[nodiscard]] bool evaluate(const GraphQuery& query, Json& row, GraphBudget& budget);
/// Applies the rest of the operators to all rows that passed.
void finish(const GraphQuery& query, std::vector<Json>& rows, GraphBudget& budget);

/// Calls `visit` for every condition that a passing row must satisfy, by the row operators: with
/// the path that it compares ("properties.status"; a column extended from a plain path counts as
/// that path; what the client's job query calls `operation` is "job.activity"), or with an empty
/// path when it is no comparison of a path with literals.
void for_each_condition(
    const GraphQuery& query,
    const std::function<void(const std::string& path, const GraphExpression& condition)>& visit
);

/// What every row that passes must satisfy, for asking the catalog for less: the values that the
/// conjunction of all `where`s leaves for `path` ("type", "properties.status"; columns extended
/// from a plain path count as that path). Compared without case. Nothing when the query does not
/// restrict it in a way that can be seen.
[[nodiscard]] std::optional<std::vector<std::string>> allowed_values(
    const GraphQuery& query, std::string_view path
);

[[noreturn]] void throw_query_fault(std::size_t position, const std::string& problem);

}  // namespace holdfast::control
