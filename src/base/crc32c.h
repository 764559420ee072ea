#pragma once

#include "base/bytes.h"

#include <cstdint>

namespace holdfast {

/// CRC-32C (Castagnoli, as in RFC 3720) of `bytes` that follow those whose CRC is `before`. Not for
/// integrity against an adversary.
[[nodiscard]] std::uint32_t crc32c(ByteSpan bytes, std::uint32_t before = 0) noexcept;

}  // namespace holdfast
