#include "control/identity/key_ring.h"

#include "base/error.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/sealing.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::SigningKeyRecord;

constexpr std::size_t kKeyIdMax = 64;

std::string context_of(const std::string& id) {
    return fmt::format("holdfast/1/token-signing-key/{}", id);
}

std::vector<SigningKeyRecord> newest_first(const catalog::View& view) {
    return view.list<SigningKeyRecord>({.order = catalog::Order::kNewestFirst});
}

}  // namespace

KeyRing::KeyRing(catalog::Catalog& catalog, Secret sealing_key, Clock& clock)
    : catalog_{catalog}, sealing_key_{std::move(sealing_key)}, clock_{clock} {
    HOLDFAST_CHECK(sealing_key_.size() == kSealingKeySize);
}

std::string KeyRing::sign(const Json& claims, std::string_view type) {
    return signer()->key.sign(claims, type);
}

std::shared_ptr<const VerificationKey> KeyRing::key_named_by(const Json& header) {
    const auto id = header.find("kid");
    return id != header.end() && id->is_string() ? find(id->get<std::string>()) : nullptr;
}

Json KeyRing::published() {
    (void)signer();
    Json keys = Json::array();
    catalog_.read([&](const catalog::View& view) {
        for (const SigningKeyRecord& record : newest_first(view)) {
            keys.push_back(record.public_key);
        }
    });
    return Json{{"keys", std::move(keys)}};
}

std::shared_ptr<const KeyRing::Signer> KeyRing::signer() {
    {
        const std::lock_guard lock{mutex_};
        if (signer_) {
            return signer_;
        }
    }
    std::vector<SigningKeyRecord> records;
    catalog_.read([&](const catalog::View& view) { records = newest_first(view); });
    auto opened = records.empty() ? nullptr : open(records.front());
    if (!opened) {
        (void)rotate(OldKeys::kVerify);
        return signer();
    }
    const std::lock_guard lock{mutex_};
    signer_ = std::move(opened);
    return signer_;
}

std::shared_ptr<const KeyRing::Signer> KeyRing::open(const SigningKeyRecord& record) const {
    const Bytes sealed = from_base64(record.sealed).value_or(Bytes{});
    try {
        return std::make_shared<const Signer>(Signer{
            record.id,
            SigningKey::from_private_jwk(open_small(sealing_key_, context_of(record.id), sealed))
        });
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kKeyWrong) {
            throw;
        }
        // A catalog that came back from its vaults under another key file: what that one sealed is
        // lost. Tokens that it signed stay good, its public half is no secret.
        log_warning("token signing key replaced: it cannot be opened", {{"id", record.id}});
        return nullptr;
    }
}

std::shared_ptr<const VerificationKey> KeyRing::find(const std::string& id) {
    if (id.empty() || id.size() > kKeyIdMax) {
        return nullptr;
    }
    {
        const std::lock_guard lock{mutex_};
        if (const auto known = verifiers_.find(id); known != verifiers_.end()) {
            return known->second;
        }
    }
    const auto record = catalog_.get<SigningKeyRecord>(id);
    if (!record) {
        return nullptr;  // Not remembered: ids are the sender's to choose.
    }
    auto key = VerificationKey::from_jwk(record->public_key);
    if (!key) {
        return nullptr;
    }
    auto kept = std::make_shared<const VerificationKey>(std::move(*key));
    const std::lock_guard lock{mutex_};
    return verifiers_.insert_or_assign(id, std::move(kept)).first->second;
}

std::string KeyRing::rotate(OldKeys old) {
    const std::string id = new_guid();
    // Outside any transaction: it takes a while.
    const SigningKey key = SigningKey::generate(id);
    const Secret private_jwk = key.private_jwk();
    catalog_.write([&](catalog::Transaction& transaction) {
        const auto known = newest_first(transaction);
        SigningKeyRecord record;
        record.id = id;
        record.public_key = key.public_jwk();
        record.sealed = to_base64(seal_small(sealing_key_, context_of(id), private_jwk.expose()));
        record.created_at = clock_.now();
        if (!known.empty()) {
            // The newest stays the newest when the wall clock stood still or went back.
            record.created_at = std::max(
                record.created_at, known.front().created_at + std::chrono::microseconds{1}
            );
        }
        transaction.put(record);
        for (const SigningKeyRecord& each : known) {
            if (old == OldKeys::kRemove) {
                transaction.remove<SigningKeyRecord>(each.id);
            }
        }
    });
    log_info("token signing key made", {{"id", id}});
    const std::lock_guard lock{mutex_};
    signer_ = nullptr;
    verifiers_.clear();
    return id;
}

void KeyRing::tick(std::chrono::seconds longest_token_life) {
    std::vector<SigningKeyRecord> records;
    catalog_.read([&](const catalog::View& view) { records = newest_first(view); });
    if (records.empty()) {
        return;
    }
    const Instant now = clock_.now();
    if (records.front().created_at + kRotateAfter <= now) {
        (void)rotate(OldKeys::kVerify);
        return;
    }
    for (std::size_t i = 1; i < records.size(); ++i) {
        // It signed its last token when the next key was made.
        if (records[i - 1].created_at + longest_token_life < now) {
            catalog_.write([&](catalog::Transaction& transaction) {
                transaction.remove<SigningKeyRecord>(records[i].id);
            });
            const std::lock_guard lock{mutex_};
            verifiers_.erase(records[i].id);
        }
    }
}

}  // namespace holdfast::control
