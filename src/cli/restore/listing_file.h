#pragma once

#include "base/file.h"
#include "jobs/point_transfer.h"

#include <cstdint>
#include <functional>
#include <string>

namespace holdfast::cli {

/// A listing put aside until it is asked for, beyond a MiB in a file without a name: a recovery
/// point may have millions of streams. One thread.
class ListingFile {
public:
    /// Throws kStoreFull, kStoreDenied or kInternal.
    void add(const jobs::Frame& frame);
    /// Gives every frame in the order in which it was added.
    void read(const std::function<void(const jobs::Frame&)>& visit) const;

private:
    FileDescriptor file_;
    std::uint64_t file_bytes_ = 0;
    std::string rest_;  // What the file does not have yet.
    std::uint64_t count_ = 0;
};

}  // namespace holdfast::cli
