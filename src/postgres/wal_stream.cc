#include "postgres/wal_stream.h"

#include "base/clock.h"
#include "base/ids.h"
#include "postgres/server_info.h"

#include <array>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

/// PostgreSQL counts time from here.
constexpr std::chrono::sys_days kEpoch{std::chrono::year{2000} / 1 / 1};
/// The server wants to hear from us well within wal_sender_timeout, 60 s by default.
constexpr std::chrono::seconds kStatusInterval{5};
/// How soon finish_at() is heeded while nothing comes.
constexpr std::chrono::milliseconds kPatience{100};
constexpr std::size_t kDataHeaderBytes = 25;  // 'w', start, end, time.
constexpr std::size_t kKeepaliveBytes = 18;   // 'k', end, time, reply wanted.
constexpr std::size_t kStatusBytes = 34;      // 'r', written, flushed, applied, time, reply.

[[noreturn]] void fail(const std::string& problem) {
    throw Error{
        ErrorKind::kBaseBackupFailed,
        {.message = fmt::format("The log that the server streams is not usable: {}.", problem),
         .recommended_actions = {"Back up again; if it happens again, look at the server's log."}}
    };
}

std::uint64_t get_big_endian(ByteSpan bytes) {
    std::uint64_t value = 0;
    for (const std::byte byte : bytes.first(sizeof(value))) {
        value = value << 8 | std::to_integer<std::uint64_t>(byte);
    }
    return value;
}

void put_big_endian(std::byte* out, std::uint64_t value) {
    for (int i = 7; i >= 0; --i, value >>= 8) {
        out[i] = static_cast<std::byte>(value & 0xff);
    }
}

Connection open_walsender(const ConnectionParameters& parameters, std::stop_token stop) {
    ConnectionParameters walsender = parameters.clone();
    walsender.session = SessionKind::kReplication;
    walsender.options.clear();
    return Connection::open(walsender, std::move(stop));
}

}  // namespace

WalStream::WalStream(const ConnectionParameters& parameters, std::stop_token stop)
    : connection_{open_walsender(parameters, stop)},
      slot_{fmt::format("holdfast_{}", to_hex(random_array<8>()))} {
    const QueryResult size = connection_.execute("SHOW wal_segment_size", {.stop = stop});
    segment_bytes_ = parse_memory_size(size.text(0, "wal_segment_size"));
    (void)connection_.execute(
        fmt::format(
            "CREATE_REPLICATION_SLOT {} TEMPORARY PHYSICAL {}",
            slot_,
            version_traits(connection_.server_major()).has_option_lists ? "(RESERVE_WAL true)"
                                                                        : "RESERVE_WAL"
        ),
        {.stop = stop}
    );
}

void WalStream::run(WalTarget& target, Lsn start, std::uint32_t timeline, std::stop_token stop) {
    const QueryOptions query{.stop = stop, .timeout = silence_max};
    target.begin(segment_bytes_);
    if (timeline > 1) {
        const QueryResult history =
            connection_.execute(fmt::format("TIMELINE_HISTORY {}", timeline), query);
        if (history.row_count() != 1) {
            fail("the server does not say how its timeline came to be");
        }
        target.history(history.text(0, "filename"), as_bytes(history.text(0, "content")));
    }
    next_ = start - start % segment_bytes_;
    durable_ = next_;
    connection_.start(
        fmt::format(
            "START_REPLICATION SLOT {} PHYSICAL {} TIMELINE {}", slot_, format_lsn(next_), timeline
        ),
        query
    );
    QueryResult rows{nullptr};
    if (connection_.next_answer(rows, query) != Answer::kCopyBoth) {
        fail("the server does not stream it");
    }
    const SystemClock clock;
    SteadyInstant heard = clock.steady_now();
    SteadyInstant status_due = heard + kStatusInterval;
    while (durable_ < end_) {
        ByteSpan message;
        bool reply_wanted = false;
        switch (connection_.poll_copy(message, kPatience, stop)) {
            case CopyPoll::kMessage:
                heard = clock.steady_now();
                take(message, target, timeline, reply_wanted);
                break;
            case CopyPoll::kEnd:
                fail(
                    "the server went over to another timeline in the middle of the backup (a "
                    "standby was promoted)"
                );
            case CopyPoll::kNothingYet:
                if (stop.stop_requested()) {
                    throw Error{ErrorKind::kCancelled, "Streaming the log was stopped by request."};
                }
                if (clock.steady_now() - heard > silence_max) {
                    throw Error{ErrorKind::kTimeout, "The server stopped streaming its log."};
                }
                break;
        }
        if (reply_wanted || next_ >= end_ || clock.steady_now() >= status_due) {
            acknowledge(target, stop);
            status_due = clock.steady_now() + kStatusInterval;
        }
    }
    connection_.end_copy(query);
}

void WalStream::take(
    ByteSpan message, WalTarget& target, std::uint32_t timeline, bool& reply_wanted
) {
    const char type = std::to_integer<char>(message.front());
    if (type == 'w' && message.size() >= kDataHeaderBytes) {
        const Lsn position = get_big_endian(message.subspan(1));
        if (position != next_) {
            fail(
                fmt::format("{} came where {} was awaited", format_lsn(position), format_lsn(next_))
            );
        }
        const ByteSpan bytes = message.subspan(kDataHeaderBytes);
        target.write(timeline, position, bytes);
        next_ += bytes.size();
    } else if (type == 'k' && message.size() >= kKeepaliveBytes) {
        reply_wanted = reply_wanted || message[kKeepaliveBytes - 1] != std::byte{0};
    } else {
        fail(fmt::format("it has a message of the unknown type '{}'", type));
    }
}

void WalStream::acknowledge(WalTarget& target, const std::stop_token& stop) {
    if (durable_ < next_) {
        target.sync();
        durable_ = next_;
    }
    const SystemClock clock;
    const auto now = clock.now() - std::chrono::time_point_cast<Instant::duration>(kEpoch);
    std::array<std::byte, kStatusBytes> status{};
    status[0] = std::byte{'r'};
    put_big_endian(&status[1], next_);
    put_big_endian(&status[9], durable_);
    put_big_endian(&status[17], durable_);
    put_big_endian(&status[25], static_cast<std::uint64_t>(now.count()));
    connection_.put_copy(status, {.stop = stop, .timeout = silence_max});
}

}  // namespace holdfast::postgres
