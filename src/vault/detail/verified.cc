#include "vault/detail/verified.h"

#include "base/error.h"
#include "base/log.h"
#include "vault/detail/condemned.h"
#include "vault/detail/format.pb.h"
#include "vault/detail/sealed.h"

#include <algorithm>

namespace holdfast::vault {
namespace {

constexpr std::int64_t kSecondsMax = 253'402'300'799;  // The year 9999 ends: in microseconds, too.

}  // namespace

std::optional<VerifiedPacks> parse_verified(ByteSpan plain) {
    format::Verified message;
    if (plain.size() > kSealedBytesMax ||
        !message.ParseFromArray(plain.data(), static_cast<int>(plain.size()))) {
        return std::nullopt;
    }
    const auto names = parse_pack_names(message.packs());
    if (!names || names->size() != static_cast<std::size_t>(message.seconds_size())) {
        return std::nullopt;
    }
    VerifiedPacks packs;
    for (std::size_t i = 0; i < names->size(); ++i) {
        const std::int64_t seconds = message.seconds(static_cast<int>(i));
        if (seconds < 0 || seconds > kSecondsMax) {
            return std::nullopt;
        }
        packs.emplace_hint(packs.end(), (*names)[i], Instant{std::chrono::seconds{seconds}});
    }
    return packs;
}

VerifiedStore::Stored VerifiedStore::read_newest(const std::stop_token& stop) {
    Stored stored;
    engine_.store.list(
        kVerifiedPrefix,
        [&](const ObjectInfo& info) {
            if (const auto number = parse_numbered_key(info.key, kVerifiedPrefix)) {
                stored.numbers.push_back(*number);
            }
            return true;
        },
        stop
    );
    std::sort(stored.numbers.begin(), stored.numbers.end());
    if (stored.numbers.empty()) {
        return stored;
    }
    stored.number = stored.numbers.back();
    const ObjectKey key = verified_key(stored.number);
    const auto object = engine_.store.get(key, stop);
    if (!object) {
        return stored;  // A newer one has just taken its place.
    }
    try {
        const Bytes plain = open_object(engine_.keys, ObjectKind::kVerified, key, *object);
        stored.packs = parse_verified(plain).value_or(VerifiedPacks{});
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
        log_warning(
            "Which packs were verified is damaged; all count as never verified.",
            {{"object", key.text()}}
        );
    }
    return stored;
}

VerifiedPacks VerifiedStore::load(std::stop_token stop) {
    return read_newest(stop).packs;
}

void VerifiedStore::add(
    const VerifiedPacks& read,
    const std::function<bool(const Sha256& pack)>& exists,
    std::stop_token stop
) {
    for (;;) {
        Stored stored = read_newest(stop);
        for (const auto& [pack, at] : read) {
            Instant& known = stored.packs[pack];
            known = std::max(known, at);
        }
        std::erase_if(stored.packs, [&](const auto& one) { return !exists(one.first); });
        format::Verified message;
        PackNames names;
        for (const auto& [pack, at] : stored.packs) {
            names.push_back(pack);
            message.add_seconds(
                std::chrono::duration_cast<std::chrono::seconds>(at.time_since_epoch()).count()
            );
        }
        message.set_packs(join_pack_names(names));
        const ObjectKey key = verified_key(stored.number + 1);
        const Bytes object = seal_object(
            engine_.keys,
            ObjectKind::kVerified,
            key,
            random_array<32>(),
            as_bytes(message.SerializeAsString())
        );
        if (engine_.store.put_new(key, object, stop) != PutOutcome::kCreated) {
            continue;  // Another check wrote; what it read counts, too.
        }
        for (const std::uint64_t number : stored.numbers) {
            engine_.store.remove(verified_key(number), stop);
        }
        return;
    }
}

}  // namespace holdfast::vault
