#pragma once

#include "vault/detail/engine.h"
#include "vault/detail/pack.h"
#include "vault/detail/sealed.h"
#include "vault/vault.h"

#include <cstdint>
#include <optional>
#include <stop_token>
#include <vector>

namespace holdfast::vault {

/// Copies blobs out of packs that are about to go into new ones. Each is opened and proven on the
/// way; the compressed form is kept as it is. One thread. Memory: two packs' worth.
class BlobCopier {
public:
    BlobCopier(Engine& engine, std::stop_token stop);

    /// Returns false when the blob cannot be read soundly from that pack. The copy counts after
    /// flush().
    bool copy(const Sha256& pack, const PackEntry& entry);
    /// Everything copied so far is durable and indexed when this returns.
    void flush();

    [[nodiscard]] std::uint64_t blobs() const noexcept { return blobs_; }
    /// As stored, frames alone.
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

private:
    struct Source {
        Sha256 pack{};
        ObjectHeaderBytes header{};
        Secret key;
    };
    /// Header and key of the pack that is being copied from; nothing when it cannot be read.
    [[nodiscard]] const Source* source_of(const Sha256& pack);
    /// The payload to seal anew, in plain_ or in tools_.opened; nothing when it is not sound.
    [[nodiscard]] std::optional<ByteSpan> open(const Source& source, const PackEntry& entry);
    void publish();

    Engine& engine_;
    const std::stop_token stop_;
    FrameTools tools_;
    PackBuilder builder_;
    std::vector<FastDigest::Value> digests_;
    SegmentContents unindexed_;
    std::optional<Source> source_;
    Buffer plain_;
    Buffer verified_;
    std::uint64_t blobs_ = 0;
    std::uint64_t bytes_ = 0;
};

/// Writes the index anew without packs that `keeps` says no to: segments that name such a pack
/// are replaced, small ones are put together. Crash-safe: a blob of a kept pack is in a segment at
/// every moment. Returns how many segments went and came.
struct IndexRewrite {
    std::uint64_t removed = 0;
    std::uint64_t written = 0;
};
IndexRewrite rewrite_index(
    Engine& engine, const std::function<bool(const Sha256& pack)>& keeps, std::stop_token stop
);

}  // namespace holdfast::vault
