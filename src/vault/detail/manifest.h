#pragma once

#include "base/bytes.h"
#include "vault/detail/format.h"
#include "vault/detail/format.pb.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The manifest of a point is a tree of content-addressed nodes: a directory of streams by name, and
// below each large stream a tree over its chunks. Nodes end where the content says so (a child's
// id, a stream's name), so that a change rewrites the nodes on its path and no others.

namespace holdfast::vault {

struct ContentRef {
    ChunkId id{};
    /// 0: a data chunk; n: a tree node or extent list of level n - 1 (a directory node of level n).
    std::uint32_t level = 0;
};

/// Stores one node and returns its id.
using NodeSink = std::function<ChunkId(BlobType type, std::string bytes)>;
/// Fetches one node; throws kVaultCorrupt when it is missing or damaged.
using NodeSource = std::function<Bytes(BlobType type, const ChunkId& id)>;

/// Grows the tree over the chunks of one stream. Memory: one open node per level.
class ContentTreeBuilder {
public:
    explicit ContentTreeBuilder(const NodeSink& sink) : sink_{sink} {}
    void add(const ChunkId& id, std::uint64_t plain_bytes) { add_at(0, id, plain_bytes); }
    /// Nothing for a stream without chunks.
    [[nodiscard]] std::optional<ContentRef> finish();

private:
    struct Level {
        format::TreeNode node;
        std::uint64_t plain_bytes = 0;
        std::uint64_t emitted = 0;
    };
    void add_at(std::size_t level, const ChunkId& id, std::uint64_t plain_bytes);
    void emit(std::size_t level);

    const NodeSink& sink_;
    std::vector<Level> levels_;
};

/// Visits the chunks of one stream in order. Memory: one node per level.
class ContentTreeWalker {
public:
    struct Child {
        ChunkId id{};
        std::uint64_t plain_bytes = 0;
    };
    ContentTreeWalker(NodeSource source, std::optional<ContentRef> root, std::uint64_t plain_bytes);
    /// The next data chunk; nothing at the end.
    [[nodiscard]] std::optional<Child> next();

private:
    struct Open {
        format::TreeNode node;
        std::size_t at = 0;
    };
    void descend(const ChunkId& id, std::uint32_t level, std::uint64_t plain_bytes);

    NodeSource source_;
    std::optional<Child> single_;
    std::vector<Open> open_;
};

/// Writes the directory over entries given in the order of their names.
class DirectoryBuilder {
public:
    explicit DirectoryBuilder(const NodeSink& sink) : sink_{sink} {}
    void add(format::StreamEntry entry);
    [[nodiscard]] std::optional<ContentRef> finish();

private:
    struct Level {
        format::DirectoryNode node;
        std::string first_name;
        std::uint64_t stream_count = 0;
        std::uint64_t emitted = 0;
    };
    void add_child(std::size_t level, format::DirectoryChild child);
    void emit(std::size_t level);
    Level& level_at(std::size_t level);

    const NodeSink& sink_;
    std::vector<Level> levels_;
};

/// Visits, in order, every stream whose name is not below `from`, until `visit` returns false.
void walk_directory(
    const NodeSource& source,
    const std::optional<ContentRef>& root,
    std::string_view from,
    const std::function<bool(const format::StreamEntry&)>& visit
);

/// The node of level 0 that has the stream of this name, if any node has it.
[[nodiscard]] std::optional<format::DirectoryNode> find_directory_leaf(
    const NodeSource& source, const std::optional<ContentRef>& root, std::string_view name
);

/// Called for every node below a root, with its id, before its children; false skips what is below.
using NodeVisitor = std::function<bool(BlobType type, const ChunkId& id)>;
/// Visits everything a point consists of: directory nodes, tree nodes, lists of extents, data
/// chunks, extents, page deltas. Nodes that cannot be read are given to `on_damage` and the walk
/// goes on beside them.
void walk_everything(
    const NodeSource& source,
    const std::optional<ContentRef>& root,
    const NodeVisitor& visit,
    const std::function<void(BlobType type, const ChunkId& id)>& on_damage
);

/// Parsers of stored nodes: nothing when the bytes are not a sound node.
[[nodiscard]] std::optional<format::TreeNode> parse_tree_node(ByteSpan bytes);
[[nodiscard]] std::optional<format::DirectoryNode> parse_directory_node(ByteSpan bytes);
[[nodiscard]] std::optional<ChunkId> parse_chunk_id(std::string_view bytes);
/// The root of a stream's content, a tree or a list of extents; nothing when it has none. REQUIRES
/// an entry of a parsed node.
[[nodiscard]] std::optional<ContentRef> content_of(const format::StreamEntry& entry);
[[nodiscard]] std::optional<ContentRef> parse_node_ref(const format::NodeRef& ref);

}  // namespace holdfast::vault
