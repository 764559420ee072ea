#pragma once

#include "base/bytes.h"
#include "postgres/connection.h"
#include "postgres/page.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>

namespace holdfast::postgres {

/// Takes the write-ahead log as it streams by, in order and without gaps.
class WalTarget {
public:
    virtual ~WalTarget() = default;
    /// Once, before anything else.
    virtual void begin(std::uint64_t /*segment_bytes*/) {}
    /// The history of a timeline that is not the first: `00000002.history` and its contents.
    virtual void history(const std::string& /*name*/, ByteSpan /*contents*/) {}
    /// `bytes` begin at `position`; they are only valid during the call.
    virtual void write(std::uint32_t timeline, Lsn position, ByteSpan bytes) = 0;
    /// Makes what was written so far durable. Only what this has returned for is acknowledged to
    /// the server, which may then throw it away.
    virtual void sync() = 0;
};

/// One session that streams the log (START_REPLICATION), with a temporary slot of its own that
/// keeps the server from recycling what has not come yet. The slot goes with the session.
///
/// Threads: open() and run() by one thread; finish_at() from any.
class WalStream {
public:
    /// From now on the server keeps its log. Throws as take_base_backup().
    explicit WalStream(const ConnectionParameters& parameters, std::stop_token stop = {});

    /// Bytes in one file of the log.
    [[nodiscard]] std::uint64_t segment_bytes() const noexcept { return segment_bytes_; }

    /// Streams from the start of the segment that holds `start`, until what finish_at() names has
    /// come and is durable. Throws kServerConnectionClosed, kTimeout when the server is silent for
    /// longer than `silence_max`, kBaseBackupFailed when its log has a gap or it changes its
    /// timeline, kCancelled, and what `target` throws.
    void run(WalTarget& target, Lsn start, std::uint32_t timeline, std::stop_token stop);
    /// The log up to here is all that is wanted.
    void finish_at(Lsn end) noexcept { end_ = end; }

    std::chrono::milliseconds silence_max = std::chrono::minutes{2};

private:
    void take(ByteSpan message, WalTarget& target, std::uint32_t timeline, bool& reply_wanted);
    void acknowledge(WalTarget& target, const std::stop_token& stop);

    Connection connection_;
    std::string slot_;
    std::uint64_t segment_bytes_ = 0;
    Lsn next_ = 0;     ///< The position after what has come.
    Lsn durable_ = 0;  ///< The position after what is durable.
    std::atomic<Lsn> end_ = ~Lsn{0};
};

}  // namespace holdfast::postgres
