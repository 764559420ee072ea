#pragma once

#include "postgres/tar_reader.h"

namespace holdfast::postgres {

struct StreamInfo;  // postgres/streams.h

/// What a stream `data/<path>` of a physical recovery point stands for; `modified` is not kept.
/// Throws kVaultCorrupt when it is none.
[[nodiscard]] TarEntry entry_of_stream(const StreamInfo& stream);

}  // namespace holdfast::postgres
