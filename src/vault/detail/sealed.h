#pragma once

#include "base/bytes.h"
#include "vault/detail/compression.h"
#include "vault/detail/crypto.h"
#include "vault/detail/format.h"
#include "vault/detail/key_ring.h"

#include <cstdint>

// Frames (a frame header and its ciphertext) and the objects that are one frame: manifest, commit,
// session, state, catalog snapshot, known answer.

namespace holdfast::vault {

/// What one thread needs to seal, open and identify frames.
struct FrameTools {
    FrameTools(const KeyRing& keys, int compression_level)
        : compressor{compression_level}, ids{keys} {}
    Aead aead;
    Compressor compressor;
    Decompressor decompressor;
    BlobIds ids;
    Buffer compressed;
    Buffer
        opened;  // Not the same: a full pack is verified while the next blob waits in compressed.
};

/// Writes frame header and ciphertext to `out`, which is FrameHeader::kBytes + payload.size() +
/// kTagBytes long. `payload` is the plaintext after compression. `context` is further associated
/// data: the object's key or a trailer.
void seal_frame(
    Aead& aead,
    const Secret& key,
    const ObjectHeaderBytes& object,
    const FrameHeader& frame,
    ByteSpan context,
    ByteSpan payload,
    MutableByteSpan out
);

/// The plaintext of a frame (`frame_bytes`: header and ciphertext) in `plain`, which is
/// frame.plain_bytes long. False when it is not authentic or does not decompress. `scratch` holds
/// the compressed form meanwhile.
[[nodiscard]] bool open_frame(
    Aead& aead,
    Decompressor& decompressor,
    Buffer& scratch,
    const Secret& key,
    const ObjectHeaderBytes& object,
    const FrameHeader& frame,
    ByteSpan context,
    ByteSpan frame_bytes,
    MutableByteSpan plain
);

/// A whole object of one frame. Pure: the salt is the caller's, fresh for every attempt.
[[nodiscard]] Bytes seal_object(
    const KeyRing& keys, ObjectKind kind, const ObjectKey& key, const Salt& salt, ByteSpan plain
);
/// Throws kVaultCorrupt naming `key`.
[[nodiscard]] Bytes open_object(
    const KeyRing& keys, ObjectKind kind, const ObjectKey& key, ByteSpan object
);

/// Header of an object of this repository and kind, or kVaultCorrupt naming `key`.
[[nodiscard]] ObjectHeader expect_header(
    const KeyRing& keys, ObjectKind kind, const ObjectKey& key, ByteSpan object
);
/// The key of that object, or kVaultCorrupt when its epoch is unknown.
[[nodiscard]] Secret expect_object_key(
    const KeyRing& keys, const ObjectHeader& header, const ObjectKey& key
);

}  // namespace holdfast::vault
