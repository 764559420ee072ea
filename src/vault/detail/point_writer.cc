#include "vault/detail/point_writer.h"

#include "base/error.h"
#include "base/log.h"

#include <algorithm>
#include <bit>

namespace holdfast::vault {

namespace {

constexpr std::size_t kStreamNameMax = 4096;
constexpr std::size_t kMetadataMax = 4 * kMiB;
/// To find most repeated names at once; some megabytes.
constexpr std::size_t kNamesKept = 32 * 1024;
/// Large enough that lists and requests are few, small enough that a restore or a changed page
/// reads little too much (docs/decisions/0015).
constexpr std::uint64_t kExtentBytes = kMiB;
/// Streams this short ask the index; longer ones are worth opening the parent's.
constexpr std::uint64_t kParentWorthChunks = 4;
template <std::size_t N>
std::string text_of(const std::array<std::byte, N>& bytes) {
    return std::string{as_text(bytes)};
}

std::int64_t to_stored(Instant instant) {
    return instant.time_since_epoch().count();
}
Instant from_stored(std::int64_t microseconds) {
    return Instant{std::chrono::microseconds{microseconds}};
}

void require_stream_info(const StreamInfo& info) {
    if (info.name.empty() || info.name.size() > kStreamNameMax ||
        info.name.find('\0') != std::string::npos) {
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = "A stream of a recovery point needs a name of 1 to 4096 bytes.",
                .target = info.name.substr(0, 64),
            }
        };
    }
}

}  // namespace

// ---- One stream ----

class StreamWriterImpl final : public StreamWriter {
public:
    StreamWriterImpl(PointWriterImpl& point, std::shared_ptr<PointWriterImpl::Stream> stream)
        : point_{point}, stream_{std::move(stream)}, chunker_{point.engine_.gear, {}} {}

    ~StreamWriterImpl() override {
        if (!closed_) {
            point_.open_streams_ |= kAbandoned;
        }
    }

    void write(ByteSpan bytes) override {
        HOLDFAST_CHECK(!closed_);
        point_.read_bytes_ += bytes.size();
        stream_->size_bytes += bytes.size();
        if (stream_->extent_log2 != 0) {
            write_pages(bytes);
            return;
        }
        while (!bytes.empty()) {
            // In pieces that stay in the cache between looking at them and copying them.
            constexpr std::size_t kPieceBytes = 64 * kKiB;
            const ByteSpan piece = bytes.first(std::min(bytes.size(), kPieceBytes));
            const auto end = chunker_.find_end(piece);
            append(piece.first(end.value_or(piece.size())));
            bytes = bytes.subspan(end.value_or(piece.size()));
            if (end) {
                cut();
            }
        }
    }

    void close() override {
        HOLDFAST_CHECK(!closed_);
        if (task_ && stream_->submitted == 0 && task_->size <= kInlineBytesMax) {
            stream_->inline_content = as_text({task_->buffer.data(), task_->size});
        } else if (task_) {
            cut();
        }
        closed_ = true;
        point_.close_stream(stream_);
    }

    /// Set in PointWriterImpl::open_streams_ when a stream was destroyed before it was closed: no
    /// commit then.
    static constexpr std::uint64_t kAbandoned = std::uint64_t{1} << 63;

private:
    void write_pages(ByteSpan bytes) {
        const std::size_t extent_bytes = std::size_t{1} << stream_->extent_log2;
        while (!bytes.empty()) {
            // Cut when more comes, so that a small stream can stand in the directory.
            if (task_ && task_->size == extent_bytes) {
                cut();
            }
            const std::size_t room = extent_bytes - (task_ ? task_->size : 0);
            const ByteSpan piece = bytes.first(std::min(bytes.size(), room));
            append(piece);
            bytes = bytes.subspan(piece.size());
        }
    }

    void append(ByteSpan bytes) {
        if (!task_) {
            task_ = point_.blobs_.new_task();
            task_->size = 0;
        }
        if (task_->size + bytes.size() > task_->buffer.capacity()) {
            grow(task_->size + bytes.size());
        }
        std::copy(bytes.begin(), bytes.end(), task_->buffer.data() + task_->size);
        task_->size += bytes.size();
    }

    /// A tiny stream takes a tiny buffer; a second step takes the largest chunk there can be.
    /// Memory that is not touched is not resident.
    void grow(std::size_t needed) {
        const std::size_t largest = stream_->extent_log2 != 0
                                        ? std::size_t{1} << stream_->extent_log2
                                        : chunker_.parameters().bytes_max;
        constexpr std::size_t kFirst = 128 * kKiB;
        Buffer larger;
        larger.reserve(
            needed <= kFirst && task_->size == 0 ? std::min(kFirst, largest) : largest
        );
        std::copy_n(task_->buffer.data(), task_->size, larger.data());
        task_->buffer = std::move(larger);
    }

    void cut() {
        BlobTask task = std::move(*task_);
        task_.reset();
        point_.submit_piece(stream_, std::move(task));
    }

    PointWriterImpl& point_;
    std::shared_ptr<PointWriterImpl::Stream> stream_;
    Chunker chunker_;
    std::optional<BlobTask> task_;
    bool closed_ = false;
};

// ---- The point ----

PointWriterImpl::PointWriterImpl(Engine& engine, SessionSetup setup, std::stop_token stop)
    : engine_{engine},
      setup_{std::move(setup)},
      id_{setup_.session->point()->id},
      group_{setup_.session->point()->group},
      blobs_{engine, setup_.session->view(), stop},
      node_sink_{[this](BlobType type, std::string_view bytes) {
          return blobs_.submit_node(type, bytes);
      }},
      parent_{engine, setup_.parent, blobs_.stop_token()},
      entries_{engine.options.entry_memory_bytes} {
    other_stored_bytes_ += setup_.session->record_bytes();
}

PointWriterImpl::~PointWriterImpl() {
    blobs_.stop();
}

std::unique_ptr<StreamWriter> PointWriterImpl::open_stream(StreamInfo info) {
    blobs_.check();
    require_stream_info(info);
    std::sort(info.attributes.begin(), info.attributes.end());
    {
        const std::lock_guard lock{mutex_};
        if (names_.size() >= kNamesKept) {
            names_.clear();  // commit() finds what was repeated since.
        }
        if (!names_.insert(info.name).second) {
            throw Error{
                ErrorKind::kInvalidInput,
                ErrorText{
                    .message = fmt::format(
                        "The recovery point has a stream named '{}' already.", info.name
                    ),
                    .target = info.name,
                }
            };
        }
    }
    finish_identified_streams();
    auto stream = std::make_shared<Stream>(std::move(info), node_sink_);
    if (stream->info.layout == StreamLayout::kPages) {
        choose_extents(*stream);
    }
    ++open_streams_;
    return std::make_unique<StreamWriterImpl>(*this, std::move(stream));
}

WriteProgress PointWriterImpl::progress() const {
    return {
        .read_bytes = read_bytes_,
        .stored_bytes = blobs_.stored_bytes() + other_stored_bytes_,
        .chunk_count = blobs_.chunk_count(),
        .reused_chunk_count = blobs_.reused_chunk_count(),
        .reused_bytes = blobs_.reused_bytes(),
    };
}

/// As long as the parent's, so that each has a counterpart there; else by the size to come.
void PointWriterImpl::choose_extents(Stream& stream) {
    setup_.require_extents();
    stream.parent_extents = ParentExtents::open(parent_, stream.info.name);
    const std::uint64_t configured = engine_.options.extent_bytes;
    const auto log2 = std::bit_width(configured > 0 ? configured : kExtentBytes) - 1;
    stream.extent_log2 = stream.parent_extents
                             ? stream.parent_extents->extent_log2()
                             : std::clamp(
                                   static_cast<std::uint32_t>(log2), kExtentLog2Min, kExtentLog2Max
                               );
}

void PointWriterImpl::prepare_chunk(
    const std::shared_ptr<Stream>& stream, BlobTask& task, std::uint64_t number
) {
    if (number == kParentWorthChunks) {
        stream->parent = ParentChunks::open(parent_, stream->info.name);
    }
    if (stream->parent) {
        stream->parent->advance_to(number);
        task.known = [parent = stream->parent](const ChunkId& id) { return parent->contains(id); };
    }
    task.type = BlobType::kDataChunk;
    task.on_id = [stream, number](const ChunkId& id) {
        {
            const std::lock_guard lock{stream->mutex};
            Stream::Piece& piece = stream->pending[number - stream->consumed];
            piece.id = id;
            piece.identified = true;
        }
        stream->identified.notify_all();
    };
}

void PointWriterImpl::prepare_extent(
    const std::shared_ptr<Stream>& stream, BlobTask& task, std::uint64_t number
) {
    task.type = BlobType::kExtent;
    if (stream->parent_extents) {
        task.parent = stream->parent_extents->next();
    }
    task.on_extent = [stream, number](const Extent& extent) {
        {
            const std::lock_guard lock{stream->mutex};
            Stream::Piece& piece = stream->pending[number - stream->consumed];
            piece.extent = extent;
            piece.identified = true;
        }
        stream->identified.notify_all();
    };
}

void PointWriterImpl::submit_piece(const std::shared_ptr<Stream>& stream, BlobTask task) {
    const std::uint64_t number = stream->submitted++;
    if (stream->extent_log2 != 0) {
        prepare_extent(stream, task, number);
    } else {
        prepare_chunk(stream, task, number);
    }
    {
        const std::lock_guard lock{stream->mutex};
        stream->pending.push_back({.bytes = task.size});
    }
    blobs_.submit(std::move(task));
    grow_tree(*stream);
}

void PointWriterImpl::grow_tree(Stream& stream) {
    for (;;) {
        Stream::Piece piece;
        {
            const std::lock_guard lock{stream.mutex};
            if (stream.pending.empty() || !stream.pending.front().identified) {
                return;
            }
            piece = std::move(stream.pending.front());
            stream.pending.pop_front();
            ++stream.consumed;
        }
        if (stream.extent_log2 != 0) {
            stream.extents.add(piece.extent);
        } else {
            stream.tree.add(piece.id, piece.bytes);
        }
    }
}

void PointWriterImpl::close_stream(const std::shared_ptr<Stream>& stream) {
    {
        const std::lock_guard lock{mutex_};
        closed_.push_back(stream);
    }
    --open_streams_;
    finish_identified_streams();
}

void PointWriterImpl::finish_identified_streams() {
    for (;;) {
        std::shared_ptr<Stream> ready;
        {
            const std::lock_guard lock{mutex_};
            const auto found = std::find_if(closed_.begin(), closed_.end(), [](const auto& stream) {
                const std::lock_guard stream_lock{stream->mutex};
                return stream->all_identified();
            });
            if (found == closed_.end()) {
                return;
            }
            ready = *found;
            closed_.erase(found);
        }
        finish_stream(*ready);
    }
}

void PointWriterImpl::finish_stream(Stream& stream) {
    grow_tree(stream);
    format::StreamEntry entry;
    entry.set_name(stream.info.name);
    entry.set_kind(stream.info.kind);
    for (const auto& [name, value] : stream.info.attributes) {
        auto* attribute = entry.add_attributes();
        attribute->set_key(name);
        attribute->set_value(value);
    }
    entry.set_size_bytes(stream.size_bytes);
    entry.set_inline_content(stream.inline_content);
    entry.set_extent_log2(stream.extent_log2);
    stream.extents.finish(entry);
    if (const auto root = stream.tree.finish()) {
        entry.mutable_content()->set_id(text_of(root->id));
        entry.mutable_content()->set_level(root->level);
    }
    entries_.add(entry);
}

void PointWriterImpl::wait_identified(Stream& stream) {
    std::unique_lock lock{stream.mutex};
    const bool done = stream.identified.wait(lock, blobs_.stop_token(), [&stream] {
        return stream.all_identified();
    });
    if (!done) {
        lock.unlock();
        blobs_.check();
        throw_cancelled();
    }
}

std::optional<ContentRef> PointWriterImpl::write_directory(std::uint64_t& stream_count) {
    std::list<std::shared_ptr<Stream>> waiting;
    {
        const std::lock_guard lock{mutex_};
        waiting = std::exchange(closed_, {});
    }
    for (const auto& stream : waiting) {
        wait_identified(*stream);
        finish_stream(*stream);
    }
    DirectoryBuilder directory{node_sink_};
    entries_.merge([&](format::StreamEntry entry) {
        ++stream_count;
        directory.add(std::move(entry));
    });
    return directory.finish();
}

Sha256 PointWriterImpl::write_manifest(
    const std::optional<ContentRef>& streams, std::uint64_t stream_count
) {
    format::Manifest manifest;
    manifest.set_point_id(text_of(id_.bytes()));
    manifest.set_session_id(text_of(setup_.session->id().bytes()));
    if (setup_.parent) {
        manifest.set_parent_point_id(text_of(setup_.parent->id.bytes()));
    }
    manifest.set_instance_id(setup_.begin.instance_id);
    manifest.set_datasource_id(setup_.begin.datasource_id);
    manifest.set_job_id(setup_.begin.job_id);
    manifest.set_started_at(to_stored(setup_.begin.started_at));
    if (streams) {
        manifest.mutable_streams()->set_id(text_of(streams->id));
        manifest.mutable_streams()->set_level(streams->level);
    }
    manifest.set_stream_count(stream_count);
    manifest.set_size_bytes(read_bytes_);
    const ObjectKey key = manifest_key(group_, id_);
    const Bytes object = seal_object(
        engine_.keys,
        ObjectKind::kManifest,
        key,
        random_array<32>(),
        as_bytes(manifest.SerializeAsString())
    );
    engine_.store.put_new(key, object, blobs_.stop_token());
    other_stored_bytes_ += object.size();
    return sha256(object);
}

Bytes PointWriterImpl::seal_commit(const PointSummary& summary, const Sha256& manifest) const {
    format::Commit commit;
    commit.set_outcome(format::Commit::COMMITTED);
    commit.set_point_id(text_of(id_.bytes()));
    commit.set_session_id(text_of(setup_.session->id().bytes()));
    commit.set_manifest_sha256(text_of(manifest));
    if (summary.parent) {
        commit.set_parent_point_id(text_of(summary.parent->bytes()));
    }
    commit.set_instance_id(summary.instance_id);
    commit.set_datasource_id(summary.datasource_id);
    commit.set_job_id(summary.job_id);
    commit.set_started_at(to_stored(summary.started_at));
    commit.set_completed_at(to_stored(summary.completed_at));
    if (summary.expires_at) {
        commit.set_expires_at(to_stored(*summary.expires_at));
    }
    commit.set_metadata_json(summary.metadata_json);
    commit.set_stream_count(summary.stream_count);
    commit.set_size_bytes(summary.size_bytes);
    commit.set_stored_bytes(summary.stored_bytes);
    commit.set_chunk_count(summary.chunk_count);
    commit.set_reused_chunk_count(summary.reused_chunk_count);
    return seal_object(
        engine_.keys,
        ObjectKind::kCommit,
        commit_key(group_, id_),
        random_array<32>(),
        as_bytes(commit.SerializeAsString())
    );
}

PointSummary PointWriterImpl::commit(const PointCommit& commit, std::stop_token stop) {
    const std::stop_callback also{stop, [this] { blobs_.stop(); }};
    if (open_streams_ != 0) {
        throw Error{
            ErrorKind::kInternal, "A recovery point with an unfinished stream cannot be committed."
        };
    }
    if (commit.metadata_json.size() > kMetadataMax) {
        throw Error{
            ErrorKind::kInvalidInput, "The metadata of a recovery point may have at most 4 MiB."
        };
    }
    blobs_.check();
    std::uint64_t stream_count = 0;
    const auto streams = write_directory(stream_count);
    blobs_.finish();
    const Sha256 manifest = write_manifest(streams, stream_count);

    const WriteProgress figures = progress();
    PointSummary summary{
        .id = id_,
        .parent = setup_.parent ? std::optional{setup_.parent->id} : std::nullopt,
        .instance_id = setup_.begin.instance_id,
        .datasource_id = setup_.begin.datasource_id,
        .job_id = setup_.begin.job_id,
        .started_at = setup_.begin.started_at,
        .completed_at = commit.completed_at,
        .expires_at = commit.expires_at,
        .metadata_json = commit.metadata_json,
        .stream_count = stream_count,
        .size_bytes = figures.read_bytes,
        .stored_bytes = figures.stored_bytes,
        .chunk_count = figures.chunk_count,
        .reused_chunk_count = figures.reused_chunk_count,
    };
    // Its own record counts, too; sealed once to know its size.
    summary.stored_bytes += seal_commit(summary, manifest).size();
    write_commit(summary, manifest);
    setup_.on_committed(summary);
    setup_.session->end();
    return summary;
}

void PointWriterImpl::write_commit(const PointSummary& summary, const Sha256& manifest_sha256) {
    const ObjectKey key = commit_key(group_, id_);
    const Bytes object = seal_commit(summary, manifest_sha256);
    std::optional<Error> failure;
    try {
        if (engine_.store.put_new(key, object, blobs_.stop_token()) == PutOutcome::kCreated) {
            return;
        }
    } catch (const Error& error) {
        failure = error;
    }
    switch (settle_commit(object, failure ? std::optional{failure->kind()} : std::nullopt)) {
        case CommitFate::kCommitted:
            return;
        case CommitFate::kAborted:
            if (failure) {
                throw Error{*failure};
            }
            throw Error{
                ErrorKind::kSessionAborted,
                ErrorText{
                    .message = "The backup took so long without a sign of life that its session "
                               "was given up; nothing of it was committed.",
                    .recommended_actions = {"Run the backup again."},
                }
            };
        case CommitFate::kUnknown:
            throw Error{
                ErrorKind::kOutcomeUnknown,
                ErrorText{
                    .message = "The storage failed while the recovery point was being committed, "
                               "and does not say whether it is there.",
                    .internal = failure ? failure->log_line() : std::string{},
                    .recommended_actions =
                        {"When the storage answers again, look whether the recovery point is "
                         "listed; if it is not, run the backup again."},
                }
            };
    }
}

/// The key was taken, or the store failed without saying whether it took the record. The same key
/// settles it: whoever creates it decides, and an `aborted` record in it keeps a late write out for
/// good.
PointWriterImpl::CommitFate PointWriterImpl::settle_commit(
    const Bytes& object, std::optional<ErrorKind> failure
) {
    const ObjectKey key = commit_key(group_, id_);
    // These say that nothing was written, and would say so again.
    const bool refused = failure == ErrorKind::kStoreFull || failure == ErrorKind::kStoreDenied ||
                         failure == ErrorKind::kCancelled;
    try {
        if (failure && !refused) {
            format::Commit aborted;
            aborted.set_outcome(format::Commit::ABORTED);
            aborted.set_point_id(text_of(id_.bytes()));
            aborted.set_session_id(text_of(setup_.session->id().bytes()));
            const Bytes record = seal_object(
                engine_.keys,
                ObjectKind::kCommit,
                key,
                random_array<32>(),
                as_bytes(aborted.SerializeAsString())
            );
            if (engine_.store.put_new(key, record, {}) == PutOutcome::kCreated) {
                return CommitFate::kAborted;
            }
        }
        const auto stored = engine_.store.get(key, {});
        return stored && *stored == object ? CommitFate::kCommitted : CommitFate::kAborted;
    } catch (const Error&) {
        return CommitFate::kUnknown;
    }
}

// ---- Commit records ----

PointSummary to_summary(const format::Commit& commit) {
    return {
        .id = parse_id<PointId>(commit.point_id()).value_or(PointId{}),
        .parent = parse_id<PointId>(commit.parent_point_id()),
        .instance_id = commit.instance_id(),
        .datasource_id = commit.datasource_id(),
        .job_id = commit.job_id(),
        .started_at = from_stored(commit.started_at()),
        .completed_at = from_stored(commit.completed_at()),
        .expires_at = commit.has_expires_at() ? std::optional{from_stored(commit.expires_at())}
                                              : std::nullopt,
        .metadata_json = commit.metadata_json(),
        .stream_count = commit.stream_count(),
        .size_bytes = commit.size_bytes(),
        .stored_bytes = commit.stored_bytes(),
        .chunk_count = commit.chunk_count(),
        .reused_chunk_count = commit.reused_chunk_count(),
    };
}

format::Commit open_commit(
    const KeyRing& keys, const ObjectKey& key, const PointId& point, ByteSpan object
) {
    const Bytes plain = open_object(keys, ObjectKind::kCommit, key, object);
    format::Commit commit;
    const bool sound = commit.ParseFromArray(plain.data(), static_cast<int>(plain.size())) &&
                       parse_id<PointId>(commit.point_id()) == point &&
                       (commit.outcome() == format::Commit::ABORTED ||
                        (commit.outcome() == format::Commit::COMMITTED &&
                         commit.manifest_sha256().size() == kHashBytes));
    if (!sound) {
        throw_corrupt(key, "it is not the commit record of its point.");
    }
    return commit;
}

}  // namespace holdfast::vault
