#pragma once

#include "vault/vault.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

// Garbage collection: gives back the space of what no recovery point needs any more.
//
//   CollectPlan plan = repository.plan_collection(options, stop);   // looks, changes nothing
//   CollectReport report = repository.collect(plan, stop);          // does it
//
// Runs beside backups, restores and removals, of this process and of others; it holds none of them
// up. Why that is safe is in docs/format.md section 6 and docs/decisions/0050.

namespace holdfast::vault {

struct CollectOptions {
    /// A pack with at least this share of dead bytes is repacked: what is live of it moves to a new
    /// pack. 1 to 100; 100: only packs without anything live go.
    int repack_dead_percent = 50;
    /// Further packs are repacked, the deadest first, until at most this share of what all points
    /// reach is dead. 0 to 100; 100: none are.
    int unused_percent_max = 5;
    /// The caller vouches that no other process is at work on the vault: sessions and collections
    /// of other owners are given up for dead. Else they count as alive, and what they may rely on
    /// stays.
    bool end_foreign_sessions = false;
    /// Called now and then with a word for what is being done, and (done, total).
    std::function<void(std::string_view, std::uint64_t, std::uint64_t)> on_progress = {};
};

/// A session that is not at its end, as far as this process can tell.
struct SessionInfo {
    std::string id;                 ///< 32 hexadecimal digits.
    std::optional<PointId> point;   ///< Nothing: one that rebuilds the index.
    Instant started_at = {};        ///< By the clock of its host.
    bool elsewhere = false;         ///< Of another owner: only that one can tell whether it lives.
};

struct PackFigures {
    std::uint64_t packs = 0;
    std::uint64_t bytes = 0;
};

struct CollectWork;

/// What a collection would do. A value to be shown or executed; it holds about three bytes for each
/// blob of the repository.
struct CollectPlan {
    CollectOptions options;
    std::uint64_t point_count = 0;
    PackFigures stored;              ///< All packs.
    std::uint64_t live_bytes = 0;    ///< Of these, what the points reach.
    PackFigures dead;                ///< Packs to go whole.
    PackFigures repack;              ///< Packs to go once their live part has moved...
    std::uint64_t repack_live_bytes = 0;  ///< ...which is this much.
    PackFigures condemned_before;    ///< By earlier collections, still there.
    /// Unreachable, or hardly reachable, but perhaps of a session at work: a later collection's.
    PackFigures suspects;
    std::uint64_t dead_sessions = 0;  ///< To be ended for good.
    std::vector<SessionInfo> sessions;  ///< At work.
    /// Not empty: something cannot be read or is not known, so nothing may be removed.
    std::vector<DamagedObject> obstacles;
    std::shared_ptr<CollectWork> work;
};

struct CollectReport {
    PackFigures removed;                 ///< Packs.
    std::uint64_t copied_blobs = 0;      ///< Live ones of packs that went.
    std::uint64_t copied_bytes = 0;      ///< As stored.
    PackFigures condemned_left;          ///< Packs that stay until `waiting_for` have ended.
    std::vector<SessionInfo> waiting_for;
    PackFigures suspects;
    std::uint64_t ended_sessions = 0;
    std::uint64_t removed_leftovers = 0;  ///< Manifests without commit record.
    std::uint64_t index_segments_before = 0;
    std::uint64_t index_segments_after = 0;
    /// Packs that were to go and stay, since something live in them cannot be read.
    std::vector<DamagedObject> kept_damaged;
};

}  // namespace holdfast::vault
