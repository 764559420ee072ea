#pragma once

#include "base/sha256.h"
#include "control/identity/jose.h"

#include <list>
#include <map>
#include <memory>
#include <mutex>

namespace holdfast::control {

/// A token and the key whose signature it carries.
struct VerifiedToken {
    std::shared_ptr<const VerificationKey> key;
    UnverifiedToken parts;  // Verified by now.
};

/// The signatures that were found right lately: a client sends the same token with every request,
/// and checking its signature takes longer than all else that is asked of it. Only that is
/// remembered, which is true of these bytes and this key for ever. Whether the key is still in use,
/// the token not over and not revoked, and what its principal may do, is asked every time. Holds
/// digests, no tokens. Safe from any thread.
class VerifiedTokens {
public:
    /// The longest unused go when there are more than `kept`.
    explicit VerifiedTokens(std::size_t kept) : kept_{kept} {}

    [[nodiscard]] std::shared_ptr<const VerifiedToken> find(const Sha256Digest& digest);
    void add(const Sha256Digest& digest, std::shared_ptr<const VerifiedToken> token);

private:
    struct Entry {
        Sha256Digest digest;
        std::shared_ptr<const VerifiedToken> token;
    };
    const std::size_t kept_;
    std::mutex mutex_;
    std::list<Entry> entries_;  // Guarded by mutex_. The last used first.
    std::map<Sha256Digest, std::list<Entry>::iterator> places_;  // Guarded by mutex_.
};

}  // namespace holdfast::control
