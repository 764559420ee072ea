#pragma once

#include "base/bytes.h"
#include "base/secret.h"
#include "vault/detail/crypto.h"
#include "vault/detail/format.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::vault {

/// The unwrapped keys of one repository. Immutable; safe from any thread.
class KeyRing {
public:
    struct Epoch {
        std::uint32_t number = 0;
        Secret data_root;
    };

    KeyRing(RepositoryId id, Secret repository_secret, std::vector<Epoch> epochs, Secret recovery);

    /// Fresh keys for a new repository.
    [[nodiscard]] static KeyRing generate(RepositoryId id);

    [[nodiscard]] RepositoryId repository_id() const noexcept { return id_; }
    /// New objects are sealed in this epoch.
    [[nodiscard]] std::uint32_t epoch() const noexcept { return epochs_.back().number; }

    /// The key of one object (or pack attempt); nothing when the epoch is unknown.
    [[nodiscard]] std::optional<Secret> object_key(const ObjectHeader& header) const;

    /// Prototypes to clone: chunk ids, config authentication, names of point groups.
    [[nodiscard]] const KeyedHash& chunk_id_hash() const noexcept { return chunk_id_hash_; }
    [[nodiscard]] const KeyedHash& config_hash() const noexcept { return config_hash_; }
    [[nodiscard]] const Secret& chunker_key() const noexcept { return chunker_key_; }
    /// Of the tags that tell extents apart.
    [[nodiscard]] const Secret& extent_tag_key() const noexcept { return extent_tag_key_; }
    /// Of the second digest that the id of a tagged extent is made of.
    [[nodiscard]] const Secret& extent_id_key() const noexcept { return extent_id_key_; }
    [[nodiscard]] const Secret& recovery_key() const noexcept { return recovery_key_; }

    /// Where the points of an instance lie. Resource ids are compared without case, so they are
    /// hashed so.
    [[nodiscard]] PointGroup point_group(std::string_view instance_id) const;

    /// keys/<epoch>-<n>: this key set wrapped by `wrapping_key`.
    [[nodiscard]] Bytes wrap(const Secret& wrapping_key, const Salt& salt, const ObjectKey& object)
        const;

    /// Whose wrapping is this? Nothing when the bytes are not a wrapped key set.
    [[nodiscard]] static std::optional<std::string> wrapping_fingerprint(ByteSpan object);
    /// Throws kVaultCorrupt (naming `object`) when `bytes` do not open with the key they claim to
    /// need.
    [[nodiscard]] static KeyRing unwrap(
        ByteSpan bytes, const Secret& wrapping_key, const ObjectKey& object
    );

    /// Can be told without the wrapping's own key. Throws kVaultCorrupt naming `object`.
    void require_whole_wrapping(ByteSpan bytes, const ObjectKey& object) const;

private:
    RepositoryId id_;
    Secret repository_secret_;
    std::vector<Epoch> epochs_;
    Secret recovery_key_;
    Secret chunker_key_;
    Secret extent_tag_key_;
    Secret extent_id_key_;
    KeyedHash chunk_id_hash_;
    KeyedHash config_hash_;
    KeyedHash naming_hash_;
};

/// Computes the ids that blobs have by their plaintext: docs/format.md section 5.1. Not for use
/// from two threads at once. The keys must outlive it.
class BlobIds {
public:
    explicit BlobIds(const KeyRing& keys)
        : hash_{keys.chunk_id_hash().clone()},
          tag_{keys.extent_tag_key()},
          second_{keys.extent_id_key()} {}

    /// HMAC-SHA-256 over type and plaintext; of a tagged extent over two digests of it, at a third
    /// of the cost.
    [[nodiscard]] ChunkId operator()(BlobType type, ByteSpan plain);
    /// The tag of an extent, and its id as kTaggedExtent when the tag is known.
    [[nodiscard]] FastDigest::Value tag(ByteSpan plain) { return tag_(plain); }
    [[nodiscard]] ChunkId of_tagged(const FastDigest::Value& tag, ByteSpan plain);

private:
    KeyedHash hash_;
    FastDigest tag_;
    FastDigest second_;
};

}  // namespace holdfast::vault
