#include "vault/detail/point_reader.h"

#include "base/error.h"
#include "vault/detail/extent_list.h"
#include "vault/detail/page_delta.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>

namespace holdfast::vault {

namespace {

/// Read ahead of one stream: enough chunks to keep the workers busy, bounded in bytes.
constexpr std::size_t kAheadChunksMax = 8;
constexpr std::uint64_t kAheadBytesMax = 8 * kMiB;
/// Of the directory, kept parsed.
constexpr std::size_t kLeavesMax = 8;

StreamSummary summary_of(const format::StreamEntry& entry) {
    StreamSummary out{
        .info =
            {.name = entry.name(),
             .kind = entry.kind(),
             .layout = has_extents(entry) ? StreamLayout::kPages : StreamLayout::kBytes,
             .size_hint_bytes = entry.size_bytes()},
        .size_bytes = entry.size_bytes(),
    };
    for (const auto& attribute : entry.attributes()) {
        out.info.attributes.emplace_back(attribute.key(), attribute.value());
    }
    return out;
}

/// What is stored of a stream at one place.
struct Piece {
    std::uint64_t plain_bytes = 0;
    ChunkId chunk{};
    std::optional<Extent> extent = {};  ///< Instead of a chunk.
};

/// Visits the pieces of either kind of stream in order.
class PieceWalker {
public:
    PieceWalker(const NodeSource& nodes, const format::StreamEntry& entry) {
        if (has_extents(entry)) {
            extents_.emplace(nodes, entry);
        } else {
            chunks_.emplace(nodes, content_of(entry), entry.size_bytes());
        }
    }
    [[nodiscard]] std::optional<Piece> next() {
        if (chunks_) {
            if (const auto chunk = chunks_->next()) {
                return Piece{.plain_bytes = chunk->plain_bytes, .chunk = chunk->id};
            }
        } else if (const auto extent = extents_->next()) {
            return Piece{.plain_bytes = extent->plain_bytes, .extent = extent->extent};
        }
        return std::nullopt;
    }

private:
    std::optional<ContentTreeWalker> chunks_;
    std::optional<ExtentListWalker> extents_;
};

void fetch_piece(
    Engine& engine, const Piece& piece, MutableByteSpan out, const std::stop_token& stop
) {
    if (stop.stop_requested()) {
        throw_cancelled();
    }
    if (piece.extent) {
        engine.blobs.read_extent_to(*piece.extent, out, stop);
    } else {
        engine.blobs.read_to(BlobType::kDataChunk, piece.chunk, out, stop);
    }
}

/// One piece on its way. The pool's thread fills it, the reader's thread waits for it.
class Fetch {
public:
    void run(Engine& engine, const Piece& piece, const std::stop_token& stop) {
        Bytes bytes;
        std::exception_ptr failure;
        try {
            bytes.resize(piece.plain_bytes);
            fetch_piece(engine, piece, bytes, stop);
        } catch (...) {  // lint-allow: thrown again where the chunk is wanted.
            failure = std::current_exception();
        }
        {
            const std::lock_guard lock{mutex_};
            bytes_ = std::move(bytes);
            failure_ = std::move(failure);
            done_ = true;
        }
        changed_.notify_all();
    }

    [[nodiscard]] Bytes wait(const std::stop_token& stop) {
        std::unique_lock lock{mutex_};
        if (!changed_.wait(lock, stop, [this] { return done_; })) {
            throw_cancelled();
        }
        if (failure_) {
            std::rethrow_exception(failure_);
        }
        return std::move(bytes_);
    }

private:
    std::mutex mutex_;
    std::condition_variable_any changed_;
    bool done_ = false;           // Guarded by mutex_.
    Bytes bytes_;                 // Guarded by mutex_.
    std::exception_ptr failure_;  // Guarded by mutex_.
};

class StreamReaderImpl final : public StreamReader {
public:
    StreamReaderImpl(
        Engine& engine,
        ThreadPool& pool,
        const PointInVault& point,
        const NodeSource& nodes,
        const format::StreamEntry& entry,
        std::shared_ptr<std::atomic<std::size_t>> open_streams,
        std::stop_token stop
    )
        : engine_{engine},
          pool_{pool},
          open_streams_{std::move(open_streams)},
          point_{point},
          size_bytes_{entry.size_bytes()},
          outer_stop_{std::move(stop), [this] { stop_.request_stop(); }},
          walker_{nodes, entry},
          current_{to_bytes(entry.inline_content())} {
        ++*open_streams_;
    }

    /// Fetches still queued see the stop and do nothing; they share what they touch.
    ~StreamReaderImpl() override {
        stop_.request_stop();
        --*open_streams_;
    }
    StreamReaderImpl(const StreamReaderImpl&) = delete;
    StreamReaderImpl& operator=(const StreamReaderImpl&) = delete;

    [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return size_bytes_; }

    std::size_t read(MutableByteSpan out) override {
        return point_.while_there([&] { return read_bytes(out); });
    }

    [[nodiscard]] std::size_t next_piece_bytes() override {
        compares_ = true;
        if (at_ < current_.size()) {
            return current_.size() - at_;
        }
        look_ahead(1);
        if (ahead_.empty()) {
            require_whole();
            return 0;
        }
        return ahead_.front().piece.plain_bytes;
    }

    [[nodiscard]] bool skip_if_equal(ByteSpan have) override {
        HOLDFAST_CHECK(!have.empty() && have.size() == next_piece_bytes());
        if (at_ < current_.size()) {
            const ByteSpan rest = ByteSpan{current_}.subspan(at_);
            const bool equal = std::memcmp(have.data(), rest.data(), have.size()) == 0;
            if (equal) {
                at_ = current_.size();
                given_bytes_ += have.size();
            }
            return equal;
        }
        if (!is_equal(ahead_.front().piece, have)) {
            return false;
        }
        drop_front();
        differing_ = 0;
        given_bytes_ += have.size();
        return true;
    }

private:
    /// A piece that was not given back yet, and perhaps is on its way.
    struct Ahead {
        Piece piece;
        std::shared_ptr<Fetch> fetch = nullptr;
    };

    std::size_t read_bytes(MutableByteSpan out) {
        std::size_t done = 0;
        while (done < out.size()) {
            if (at_ == current_.size()) {
                if (!find_piece()) {
                    break;
                }
                if (const std::size_t size = read_piece(out.subspan(done))) {
                    done += size;
                    continue;
                }
                load_piece();
            }
            const std::size_t size = std::min(out.size() - done, current_.size() - at_);
            std::copy_n(current_.data() + at_, size, out.data() + done);
            at_ += size;
            done += size;
        }
        given_bytes_ += done;
        if (done < out.size()) {
            require_whole();
        }
        return done;
    }

    [[nodiscard]] bool is_equal(const Piece& piece, ByteSpan have) {
        if (piece.extent && !piece.extent->base) {
            return is_zero(have);
        }
        if (!ids_) {
            ids_.emplace(engine_.keys);
        }
        if (piece.extent && piece.extent->tag) {
            return ids_->tag(have) == piece.extent->tag;
        }
        return piece.extent ? (*ids_)(BlobType::kExtent, have) == piece.extent->digest
                            : (*ids_)(BlobType::kDataChunk, have) == piece.chunk;
    }

    void require_whole() const {
        if (given_bytes_ != size_bytes_) {
            throw Error{
                ErrorKind::kVaultCorrupt,
                "A stream of a recovery point has not the size that its manifest says."
            };
        }
    }

    /// Learns of the next `count` pieces, where there are so many.
    void look_ahead(std::size_t count) {
        while (ahead_.size() < count && !walked_) {
            if (auto piece = walker_.next()) {
                ahead_.push_back({.piece = *piece});
            } else {
                walked_ = true;
            }
        }
    }

    void drop_front() {
        if (ahead_.front().fetch) {
            --fetching_;
            fetching_bytes_ -= ahead_.front().piece.plain_bytes;
        }
        ahead_.pop_front();
    }

    /// Makes the next piece known, if there is one.
    bool find_piece() {
        if (stop_.stop_requested()) {
            throw_cancelled();
        }
        at_ = 0;
        current_.clear();
        look_ahead(1);
        return !ahead_.empty();
    }

    /// Straight to where it is wanted, if it fits there and is not on its way already. Returns its
    /// length, or 0.
    std::size_t read_piece(MutableByteSpan out) {
        const Ahead front = ahead_.front();
        if (front.fetch || front.piece.plain_bytes > out.size()) {
            return 0;
        }
        ++differing_;
        drop_front();
        fetch_ahead();
        fetch_piece(engine_, front.piece, out.first(front.piece.plain_bytes), stop_.get_token());
        return front.piece.plain_bytes;
    }

    void load_piece() {
        ++differing_;
        const Ahead front = ahead_.front();
        drop_front();
        fetch_ahead();
        if (front.fetch) {
            current_ = front.fetch->wait(stop_.get_token());
        } else {
            current_.resize(front.piece.plain_bytes);
            fetch_piece(engine_, front.piece, current_, stop_.get_token());
        }
    }

    /// Who compares may not want what comes next; the more pieces differed in a row, the likelier.
    /// Where nothing has to be waited for, reading ahead only spreads the work over the processors,
    /// which streams read at the same time do too, and better: in their own memory.
    [[nodiscard]] std::size_t fetches_worthwhile() const {
        constexpr std::uint64_t kDoublings = 3;
        if (*open_streams_ >= engine_.worker_count() && engine_.store.features().is_near) {
            return 0;
        }
        return compares_ ? (std::size_t{1} << std::min(differing_, kDoublings)) - 1
                         : kAheadChunksMax;
    }

    void fetch_ahead() {
        const std::size_t wanted = std::min(fetches_worthwhile(), kAheadChunksMax);
        look_ahead(wanted);
        for (std::size_t i = 0; i < std::min(wanted, ahead_.size()); ++i) {
            Ahead& next = ahead_[i];
            if (next.fetch) {
                continue;
            }
            if (fetching_ > 0 && fetching_bytes_ + next.piece.plain_bytes > kAheadBytesMax) {
                return;
            }
            next.fetch = std::make_shared<Fetch>();
            const bool taken = pool_.submit(
                [fetch = next.fetch,
                 &engine = engine_,
                 piece = next.piece,
                 stop = stop_.get_token()] { fetch->run(engine, piece, stop); },
                stop_.get_token()
            );
            if (!taken) {
                throw_cancelled();
            }
            ++fetching_;
            fetching_bytes_ += next.piece.plain_bytes;
        }
    }

    Engine& engine_;
    ThreadPool& pool_;
    const std::shared_ptr<std::atomic<std::size_t>> open_streams_;  // Of the point, this one too.
    const PointInVault point_;
    const std::uint64_t size_bytes_;
    std::stop_source stop_;
    std::stop_callback<std::function<void()>> outer_stop_;
    PieceWalker walker_;
    bool walked_ = false;
    std::deque<Ahead> ahead_;
    std::size_t fetching_ = 0;          // Of ahead_.
    std::uint64_t fetching_bytes_ = 0;  // Likewise.
    bool compares_ = false;
    std::uint64_t differing_ = 0;  // Pieces read since the last one that was skipped.
    std::optional<BlobIds> ids_;
    Bytes current_;
    std::size_t at_ = 0;
    std::uint64_t given_bytes_ = 0;
};

}  // namespace

void PointInVault::require_there() const {
    if (engine_.store.size(commit_key(group_, id_), {})) {
        return;
    }
    throw Error{
        ErrorKind::kRecoveryPointNotFound,
        ErrorText{
            .message = fmt::format(
                "The recovery point {} was removed while it was being read, and what it held has "
                "been reclaimed.",
                id_.to_string()
            ),
            .target = id_.to_string(),
        }
    };
}

PointReaderImpl::PointReaderImpl(
    Engine& engine,
    ThreadPool& pool,
    const PointInVault& point,
    PointSummary summary,
    std::optional<ContentRef> streams,
    std::unique_ptr<OpenReads::Guard> guard
)
    : engine_{engine},
      pool_{pool},
      point_{point},
      summary_{std::move(summary)},
      streams_{streams},
      guard_{std::move(guard)} {}

NodeSource PointReaderImpl::node_source(std::stop_token stop) const {
    return [&engine = engine_, point = point_, stop = std::move(stop)](
               BlobType type, const ChunkId& id
           ) { return point.while_there([&] { return engine.blobs.read(type, id, stop); }); };
}

void PointReaderImpl::list_streams(
    const std::function<bool(const StreamSummary&)>& visit, std::stop_token stop
) {
    list_streams_below({}, visit, std::move(stop));
}

void PointReaderImpl::list_streams_below(
    std::string_view prefix,
    const std::function<bool(const StreamSummary&)>& visit,
    std::stop_token stop
) {
    walk_directory(
        node_source(std::move(stop)),
        streams_,
        prefix,
        [&](const format::StreamEntry& entry) {
            return entry.name().starts_with(prefix) && visit(summary_of(entry));
        }
    );
}

/// The leaf that has the name, if any has it; nothing when the point has no streams.
std::shared_ptr<const format::DirectoryNode> PointReaderImpl::leaf_for(
    std::string_view name, std::stop_token stop
) {
    {
        const std::lock_guard lock{leaves_mutex_};
        const auto found = std::find_if(leaves_.begin(), leaves_.end(), [name](const auto& leaf) {
            const auto& entries = leaf->entries();
            return entries.begin()->name() <= name && name <= entries.rbegin()->name();
        });
        if (found != leaves_.end()) {
            leaves_.splice(leaves_.begin(), leaves_, found);
            return *found;
        }
    }
    auto node = find_directory_leaf(node_source(std::move(stop)), streams_, name);
    if (!node || node->entries().empty()) {
        return nullptr;
    }
    auto leaf = std::make_shared<const format::DirectoryNode>(std::move(*node));
    const std::lock_guard lock{leaves_mutex_};
    leaves_.push_front(leaf);
    if (leaves_.size() > kLeavesMax) {
        leaves_.pop_back();
    }
    return leaf;
}

std::optional<format::StreamEntry> PointReaderImpl::find_entry(
    std::string_view name, std::stop_token stop
) {
    const auto leaf = leaf_for(name, std::move(stop));
    if (!leaf) {
        return std::nullopt;
    }
    const auto& entries = leaf->entries();
    const auto found = std::lower_bound(
        entries.begin(),
        entries.end(),
        name,
        [](const auto& entry, std::string_view wanted) { return entry.name() < wanted; }
    );
    return found != entries.end() && found->name() == name ? std::optional{*found} : std::nullopt;
}

std::optional<StreamSummary> PointReaderImpl::find_stream(
    std::string_view name, std::stop_token stop
) {
    const auto entry = find_entry(name, std::move(stop));
    return entry ? std::optional{summary_of(*entry)} : std::nullopt;
}

std::unique_ptr<StreamReader> PointReaderImpl::open_stream(
    std::string_view name, std::stop_token stop
) {
    const auto entry = find_entry(name, stop);
    if (!entry) {
        throw Error{
            ErrorKind::kObjectNotFound,
            ErrorText{
                .message = fmt::format("The recovery point has no stream named '{}'.", name),
                .target = std::string{name},
            }
        };
    }
    return std::make_unique<StreamReaderImpl>(
        engine_, pool_, point_, node_source(stop), *entry, open_streams_, stop
    );
}

format::Manifest open_manifest(
    const KeyRing& keys, const ObjectKey& key, const PointId& point, ByteSpan object
) {
    const Bytes plain = open_object(keys, ObjectKind::kManifest, key, object);
    format::Manifest manifest;
    if (!manifest.ParseFromArray(plain.data(), static_cast<int>(plain.size())) ||
        as_bytes(manifest.point_id()).size() != point.bytes().size() ||
        !std::equal(
            point.bytes().begin(), point.bytes().end(), as_bytes(manifest.point_id()).begin()
        ) ||
        (manifest.has_streams() && !parse_node_ref(manifest.streams()))) {
        throw_corrupt(key, "it is not the manifest of its point.");
    }
    return manifest;
}

}  // namespace holdfast::vault
