#pragma once

#include "base/json.h"
#include "cli/restore/small_streams.h"
#include "cli/transport.h"
#include "postgres/streams.h"

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

/// How a recovery point on a server is reached.
struct RemotePoint {
    std::function<std::unique_ptr<Transport>()> connect;  ///< From any thread.
    Request list;  ///< POST of listStreams and of readStreams, the body to be filled in.
    Request read;
    std::vector<std::string> guard_requests = {};
};

/// The streams of a recovery point that a server sends. Small streams come many to a request, so
/// that a thousand files cost a few round trips; a large one has a request of its own, read as fast
/// as its reader goes. Safe from any thread; each open large stream holds one connection. Memory:
/// 64 MiB of contents, what small_streams.h says of names; a listing goes through a file.
///
/// Throws kServerNotReachable when a connection ends too early, the server's own errors, and
/// kVaultCorrupt for an answer that is none.
class RemotePointSource final : public postgres::StreamSource {
public:
    explicit RemotePointSource(RemotePoint point) : point_{std::move(point)} {}
    void list(
        std::string_view prefix, const std::function<void(const postgres::StreamInfo&)>& visit
    ) const override;
    [[nodiscard]] std::unique_ptr<postgres::StreamReader> open(std::string_view name
    ) const override;

private:
    class Connection;
    class LargeReader;
    [[nodiscard]] Connection begin(const Request& request, Json body) const;
    [[nodiscard]] Connection begin_read(const std::vector<std::string>& names) const;
    [[nodiscard]] std::unique_ptr<Transport> take_transport() const;
    void give_back(std::unique_ptr<Transport> transport) const;
    [[nodiscard]] bool is_small(std::string_view name) const;
    [[nodiscard]] Bytes fetch_small(const std::string& name) const;
    [[nodiscard]] std::vector<std::string> claim_bundle(const std::string& name) const;
    void mark(const std::string& name, SmallStreams::State state) const;
    void fetch_bundle(const std::vector<std::string>& names) const;

    const RemotePoint point_;
    mutable std::mutex mutex_;
    mutable std::condition_variable arrived_;
    // Guarded by mutex_.
    mutable std::vector<std::unique_ptr<Transport>> idle_;
    mutable SmallStreams small_;  // Of what was listed.
    mutable std::map<std::string, Bytes, std::less<>> waiting_;  // Came ahead of its reader.
    mutable std::uint64_t waiting_bytes_ = 0;
};

}  // namespace holdfast::cli
