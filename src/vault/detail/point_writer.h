#pragma once

#include "base/error.h"
#include "vault/detail/blob_writer.h"
#include "vault/detail/entry_runs.h"
#include "vault/detail/manifest.h"
#include "vault/detail/parent.h"
#include "vault/detail/session.h"
#include "vault/vault.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace holdfast::vault {

/// What a session is bound to. `on_committed` hears of the new point before commit() returns.
struct SessionSetup {
    BeginPoint begin;
    std::unique_ptr<Session> session;  ///< Announced, with its point.
    std::optional<ParentPoint> parent;
    std::function<void()> require_extents;  ///< Before the first extent.
    std::function<void(const PointSummary&)> on_committed;
};

class PointWriterImpl final : public PointWriter {
public:
    PointWriterImpl(Engine& engine, SessionSetup setup, std::stop_token stop);
    ~PointWriterImpl() override;

    [[nodiscard]] PointId id() const noexcept override { return id_; }
    [[nodiscard]] std::unique_ptr<StreamWriter> open_stream(StreamInfo info) override;
    [[nodiscard]] WriteProgress progress() const override;
    PointSummary commit(const PointCommit& commit, std::stop_token stop) override;

private:
    friend class StreamWriterImpl;

    /// One stream between its first byte and its place in the directory. Workers report ids out of
    /// order; the tree over them grows in order, on the callers' threads.
    struct Stream {
        Stream(StreamInfo stream_info, const NodeSink& sink)
            : info{std::move(stream_info)}, tree{sink}, extents{sink} {}
        /// A chunk or an extent.
        struct Piece {
            bool identified = false;
            ChunkId id{};   // Of a chunk.
            Extent extent;  // Of a stream of pages.
            std::size_t bytes = 0;
        };
        const StreamInfo info;
        std::uint32_t extent_log2 = 0;  // 0: not of pages. Set before the first byte.
        ContentTreeBuilder tree;       // Of the caller's thread, or of whoever finishes the stream.
        ExtentListBuilder extents;     // Likewise.
        std::uint64_t size_bytes = 0;  // Likewise.
        std::string inline_content;    // Likewise.
        std::uint64_t submitted = 0;   // Likewise.
        std::shared_ptr<ParentChunks> parent;         // Likewise.
        std::optional<ParentExtents> parent_extents;  // Likewise.

        std::mutex mutex;
        std::condition_variable_any identified;
        std::deque<Piece> pending;   // Guarded by mutex.
        std::uint64_t consumed = 0;  // Pieces taken off pending. Guarded by mutex.

        [[nodiscard]] bool all_identified() const {  // REQUIRES: mutex held.
            return std::all_of(pending.begin(), pending.end(), [](const Piece& piece) {
                return piece.identified;
            });
        }
    };

    void choose_extents(Stream& stream);
    void submit_piece(const std::shared_ptr<Stream>& stream, BlobTask task);
    void prepare_chunk(const std::shared_ptr<Stream>& stream, BlobTask& task, std::uint64_t number);
    void prepare_extent(
        const std::shared_ptr<Stream>& stream, BlobTask& task, std::uint64_t number
    );
    void grow_tree(Stream& stream);
    void close_stream(const std::shared_ptr<Stream>& stream);
    void finish_stream(Stream& stream);
    void finish_identified_streams();
    void wait_identified(Stream& stream);
    [[nodiscard]] std::optional<ContentRef> write_directory(std::uint64_t& stream_count);
    [[nodiscard]] Sha256 write_manifest(
        const std::optional<ContentRef>& streams, std::uint64_t stream_count
    );
    void write_commit(const PointSummary& summary, const Sha256& manifest_sha256);
    [[nodiscard]] Bytes seal_commit(const PointSummary& summary, const Sha256& manifest) const;
    enum class CommitFate { kCommitted, kAborted, kUnknown };
    [[nodiscard]] CommitFate settle_commit(const Bytes& object, std::optional<ErrorKind> failure);
    Engine& engine_;
    const SessionSetup setup_;
    const PointId id_;
    const PointGroup group_;
    BlobWriter blobs_;
    const NodeSink node_sink_;
    ParentDirectory parent_;
    std::atomic<std::uint64_t> read_bytes_ = 0;
    std::atomic<std::uint64_t> other_stored_bytes_ = 0;  // Session, manifest.
    std::atomic<std::uint64_t> open_streams_ = 0;

    std::mutex mutex_;
    std::set<std::string> names_;                // The last ones. Guarded by mutex_.
    std::list<std::shared_ptr<Stream>> closed_;  // Not finished yet. Guarded by mutex_.
    EntryRuns entries_;                          // Of finished streams.
};

/// The stored record of an outcome. Pure but for sealing.
[[nodiscard]] PointSummary to_summary(const format::Commit& commit);
/// Opens and checks a commit record; throws kVaultCorrupt naming `key`.
[[nodiscard]] format::Commit open_commit(
    const KeyRing& keys, const ObjectKey& key, const PointId& point, ByteSpan object
);

}  // namespace holdfast::vault
