#pragma once

#include "vault/detail/manifest.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

// The extents of a stream of pages, in order. One stands in the directory entry itself; more are
// listed in nodes of a fixed number of extents, so that a change rewrites the nodes on its path and
// moves no other: docs/format.md section 8.

namespace holdfast::vault {

/// Stored form <-> Extent. parse: nothing when it is not a sound one.
[[nodiscard]] format::Extent to_stored(const Extent& extent);
[[nodiscard]] std::optional<Extent> parse_extent(const format::Extent& stored);
/// Parser of a stored node: nothing when the bytes are not a sound one.
[[nodiscard]] std::optional<format::ExtentList> parse_extent_list(ByteSpan bytes);

/// Whether the stream is one of pages (its content may still stand in the entry).
[[nodiscard]] inline bool has_extents(const format::StreamEntry& entry) noexcept {
    return entry.extent_log2() != 0;
}

/// Grows the list over the extents of one stream. Memory: one open node per level.
class ExtentListBuilder {
public:
    explicit ExtentListBuilder(const NodeSink& sink) : sink_{sink} {}
    void add(const Extent& extent);
    /// Puts what was added into `entry`; nothing when nothing was.
    void finish(format::StreamEntry& entry);

private:
    struct Level {
        format::ExtentList node;
        std::uint64_t extents = 0;
    };
    void add_child(std::size_t level, const ChunkId& id, std::uint64_t extents);
    [[nodiscard]] ChunkId write(std::size_t level);
    void emit(std::size_t level);

    const NodeSink& sink_;
    std::vector<Level> levels_;
    std::uint64_t added_ = 0;
    Extent first_;
};

/// Visits the extents of one stream in order. Memory: one node per level.
class ExtentListWalker {
public:
    /// REQUIRES: an entry of a parsed directory node, has_extents().
    ExtentListWalker(NodeSource source, const format::StreamEntry& entry);

    struct Piece {
        Extent extent;
        std::uint64_t plain_bytes = 0;
    };
    /// The next extent; nothing at the end. Throws kVaultCorrupt for a node that is damaged.
    [[nodiscard]] std::optional<Piece> next();

private:
    struct Open {
        format::ExtentList node;
        std::size_t at = 0;
    };
    void descend(const ChunkId& id, std::uint32_t level, std::uint64_t extents);

    NodeSource source_;
    std::uint64_t extent_bytes_ = 0;
    std::uint64_t bytes_left_ = 0;
    std::optional<Extent> single_;
    std::vector<Open> open_;
};

}  // namespace holdfast::vault
