#pragma once

#include "vault/detail/key_ring.h"

#include <utility>
#include <vector>

namespace holdfast::vault {

/// Fixed keys, so that a finding is reproduced by its input alone.
inline KeyRing make_fuzz_keys() {
    std::vector<KeyRing::Epoch> epochs;
    epochs.push_back({.number = 1, .data_root = Secret{ByteSpan{Bytes(32, std::byte{2})}}});
    return KeyRing{
        RepositoryId{},
        Secret{ByteSpan{Bytes(32, std::byte{1})}},
        std::move(epochs),
        Secret{ByteSpan{Bytes(32, std::byte{3})}}
    };
}

inline const KeyRing& fuzz_keys() {
    static const KeyRing kKeys = make_fuzz_keys();
    return kKeys;
}

/// Reads ranges of `object` as a store would: what is not there is damage.
inline Bytes fuzz_range(
    ByteSpan object, const ObjectKey& key, std::uint64_t offset, std::uint64_t size
) {
    if (offset > object.size() || size > object.size() - offset) {
        throw_corrupt(key, "it is too short.");
    }
    const ByteSpan part = object.subspan(offset, size);
    return {part.begin(), part.end()};
}

}  // namespace holdfast::vault
