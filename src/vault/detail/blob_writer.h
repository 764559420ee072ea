#pragma once

#include "base/threads.h"
#include "vault/detail/engine.h"
#include "vault/detail/pack.h"
#include "vault/detail/sealed.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

namespace holdfast::vault {

struct ChunkKeyHash {
    std::size_t operator()(const ChunkKey& key) const noexcept {
        return get_little_endian<std::size_t>(key.data());  // Uniform already.
    }
};
using ChunkKeySet = std::unordered_set<ChunkKey, ChunkKeyHash>;

/// One piece of data on its way into a pack.
struct BlobTask {
    BlobType type = BlobType::kDataChunk;
    Buffer buffer;
    std::size_t size = 0;
    /// Set for nodes, whose id their parent needed at once.
    std::optional<ChunkId> id = {};
    /// Says without I/O that a blob is in the repository already; may be empty.
    std::function<bool(const ChunkId&)> known = {};
    /// Told the id as soon as it is computed; may be empty. Must not block.
    std::function<void(const ChunkId&)> on_id = {};
    /// Of an extent, instead: the parent's at the same place, and who is told how it is stored.
    std::optional<Extent> parent = {};
    std::function<void(const Extent&)> on_extent = {};
};

/// The write pipeline of one session: blobs -> workers (identify, look up, compress, seal) -> packs
/// (verify, publish)
/// -> index. Several threads may submit.
///
/// A pack has one salt and so one key; its blobs are sealed by several workers straight into their
/// places. Whoever completes a full pack publishes it. Four packs are in memory at most: data and
/// nodes filling, two on their way to the store.
class BlobWriter {
public:
    /// `condemned`: the view of the session; outlives the writer.
    BlobWriter(Engine& engine, const CondemnedView& condemned, std::stop_token stop);
    ~BlobWriter();
    BlobWriter(const BlobWriter&) = delete;
    BlobWriter& operator=(const BlobWriter&) = delete;

    /// An empty task, its buffer taken from those in use before.
    [[nodiscard]] BlobTask new_task();
    /// Blocks while the pipeline is full. Throws what ended the session.
    void submit(BlobTask task);
    /// Whether what the session's parent refers to may be taken over without asking the index.
    [[nodiscard]] bool parent_may_be_trusted() const {
        return condemned_.empty() && !engine_.index.distrusts_any();
    }
    /// Stores a node; returns its id.
    [[nodiscard]] ChunkId submit_node(BlobType type, std::string_view bytes);
    /// Everything submitted is durable and indexed when this returns. No submit after it.
    void finish();
    /// Throws what ended the session, or kCancelled when it was stopped; else does nothing.
    void check() const;
    /// Ends the work as soon as possible: check() and all blocked calls throw.
    void stop() noexcept { stop_source_.request_stop(); }
    [[nodiscard]] std::stop_token stop_token() const { return stop_source_.get_token(); }

    [[nodiscard]] std::uint64_t stored_bytes() const noexcept { return stored_bytes_; }
    [[nodiscard]] std::uint64_t chunk_count() const noexcept { return chunk_count_; }
    [[nodiscard]] std::uint64_t reused_chunk_count() const noexcept { return reused_count_; }
    [[nodiscard]] std::uint64_t reused_bytes() const noexcept { return reused_bytes_; }

private:
    struct OpenPack {
        explicit OpenPack(const Engine& engine);
        PackBuilder builder;
        std::vector<FastDigest::Value> digests;  // Of the plaintexts, by slot.
        std::size_t unsealed = 0;                // Places reserved and not filled yet.
        bool closed = false;  // No more places: whoever fills the last one publishes.
    };
    struct Worker;
    struct Placed {
        OpenPack* pack = nullptr;
        PackBuilder::Place place;
    };

    void work();
    /// Plaintext on its way into a frame. Views of the task's and the worker's buffers.
    struct Payload {
        ByteSpan plain;
        ByteSpan bytes;  // Compressed, if that helps.
        FastDigest::Value digest{};
    };
    void process(Worker& worker, BlobTask& task);
    void process_extent(Worker& worker, const BlobTask& task);
    [[nodiscard]] Extent settle_extent(
        Worker& worker, ByteSpan plain, const std::optional<Extent>& parent
    );
    [[nodiscard]] std::optional<Extent> store_as_delta(
        Worker& worker, ByteSpan plain, const Extent& parent
    );
    [[nodiscard]] bool parent_is_sound(const Extent& parent);
    [[nodiscard]] bool may_build_on(const ChunkId& id);
    /// What the parent's extent was, at another length perhaps.
    struct Past {
        std::uint64_t base_frame_bytes = 0;
        MutableByteSpan state;                   // The base and all deltas; the worker's memory.
        std::vector<Bytes> deltas;               // Those that may be built on; unpacked.
        std::vector<std::uint64_t> frame_bytes;  // Of each.
    };
    [[nodiscard]] std::optional<Past> read_past(
        Worker& worker, const Extent& parent, std::size_t size
    );
    [[nodiscard]] bool read_base(
        Past& past, Buffer& memory, const ChunkId& id, std::size_t size, BlobReader::Proof proof
    );
    [[nodiscard]] bool add_layer(Past& past, const ChunkId& id, BlobReader::Proof proof);
    static void drop_layer(Past& past);
    [[nodiscard]] bool is_stored(const ChunkId& id);
    [[nodiscard]] bool claim(const ChunkId& id);
    [[nodiscard]] bool stored_already(const BlobTask& task, const ChunkId& id);
    /// `digest`: of `plain`, where it is known.
    [[nodiscard]] Payload prepare(
        Worker& worker, ByteSpan plain, std::optional<FastDigest::Value> digest = std::nullopt
    );
    void store(Worker& worker, BlobType type, const ChunkId& id, const Payload& payload);
    [[nodiscard]] Placed reserve(
        Worker& worker,
        BlobType type,
        Codec codec,
        const ChunkId& id,
        const FastDigest::Value& digest,
        std::size_t payload_bytes,
        std::size_t plain_bytes
    );
    [[nodiscard]] std::unique_ptr<OpenPack> take_pack();
    void sealed(Worker& worker, OpenPack* pack);
    void publish(Worker& worker, std::unique_ptr<OpenPack> pack);
    void write_index(bool everything);
    void recycle(Buffer buffer);
    void fail(std::exception_ptr error) noexcept;

    Engine& engine_;
    const CondemnedView& condemned_;
    std::stop_source stop_source_;
    std::stop_callback<std::function<void()>> outer_stop_;
    BoundedQueue<BlobTask> queue_;

    std::mutex node_mutex_;
    BlobIds node_ids_;  // Guarded by node_mutex_.

    mutable std::mutex mutex_;
    std::condition_variable_any pack_returned_;
    std::exception_ptr failure_;   // Guarded by mutex_.
    ChunkKeySet claimed_;          // Stored or being stored, not indexed yet. Guarded by mutex_.
    std::vector<Buffer> buffers_;  // Idle. Guarded by mutex_.
    /// Nodes lie together, apart from data: who walks them reads many with one request.
    std::array<std::unique_ptr<OpenPack>, 2> filling_;  // Data, nodes. Guarded by mutex_.
    std::vector<std::unique_ptr<OpenPack>> closing_;    // Full, not all sealed. Guarded by mutex_.
    std::vector<std::unique_ptr<OpenPack>> idle_;       // Guarded by mutex_.
    std::size_t packs_made_ = 0;                        // Guarded by mutex_.
    SegmentContents unindexed_;  // Published, not indexed yet. Guarded by mutex_.

    std::atomic<std::uint64_t> stored_bytes_ = 0;
    std::atomic<std::uint64_t> chunk_count_ = 0;
    std::atomic<std::uint64_t> reused_count_ = 0;
    std::atomic<std::uint64_t> reused_bytes_ = 0;

    std::vector<std::jthread> threads_;  // Last: they use everything above.
};

/// Opens every blob of a finished pack and compares the tag of its plaintext with `digests`. Throws
/// kWriteVerification: memory or processor did not do what they should.
void verify_pack(
    const PackBuilder& pack,
    const std::vector<FastDigest::Value>& digests,
    FrameTools& tools,
    Buffer& plain
);

}  // namespace holdfast::vault
