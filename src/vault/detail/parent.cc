#include "vault/detail/parent.h"

#include "base/error.h"
#include "base/log.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

/// Of the parent's chunks, those that far behind and ahead of the same position are kept:
/// insertions and deletions up to about 256 MiB stay within.
constexpr std::uint64_t kWindowAhead = 256;
constexpr std::size_t kWindowMax = 768;
/// Serialized; parsed they take about three times that. Nodes of some 20,000 streams.
constexpr std::size_t kNodeCacheBytes = 3 * kMiB;

}  // namespace

// ---- Directory ----

ParentDirectory::ParentDirectory(
    Engine& engine, std::optional<ParentPoint> parent, std::stop_token stop
)
    : parent_{std::move(parent)},
      source_{[&engine, stop = std::move(stop)](BlobType type, const ChunkId& id) {
          return engine.blobs.read(type, id, stop);
      }} {}

ParentDirectory::Node ParentDirectory::node(const ContentRef& ref) {
    {
        const std::lock_guard lock{mutex_};
        if (const auto found = by_id_.find(ref.id); found != by_id_.end()) {
            nodes_.splice(nodes_.begin(), nodes_, found->second);
            return nodes_.front().node;
        }
    }
    const Bytes bytes = source_(BlobType::kDirectoryNode, ref.id);
    auto parsed = parse_directory_node(bytes);
    if (!parsed || parsed->level() != ref.level) {
        throw Error{ErrorKind::kVaultCorrupt, "A directory node of the parent is damaged."};
    }
    auto node = std::make_shared<const format::DirectoryNode>(std::move(*parsed));
    const std::lock_guard lock{mutex_};
    if (!by_id_.contains(ref.id)) {
        nodes_.push_front({.id = ref.id, .node = node, .bytes = bytes.size()});
        by_id_.emplace(ref.id, nodes_.begin());
        bytes_ += bytes.size();
        while (bytes_ > kNodeCacheBytes && nodes_.size() > 1) {
            bytes_ -= nodes_.back().bytes;
            by_id_.erase(nodes_.back().id);
            nodes_.pop_back();
        }
    }
    return node;
}

std::optional<format::StreamEntry> ParentDirectory::find(std::string_view name) {
    if (!parent_ || !parent_->streams) {
        return std::nullopt;
    }
    ContentRef at = *parent_->streams;
    try {
        for (;; --at.level) {
            const Node here = node(at);
            if (at.level == 0) {
                const auto& entries = here->entries();
                const auto found = std::lower_bound(
                    entries.begin(),
                    entries.end(),
                    name,
                    [](const auto& entry, std::string_view wanted) { return entry.name() < wanted; }
                );
                return found != entries.end() && found->name() == name ? std::optional{*found}
                                                                       : std::nullopt;
            }
            const auto& children = here->children();
            const auto after = std::upper_bound(
                children.begin(),
                children.end(),
                name,
                [](std::string_view wanted, const auto& child) {
                    return wanted < child.first_name();
                }
            );
            if (after == children.begin()) {
                return std::nullopt;
            }
            at.id = *parse_chunk_id(std::prev(after)->id());
        }
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
        const std::lock_guard lock{mutex_};
        if (!std::exchange(damaged_, true)) {
            log_warning(
                "The parent of a new recovery point is damaged; what is damaged is not used.",
                {{"point", parent_->id.to_string()}, {"problem", error.what()}}
            );
        }
        return std::nullopt;
    }
}

// ---- Chunks ----

std::shared_ptr<ParentChunks> ParentChunks::open(ParentDirectory& parent, std::string_view stream) {
    const auto entry = parent.find(stream);
    if (!entry || !entry->has_content() || has_extents(*entry)) {
        return nullptr;
    }
    try {
        return std::shared_ptr<ParentChunks>{new ParentChunks{
            ContentTreeWalker{parent.source(), content_of(*entry), entry->size_bytes()}
        }};
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
        return nullptr;
    }
}

void ParentChunks::advance_to(std::uint64_t chunk) {
    while (!ended_ && read_ < chunk + kWindowAhead) {
        std::optional<ContentTreeWalker::Child> child;
        try {
            child = walker_.next();
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::kVaultCorrupt) {
                throw;
            }
        }
        if (!child) {
            ended_ = true;
            return;
        }
        ++read_;
        const std::lock_guard lock{mutex_};
        window_.push_back(chunk_key(child->id));
        known_.insert(window_.back());
        if (window_.size() > kWindowMax) {
            known_.erase(window_.front());
            window_.pop_front();
        }
    }
}

bool ParentChunks::contains(const ChunkId& id) const {
    const std::lock_guard lock{mutex_};
    return known_.contains(chunk_key(id));
}

// ---- Extents ----

std::optional<ParentExtents> ParentExtents::open(ParentDirectory& parent, std::string_view stream) {
    const auto entry = parent.find(stream);
    if (!entry || !has_extents(*entry)) {
        return std::nullopt;
    }
    try {
        return ParentExtents{ExtentListWalker{parent.source(), *entry}, entry->extent_log2()};
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
        return std::nullopt;
    }
}

std::optional<Extent> ParentExtents::next() {
    if (ended_) {
        return std::nullopt;
    }
    try {
        if (const auto piece = walker_.next()) {
            return piece->extent;
        }
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
    }
    // Behind a node that is damaged, positions are not known any more.
    ended_ = true;
    return std::nullopt;
}

}  // namespace holdfast::vault
