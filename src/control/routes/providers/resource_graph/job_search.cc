#include "control/routes/providers/resource_graph/job_search.h"

#include "base/text.h"
#include "control/routes/documents.h"
#include "control/routes/lookup.h"

#include <algorithm>

namespace holdfast::control {
namespace {

using catalog::JobCondition;
using Column = JobCondition::Column;
using Kind = GraphExpression::Kind;

/// Whether a condition asks for any of some texts without case, and which.
std::optional<std::vector<std::string>> texts_of(const GraphExpression& condition) {
    if ((condition.kind != Kind::kIn && condition.kind != Kind::kEqual) || !condition.fold_case) {
        return std::nullopt;
    }
    std::vector<std::string> out;
    for (std::size_t i = 1; i < condition.children.size(); ++i) {
        if (condition.children[i].kind != Kind::kString) {
            return std::nullopt;
        }
        out.push_back(condition.children[i].text);
    }
    return out;
}

/// The catalog's states for those of the wire. A word that no job has stands for itself.
std::vector<std::string> states_of(const std::vector<std::string>& wire) {
    std::vector<std::string> out{"none"};
    for (const char* state :
         {"Queued",
          "InProgress",
          "Cancelling",
          "Completed",
          "CompletedWithWarnings",
          "Failed",
          "Cancelled"}) {
        const bool wanted = std::any_of(wire.begin(), wire.end(), [&](const std::string& one) {
            return equal_ignoring_case(wire_job_status(state), one);
        });
        if (wanted) {
            out.emplace_back(state);
        }
    }
    return out;
}

bool narrow_times(Column column, const GraphExpression& condition, catalog::Query& query) {
    if (condition.children.size() != 2 || condition.children[1].kind != Kind::kDatetime) {
        return false;
    }
    const Instant bound = condition.children[1].instant;
    constexpr std::chrono::microseconds kTick{1};
    JobCondition narrowed{.column = column};
    if (condition.kind == Kind::kGreater || condition.kind == Kind::kGreaterOrEqual) {
        narrowed.later_than = condition.kind == Kind::kGreater ? bound : bound - kTick;
    } else if (condition.kind == Kind::kLess || condition.kind == Kind::kLessOrEqual) {
        narrowed.sooner_than = condition.kind == Kind::kLess ? bound : bound + kTick;
    } else {
        return false;
    }
    query.job_conditions.push_back(narrowed);
    return true;
}

bool narrow_texts(
    const std::string& path, const std::vector<std::string>& wanted, catalog::Query& query
) {
    const auto add = [&](Column column) {
        query.job_conditions.push_back({.column = column, .any_of = wanted});
        return true;
    };
    if (path == "type") {
        return std::any_of(wanted.begin(), wanted.end(), [](const std::string& one) {
            return equal_ignoring_case(one, kJobType);
        });
    }
    if (path == "properties.status") {
        // A second condition on the same column could only be judged by hand.
        const bool first = query.states.empty();
        if (first) {
            query.states = states_of(wanted);
        }
        return first;
    }
    if (path == "properties.dataSourceType") {
        return add(Column::kDatasourceType);
    }
    if (path == "properties.dataSourceId") {
        return add(Column::kDatasource);
    }
    if (path == "job.activity") {
        return add(Column::kActivity);
    }
    // These two are said as the vaults that are asked.
    return path == "resourceGroup" || path == "properties.vaultName";
}

}  // namespace

JobSearch narrow(const GraphQuery& query) {
    JobSearch search;
    for_each_condition(query, [&](const std::string& path, const GraphExpression& condition) {
        if (path == "properties.startTime" || path == "properties.endTime") {
            const Column column =
                path == "properties.startTime" ? Column::kStarted : Column::kEnded;
            search.complete = narrow_times(column, condition, search.query) && search.complete;
            return;
        }
        const auto wanted = texts_of(condition);
        const bool said = wanted && narrow_texts(path, *wanted, search.query);
        search.complete = said && search.complete;
    });
    return search;
}

}  // namespace holdfast::control
