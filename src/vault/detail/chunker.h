#pragma once

#include "base/bytes.h"
#include "base/secret.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace holdfast::vault {

/// Where a byte stream is cut, chosen by the content itself, so that an insertion moves only the
/// cuts near it. FastCDC with a gear table derived from the repository's chunker key: without the
/// key, the lengths of the chunks say nothing about known contents.
///
/// The numbers belong to the repository's dedup domain, not to its readability: a change costs one
/// full backup.
struct ChunkerParameters {
    std::size_t bytes_min = 256 * kKiB;
    std::size_t bytes_normal = kMiB;
    std::size_t bytes_max = 4 * kMiB;
    /// Bits of the gear hash that must be zero before and after bytes_normal: 2 more and 1 fewer
    /// than log2 of it, which gathers the sizes around it (FastCDC's normalization).
    int bits_before = 22;
    int bits_after = 19;
};

using GearTable = std::array<std::uint64_t, 256>;
[[nodiscard]] GearTable make_gear_table(const Secret& chunker_key);

/// Finds the ends of the chunks of one stream. The pieces it is shown may have any lengths; the
/// cuts are the same.
class Chunker {
public:
    Chunker(const GearTable& gear, const ChunkerParameters& parameters)
        : gear_{gear}, parameters_{parameters} {}

    /// How many of the `next` bytes still belong to the current chunk when it ends within them (the
    /// call after that begins a new chunk), or nothing when all do and it goes on.
    [[nodiscard]] std::optional<std::size_t> find_end(ByteSpan next) noexcept;
    [[nodiscard]] const ChunkerParameters& parameters() const noexcept { return parameters_; }

private:
    const GearTable& gear_;
    const ChunkerParameters parameters_;
    std::uint64_t hash_ = 0;
    std::size_t length_ = 0;  // Of the current chunk so far.
};

}  // namespace holdfast::vault
