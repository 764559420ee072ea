#include "vault/detail/key_ring.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "vault/detail/format.pb.h"
#include "vault/detail/sealed.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

constexpr std::string_view kKeyLinePrefix = "holdfast-key-1:";
constexpr std::size_t kKeyFileBytesMax = 4096;

Bytes derivation_info(std::string_view purpose, const RepositoryId& id, std::uint32_t epoch) {
    Bytes info = to_bytes("holdfast/1/");
    const ByteSpan word = as_bytes(purpose);
    info.insert(info.end(), word.begin(), word.end());
    info.insert(info.end(), id.bytes().begin(), id.bytes().end());
    std::array<std::byte, 4> number{};
    put_little_endian<std::uint32_t>(number.data(), epoch);
    info.insert(info.end(), number.begin(), number.end());
    return info;
}

/// Keys that belong to the repository: epoch 0 stands for all of them, the salt is empty (zeros,
/// RFC 5869).
Secret repository_key(const Secret& secret, std::string_view purpose, const RepositoryId& id) {
    constexpr Salt kNoSalt{};
    return hkdf_sha256(secret.expose(), kNoSalt, derivation_info(purpose, id, 0));
}

Secret wrapping_object_key(const Secret& wrapping_key, const ObjectHeader& header) {
    return hkdf_sha256(
        wrapping_key.expose(),
        header.salt,
        derivation_info(to_string(header.kind), header.repository_id, header.epoch)
    );
}

ChunkId fingerprint_of(const Secret& key) {
    const auto mac = KeyedHash{key.expose()}(as_bytes("holdfast/1/key-fingerprint"));
    ChunkId out{};
    std::copy_n(mac.begin(), 8, out.begin());
    return out;
}

std::string fingerprint_text(const ChunkId& fingerprint) {
    return to_hex(ByteSpan{fingerprint}.first(8));
}

template <std::size_t N>
bool copy_exactly(const std::string& from, std::array<std::byte, N>& to) {
    if (from.size() != N) {
        return false;
    }
    std::copy_n(as_bytes(from).begin(), N, to.begin());
    return true;
}

std::string text_of(ByteSpan bytes) {
    return std::string{as_text(bytes)};
}

void wipe_message(format::KeySet& set) {
    wipe(*set.mutable_repository_secret());
    wipe(*set.mutable_recovery_key());
    for (auto& epoch : *set.mutable_epochs()) {
        wipe(*epoch.mutable_data_root());
    }
}

}  // namespace

KeyRing::KeyRing(
    RepositoryId id, Secret repository_secret, std::vector<Epoch> epochs, Secret recovery
)
    : id_{id},
      repository_secret_{std::move(repository_secret)},
      epochs_{std::move(epochs)},
      recovery_key_{std::move(recovery)},
      chunker_key_{repository_key(repository_secret_, "chunker", id)},
      extent_tag_key_{repository_key(repository_secret_, "extent-tag", id)},
      extent_id_key_{repository_key(repository_secret_, "extent-id", id)},
      chunk_id_hash_{repository_key(repository_secret_, "chunk-id", id).expose()},
      config_hash_{repository_key(repository_secret_, "config", id).expose()},
      naming_hash_{repository_key(repository_secret_, "names", id).expose()} {
    HOLDFAST_CHECK(!epochs_.empty());
}

KeyRing KeyRing::generate(RepositoryId id) {
    std::vector<Epoch> epochs;
    epochs.push_back({.number = 1, .data_root = Secret::random(kKeyBytes)});
    return KeyRing{id, Secret::random(kKeyBytes), std::move(epochs), Secret::random(kKeyBytes)};
}

std::optional<Secret> KeyRing::object_key(const ObjectHeader& header) const {
    for (const Epoch& epoch : epochs_) {
        if (epoch.number == header.epoch) {
            return hkdf_sha256(
                epoch.data_root.expose(),
                header.salt,
                derivation_info(to_string(header.kind), id_, header.epoch)
            );
        }
    }
    return std::nullopt;
}

PointGroup KeyRing::point_group(std::string_view instance_id) const {
    const auto mac = naming_hash_.clone()(as_bytes(to_lower(instance_id)));
    std::array<std::byte, 16> id{};
    std::copy_n(mac.begin(), id.size(), id.begin());
    return PointGroup{id};
}

Bytes KeyRing::wrap(const Secret& wrapping_key, const Salt& salt, const ObjectKey& object) const {
    format::KeySet set;
    set.set_repository_id(text_of(id_.bytes()));
    set.set_repository_secret(text_of(repository_secret_.expose()));
    set.set_recovery_key(text_of(recovery_key_.expose()));
    for (const Epoch& epoch : epochs_) {
        auto* entry = set.add_epochs();
        entry->set_epoch(epoch.number);
        entry->set_data_root(text_of(epoch.data_root.expose()));
    }
    std::string plain = set.SerializeAsString();
    wipe_message(set);

    const ObjectHeader header{
        .kind = ObjectKind::kKeySet,
        .epoch = epoch(),
        .repository_id = id_,
        .salt = salt,
    };
    const FrameHeader frame{
        .slot = 0,
        .sealed_bytes = static_cast<std::uint32_t>(plain.size() + kTagBytes),
        .plain_bytes = static_cast<std::uint32_t>(plain.size()),
        .id = fingerprint_of(wrapping_key),
    };
    const auto object_header = encode(header);
    Bytes out(ObjectHeader::kBytes + FrameHeader::kBytes + frame.sealed_bytes);
    std::copy(object_header.begin(), object_header.end(), out.begin());
    Aead aead;
    seal_frame(
        aead,
        wrapping_object_key(wrapping_key, header),
        object_header,
        frame,
        as_bytes(object.text()),
        as_bytes(plain),
        MutableByteSpan{out}.subspan(ObjectHeader::kBytes)
    );
    wipe(plain);
    // So that whoever opens the repository by another key can tell that this wrapping is whole.
    const auto mac = config_hash_.clone()(as_bytes(object.text()), out);
    out.insert(out.end(), mac.begin(), mac.end());
    return out;
}

std::optional<std::string> KeyRing::wrapping_fingerprint(ByteSpan object) {
    const auto header = decode_object_header(object);
    if (!header || header->kind != ObjectKind::kKeySet) {
        return std::nullopt;
    }
    const auto frame = decode_frame_header(object.subspan(ObjectHeader::kBytes));
    if (!frame) {
        return std::nullopt;
    }
    return fingerprint_text(frame->id);
}

void KeyRing::require_whole_wrapping(ByteSpan bytes, const ObjectKey& object) const {
    if (bytes.size() < kHashBytes ||
        !equal_constant_time(
            config_hash_.clone()(as_bytes(object.text()), bytes.first(bytes.size() - kHashBytes)),
            bytes.last(kHashBytes)
        )) {
        throw_corrupt(object, "the wrapped keys are not whole.");
    }
}

KeyRing KeyRing::unwrap(ByteSpan bytes, const Secret& wrapping_key, const ObjectKey& object) {
    const auto header = decode_object_header(bytes);
    if (!header || header->kind != ObjectKind::kKeySet ||
        bytes.size() < ObjectHeader::kBytes + FrameHeader::kBytes + kTagBytes + kHashBytes) {
        throw_corrupt(object, "it does not hold a wrapped key set.");
    }
    const ByteSpan frame_bytes =
        bytes.subspan(ObjectHeader::kBytes).first(bytes.size() - ObjectHeader::kBytes - kHashBytes);
    const auto frame = decode_frame_header(frame_bytes);
    if (!frame || frame->codec != Codec::kStored || frame->slot != 0 ||
        frame_bytes.size() != FrameHeader::kBytes + frame->sealed_bytes) {
        throw_corrupt(object, "its length or frame header is wrong.");
    }
    ObjectHeaderBytes object_header{};
    std::copy_n(bytes.begin(), object_header.size(), object_header.begin());
    Secret plain{ByteSpan{Bytes(frame->plain_bytes)}};
    Aead aead;
    Decompressor decompressor;
    Buffer scratch;
    if (!open_frame(
            aead,
            decompressor,
            scratch,
            wrapping_object_key(wrapping_key, *header),
            object_header,
            *frame,
            as_bytes(object.text()),
            frame_bytes,
            plain.expose_mutable()
        )) {
        throw_corrupt(object, "the wrapped keys are not authentic.");
    }

    format::KeySet set;
    std::array<std::byte, 16> id{};
    const bool parsed = set.ParseFromArray(plain.expose().data(), static_cast<int>(plain.size())) &&
                        copy_exactly(set.repository_id(), id) &&
                        RepositoryId{id} == header->repository_id &&
                        set.repository_secret().size() == kKeyBytes &&
                        set.recovery_key().size() == kKeyBytes && set.epochs_size() > 0;
    std::vector<Epoch> epochs;
    for (const auto& entry : set.epochs()) {
        if (entry.data_root().size() != kKeyBytes) {
            throw_corrupt(object, "a wrapped key has a wrong length.");
        }
        epochs.push_back({.number = entry.epoch(), .data_root = Secret{as_bytes(entry.data_root())}}
        );
    }
    if (!parsed) {
        throw_corrupt(object, "the wrapped keys are not complete.");
    }
    KeyRing ring{
        RepositoryId{id},
        Secret{as_bytes(set.repository_secret())},
        std::move(epochs),
        Secret{as_bytes(set.recovery_key())}
    };
    wipe_message(set);
    ring.require_whole_wrapping(bytes, object);
    return ring;
}

ChunkId BlobIds::operator()(BlobType type, ByteSpan plain) {
    if (type == BlobType::kTaggedExtent) {
        return of_tagged(tag_(plain), plain);
    }
    const std::array<std::byte, 1> domain{static_cast<std::byte>(type)};
    return hash_(domain, plain);
}

ChunkId BlobIds::of_tagged(const FastDigest::Value& tag, ByteSpan plain) {
    const std::array<std::byte, 1> domain{static_cast<std::byte>(BlobType::kTaggedExtent)};
    const FastDigest::Value second = second_(plain);
    std::array<std::byte, 2 * kTagBytes> both{};
    std::copy(tag.begin(), tag.end(), both.begin());
    std::copy(second.begin(), second.end(), both.begin() + kTagBytes);
    return hash_(domain, both);
}

// ---- Key files ----

Secret new_key() {
    return Secret::random(kKeyBytes);
}

Secret format_key(const Secret& key) {
    std::string text = std::string{kKeyLinePrefix};
    std::string body = to_base64(key.expose());
    text += body;
    Secret out{std::string_view{text}};
    wipe(body);
    wipe(text);
    return out;
}

Secret parse_key(std::string_view text) {
    const std::string_view line = trim(text);
    if (line.starts_with(kKeyLinePrefix)) {
        if (auto bytes = from_base64(line.substr(kKeyLinePrefix.size()))) {
            Secret key{ByteSpan{*bytes}};
            wipe(MutableByteSpan{*bytes});
            if (key.size() == kKeyBytes) {
                return key;
            }
        }
    }
    throw Error{
        ErrorKind::kKeyWrong,
        ErrorText{
            .message = "The text given is not a Holdfast key.",
            .recommended_actions =
                {"Give the one line that begins with 'holdfast-key-1:', from the key file or the "
                 "recovery kit."},
        }
    };
}

namespace {

Secret parse_key_of_file(const Secret& text, const std::string& path) {
    try {
        return parse_key(text.expose_text());
    } catch (const Error&) {
        throw Error{
            ErrorKind::kKeyWrong,
            ErrorText{
                .message = fmt::format("The file '{}' does not hold a Holdfast key.", path),
                .target = path,
                .recommended_actions =
                    {"The file must hold the one line that begins with 'holdfast-key-1:'."},
            }
        };
    }
}

}  // namespace

Secret read_key_file(const std::string& path) {
    const auto text = read_secret_file(path, kKeyFileBytesMax);
    if (!text) {
        throw Error{
            ErrorKind::kKeyMissing,
            ErrorText{
                .message = fmt::format("The key file '{}' does not exist.", path),
                .target = path,
                .recommended_actions =
                    {"Put the key file back from where it is kept safe, mode 0600.",
                     "Or write the key line of the recovery kit to that file, mode 0600."},
            }
        };
    }
    return parse_key_of_file(*text, path);
}

Secret read_or_create_key_file(const std::string& path) {
    if (const auto text = read_secret_file(path, kKeyFileBytesMax)) {
        return parse_key_of_file(*text, path);
    }
    const Secret key = new_key();
    const Secret line = format_key(key);
    Bytes content{line.expose().begin(), line.expose().end()};
    content.push_back(static_cast<std::byte>('\n'));
    constexpr unsigned kOwnerOnly = 0600;
    write_file_durably(path, content, kOwnerOnly, Overwrite::kNo);
    wipe(MutableByteSpan{content});
    return read_key_file(path);  // Whoever was first, all use the key in the file.
}

std::string key_fingerprint(const Secret& key) {
    return fingerprint_text(fingerprint_of(key));
}

}  // namespace holdfast::vault
