#pragma once

#include "base/file.h"
#include "base/secret.h"
#include "vault/detail/format.pb.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace holdfast::vault {

/// The directory entries of a point in the making: they come in any order and are wanted in that
/// of their names, millions of them in bounded memory. What does not fit is put aside in sorted
/// runs, in a file without a name, sealed with a key that only this object has.
class EntryRuns {
public:
    explicit EntryRuns(std::uint64_t memory_bytes_max);

    /// Safe from any thread. Throws kStoreFull when the temporary directory is.
    void add(const format::StreamEntry& entry);
    /// Every entry, in the order of the bytes of the names. To be called once, after the last
    /// add(). Throws kInvalidInput for a name that came twice.
    void merge(const std::function<void(format::StreamEntry)>& visit);

    [[nodiscard]] std::uint64_t spilled_bytes() const noexcept { return file_bytes_; }

private:
    /// Name, serialized entry.
    using Entry = std::pair<std::string, std::string>;
    /// A sealed part of a run.
    struct Block {
        std::uint64_t offset = 0;
        std::uint32_t sealed_bytes = 0;
        std::uint32_t slot = 0;
    };
    using Run = std::vector<Block>;
    class RunReader;

    void spill(std::vector<Entry> entries);
    [[nodiscard]] Bytes open_block(const Block& block) const;

    const std::uint64_t memory_bytes_max_;
    const Secret key_;
    std::atomic<std::uint32_t> next_slot_ = 0;
    std::atomic<std::uint64_t> file_bytes_ = 0;

    std::mutex mutex_;
    std::vector<Entry> entries_;       // Guarded by mutex_.
    std::uint64_t entries_bytes_ = 0;  // Guarded by mutex_.
    std::vector<Run> runs_;            // Guarded by mutex_.
    FileDescriptor file_;              // Set once, guarded by mutex_, before the first run.
};

}  // namespace holdfast::vault
