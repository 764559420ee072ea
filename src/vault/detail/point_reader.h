#pragma once

#include "base/error.h"
#include "base/threads.h"
#include "vault/detail/engine.h"
#include "vault/detail/manifest.h"
#include "vault/detail/open_reads.h"
#include "vault/vault.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::vault {

/// A point that is being read, and that another process, whose collector knows nothing of that, may
/// remove meanwhile.
class PointInVault {
public:
    /// `engine` must outlive it.
    PointInVault(Engine& engine, const PointGroup& group, const PointId& id)
        : engine_{engine}, group_{group}, id_{id} {}

    /// What `body` returns. Throws what it throws, but kRecoveryPointNotFound when it meets damage
    /// and the point is not there any more.
    template <typename Body>
    decltype(auto) while_there(Body&& body) const {
        try {
            return std::forward<Body>(body)();
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::kVaultCorrupt) {
                require_there();
            }
            throw;
        }
    }

private:
    void require_there() const;

    Engine& engine_;
    PointGroup group_;
    PointId id_;
};

class PointReaderImpl final : public PointReader {
public:
    /// `pool` fetches ahead; it and `engine` must outlive the reader.
    PointReaderImpl(
        Engine& engine,
        ThreadPool& pool,
        const PointInVault& point,
        PointSummary summary,
        std::optional<ContentRef> streams,
        std::unique_ptr<OpenReads::Guard> guard
    );

    [[nodiscard]] const PointSummary& summary() const noexcept override { return summary_; }
    void list_streams(const std::function<bool(const StreamSummary&)>& visit, std::stop_token stop)
        override;
    void list_streams_below(
        std::string_view prefix,
        const std::function<bool(const StreamSummary&)>& visit,
        std::stop_token stop
    ) override;
    [[nodiscard]] std::optional<StreamSummary> find_stream(
        std::string_view name, std::stop_token stop
    ) override;
    [[nodiscard]] std::unique_ptr<StreamReader> open_stream(
        std::string_view name, std::stop_token stop
    ) override;

private:
    [[nodiscard]] NodeSource node_source(std::stop_token stop) const;
    [[nodiscard]] std::optional<format::StreamEntry> find_entry(
        std::string_view name, std::stop_token stop
    );
    [[nodiscard]] std::shared_ptr<const format::DirectoryNode> leaf_for(
        std::string_view name, std::stop_token stop
    );

    Engine& engine_;
    ThreadPool& pool_;
    const PointInVault point_;
    const PointSummary summary_;
    const std::optional<ContentRef> streams_;
    const std::unique_ptr<OpenReads::Guard> guard_;  // Keeps what the point reaches.
    std::mutex leaves_mutex_;
    /// Most recent first: streams are opened in the order of their names, more or less. Guarded by
    /// leaves_mutex_.
    std::list<std::shared_ptr<const format::DirectoryNode>> leaves_;
    /// Streams being read; they may outlive this.
    const std::shared_ptr<std::atomic<std::size_t>> open_streams_ =
        std::make_shared<std::atomic<std::size_t>>(0);
};

/// Opens and checks a manifest; throws kVaultCorrupt naming `key`.
[[nodiscard]] format::Manifest open_manifest(
    const KeyRing& keys, const ObjectKey& key, const PointId& point, ByteSpan object
);

}  // namespace holdfast::vault
