#pragma once

#include "base/bytes.h"

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast {

/// Key material or a password: wiped when destroyed or moved from, never copied by accident, never
/// printable (no operator<<, no fmt formatter, no JSON conversion).
class Secret {
public:
    Secret() = default;
    explicit Secret(ByteSpan bytes);
    explicit Secret(std::string_view text);
    Secret(Secret&& other) noexcept;
    Secret& operator=(Secret&& other) noexcept;
    Secret(const Secret&) = delete;
    Secret& operator=(const Secret&) = delete;
    ~Secret();

    /// `size` random bytes from the operating system.
    [[nodiscard]] static Secret random(std::size_t size);

    [[nodiscard]] Secret clone() const;
    [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }

    /// The one way to the contents, so that a reader sees where a secret leaves its box.
    [[nodiscard]] ByteSpan expose() const noexcept { return bytes_; }
    [[nodiscard]] std::string_view expose_text() const noexcept;
    [[nodiscard]] MutableByteSpan expose_mutable() noexcept { return bytes_; }

private:
    void wipe() noexcept;
    std::vector<std::byte> bytes_;
};

/// Overwrites in a way that the compiler may not remove.
void wipe(MutableByteSpan bytes) noexcept;
void wipe(std::string& text) noexcept;

}  // namespace holdfast
