#include "vault/detail/sealed.h"

#include "base/error.h"

namespace holdfast::vault {

void seal_frame(
    Aead& aead,
    const Secret& key,
    const ObjectHeaderBytes& object,
    const FrameHeader& frame,
    ByteSpan context,
    ByteSpan payload,
    MutableByteSpan out
) {
    HOLDFAST_CHECK(frame.sealed_bytes == payload.size() + kTagBytes);
    HOLDFAST_CHECK(out.size() == FrameHeader::kBytes + frame.sealed_bytes);
    const FrameHeaderBytes header = encode(frame);
    std::copy(header.begin(), header.end(), out.begin());
    aead.seal(
        key, frame.slot, {object, header, context}, payload, out.subspan(FrameHeader::kBytes)
    );
}

bool open_frame(
    Aead& aead,
    Decompressor& decompressor,
    Buffer& scratch,
    const Secret& key,
    const ObjectHeaderBytes& object,
    const FrameHeader& frame,
    ByteSpan context,
    ByteSpan frame_bytes,
    MutableByteSpan plain
) {
    if (frame_bytes.size() != FrameHeader::kBytes + frame.sealed_bytes ||
        plain.size() != frame.plain_bytes) {
        return false;
    }
    const ByteSpan header = frame_bytes.first(FrameHeader::kBytes);
    const ByteSpan sealed = frame_bytes.subspan(FrameHeader::kBytes);
    if (frame.codec == Codec::kStored) {
        return aead.open(key, frame.slot, {object, header, context}, sealed, plain);
    }
    const MutableByteSpan payload = scratch.reserve(sealed.size() - kTagBytes);
    return aead.open(key, frame.slot, {object, header, context}, sealed, payload) &&
           decompressor.decompress(payload, plain);
}

Bytes seal_object(
    const KeyRing& keys, ObjectKind kind, const ObjectKey& key, const Salt& salt, ByteSpan plain
) {
    HOLDFAST_CHECK(plain.size() <= kSealedBytesMax);
    const ObjectHeader header{
        .kind = kind,
        .epoch = keys.epoch(),
        .repository_id = keys.repository_id(),
        .salt = salt,
    };
    const auto object = encode(header);
    const auto secret = keys.object_key(header);
    HOLDFAST_CHECK(secret.has_value());

    Buffer scratch;
    constexpr int kLevel = 3;  // Written once and small: worth more than a chunk's level.
    const ByteSpan compressed = Compressor{kLevel}.compress(plain, scratch);
    const ByteSpan payload = compressed.empty() ? plain : compressed;
    const FrameHeader frame{
        .slot = 0,
        .type = BlobType::kNone,
        .codec = compressed.empty() ? Codec::kStored : Codec::kZstd,
        .sealed_bytes = static_cast<std::uint32_t>(payload.size() + kTagBytes),
        .plain_bytes = static_cast<std::uint32_t>(plain.size()),
    };
    Bytes out(ObjectHeader::kBytes + FrameHeader::kBytes + frame.sealed_bytes);
    std::copy(object.begin(), object.end(), out.begin());
    Aead aead;
    seal_frame(
        aead,
        *secret,
        object,
        frame,
        as_bytes(key.text()),
        payload,
        MutableByteSpan{out}.subspan(ObjectHeader::kBytes)
    );
    return out;
}

ObjectHeader expect_header(
    const KeyRing& keys, ObjectKind kind, const ObjectKey& key, ByteSpan object
) {
    const auto header = decode_object_header(object);
    if (!header) {
        throw_corrupt(key, "it does not begin with a Holdfast header.");
    }
    if (header->kind != kind) {
        throw_corrupt(key, "it holds an object of another kind.");
    }
    if (header->repository_id != keys.repository_id()) {
        throw_corrupt(key, "it belongs to another repository.");
    }
    return *header;
}

Secret expect_object_key(const KeyRing& keys, const ObjectHeader& header, const ObjectKey& key) {
    auto secret = keys.object_key(header);
    if (!secret) {
        throw_corrupt(key, fmt::format("its key epoch {} is unknown.", header.epoch));
    }
    return std::move(*secret);
}

Bytes open_object(const KeyRing& keys, ObjectKind kind, const ObjectKey& key, ByteSpan object) {
    const ObjectHeader header = expect_header(keys, kind, key, object);
    const ByteSpan frame_bytes = object.subspan(ObjectHeader::kBytes);
    const auto frame = decode_frame_header(frame_bytes);
    if (!frame || frame->slot != 0 || frame->type != BlobType::kNone ||
        frame_bytes.size() != FrameHeader::kBytes + frame->sealed_bytes ||
        frame->plain_bytes > kSealedBytesMax) {
        throw_corrupt(key, "its length or frame header is wrong.");
    }
    const Secret secret = expect_object_key(keys, header, key);
    ObjectHeaderBytes object_header{};
    std::copy_n(object.begin(), object_header.size(), object_header.begin());
    // Authenticated before the claimed length is believed: a forged one costs no memory.
    Bytes payload(frame->sealed_bytes - kTagBytes);
    if (!Aead{}.open(
            secret,
            frame->slot,
            {object_header, frame_bytes.first(FrameHeader::kBytes), as_bytes(key.text())},
            frame_bytes.subspan(FrameHeader::kBytes),
            payload
        )) {
        throw_corrupt(key, "its contents are not authentic.");
    }
    if (frame->codec == Codec::kStored) {
        return payload;
    }
    Bytes plain(frame->plain_bytes);
    if (!Decompressor{}.decompress(payload, plain)) {
        throw_corrupt(key, "its contents do not decompress.");
    }
    return plain;
}

}  // namespace holdfast::vault
