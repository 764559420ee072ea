#pragma once

#include "base/bytes.h"

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace holdfast::vault {

/// A name inside an object store: segments of [A-Za-z0-9._-] joined by '/', no segment empty, "."
/// or "..", at most 512 bytes. Checked when made, so a driver may map it to a path or URL without
/// looking again.
class ObjectKey {
public:
    /// Throws kInternal for a text that is not a key: keys are made by this program.
    explicit ObjectKey(std::string text);
    /// For names that a listing found: nothing when they are not keys.
    [[nodiscard]] static std::optional<ObjectKey> parse(std::string_view text);

    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    auto operator<=>(const ObjectKey&) const = default;

private:
    std::string text_;
};

enum class PutOutcome {
    kCreated,
    kAlreadyExists,  ///< An object of this key is there, equal or not; it is untouched.
};

struct ObjectInfo {
    ObjectKey key;
    std::uint64_t size_bytes = 0;
};

/// What a driver can do beyond the contract.
struct StoreFeatures {
    std::uint64_t object_size_best_bytes = 0;  ///< Pack size that suits the store.
    bool survives_process = false;             ///< False for memory only.
    bool is_near = false;  ///< What is read comes at once, not after a trip over a network.
};

/// Called for every object below the prefix, in no particular order; returning false ends the
/// listing.
using ListVisitor = std::function<bool(const ObjectInfo&)>;

/// Durable, immutable objects by key. Drivers: local directory, memory (tests); S3 and Azure Blob
/// can follow.
///
/// Threads: every method may be called from any thread at the same time.
/// Durability: when put_new() returned kCreated, the object survives power loss, whole. A crash
/// before leaves either no object or the whole object, never a part of it. A removal may be undone
/// by a power loss; callers never rely on an object being gone. Throws: kStoreUnavailable for what
/// a retry may cure (a decorator retries, drivers never do); kStoreFull, kStoreDenied,
/// kVaultPoisoned and kCancelled (stop requested) are final.
class ObjectStore {
public:
    virtual ~ObjectStore() = default;

    [[nodiscard]] virtual StoreFeatures features() const noexcept = 0;

    /// Writes the object unless the key exists. Never overwrites.
    virtual PutOutcome put_new(const ObjectKey& key, ByteSpan data, std::stop_token stop) = 0;

    /// The whole object, or nothing when there is none.
    [[nodiscard]] virtual std::optional<Bytes> get(const ObjectKey& key, std::stop_token stop) = 0;

    /// Exactly `length` bytes from `offset`, or nothing when there is no such object. Throws
    /// kVaultCorrupt when the object is shorter.
    [[nodiscard]] virtual std::optional<Bytes> get_range(
        const ObjectKey& key, std::uint64_t offset, std::uint64_t length, std::stop_token stop
    ) = 0;

    /// The object's size in bytes, or nothing when there is none.
    [[nodiscard]] virtual std::optional<std::uint64_t> size(
        const ObjectKey& key, std::stop_token stop
    ) = 0;

    /// Visits every object whose key starts with `prefix` ("" for all, else whole segments and a
    /// final '/'). An object created or removed meanwhile may or may not be visited.
    virtual void list(
        std::string_view prefix, const ListVisitor& visitor, std::stop_token stop
    ) = 0;

    /// Returns false when there was no such object.
    virtual bool remove(const ObjectKey& key, std::stop_token stop) = 0;
};

}  // namespace holdfast::vault
