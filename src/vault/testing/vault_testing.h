#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "vault/object_store/memory_store.h"
#include "vault/vault.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

// Shared by the tests of the vault and of what stands on it: data by seed, whole backups in a line.

namespace holdfast::vault::testing {

inline constexpr const char* kInstanceId = "/subscriptions/s/vaults/v/backupInstances/i";
inline constexpr const char* kUpperInstanceId = "/SUBSCRIPTIONS/S/VAULTS/V/BACKUPINSTANCES/I";
inline constexpr const char* kLabel = "/subscriptions/s/vaults/v";

/// Streams of a point by name.
using Streams = std::map<std::string, Bytes>;
[[nodiscard]] std::uint64_t total_bytes(const Streams& streams);

/// The same bytes for the same seed, everywhere.
[[nodiscard]] Bytes pseudo_random_bytes(std::size_t size, std::uint64_t seed);
/// Lines of words and numbers, as COPY writes them.
[[nodiscard]] Bytes text_like_bytes(std::size_t size, std::uint64_t seed);

/// Seconds since a fixed day.
[[nodiscard]] Instant instant(int seconds);
[[nodiscard]] BeginPoint begin_point(std::string_view instance_id = kInstanceId);

/// Streams whose names begin so are written as pages.
inline constexpr std::string_view kPagesPrefix = "pages/";

/// Writes `streams` as one point, in odd-sized pieces.
PointSummary write_point(
    Repository& repository, const Streams& streams, const BeginPoint& begin = begin_point()
);
/// Everything in a point, read in odd-sized pieces.
[[nodiscard]] Streams read_streams(Repository& repository, PointId id);

/// The kind of the Error that `body` throws; nothing when it throws none.
[[nodiscard]] std::optional<ErrorKind> kind_thrown(const std::function<void()>& body);

/// A repository in memory.
class TestVault {
public:
    explicit TestVault(const OpenOptions& options = {});
    [[nodiscard]] Repository& repository() { return *repository_; }
    [[nodiscard]] MemoryStore& store() { return store_; }
    [[nodiscard]] FakeClock& clock() { return clock_; }
    [[nodiscard]] const Secret& key() const { return key_; }
    [[nodiscard]] std::unique_ptr<PointWriter> begin();
    PointSummary back_up(const Streams& streams);
    [[nodiscard]] Streams restore(PointId id) { return read_streams(*repository_, id); }
    /// As another process would.
    [[nodiscard]] std::unique_ptr<Repository> open_another();
    void reopen();

private:
    OpenOptions options_;
    MemoryStore store_;
    FakeClock clock_;
    Secret key_;
    std::unique_ptr<Repository> repository_;
};

}  // namespace holdfast::vault::testing
