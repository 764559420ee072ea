#pragma once

#include "catalog/catalog.h"
#include "control/routes/providers/resource_graph/query.h"

namespace holdfast::control {

/// A graph query over jobs in the words of the catalog.
struct JobSearch {
    /// Finds every job that can pass. Vaults, groups and subscriptions are the caller's part.
    catalog::Query query;
    /// True when it finds no other job: then every row operator has been said.
    bool complete = true;
};
[[nodiscard]] JobSearch narrow(const GraphQuery& query);

}  // namespace holdfast::control
