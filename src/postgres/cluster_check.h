#pragma once

#include "base/json.h"
#include "postgres/amcheck_output.h"
#include "postgres/scratch_server.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

enum class HeapAllIndexed { kNo, kYes };
enum class PageChecksums { kNo, kYes };

struct ClusterCheckOptions {
    /// Also that every row is in every B-tree index: reads each table once more for each index.
    HeapAllIndexed heap_all_indexed = HeapAllIndexed::kNo;
    /// Reads every file once more; amcheck does not look into other indexes than B-trees.
    PageChecksums page_checksums = PageChecksums::kYes;
    std::size_t workers = 2;
    /// For counting rows, largest tables first. What is not reached is said to be left out.
    std::chrono::seconds count_time{300};
    std::size_t counts_kept_max = 200;  ///< Single counts in the result; totals are of all.
    /// `step` is `amcheck`, `count` or `pages`; from the calling thread.
    std::function<void(std::string_view step, std::uint64_t done, std::uint64_t total)> progress =
        {};
};

struct TableCount {
    std::string database;
    std::string schema;
    std::string table;
    std::uint64_t rows = 0;
    std::uint64_t bytes = 0;  ///< Of its main fork.
};

/// What a restored cluster looks like.
struct ClusterCheck {
    std::vector<Damage> damages;  ///< The first of them.
    std::uint64_t damage_count = 0;
    std::vector<std::string> warnings;  ///< What could not be checked, and why.
    std::size_t databases_checked = 0;  ///< With amcheck.
    std::optional<std::uint64_t> pages_checked;  ///< Absent: the cluster has no checksums.
    std::uint64_t page_failures = 0;             ///< Among damage_count as one.
    std::size_t table_count = 0;                 ///< That have rows of their own.
    std::size_t tables_counted = 0;
    std::uint64_t rows_counted = 0;
    std::vector<TableCount> counts;  ///< Largest tables first.
    std::chrono::microseconds amcheck_time{};
    std::chrono::microseconds count_time{};
    std::chrono::microseconds page_time{};

    [[nodiscard]] bool passed() const noexcept { return damage_count == 0; }
};
[[nodiscard]] Json to_json(const ClusterCheck& check);

/// Checks every database with pg_amcheck (PostgreSQL 13 has none: every B-tree index with
/// bt_index_check), counts rows, stops the server and compares the checksum of every page. Makes
/// the extension amcheck in the scratch copy, whose event triggers are switched off and prepared
/// transactions rolled back. `server` is stopped when this returns. Damage is a result. Throws
/// kScratchLimitExceeded, kCancelled, kScratchServerFailed when the server ends by itself.
[[nodiscard]] ClusterCheck check_cluster(ScratchServer& server, const ClusterCheckOptions& options);

}  // namespace holdfast::postgres
