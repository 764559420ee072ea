#include "vault/detail/poison_guard.h"

#include "base/error.h"

namespace holdfast::vault {

void PoisonGuard::require_sound() const {
    if (poisoned_) {
        throw Error{
            ErrorKind::kVaultPoisoned,
            ErrorText{
                .message = "The vault's storage failed to make data durable; nothing more is "
                           "written to it.",
                .recommended_actions =
                    {"Look for failing disks in the system log, cure the cause, and start the "
                     "service again.",
                     "Run 'holdfast vault check --read-data' afterwards."},
            }
        };
    }
}

PutOutcome PoisonGuard::put_new(const ObjectKey& key, ByteSpan data, std::stop_token stop) {
    require_sound();
    try {
        return inner_.put_new(key, data, std::move(stop));
    } catch (const Error& error) {
        poisoned_ = poisoned_ || error.kind() == ErrorKind::kVaultPoisoned;
        throw;
    }
}

std::optional<Bytes> PoisonGuard::get(const ObjectKey& key, std::stop_token stop) {
    return inner_.get(key, std::move(stop));
}

std::optional<Bytes> PoisonGuard::get_range(
    const ObjectKey& key, std::uint64_t offset, std::uint64_t length, std::stop_token stop
) {
    return inner_.get_range(key, offset, length, std::move(stop));
}

std::optional<std::uint64_t> PoisonGuard::size(const ObjectKey& key, std::stop_token stop) {
    return inner_.size(key, std::move(stop));
}

void PoisonGuard::list(std::string_view prefix, const ListVisitor& visitor, std::stop_token stop) {
    inner_.list(prefix, visitor, std::move(stop));
}

bool PoisonGuard::remove(const ObjectKey& key, std::stop_token stop) {
    require_sound();
    try {
        return inner_.remove(key, std::move(stop));
    } catch (const Error& error) {
        poisoned_ = poisoned_ || error.kind() == ErrorKind::kVaultPoisoned;
        throw;
    }
}

}  // namespace holdfast::vault
