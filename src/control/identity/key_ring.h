#pragma once

#include "base/clock.h"
#include "base/secret.h"
#include "catalog/catalog.h"
#include "control/identity/jose.h"

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::control {

/// The keys that this server's tokens are signed with: kept in the catalog with the private half
/// sealed, so that tokens outlive a restart. The newest signs, the others verify what they signed.
/// Safe from any thread.
class KeyRing {
public:
    /// A key signs this long, then tick() makes another.
    static constexpr std::chrono::hours kRotateAfter{24 * 90};

    /// `sealing_key`: 32 bytes, used for nothing else.
    KeyRing(catalog::Catalog& catalog, Secret sealing_key, Clock& clock);

    /// Makes the first key when there is none, which takes a third of a second, so that it is there
    /// before anybody waits for a token. Everything else would do the same when it needs one.
    void prepare() { (void)signer(); }
    [[nodiscard]] std::string sign(const Json& claims, std::string_view type);
    /// The key that a token names in its header, or nullptr when it is none of these.
    [[nodiscard]] std::shared_ptr<const VerificationKey> key_named_by(const Json& header);

    /// `{"keys":[…]}`: all public keys, the signing one first.
    [[nodiscard]] Json published();

    enum class OldKeys {
        kVerify,  ///< Tokens of the old keys stay good until they expire.
        kRemove,  ///< They end now: a key was lost to somebody.
    };
    /// A new key signs from now on; its id.
    std::string rotate(OldKeys old);
    /// Rotates when it is time, and removes keys whose last token has expired.
    void tick(std::chrono::seconds longest_token_life);

private:
    struct Signer {
        std::string id;
        SigningKey key;
    };
    [[nodiscard]] std::shared_ptr<const Signer> signer();
    /// Null when it was sealed under another key.
    [[nodiscard]] std::shared_ptr<const Signer> open(const catalog::SigningKeyRecord& record) const;
    [[nodiscard]] std::shared_ptr<const VerificationKey> find(const std::string& id);

    catalog::Catalog& catalog_;
    const Secret sealing_key_;
    Clock& clock_;
    std::mutex mutex_;
    std::shared_ptr<const Signer> signer_;  // Guarded by mutex_.
    std::map<std::string, std::shared_ptr<const VerificationKey>, std::less<>>
        verifiers_;  // Guarded by mutex_.
};

}  // namespace holdfast::control
