#pragma once

#include "base/bytes.h"
#include "postgres/tar_reader.h"

#include <cstdint>

namespace holdfast::postgres {

class ByteSink;  // postgres/streams.h

/// Writes a ustar archive (POSIX.1-1988) as PostgreSQL's server does.
class TarWriter {
public:
    explicit TarWriter(ByteSink& sink) : sink_{sink} {}

    /// Throws kUnsupportedOperation for a name or link target that the format cannot hold.
    void begin(const TarEntry& entry);
    /// REQUIRES: no more than the entry's size in all.
    void write(ByteSpan bytes);
    /// REQUIRES: all of the entry's bytes were written.
    void end();
    /// The two blocks of zeros behind the last entry.
    void finish();

    /// Bytes that an entry takes in the archive; and those behind the last one.
    [[nodiscard]] static std::uint64_t bytes_of(const TarEntry& entry) noexcept;
    static constexpr std::uint64_t kEndBytes = 1024;

private:
    ByteSink& sink_;
    std::uint64_t left_ = 0;
    std::uint64_t padding_ = 0;
};

}  // namespace holdfast::postgres
