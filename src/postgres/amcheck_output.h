#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

/// One thing found damaged.
struct Damage {
    std::string what;     ///< `btree index "shop.public.orders_pkey"`, `page checksums`
    std::string message;  ///< In the finder's words.
};

/// Reads what pg_amcheck prints, piece by piece, and keeps the beginning of it. Bytes from outside:
/// any text is taken.
///
///     heap table "shop.public.orders", block 3, offset 7, attribute 2:
///         attribute with length 4294967295 ends at offset …
///     btree index "shop.public.orders_pkey":
///         ERROR:  item order invariant violated for index "orders_pkey"
class AmcheckOutput {
public:
    /// `damages_max` are kept; the rest is counted.
    explicit AmcheckOutput(std::size_t damages_max) : damages_max_{damages_max} {}

    void append(std::string_view text);
    /// No more comes.
    void finish();

    [[nodiscard]] const std::vector<Damage>& damages() const noexcept { return damages_; }
    [[nodiscard]] std::uint64_t damage_count() const noexcept { return damage_count_; }
    /// What could not be checked because this machine lacks something (an extension's library), and
    /// not because it is damaged.
    [[nodiscard]] const std::vector<Damage>& not_checked() const noexcept { return not_checked_; }
    [[nodiscard]] std::uint64_t not_checked_count() const noexcept { return not_checked_count_; }

private:
    void take_line(std::string_view line);
    void close_item();

    std::size_t damages_max_;
    std::string line_;
    Damage item_;
    std::vector<Damage> damages_;
    std::uint64_t damage_count_ = 0;
    std::vector<Damage> not_checked_;
    std::uint64_t not_checked_count_ = 0;
};

/// Whether a message of the server says that a check could not be made here, rather than that
/// something is damaged.
[[nodiscard]] bool is_lack_of_environment(std::string_view message) noexcept;

}  // namespace holdfast::postgres
