#include "vault/detail/extent_list.h"

#include "base/error.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

/// Small, as one changed extent writes its node anew; the nodes above are smaller than that.
constexpr int kExtentsPerNode = 16;
constexpr int kChildrenPerNode = 64;
constexpr std::uint32_t kLevelMax = 16;

std::string text_of(const ChunkId& id) {
    return std::string{as_text(id)};
}

[[noreturn]] void throw_bad_list(const ChunkId& id, std::string_view problem) {
    throw Error{
        ErrorKind::kVaultCorrupt,
        ErrorText{
            .message = fmt::format(
                "A list of extents of the recovery point's manifest is damaged: {}", problem
            ),
            .target = to_hex(id),
            .recommended_actions = {"Run 'holdfast vault check --read-data'."},
        }
    };
}

}  // namespace

format::Extent to_stored(const Extent& extent) {
    format::Extent stored;
    if (extent.base) {
        stored.set_base(text_of(*extent.base));
    }
    for (const ChunkId& delta : extent.deltas) {
        stored.add_deltas(text_of(delta));
    }
    if (!extent.deltas.empty()) {
        if (extent.digest) {
            stored.set_digest(text_of(*extent.digest));
        }
        stored.set_deltas_stored_bytes(extent.deltas_stored_bytes);
    }
    if (extent.tag) {
        stored.set_tag(std::string{as_text(*extent.tag)});
    }
    return stored;
}

std::optional<Extent> parse_extent(const format::Extent& stored) {
    Extent extent;
    if (stored.base().empty()) {
        const bool bare =
            stored.deltas().empty() && stored.digest().empty() && stored.tag().empty();
        return bare ? std::optional{extent} : std::nullopt;
    }
    extent.base = parse_chunk_id(stored.base());
    if (!extent.base) {
        return std::nullopt;
    }
    if (!stored.tag().empty()) {
        if (stored.tag().size() != kTagBytes) {
            return std::nullopt;
        }
        std::copy_n(as_bytes(stored.tag()).begin(), kTagBytes, extent.tag.emplace().begin());
    }
    if (stored.deltas().empty()) {
        extent.digest = extent.base;
        return stored.digest().empty() ? std::optional{extent} : std::nullopt;
    }
    if (!stored.digest().empty()) {
        extent.digest = parse_chunk_id(stored.digest());
        if (!extent.digest) {
            return std::nullopt;
        }
    }
    const bool proved = extent.digest || extent.tag;
    if (!proved || static_cast<std::size_t>(stored.deltas_size()) > kDeltaLayersMax) {
        return std::nullopt;
    }
    for (const std::string& text : stored.deltas()) {
        const auto delta = parse_chunk_id(text);
        if (!delta) {
            return std::nullopt;
        }
        extent.deltas.push_back(*delta);
    }
    extent.deltas_stored_bytes = stored.deltas_stored_bytes();
    return extent;
}

std::optional<format::ExtentList> parse_extent_list(ByteSpan bytes) {
    format::ExtentList node;
    if (bytes.size() > kBlobBytesMax ||
        !node.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
        node.level() > kLevelMax) {
        return std::nullopt;
    }
    if (node.level() > 0) {
        const auto children = static_cast<std::size_t>(node.child_extents_size());
        const bool sound = children > 0 && node.extents().empty() &&
                           node.child_ids().size() == children * kHashBytes;
        return sound ? std::optional{std::move(node)} : std::nullopt;
    }
    if (node.extents().empty() || !node.child_ids().empty() || node.child_extents_size() > 0) {
        return std::nullopt;
    }
    for (const format::Extent& extent : node.extents()) {
        if (!parse_extent(extent)) {
            return std::nullopt;
        }
    }
    return node;
}

// ---- Building ----

void ExtentListBuilder::add(const Extent& extent) {
    if (added_++ == 0) {
        first_ = extent;
    }
    if (levels_.empty()) {
        levels_.emplace_back();
    }
    *levels_[0].node.add_extents() = to_stored(extent);
    ++levels_[0].extents;
    if (levels_[0].node.extents_size() == kExtentsPerNode) {
        emit(0);
    }
}

void ExtentListBuilder::add_child(std::size_t level, const ChunkId& id, std::uint64_t extents) {
    if (levels_.size() <= level) {
        levels_.emplace_back();
        levels_.back().node.set_level(static_cast<std::uint32_t>(level));
    }
    Level& here = levels_[level];
    here.node.mutable_child_ids()->append(as_text(id));
    here.node.add_child_extents(extents);
    here.extents += extents;
    if (here.node.child_extents_size() == kChildrenPerNode) {
        emit(level);
    }
}

ChunkId ExtentListBuilder::write(std::size_t level) {
    return sink_(BlobType::kExtentList, levels_[level].node.SerializeAsString());
}

void ExtentListBuilder::emit(std::size_t level) {
    const ChunkId id = write(level);
    Level& here = levels_[level];
    here.node.clear_extents();
    here.node.clear_child_ids();
    here.node.clear_child_extents();
    add_child(level + 1, id, std::exchange(here.extents, 0));
}

void ExtentListBuilder::finish(format::StreamEntry& entry) {
    if (added_ == 0) {
        return;
    }
    if (added_ == 1) {
        *entry.mutable_extent() = to_stored(first_);
        return;
    }
    for (std::size_t level = 0;; ++level) {
        const Level& here = levels_[level];
        const bool top = level + 1 == levels_.size();
        // The first node that has everything is the root: no node with one child stands above it.
        if (top && level > 0 && here.node.child_extents_size() == 1) {
            entry.mutable_content()->set_id(here.node.child_ids());
            entry.mutable_content()->set_level(static_cast<std::uint32_t>(level));
            return;
        }
        if (here.extents > 0) {
            emit(level);
        }
    }
}

// ---- Walking ----

ExtentListWalker::ExtentListWalker(NodeSource source, const format::StreamEntry& entry)
    : source_{std::move(source)},
      extent_bytes_{std::uint64_t{1} << entry.extent_log2()},
      bytes_left_{entry.size_bytes()} {
    if (entry.has_extent()) {
        single_ = parse_extent(entry.extent());
    } else if (const auto root = content_of(entry)) {
        descend(root->id, root->level - 1, (bytes_left_ + extent_bytes_ - 1) / extent_bytes_);
    } else {
        bytes_left_ = 0;  // It stands in the entry.
    }
}

void ExtentListWalker::descend(const ChunkId& id, std::uint32_t level, std::uint64_t extents) {
    auto node = parse_extent_list(source_(BlobType::kExtentList, id));
    if (!node || node->level() != level) {
        throw_bad_list(id, "it is not a list of extents of the expected level.");
    }
    std::uint64_t sum = static_cast<std::uint64_t>(node->extents_size());
    for (const std::uint64_t below : node->child_extents()) {
        sum += below;
    }
    if (sum != extents) {
        throw_bad_list(id, "its sizes do not add up.");
    }
    open_.push_back({.node = std::move(*node)});
}

std::optional<ExtentListWalker::Piece> ExtentListWalker::next() {
    const auto piece = [this](const Extent& extent) {
        const std::uint64_t bytes = std::min(bytes_left_, extent_bytes_);
        bytes_left_ -= bytes;
        return Piece{.extent = extent, .plain_bytes = bytes};
    };
    if (single_) {
        return piece(*std::exchange(single_, std::nullopt));
    }
    while (!open_.empty()) {
        Open& top = open_.back();
        const bool leaf = top.node.level() == 0;
        const int count = leaf ? top.node.extents_size() : top.node.child_extents_size();
        if (top.at == static_cast<std::size_t>(count)) {
            open_.pop_back();
            continue;
        }
        const std::size_t at = top.at++;
        if (leaf) {
            return piece(*parse_extent(top.node.extents(static_cast<int>(at))));
        }
        const auto id = parse_chunk_id(
            std::string_view{top.node.child_ids()}.substr(at * kHashBytes, kHashBytes)
        );
        descend(*id, top.node.level() - 1, top.node.child_extents(static_cast<int>(at)));
    }
    return std::nullopt;
}

}  // namespace holdfast::vault
