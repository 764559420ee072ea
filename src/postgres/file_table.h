#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

/// Size and CRC-32C of every file of a cluster, by path: what came, or what the manifest says.
///
/// Memory: 16 bytes and a bit a file, so 16 MiB for a million. Instead of its path a file has a
/// 64-bit hash of it: that two of ten million paths share one has a chance of 3 in a million, and
/// is taken for a file that comes twice.
class FileTable {
public:
    void add(std::string_view path, std::uint64_t size, std::uint32_t crc32c);
    /// No more add(). False when a path was added twice.
    [[nodiscard]] bool seal();

    struct Entry {
        std::uint64_t path_hash = 0;
        std::uint32_t size_low = 0;  ///< The size modulo 2^32: with the CRC, enough to tell.
        std::uint32_t crc32c = 0;
        [[nodiscard]] bool matches(std::uint64_t size, std::uint32_t crc) const noexcept {
            return size_low == static_cast<std::uint32_t>(size) && crc32c == crc;
        }
    };
    /// REQUIRES: sealed. Safe from any thread.
    [[nodiscard]] std::optional<Entry> find(std::string_view path) const;
    /// As find(), but a path is found only once.
    [[nodiscard]] std::optional<Entry> take(std::string_view path);
    /// Files that take() was not called for.
    [[nodiscard]] std::size_t left() const noexcept { return entries_.size() - taken_count_; }
    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

private:
    [[nodiscard]] std::optional<std::size_t> index_of(std::string_view path) const;

    std::deque<Entry> entries_;  // Grows without being copied.
    std::vector<bool> taken_;
    std::size_t taken_count_ = 0;
};

}  // namespace holdfast::postgres
