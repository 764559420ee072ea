#include "vault/testing/vault_testing.h"

#include <algorithm>
#include <atomic>
#include <random>

namespace holdfast::vault::testing {

std::uint64_t total_bytes(const Streams& streams) {
    std::uint64_t sum = 0;
    for (const auto& [name, bytes] : streams) {
        sum += bytes.size();
    }
    return sum;
}

Bytes pseudo_random_bytes(std::size_t size, std::uint64_t seed) {
    std::mt19937_64 engine{seed};
    Bytes out(size);
    for (std::size_t i = 0; i < size; i += 8) {
        std::array<std::byte, 8> word{};
        put_little_endian<std::uint64_t>(word.data(), engine());
        std::copy_n(word.begin(), std::min<std::size_t>(8, size - i), &out[i]);
    }
    return out;
}

Bytes text_like_bytes(std::size_t size, std::uint64_t seed) {
    static constexpr std::array<std::string_view, 16> kWords{
        "order",
        "customer",
        "shipped",
        "pending",
        "invoice",
        "berlin",
        "lisbon",
        "paris",
        "return",
        "warehouse",
        "total",
        "amount",
        "null",
        "true",
        "false",
        "note"
    };
    std::mt19937_64 engine{seed + 0x9e3779b97f4a7c15};
    std::string text;
    text.reserve(size + 128);
    for (std::uint64_t row = 0; text.size() < size; ++row) {
        text += fmt::format("{}\t{}\t", row, engine() % 1'000'000'000);
        for (int i = 0; i < 6; ++i) {
            text += kWords[engine() % kWords.size()];
            text += i < 5 ? ' ' : '\n';
        }
    }
    text.resize(size);
    return to_bytes(text);
}

Instant instant(int seconds) {
    return Instant{std::chrono::seconds{1'790'000'000 + seconds}};
}

BeginPoint begin_point(std::string_view instance_id) {
    return {
        .instance_id = std::string{instance_id},
        .datasource_id = "/subscriptions/s/servers/db1",
        .job_id = "job-1",
        .started_at = instant(0),
    };
}

PointSummary write_point(Repository& repository, const Streams& streams, const BeginPoint& begin) {
    const auto writer = repository.begin_point(begin, {});
    for (const auto& [name, bytes] : streams) {
        const auto stream = writer->open_stream(
            {.name = name,
             .kind = "table-data",
             .layout = name.starts_with(kPagesPrefix) ? StreamLayout::kPages : StreamLayout::kBytes,
             .size_hint_bytes = bytes.size()}
        );
        constexpr std::size_t kPiece = 70'001;
        for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
            stream->write(ByteSpan{bytes}.subspan(at, std::min(kPiece, bytes.size() - at)));
        }
        stream->close();
    }
    static std::atomic<int> later = 60;  // So that the newest point is the one written last.
    return writer->commit(
        {.completed_at = instant(later++), .expires_at = {}, .metadata_json = "{}"}, {}
    );
}

Streams read_streams(Repository& repository, PointId id) {
    const auto reader = repository.open_point(id, {});
    Streams streams;
    reader->list_streams(
        [&](const StreamSummary& summary) {
            const auto input = reader->open_stream(summary.info.name, {});
            Bytes bytes(summary.size_bytes);
            constexpr std::size_t kPiece = 123'457;
            std::size_t at = 0;
            while (at < bytes.size()) {
                const std::size_t wanted = std::min(kPiece, bytes.size() - at);
                const std::size_t got = input->read(MutableByteSpan{bytes}.subspan(at, wanted));
                if (got == 0) {
                    break;
                }
                at += got;
            }
            bytes.resize(at);
            streams.emplace(summary.info.name, std::move(bytes));
            return true;
        },
        {}
    );
    return streams;
}

std::optional<ErrorKind> kind_thrown(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error.kind();
    }
    return std::nullopt;
}

TestVault::TestVault(const OpenOptions& options)
    : options_{options}, clock_{instant(0)}, key_{new_key()} {
    Repository::create(store_, key_, {.label = kLabel}, clock_);
    reopen();
}

std::unique_ptr<PointWriter> TestVault::begin() {
    return repository_->begin_point(begin_point(), {});
}

PointSummary TestVault::back_up(const Streams& streams) {
    return write_point(*repository_, streams);
}

std::unique_ptr<Repository> TestVault::open_another() {
    return Repository::open(store_, key_, clock_, options_);
}

void TestVault::reopen() {
    repository_.reset();
    repository_ = open_another();
}

}  // namespace holdfast::vault::testing
