#pragma once

#include "base/clock.h"
#include "vault/detail/engine.h"
#include "vault/detail/format.h"

#include <map>
#include <stop_token>

namespace holdfast::vault {

/// When each pack was last read whole and found sound, by whatever process. Kept in the repository,
/// so that a check goes on where the last one stopped (docs/format.md 4.7). A cache: lost or
/// damaged, packs count as never verified.
using VerifiedPacks = std::map<Sha256, Instant>;

class VerifiedStore {
public:
    explicit VerifiedStore(Engine& engine) : engine_{engine} {}

    [[nodiscard]] VerifiedPacks load(std::stop_token stop);
    /// Adds `read` to what is stored, leaving out packs that `exists` says no to.
    void add(
        const VerifiedPacks& read,
        const std::function<bool(const Sha256& pack)>& exists,
        std::stop_token stop
    );

private:
    struct Stored {
        std::uint64_t number = 0;  ///< The highest; 0: there is none.
        std::vector<std::uint64_t> numbers;
        VerifiedPacks packs;
    };
    [[nodiscard]] Stored read_newest(const std::stop_token& stop);

    Engine& engine_;
};

/// Parser of the stored plaintext: nothing when it is not a map of verified packs.
[[nodiscard]] std::optional<VerifiedPacks> parse_verified(ByteSpan plain);

}  // namespace holdfast::vault
