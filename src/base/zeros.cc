#include "base/zeros.h"

#include <cstring>

namespace holdfast {

bool is_zero(ByteSpan bytes) noexcept {
    // Equal to itself one byte on, and zero at the front.
    return bytes.empty() || (bytes[0] == std::byte{0} &&
                             std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace holdfast
