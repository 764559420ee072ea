#include "vault/detail/manifest.h"

#include "base/error.h"
#include "vault/detail/crypto.h"
#include "vault/detail/extent_list.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

/// Nodes end after a child that looks so, once in kNodeChildrenMean on average, within these
/// bounds: small enough that a change is cheap, large enough that a tree is flat.
constexpr int kNodeChildrenMin = 16;
constexpr int kNodeChildrenMax = 256;
constexpr std::uint32_t kNodeChildrenMean = 64;
constexpr int kDirectoryEntriesMin = 8;
constexpr int kDirectoryEntriesMax = 128;
constexpr std::uint32_t kDirectoryEntriesMean = 32;
/// 16^16 children: no honest tree is deeper.
constexpr std::uint32_t kLevelMax = 16;

bool ends_node(const ChunkId& child) noexcept {
    return get_little_endian<std::uint32_t>(child.data()) % kNodeChildrenMean == 0;
}

/// Names often differ in a digit only, so the function must mix well; any that is fixed serves.
bool ends_directory_node(std::string_view name) {
    const Sha256 hash = sha256(as_bytes(name));
    return get_little_endian<std::uint32_t>(hash.data()) % kDirectoryEntriesMean == 0;
}

std::string text_of(const ChunkId& id) {
    return std::string{as_text(id)};
}

ChunkId child_id(const format::TreeNode& node, std::size_t index) {
    ChunkId id{};
    std::copy_n(
        as_bytes(node.child_ids()).begin() + static_cast<std::ptrdiff_t>(index * kHashBytes),
        kHashBytes,
        id.begin()
    );
    return id;
}

[[noreturn]] void throw_bad_node(const ChunkId& id, std::string_view problem) {
    throw Error{
        ErrorKind::kVaultCorrupt,
        ErrorText{
            .message =
                fmt::format("A node of the recovery point's manifest is damaged: {}", problem),
            .target = to_hex(id),
            .recommended_actions = {"Run 'holdfast vault check --read-data'."},
        }
    };
}

}  // namespace

// ---- Parsing ----

std::optional<ChunkId> parse_chunk_id(std::string_view bytes) {
    if (bytes.size() != kHashBytes) {
        return std::nullopt;
    }
    ChunkId id{};
    std::copy_n(as_bytes(bytes).begin(), kHashBytes, id.begin());
    return id;
}

std::optional<format::TreeNode> parse_tree_node(ByteSpan bytes) {
    format::TreeNode node;
    if (bytes.size() > kBlobBytesMax ||
        !node.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return std::nullopt;
    }
    if (node.child_bytes_size() == 0 || node.level() > kLevelMax ||
        node.child_ids().size() != static_cast<std::size_t>(node.child_bytes_size()) * kHashBytes) {
        return std::nullopt;
    }
    return node;
}

namespace {

bool is_sound(const format::StreamEntry& entry) {
    const auto root = content_of(entry);
    if (entry.name().empty() || (entry.has_content() && !root) ||
        (entry.has_content() && entry.has_extent())) {
        return false;
    }
    if (!entry.has_content() && !entry.has_extent()) {
        return entry.inline_content().size() == entry.size_bytes();
    }
    if (!entry.inline_content().empty()) {
        return false;
    }
    if (!has_extents(entry)) {
        return !entry.has_extent();
    }
    const std::uint64_t extent_bytes = std::uint64_t{1} << entry.extent_log2();
    return entry.has_extent() ? parse_extent(entry.extent()) && entry.size_bytes() > 0 &&
                                    entry.size_bytes() <= extent_bytes
                              : root->level > 0 && entry.size_bytes() > extent_bytes;
}

}  // namespace

std::optional<format::DirectoryNode> parse_directory_node(ByteSpan bytes) {
    format::DirectoryNode node;
    if (bytes.size() > kBlobBytesMax ||
        !node.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return std::nullopt;
    }
    const bool leaf = node.level() == 0;
    if (node.level() > kLevelMax || (leaf ? node.entries().empty() : node.children().empty()) ||
        (leaf ? !node.children().empty() : !node.entries().empty())) {
        return std::nullopt;
    }
    for (const auto& entry : node.entries()) {
        const std::uint32_t log2 = entry.extent_log2();
        if ((log2 != 0 && (log2 < kExtentLog2Min || log2 > kExtentLog2Max)) || !is_sound(entry)) {
            return std::nullopt;
        }
    }
    for (const auto& child : node.children()) {
        if (child.id().size() != kHashBytes) {
            return std::nullopt;
        }
    }
    return node;
}

std::optional<ContentRef> parse_node_ref(const format::NodeRef& ref) {
    const auto id = parse_chunk_id(ref.id());
    if (!id || ref.level() > kLevelMax) {
        return std::nullopt;
    }
    return ContentRef{.id = *id, .level = ref.level()};
}

std::optional<ContentRef> content_of(const format::StreamEntry& entry) {
    return entry.has_content() ? parse_node_ref(entry.content()) : std::nullopt;
}

// ---- Content tree ----

void ContentTreeBuilder::add_at(std::size_t level, const ChunkId& id, std::uint64_t plain_bytes) {
    if (levels_.size() <= level) {
        levels_.emplace_back();
        levels_.back().node.set_level(static_cast<std::uint32_t>(level));
    }
    Level& here = levels_[level];
    here.node.mutable_child_ids()->append(as_text(id));
    here.node.add_child_bytes(plain_bytes);
    here.plain_bytes += plain_bytes;
    const int children = here.node.child_bytes_size();
    if (children >= kNodeChildrenMax || (children >= kNodeChildrenMin && ends_node(id))) {
        emit(level);
    }
}

void ContentTreeBuilder::emit(std::size_t level) {
    const std::uint64_t plain_bytes = levels_[level].plain_bytes;
    const ChunkId id = sink_(BlobType::kTreeNode, levels_[level].node.SerializeAsString());
    Level& here = levels_[level];
    here.node.clear_child_ids();
    here.node.clear_child_bytes();
    here.plain_bytes = 0;
    ++here.emitted;
    add_at(level + 1, id, plain_bytes);
}

std::optional<ContentRef> ContentTreeBuilder::finish() {
    for (std::size_t level = 0; level < levels_.size(); ++level) {
        Level& here = levels_[level];
        // A lone child at the top is the root itself: no node with one child stands above it.
        const bool top = level + 1 == levels_.size();
        if (top && here.emitted == 0 && here.node.child_bytes_size() == 1) {
            return ContentRef{
                .id = child_id(here.node, 0),
                .level = static_cast<std::uint32_t>(level),
            };
        }
        if (here.node.child_bytes_size() > 0) {
            emit(level);
        }
    }
    HOLDFAST_CHECK(levels_.empty());  // The loop ends at a lone child, which emit() made.
    return std::nullopt;
}

ContentTreeWalker::ContentTreeWalker(
    NodeSource source, std::optional<ContentRef> root, std::uint64_t plain_bytes
)
    : source_{std::move(source)} {
    if (!root) {
        return;
    }
    if (root->level == 0) {
        single_ = Child{.id = root->id, .plain_bytes = plain_bytes};
    } else {
        descend(root->id, root->level - 1, plain_bytes);
    }
}

void ContentTreeWalker::descend(const ChunkId& id, std::uint32_t level, std::uint64_t plain_bytes) {
    auto node = parse_tree_node(source_(BlobType::kTreeNode, id));
    if (!node || node->level() != level) {
        throw_bad_node(id, "it is not a tree node of the expected level.");
    }
    std::uint64_t sum = 0;
    for (const std::uint64_t bytes : node->child_bytes()) {
        sum += bytes;
    }
    if (sum != plain_bytes) {
        throw_bad_node(id, "its sizes do not add up.");
    }
    open_.push_back({.node = std::move(*node)});
}

std::optional<ContentTreeWalker::Child> ContentTreeWalker::next() {
    if (single_) {
        return std::exchange(single_, std::nullopt);
    }
    while (!open_.empty()) {
        Open& top = open_.back();
        if (top.at == static_cast<std::size_t>(top.node.child_bytes_size())) {
            open_.pop_back();
            continue;
        }
        const std::size_t at = top.at++;
        const Child child{
            .id = child_id(top.node, at),
            .plain_bytes = top.node.child_bytes(static_cast<int>(at)),
        };
        if (top.node.level() == 0) {
            return child;
        }
        descend(child.id, top.node.level() - 1, child.plain_bytes);
    }
    return std::nullopt;
}

// ---- Directory ----

DirectoryBuilder::Level& DirectoryBuilder::level_at(std::size_t level) {
    if (levels_.size() <= level) {
        levels_.emplace_back();
        levels_.back().node.set_level(static_cast<std::uint32_t>(level));
    }
    return levels_[level];
}

void DirectoryBuilder::add(format::StreamEntry entry) {
    Level& here = level_at(0);
    if (here.node.entries().empty()) {
        here.first_name = entry.name();
    }
    ++here.stream_count;
    const bool ends = ends_directory_node(entry.name());
    *here.node.add_entries() = std::move(entry);
    const int entries = here.node.entries_size();
    if (entries >= kDirectoryEntriesMax || (entries >= kDirectoryEntriesMin && ends)) {
        emit(0);
    }
}

void DirectoryBuilder::add_child(std::size_t level, format::DirectoryChild child) {
    Level& here = level_at(level);
    if (here.node.children().empty()) {
        here.first_name = child.first_name();
    }
    here.stream_count += child.stream_count();
    const bool ends = ends_directory_node(child.first_name());
    *here.node.add_children() = std::move(child);
    const int children = here.node.children_size();
    if (children >= kDirectoryEntriesMax || (children >= kDirectoryEntriesMin && ends)) {
        emit(level);
    }
}

void DirectoryBuilder::emit(std::size_t level) {
    format::DirectoryChild child;
    child.set_id(text_of(sink_(BlobType::kDirectoryNode, levels_[level].node.SerializeAsString())));
    Level& here = levels_[level];
    child.set_first_name(std::exchange(here.first_name, {}));
    child.set_stream_count(std::exchange(here.stream_count, 0));
    here.node.clear_entries();
    here.node.clear_children();
    ++here.emitted;
    add_child(level + 1, std::move(child));
}

std::optional<ContentRef> DirectoryBuilder::finish() {
    for (std::size_t level = 0; level < levels_.size(); ++level) {
        Level& here = levels_[level];
        const bool top = level + 1 == levels_.size();
        if (level > 0 && top && here.emitted == 0 && here.node.children_size() == 1) {
            const auto id = parse_chunk_id(here.node.children(0).id());
            HOLDFAST_CHECK(id.has_value());
            return ContentRef{.id = *id, .level = static_cast<std::uint32_t>(level - 1)};
        }
        if (here.node.entries_size() + here.node.children_size() > 0) {
            emit(level);
        }
    }
    HOLDFAST_CHECK(levels_.empty());
    return std::nullopt;
}

namespace {

format::DirectoryNode fetch_directory_node(
    const NodeSource& source, const ChunkId& id, std::uint32_t level
) {
    auto node = parse_directory_node(source(BlobType::kDirectoryNode, id));
    if (!node || node->level() != level) {
        throw_bad_node(id, "it is not a directory node of the expected level.");
    }
    return std::move(*node);
}

bool walk_directory_node(
    const NodeSource& source,
    const ContentRef& root,
    std::string_view from,
    const std::function<bool(const format::StreamEntry&)>& visit
) {
    const auto node = fetch_directory_node(source, root.id, root.level);
    for (const auto& entry : node.entries()) {
        if (entry.name() >= from && !visit(entry)) {
            return false;
        }
    }
    for (int i = 0; i < node.children_size(); ++i) {
        // A child ends before the next one begins.
        if (i + 1 < node.children_size() && node.children(i + 1).first_name() <= from) {
            continue;
        }
        const auto id = parse_chunk_id(node.children(i).id());
        if (!walk_directory_node(source, {.id = *id, .level = root.level - 1}, from, visit)) {
            return false;
        }
    }
    return true;
}

/// One point's walk; the functions call each other as deep as the tree is.
struct Everything {
    const NodeSource& source;
    const NodeVisitor& visit;
    const std::function<void(BlobType, const ChunkId&)>& on_damage;

    void extent(const format::Extent& stored) const {
        const auto extent = parse_extent(stored);
        if (extent && extent->base) {
            visit(BlobType::kExtent, *extent->base);
        }
        for (const ChunkId& delta : extent ? extent->deltas : std::vector<ChunkId>{}) {
            visit(BlobType::kPageDelta, delta);
        }
    }

    void extents(const ContentRef& ref) const {
        if (!visit(BlobType::kExtentList, ref.id)) {
            return;
        }
        std::optional<format::ExtentList> node;
        try {
            node = parse_extent_list(source(BlobType::kExtentList, ref.id));
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::kVaultCorrupt) {
                throw;
            }
        }
        if (!node || node->level() + 1 != ref.level) {
            on_damage(BlobType::kExtentList, ref.id);
            return;
        }
        for (const format::Extent& stored : node->extents()) {
            extent(stored);
        }
        for (std::size_t at = 0; at < node->child_ids().size(); at += kHashBytes) {
            const std::string_view ids = node->child_ids();
            extents({.id = *parse_chunk_id(ids.substr(at, kHashBytes)), .level = ref.level - 1});
        }
    }

    void content(const ContentRef& ref) const {
        if (ref.level == 0) {
            visit(BlobType::kDataChunk, ref.id);
            return;
        }
        if (!visit(BlobType::kTreeNode, ref.id)) {
            return;
        }
        std::optional<format::TreeNode> node;
        try {
            node = parse_tree_node(source(BlobType::kTreeNode, ref.id));
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::kVaultCorrupt) {
                throw;
            }
        }
        if (!node || node->level() + 1 != ref.level) {
            on_damage(BlobType::kTreeNode, ref.id);
            return;
        }
        for (std::size_t i = 0; i < static_cast<std::size_t>(node->child_bytes_size()); ++i) {
            content({.id = child_id(*node, i), .level = ref.level - 1});
        }
    }

    void directory(const ContentRef& ref) const {
        if (!visit(BlobType::kDirectoryNode, ref.id)) {
            return;
        }
        std::optional<format::DirectoryNode> node;
        try {
            node = parse_directory_node(source(BlobType::kDirectoryNode, ref.id));
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::kVaultCorrupt) {
                throw;
            }
        }
        if (!node || node->level() != ref.level) {
            on_damage(BlobType::kDirectoryNode, ref.id);
            return;
        }
        for (const auto& entry : node->entries()) {
            if (entry.has_extent()) {
                extent(entry.extent());
            } else if (const auto root = content_of(entry)) {
                has_extents(entry) ? extents(*root) : content(*root);
            }
        }
        for (const auto& child : node->children()) {
            directory({.id = *parse_chunk_id(child.id()), .level = ref.level - 1});
        }
    }
};

}  // namespace

void walk_directory(
    const NodeSource& source,
    const std::optional<ContentRef>& root,
    std::string_view from,
    const std::function<bool(const format::StreamEntry&)>& visit
) {
    if (root) {
        walk_directory_node(source, *root, from, visit);
    }
}

std::optional<format::DirectoryNode> find_directory_leaf(
    const NodeSource& source, const std::optional<ContentRef>& root, std::string_view name
) {
    if (!root) {
        return std::nullopt;
    }
    auto node = fetch_directory_node(source, root->id, root->level);
    for (std::uint32_t level = root->level; level > 0; --level) {
        const auto& children = node.children();
        const auto after =
            std::upper_bound(children.begin(), children.end(), name, [](auto a, const auto& child) {
                return a < child.first_name();
            });
        if (after == children.begin()) {
            return std::nullopt;
        }
        node = fetch_directory_node(source, *parse_chunk_id(std::prev(after)->id()), level - 1);
    }
    return node;
}

void walk_everything(
    const NodeSource& source,
    const std::optional<ContentRef>& root,
    const NodeVisitor& visit,
    const std::function<void(BlobType type, const ChunkId& id)>& on_damage
) {
    if (root) {
        Everything{.source = source, .visit = visit, .on_damage = on_damage}.directory(*root);
    }
}

}  // namespace holdfast::vault
