#pragma once

#include <span>
#include <string_view>

namespace holdfast::protection {

struct WindowsZone {
    std::string_view windows;
    std::string_view iana;
};

[[nodiscard]] std::span<const WindowsZone> windows_zones() noexcept;

/// `W. Europe Standard Time` gives `Europe/Berlin`; without regard to case. Empty for any other
/// text.
[[nodiscard]] std::string_view iana_name_of_windows_zone(std::string_view windows_name) noexcept;

}  // namespace holdfast::protection
