#pragma once

#include "base/error.h"
#include "vault/object_store/object_store.h"

#include <cstdint>
#include <stop_token>

#include <fmt/format.h>

namespace holdfast::vault {

/// Throws kCancelled when a stop was requested.
inline void throw_if_stopped(const std::stop_token& stop) {
    if (stop.stop_requested()) {
        throw Error{ErrorKind::kCancelled, "The operation was cancelled."};
    }
}

/// What every driver says of a read beyond an object's end.
[[noreturn]] inline void throw_short_object(
    const ObjectKey& key, std::uint64_t end_wanted, std::uint64_t size
) {
    throw Error{
        ErrorKind::kVaultCorrupt,
        ErrorText{
            .message = fmt::format(
                "The stored object {} is damaged: it has {} bytes where at least {} are expected.",
                key.text(),
                size,
                end_wanted
            ),
            .target = key.text(),
            .recommended_actions = {"Run 'holdfast vault check --read-data' to see what it hurts."},
        }
    };
}

}  // namespace holdfast::vault
