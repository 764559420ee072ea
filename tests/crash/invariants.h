#pragma once

#include "vault/testing/vault_testing.h"

#include <map>
#include <set>

namespace holdfast::vault::testing {

/// What a test knows of a repository.
struct Expected {
    std::map<PointId, Streams> committed;  ///< Must be listed and must restore, bit for bit.
    std::set<PointId>
        possible;  ///< May be listed: the call that committed or removed it did not end.
};

/// docs/format.md, "Invariants", in code: opens the repository as a new process would and reports
/// every breach as a test failure. What of `possible` is there is restored, too.
void check_invariants(ObjectStore& store, const Secret& key, const Expected& expected);

}  // namespace holdfast::vault::testing
