#pragma once

#include "base/secret.h"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>

namespace holdfast::control {

/// Argon2id of the users' passwords, in libsodium's text form (which carries salt and parameters).
/// Each computation takes 19 MiB; no more than two run at once, so that a flood of logins takes
/// neither the memory nor the workers. Safe from any thread.
class PasswordHasher {
public:
    static constexpr std::size_t kAtOnce = 2;
    /// How long a login waits for its turn before it is told to come again.
    static constexpr std::chrono::milliseconds kPatience{2000};
    static constexpr std::size_t kPasswordBytesMin = 12;
    static constexpr std::size_t kPasswordBytesMax = 1024;

    PasswordHasher();

    /// Throws kInvalidParameter for a password that is too short or too long, kTooManyRequests when
    /// its turn did not come.
    [[nodiscard]] std::string hash(const Secret& password);
    /// Takes as long for an empty `stored` (no such user) as for a wrong password. Throws
    /// kTooManyRequests.
    [[nodiscard]] bool matches(std::string_view stored, const Secret& password);

private:
    class Turn;
    [[nodiscard]] std::string compute(const Secret& password);

    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t running_ = 0;  // Guarded by mutex_.
    std::string decoy_;        // Guarded by mutex_; made at the first need.
};

}  // namespace holdfast::control
