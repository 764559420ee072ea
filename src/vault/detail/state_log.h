#pragma once

#include "vault/detail/engine.h"
#include "vault/vault.h"

#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>

namespace holdfast::vault {

/// The chain of state records in state/: each one carries the hash of the one before it, so that a
/// missing or replaced record shows. Safe from any thread and beside other processes: the number is
/// taken by conditional creation.
class StateChain {
public:
    explicit StateChain(Engine& engine) : engine_{engine} {}

    /// Returns the sequence number. Durable when this returns.
    std::uint64_t append(const StateRecord& record, std::stop_token stop);
    [[nodiscard]] StateLog read(std::uint64_t after_sequence, std::stop_token stop);

private:
    struct Last {
        std::uint64_t sequence = 0;
        Sha256 sha256{};
    };
    [[nodiscard]] std::uint64_t highest_stored(std::stop_token stop);
    [[nodiscard]] Last last(std::stop_token stop);

    Engine& engine_;
    std::mutex mutex_;  // Held over an append, so that this process does not race with itself.
    std::optional<Last> last_;
};

}  // namespace holdfast::vault
