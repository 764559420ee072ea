#pragma once

#include "vault/detail/blob_writer.h"
#include "vault/detail/extent_list.h"
#include "vault/detail/manifest.h"

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string_view>

// The point that a new one is most like, asked first for what is stored already. Only a hint: a
// parent that is damaged is one that has nothing.

namespace holdfast::vault {

/// The committed point that a new one is like.
struct ParentPoint {
    PointId id;
    std::optional<ContentRef> streams;
};

/// Finds streams of the parent by name. Streams come in the order of a directory on disk, so the
/// nodes used last are kept, parsed. Safe from any thread.
class ParentDirectory {
public:
    ParentDirectory(Engine& engine, std::optional<ParentPoint> parent, std::stop_token stop);

    [[nodiscard]] std::optional<format::StreamEntry> find(std::string_view name);
    /// For walking a stream's own nodes.
    [[nodiscard]] const NodeSource& source() const noexcept { return source_; }

private:
    using Node = std::shared_ptr<const format::DirectoryNode>;
    struct Cached {
        ChunkId id{};
        Node node;
        std::size_t bytes = 0;
    };
    [[nodiscard]] Node node(const ContentRef& ref);

    const std::optional<ParentPoint> parent_;
    const NodeSource source_;

    std::mutex mutex_;
    bool damaged_ = false;                                  // Said once. Guarded by mutex_.
    std::list<Cached> nodes_;                               // Most recent first. Guarded by mutex_.
    std::map<ChunkId, std::list<Cached>::iterator> by_id_;  // Guarded by mutex_.
    std::size_t bytes_ = 0;                                 // Serialized. Guarded by mutex_.
};

/// The chunks of the parent's stream of the same name, around the position that is being written:
/// answers most questions of an unchanged stream without a look at the index. A worker asks while
/// the caller's thread moves it on.
class ParentChunks {
public:
    /// Nothing when the parent has no such stream, or cannot be read.
    [[nodiscard]] static std::shared_ptr<ParentChunks> open(
        ParentDirectory& parent, std::string_view stream
    );
    /// Reads on until the chunks around position `chunk` are known. Called by one thread.
    void advance_to(std::uint64_t chunk);
    [[nodiscard]] bool contains(const ChunkId& id) const;

private:
    explicit ParentChunks(ContentTreeWalker walker) : walker_{std::move(walker)} {}

    ContentTreeWalker walker_;
    std::uint64_t read_ = 0;
    bool ended_ = false;
    mutable std::mutex mutex_;
    std::deque<ChunkKey> window_;  // Guarded by mutex_.
    ChunkKeySet known_;            // Those of the window. Guarded by mutex_.
};

/// The extents of the parent's stream of the same name, one after the other.
class ParentExtents {
public:
    /// Nothing when the parent has no such stream of pages, or cannot be read.
    [[nodiscard]] static std::optional<ParentExtents> open(
        ParentDirectory& parent, std::string_view stream
    );
    [[nodiscard]] std::uint32_t extent_log2() const noexcept { return extent_log2_; }
    /// Nothing at the end.
    [[nodiscard]] std::optional<Extent> next();

private:
    ParentExtents(ExtentListWalker walker, std::uint32_t extent_log2)
        : walker_{std::move(walker)}, extent_log2_{extent_log2} {}

    ExtentListWalker walker_;
    std::uint32_t extent_log2_;
    bool ended_ = false;
};

}  // namespace holdfast::vault
