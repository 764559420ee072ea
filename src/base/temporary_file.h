#pragma once

#include "base/file.h"

#include <string_view>

namespace holdfast {

/// A file without a name (mode 0600) below the system's temporary directory: gone when it is
/// closed, or the process ends. What is written to it is on a disk: seal what is secret. Throws
/// kStoreFull, kStoreDenied or kInternal.
[[nodiscard]] FileDescriptor make_unnamed_file();

/// Writes and reads at a place, whatever the position of the file; safe from several threads at
/// once for places that do not overlap. Throw kStoreFull, kStoreDenied or kInternal naming `name`;
/// read_all_at() also when the file ends before.
void write_all_at(int fd, std::uint64_t offset, ByteSpan bytes, std::string_view name);
void read_all_at(int fd, std::uint64_t offset, MutableByteSpan out, std::string_view name);

}  // namespace holdfast
