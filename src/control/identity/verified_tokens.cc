#include "control/identity/verified_tokens.h"

namespace holdfast::control {

std::shared_ptr<const VerifiedToken> VerifiedTokens::find(const Sha256Digest& digest) {
    const std::lock_guard lock{mutex_};
    const auto place = places_.find(digest);
    if (place == places_.end()) {
        return nullptr;
    }
    entries_.splice(entries_.begin(), entries_, place->second);
    return place->second->token;
}

void VerifiedTokens::add(const Sha256Digest& digest, std::shared_ptr<const VerifiedToken> token) {
    const std::lock_guard lock{mutex_};
    if (const auto place = places_.find(digest); place != places_.end()) {
        place->second->token = std::move(token);  // Of another key of the same name.
        return;
    }
    entries_.push_front({digest, std::move(token)});
    places_.emplace(digest, entries_.begin());
    if (entries_.size() > kept_) {
        places_.erase(entries_.back().digest);
        entries_.pop_back();
    }
}

}  // namespace holdfast::control
