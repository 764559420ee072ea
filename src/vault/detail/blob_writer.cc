#include "vault/detail/blob_writer.h"

#include "base/error.h"
#include "vault/detail/page_delta.h"

#include <algorithm>
#include <cstring>

namespace holdfast::vault {

namespace {

/// One pack of data filling, one of nodes, one being verified, one being written; more would only
/// add memory.
constexpr std::size_t kPacksMax = 4;
/// Blobs waiting for a worker, besides one for each worker: enough to bridge a moment's unevenness.
constexpr std::size_t kQueueSlack = 1;
/// An index segment is written whenever so many blobs are new: bounds memory, and what a session
/// that dies leaves behind can be found and used by the next.
constexpr std::size_t kUnindexedMax = 64 * 1024;
constexpr std::size_t kIdleBuffersMax = 16;

[[noreturn]] void throw_corrupting_machine() {
    throw Error{
        ErrorKind::kWriteVerification,
        ErrorText{
            .message = "What was about to be stored is not what was read: this machine's memory or "
                       "processor corrupted data. Nothing wrong was stored.",
            .recommended_actions =
                {"Test the memory of the machine (memtest86+) and look at its error logs.",
                 "Run the backup again."},
        }
    };
}

}  // namespace

struct BlobWriter::Worker {
    explicit Worker(const Engine& engine) : tools{engine.keys, engine.compression_level} {}
    FrameTools tools;
    Buffer plain;
    Buffer delta;
    Buffer past;
    std::uint64_t stored_count = 0;  // Blobs.
};

BlobWriter::OpenPack::OpenPack(const Engine& engine)
    : builder{engine.keys, random_array<32>(), engine.pack_bytes()} {}

BlobWriter::BlobWriter(Engine& engine, const CondemnedView& condemned, std::stop_token stop)
    : engine_{engine},
      condemned_{condemned},
      outer_stop_{std::move(stop), [this] { stop_source_.request_stop(); }},
      queue_{engine.worker_count() + kQueueSlack},
      node_ids_{engine.keys} {
    for (std::size_t i = 0; i < engine.worker_count(); ++i) {
        threads_.emplace_back([this] { work(); });
    }
}

BlobWriter::~BlobWriter() {
    stop_source_.request_stop();
    queue_.close();
}

void BlobWriter::fail(std::exception_ptr error) noexcept {
    {
        const std::lock_guard lock{mutex_};
        if (!failure_) {
            failure_ = std::move(error);
        }
    }
    stop_source_.request_stop();
}

void BlobWriter::check() const {
    {
        const std::lock_guard lock{mutex_};
        if (failure_) {
            std::rethrow_exception(failure_);
        }
    }
    if (stop_source_.stop_requested()) {
        throw_cancelled();
    }
}

BlobTask BlobWriter::new_task() {
    BlobTask task;
    const std::lock_guard lock{mutex_};
    if (!buffers_.empty()) {
        task.buffer = std::move(buffers_.back());
        buffers_.pop_back();
    }
    return task;
}

void BlobWriter::recycle(Buffer buffer) {
    const std::lock_guard lock{mutex_};
    if (buffers_.size() < kIdleBuffersMax) {
        buffers_.push_back(std::move(buffer));
    }
}

void BlobWriter::submit(BlobTask task) {
    if (!queue_.push(std::move(task), stop_source_.get_token())) {
        check();
        throw_cancelled();
    }
}

ChunkId BlobWriter::submit_node(BlobType type, std::string_view bytes) {
    BlobTask task = new_task();
    task.type = type;
    task.size = bytes.size();
    task.buffer.reserve(bytes.size());
    std::copy_n(as_bytes(bytes).begin(), bytes.size(), task.buffer.data());
    {
        const std::lock_guard lock{node_mutex_};
        task.id = node_ids_(type, as_bytes(bytes));
    }
    const ChunkId id = *task.id;
    submit(std::move(task));
    return id;
}

void BlobWriter::work() {
    name_this_thread("vault-write");
    // The server that sends a backup would else be interrupted for every extent that it has sent.
    compute_in_batches();
    // The thread is the boundary: what a task throws belongs to the session and is thrown again by
    // its next call.
    try {
        Worker worker{engine_};
        while (auto task = queue_.pop(stop_source_.get_token())) {
            process(worker, *task);
            recycle(std::move(task->buffer));
        }
    } catch (...) {  // lint-allow: carried to the session's owner.
        fail(std::current_exception());
    }
}

void BlobWriter::process(Worker& worker, BlobTask& task) {
    if (task.type == BlobType::kExtent) {
        process_extent(worker, task);
        return;
    }
    const ByteSpan plain{task.buffer.data(), task.size};
    const ChunkId id = task.id ? *task.id : worker.tools.ids(task.type, plain);
    if (task.on_id) {
        task.on_id(id);
    }
    if (task.type == BlobType::kDataChunk) {
        ++chunk_count_;
    }
    if (!stored_already(task, id)) {
        store(worker, task.type, id, prepare(worker, plain));
    } else if (task.type == BlobType::kDataChunk) {
        ++reused_count_;
        reused_bytes_ += task.size;
    }
}

bool BlobWriter::stored_already(const BlobTask& task, const ChunkId& id) {
    const ChunkKey key = chunk_key(id);
    {
        const std::lock_guard lock{mutex_};
        if (!claimed_.insert(key).second) {
            return true;
        }
    }
    // What the parent has may lie in a pack that is known to be bad, or about to go; then only the
    // index can tell.
    const bool parent_has = task.known && parent_may_be_trusted() && task.known(id);
    if (parent_has ||
        engine_.index.find(id, Trust::kSoundPacks, stop_source_.get_token(), condemned_)) {
        const std::lock_guard lock{mutex_};
        claimed_.erase(key);
        return true;
    }
    return false;
}

bool BlobWriter::is_stored(const ChunkId& id) {
    {
        const std::lock_guard lock{mutex_};
        if (claimed_.contains(chunk_key(id))) {
            return true;
        }
    }
    return engine_.index.find(id, Trust::kSoundPacks, stop_source_.get_token(), condemned_)
        .has_value();
}

/// Whoever claims a blob stores it; false when somebody did.
bool BlobWriter::claim(const ChunkId& id) {
    const std::lock_guard lock{mutex_};
    return claimed_.insert(chunk_key(id)).second;
}

// ---- Extents ----

void BlobWriter::process_extent(Worker& worker, const BlobTask& task) {
    const std::uint64_t stored_before = worker.stored_count;
    const Extent extent = settle_extent(worker, {task.buffer.data(), task.size}, task.parent);
    ++chunk_count_;
    if (worker.stored_count == stored_before) {
        ++reused_count_;
        reused_bytes_ += task.size;
    }
    task.on_extent(extent);
}

/// What the parent has may lie in a pack that nothing new may rely on; then the index must tell.
bool BlobWriter::may_build_on(const ChunkId& id) {
    return parent_may_be_trusted() || is_stored(id);
}

bool BlobWriter::parent_is_sound(const Extent& parent) {
    return (!parent.base || may_build_on(*parent.base)) &&
           std::all_of(parent.deltas.begin(), parent.deltas.end(), [this](const ChunkId& delta) {
               return may_build_on(delta);
           });
}

Extent BlobWriter::settle_extent(
    Worker& worker, ByteSpan plain, const std::optional<Extent>& parent
) {
    if (is_zero(plain)) {
        return {};
    }
    // Serves the verification of what is written, too.
    const FastDigest::Value tag = worker.tools.ids.tag(plain);
    if (parent && parent->tag && parent->tag == tag && parent_is_sound(*parent)) {
        return *parent;
    }
    // Of a writer that made no tags.
    if (parent && parent->base && !parent->tag &&
        parent->digest == worker.tools.ids(BlobType::kExtent, plain) && parent_is_sound(*parent)) {
        Extent same = *parent;
        same.tag = tag;
        return same;
    }
    if (parent && parent->base) {
        if (auto extent = store_as_delta(worker, plain, *parent)) {
            extent->tag = tag;
            return *extent;
        }
    }
    // Perhaps it is an extent of another file.
    const ChunkId id = worker.tools.ids.of_tagged(tag, plain);
    if (!is_stored(id)) {
        const Payload payload = prepare(worker, plain, tag);
        if (claim(id)) {
            store(worker, BlobType::kTaggedExtent, id, payload);
        }
    }
    return {.base = id, .digest = id, .tag = tag};
}

/// Nothing when the base cannot be built on. Without the deltas when one of them cannot, or does
/// not fit the new length.
std::optional<BlobWriter::Past> BlobWriter::read_past(
    Worker& worker, const Extent& parent, std::size_t size
) {
    using Proof = BlobReader::Proof;
    const Proof proof = parent.tag ? Proof::kSeal : Proof::kId;
    Past past;
    if (!may_build_on(*parent.base) || !read_base(past, worker.past, *parent.base, size, proof)) {
        return std::nullopt;
    }
    const bool all = std::all_of(parent.deltas.begin(), parent.deltas.end(), [&](const auto& id) {
        return add_layer(past, id, proof);
    });
    // What was made of the state is worthless then. A tag is of all deltas and the whole length.
    if (!all || (parent.tag && worker.tools.ids.tag(past.state) != parent.tag)) {
        past = {};
        if (!read_base(past, worker.past, *parent.base, size, Proof::kId)) {
            return std::nullopt;
        }
    }
    return past;
}

/// False when it cannot be read, or not from where something new may rely on it.
bool BlobWriter::read_base(
    Past& past, Buffer& memory, const ChunkId& id, std::size_t size, BlobReader::Proof proof
) {
    try {
        const auto location = engine_.blobs.locate(id, stop_source_.get_token());
        if (!location) {
            return false;
        }
        const std::size_t base_bytes = location->plain_bytes;
        const MutableByteSpan room = memory.reserve(std::max(size, base_bytes));
        engine_.blobs.read_to(
            BlobType::kExtent, id, room.first(base_bytes), stop_source_.get_token(), proof
        );
        std::fill(room.begin() + static_cast<std::ptrdiff_t>(base_bytes), room.end(), std::byte{0});
        past.state = room.first(size);
        past.base_frame_bytes = location->frame_bytes;
        return may_build_on(id);
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
        return false;
    }
}

bool BlobWriter::add_layer(Past& past, const ChunkId& id, BlobReader::Proof proof) {
    try {
        Bytes delta = engine_.blobs.read(BlobType::kPageDelta, id, stop_source_.get_token(), proof);
        const auto location = engine_.blobs.locate(id, stop_source_.get_token());
        if (!location || !may_build_on(id) || !apply_page_delta(delta, past.state)) {
            return false;
        }
        past.deltas.push_back(std::move(delta));
        past.frame_bytes.push_back(location->frame_bytes);
        return true;
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
        return false;
    }
}

/// Takes the last delta back: XOR undoes itself.
void BlobWriter::drop_layer(Past& past) {
    HOLDFAST_CHECK(apply_page_delta(past.deltas.back(), past.state));
    past.deltas.pop_back();
    past.frame_bytes.pop_back();
}

/// Nothing when a new base is the better choice, or the old one cannot be relied on.
///
/// The new delta swallows those below it that are at most half of what it has become by then: each
/// changed page is stored again once or twice in a month.
std::optional<Extent> BlobWriter::store_as_delta(
    Worker& worker, ByteSpan plain, const Extent& parent
) {
    auto past = read_past(worker, parent, plain.size());
    if (!past) {
        return std::nullopt;
    }
    ByteSpan delta = make_page_delta(past->state, plain, worker.delta);
    Payload payload = prepare(worker, delta);
    const auto frame_bytes = [&payload] {
        return FrameHeader::kBytes + payload.bytes.size() + kTagBytes;
    };
    std::uint64_t swallowed = frame_bytes();
    const std::size_t layers = past->deltas.size();
    while (!past->deltas.empty() &&
           (past->deltas.size() == kDeltaLayersMax || past->frame_bytes.back() * 2 <= swallowed)) {
        swallowed += past->frame_bytes.back();
        drop_layer(*past);
    }
    if (past->deltas.size() < layers) {
        delta = make_page_delta(past->state, plain, worker.delta);
        payload = prepare(worker, delta);
    }
    if (engine_.options.verification == Verification::kBeforePublish &&
        (!apply_page_delta(delta, past->state) ||
         std::memcmp(plain.data(), past->state.data(), plain.size()) != 0)) {
        throw_corrupting_machine();
    }
    Extent extent{.base = parent.base};
    extent.deltas.assign(
        parent.deltas.begin(),
        parent.deltas.begin() + static_cast<std::ptrdiff_t>(past->deltas.size())
    );
    extent.deltas_stored_bytes = parent.deltas_stored_bytes + frame_bytes();
    // Then the next deltas, which would repeat this one, cost more than starting over with a base.
    if (extent.deltas_stored_bytes * 100 >
        past->base_frame_bytes * engine_.options.rebase_percent) {
        return std::nullopt;
    }
    const ChunkId id = worker.tools.ids(BlobType::kPageDelta, delta);
    if (!extent.deltas.empty() && extent.deltas.back() == id) {  // Back to what it was before that.
        extent.deltas.pop_back();
        if (extent.deltas.empty()) {
            extent.digest = extent.base;
            extent.deltas_stored_bytes = 0;
        }
        return extent;
    }
    if (!is_stored(id) && claim(id)) {
        store(worker, BlobType::kPageDelta, id, payload);
    }
    extent.deltas.push_back(id);
    return extent;
}

// ---- Packs ----

BlobWriter::Payload BlobWriter::prepare(
    Worker& worker, ByteSpan plain, std::optional<FastDigest::Value> digest
) {
    Payload payload{.plain = plain, .bytes = {}};
    // Taken before the data is compressed: the verification then covers everything after this
    // moment.
    if (engine_.options.verification == Verification::kBeforePublish) {
        payload.digest = digest ? *digest : worker.tools.ids.tag(plain);
    }
    const ByteSpan compressed = worker.tools.compressor.compress(plain, worker.tools.compressed);
    payload.bytes = compressed.empty() ? plain : compressed;
    return payload;
}

void BlobWriter::store(Worker& worker, BlobType type, const ChunkId& id, const Payload& payload) {
    const bool compressed = payload.bytes.data() != payload.plain.data();
    const Placed placed = reserve(
        worker,
        type,
        compressed ? Codec::kZstd : Codec::kStored,
        id,
        payload.digest,
        payload.bytes.size(),
        payload.plain.size()
    );
    placed.pack->builder.seal(worker.tools.aead, placed.place, payload.bytes);
    ++worker.stored_count;
    sealed(worker, placed.pack);
}

std::unique_ptr<BlobWriter::OpenPack> BlobWriter::take_pack() {
    std::unique_lock lock{mutex_};
    if (idle_.empty() && packs_made_ < kPacksMax) {
        ++packs_made_;
        lock.unlock();
        return std::make_unique<OpenPack>(engine_);
    }
    if (!pack_returned_.wait(lock, stop_source_.get_token(), [this] { return !idle_.empty(); })) {
        throw_cancelled();
    }
    auto pack = std::move(idle_.back());
    idle_.pop_back();
    return pack;
}

BlobWriter::Placed BlobWriter::reserve(
    Worker& worker,
    BlobType type,
    Codec codec,
    const ChunkId& id,
    const FastDigest::Value& digest,
    std::size_t payload_bytes,
    std::size_t plain_bytes
) {
    std::unique_ptr<OpenPack> fresh;
    std::unique_ptr<OpenPack>& filling = filling_[is_node(type) ? 1 : 0];
    for (;;) {
        std::unique_ptr<OpenPack> complete;
        {
            const std::lock_guard lock{mutex_};
            if (!filling && fresh) {
                filling = std::move(fresh);
            }
            if (filling) {
                auto place = filling->builder.reserve(type, codec, id, payload_bytes, plain_bytes);
                if (place) {
                    filling->digests.push_back(digest);
                    ++filling->unsealed;
                    if (fresh) {  // Another worker was first.
                        idle_.push_back(std::move(fresh));
                        pack_returned_.notify_one();
                    }
                    return {.pack = filling.get(), .place = *place};
                }
                filling->closed = true;
                (filling->unsealed == 0 ? complete : closing_.emplace_back()) = std::move(filling);
            }
        }
        if (complete) {
            publish(worker, std::move(complete));
        } else if (!fresh) {
            fresh = take_pack();
        }
    }
}

void BlobWriter::sealed(Worker& worker, OpenPack* pack) {
    std::unique_ptr<OpenPack> complete;
    {
        const std::lock_guard lock{mutex_};
        --pack->unsealed;
        if (pack->closed && pack->unsealed == 0) {
            const auto found = std::find_if(closing_.begin(), closing_.end(), [&](const auto& one) {
                return one.get() == pack;
            });
            complete = std::move(*found);
            closing_.erase(found);
        }
    }
    if (complete) {
        publish(worker, std::move(complete));
    }
}

void BlobWriter::publish(Worker& worker, std::unique_ptr<OpenPack> pack) {
    const ByteSpan bytes = pack->builder.finish(worker.tools.aead);
    const Sha256 name = sha256(bytes);
    // After the name is computed: it stands for the very bytes that are verified here.
    if (engine_.options.verification == Verification::kBeforePublish) {
        verify_pack(pack->builder, pack->digests, worker.tools, worker.plain);
    }
    // A pack of this name can only be this one, from an attempt whose answer was lost.
    engine_.store.put_new(pack_key(name), bytes, stop_source_.get_token());
    stored_bytes_ += bytes.size();
    bool many = false;
    {
        const std::lock_guard lock{mutex_};
        const auto number = static_cast<std::uint32_t>(unindexed_.packs.size());
        unindexed_.packs.push_back(name);
        for (const PackEntry& entry : pack->builder.entries()) {
            unindexed_.blobs.push_back({
                .key = chunk_key(entry.id),
                .pack = number,
                .offset = entry.offset,
                .frame_bytes = entry.frame_bytes,
                .plain_bytes = entry.plain_bytes,
            });
        }
        many = unindexed_.blobs.size() >= kUnindexedMax;
    }
    pack->builder.start_over(engine_.keys, random_array<32>());
    pack->digests.clear();
    pack->closed = false;
    {
        const std::lock_guard lock{mutex_};
        idle_.push_back(std::move(pack));
    }
    pack_returned_.notify_one();
    if (many) {
        write_index(false);
    }
}

void BlobWriter::write_index(bool everything) {
    SegmentContents contents;
    {
        const std::lock_guard lock{mutex_};
        if (!everything && unindexed_.blobs.size() < kUnindexedMax) {
            return;  // Another worker was first.
        }
        contents = std::exchange(unindexed_, {});
    }
    std::vector<ChunkKey> keys;
    keys.reserve(contents.blobs.size());
    for (const IndexedBlob& blob : contents.blobs) {
        keys.push_back(blob.key);
    }
    stored_bytes_ += engine_.index.add(std::move(contents), {}, stop_source_.get_token());
    const std::lock_guard lock{mutex_};
    for (const ChunkKey& key : keys) {
        claimed_.erase(key);
    }
}

void BlobWriter::finish() {
    queue_.close();
    for (std::jthread& thread : threads_) {
        thread.join();
    }
    threads_.clear();
    check();
    for (std::unique_ptr<OpenPack>& filling : filling_) {
        std::unique_ptr<OpenPack> last;
        {
            const std::lock_guard lock{mutex_};
            HOLDFAST_CHECK(closing_.empty());
            last = std::move(filling);
        }
        if (last && !last->builder.entries().empty()) {
            Worker worker{engine_};
            publish(worker, std::move(last));
        }
    }
    write_index(true);
}

void verify_pack(
    const PackBuilder& pack,
    const std::vector<FastDigest::Value>& digests,
    FrameTools& tools,
    Buffer& plain
) {
    HOLDFAST_CHECK(digests.size() == pack.entries().size());
    for (std::size_t i = 0; i < digests.size(); ++i) {
        const PackEntry& entry = pack.entries()[i];
        const ByteSpan bytes = pack.frame_bytes(entry);
        const auto frame = decode_frame_header(bytes);
        const MutableByteSpan out = plain.reserve(entry.plain_bytes);
        const bool sound = frame && frame->slot == i && frame->id == entry.id &&
                           open_frame(
                               tools.aead,
                               tools.decompressor,
                               tools.opened,
                               pack.key(),
                               pack.header(),
                               *frame,
                               {},
                               bytes,
                               out
                           ) &&
                           tools.ids.tag(out) == digests[i];
        if (!sound) {
            throw_corrupting_machine();
        }
    }
}

}  // namespace holdfast::vault
