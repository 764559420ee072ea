#pragma once

#include "base/clock.h"

#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::control {

/// Slows down whoever guesses credentials: counts failures within a window for the pair of account
/// and address, for the address and for the account. The pair's limit is the lowest, so that a
/// guesser elsewhere does not lock the owner of an account out. Safe from any thread.
class LoginLimiter {
public:
    static constexpr std::chrono::minutes kWindow{5};
    static constexpr std::size_t kPairFailuresMax = 10;
    static constexpr std::size_t kAddressFailuresMax = 60;
    static constexpr std::size_t kAccountFailuresMax = 300;
    static constexpr std::size_t kEntriesMax = 20'000;

    explicit LoginLimiter(Clock& clock) : clock_{clock} {}

    /// How long this attempt has to wait; nothing when it may go on. `peer`: address and port, or
    /// the address alone.
    [[nodiscard]] std::optional<std::chrono::seconds> blocked(
        std::string_view account, std::string_view peer
    );
    void failed(std::string_view account, std::string_view peer);
    /// The pair starts anew; the address and the account keep their counts.
    void succeeded(std::string_view account, std::string_view peer);

private:
    struct Entry {
        SteadyInstant since{};
        std::size_t failures = 0;
    };
    void count(const std::string& key, SteadyInstant now);

    Clock& clock_;
    std::mutex mutex_;
    std::map<std::string, Entry, std::less<>> entries_;  // Guarded by mutex_.
};

/// `192.0.2.1:4711` is `192.0.2.1`, `[2001:db8::1]:4711` its network `2001:db8:0:0::/64`: who has
/// one IPv6 address has a whole network of them.
[[nodiscard]] std::string address_of_peer(std::string_view peer);

}  // namespace holdfast::control
