#include "control/identity/password_hash.h"

#include "base/error.h"

#include <array>

#include <fmt/format.h>
#include <sodium.h>

namespace holdfast::control {
namespace {

// OWASP's first choice for Argon2id: 19 MiB, two passes, one lane.
constexpr std::size_t kMemoryBytes = 19 * 1024 * 1024;
constexpr unsigned long long kPasses = 2;

}  // namespace

class PasswordHasher::Turn {
public:
    explicit Turn(PasswordHasher& hasher) : hasher_{hasher} {
        std::unique_lock lock{hasher.mutex_};
        const bool free =
            hasher.changed_.wait_for(lock, kPatience, [&] { return hasher.running_ < kAtOnce; });
        if (!free) {
            throw Error{
                ErrorKind::kTooManyRequests,
                ErrorText{
                    .message = "Too many logins with a password are being checked.",
                    .recommended_actions = {"Try again in a few seconds."},
                }
            };
        }
        ++hasher.running_;
    }
    ~Turn() {
        {
            const std::lock_guard lock{hasher_.mutex_};
            --hasher_.running_;
        }
        hasher_.changed_.notify_one();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

private:
    PasswordHasher& hasher_;
};

PasswordHasher::PasswordHasher() {
    HOLDFAST_CHECK(sodium_init() >= 0);
}

std::string PasswordHasher::hash(const Secret& password) {
    if (password.size() < kPasswordBytesMin || password.size() > kPasswordBytesMax) {
        throw Error{
            ErrorKind::kInvalidParameter,
            ErrorText{
                .message = fmt::format(
                    "A password has {} to {} bytes; this one has {}.",
                    kPasswordBytesMin,
                    kPasswordBytesMax,
                    password.size()
                ),
                .target = "password",
                .recommended_actions = {"Choose another password."},
            }
        };
    }
    const Turn turn{*this};
    return compute(password);
}

bool PasswordHasher::matches(std::string_view stored, const Secret& password) {
    const Turn turn{*this};
    std::string expected{stored};
    if (stored.empty()) {
        const std::lock_guard lock{mutex_};
        if (decoy_.empty()) {
            decoy_ = compute(Secret::random(32));
        }
        expected = decoy_;
    }
    const std::string_view text = password.expose_text();
    const bool equal = password.size() <= kPasswordBytesMax &&
                       crypto_pwhash_str_verify(expected.c_str(), text.data(), text.size()) == 0;
    return equal && !stored.empty();
}

std::string PasswordHasher::compute(const Secret& password) {
    std::array<char, crypto_pwhash_STRBYTES> out{};
    const std::string_view text = password.expose_text();
    const int failed = crypto_pwhash_str_alg(
        out.data(), text.data(), text.size(), kPasses, kMemoryBytes, crypto_pwhash_ALG_ARGON2ID13
    );
    if (failed != 0) {
        throw Error{ErrorKind::kTooManyRequests, "There is not enough memory to check a password."};
    }
    return out.data();
}

}  // namespace holdfast::control
