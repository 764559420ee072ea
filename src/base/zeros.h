#pragma once

#include "base/bytes.h"

namespace holdfast {

/// True for no bytes, too.
[[nodiscard]] bool is_zero(ByteSpan bytes) noexcept;

}  // namespace holdfast
