#pragma once

#include "base/clock.h"
#include "vault/detail/blob_reader.h"
#include "vault/detail/chunk_index.h"
#include "vault/detail/chunker.h"
#include "vault/detail/condemned.h"
#include "vault/detail/key_ring.h"
#include "vault/session_owner.h"
#include "vault/vault.h"

#include <algorithm>
#include <cstddef>
#include <thread>
#include <utility>

namespace holdfast::vault {

/// What the parts of an open repository share. Immutable but for the index and the caches in it;
/// safe from any thread.
struct Engine {
    Engine(
        ObjectStore& object_store,
        Clock& a_clock,
        KeyRing key_ring,
        int level,
        const OpenOptions& open_options
    )
        : store{object_store},
          clock{a_clock},
          keys{std::move(key_ring)},
          compression_level{level},
          options{open_options},
          owner{options.owner != nullptr ? *options.owner : nobody_else},
          gear{make_gear_table(keys.chunker_key())},
          index{store, keys, options.index_cache_bytes},
          condemned{store, keys},
          blobs{store, keys, index} {}
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    [[nodiscard]] std::size_t worker_count() const {
        constexpr std::size_t kMost = 8;
        // One more than processors: one may wait for the disk. Asking the system opens a file.
        static const auto machine =
            std::clamp<std::size_t>(std::thread::hardware_concurrency() + 1, 2, kMost);
        return options.workers > 0 ? options.workers : machine;
    }
    [[nodiscard]] std::uint64_t pack_bytes() const {
        constexpr std::uint64_t kDefault = 16 * kMiB;
        const std::uint64_t best = store.features().object_size_best_bytes;
        return options.pack_bytes > 0 ? options.pack_bytes : best > 0 ? best : kDefault;
    }

    ObjectStore& store;
    Clock& clock;
    const KeyRing keys;
    const int compression_level;
    const OpenOptions options;
    SessionOwner nobody_else;
    SessionOwner& owner;
    const GearTable gear;
    ChunkIndex index;
    CondemnedStore condemned;
    BlobReader blobs;
};

}  // namespace holdfast::vault
