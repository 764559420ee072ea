#include "base/error.h"
#include "vault/detail/format.pb.h"
#include "vault/detail/repository.h"
#include "vault/detail/sealed.h"

#include <algorithm>

// config/<n>: header, u32 length, body, HMAC-SHA-256 over the object's key and all of that.

namespace holdfast::vault {

namespace {

constexpr std::size_t kLengthBytes = 4;
constexpr std::size_t kConfigBytesMax = 64 * kKiB;
constexpr int kCompressionLevelMax = 19;

/// Features of this version that a repository may require. "wal" is specified in docs/format.md
/// and unknown to this program.
constexpr std::array<std::string_view, 6> kKnownFeatures{
    "logical-streams",
    kFeatureCollect,
    kFeatureExtents,
    kFeatureLayers,
    kFeatureTags,
    kFeatureExtentIds,
};

ByteSpan body_of(ByteSpan object) {
    const std::size_t before = ObjectHeader::kBytes + kLengthBytes;
    if (object.size() < before + kHashBytes || object.size() > kConfigBytesMax) {
        return {};
    }
    const auto length = get_little_endian<std::uint32_t>(&object[ObjectHeader::kBytes]);
    return object.size() == before + length + kHashBytes ? object.subspan(before, length)
                                                         : ByteSpan{};
}

void require_known_features(const format::Config& config) {
    for (const std::string& feature : config.required_features()) {
        if (std::find(kKnownFeatures.begin(), kKnownFeatures.end(), feature) ==
            kKnownFeatures.end()) {
            throw Error{
                ErrorKind::kVaultFormatUnsupported,
                ErrorText{
                    .message = fmt::format(
                        "The repository needs the feature '{}', which this program does not know.",
                        feature.substr(0, 64)
                    ),
                    .recommended_actions = {"Install a newer version of holdfast."},
                }
            };
        }
    }
}

Bytes encode_config(const KeyRing& keys, const ObjectKey& key, const format::Config& config) {
    const std::string body = config.SerializeAsString();
    const auto header =
        encode(ObjectHeader{.kind = ObjectKind::kConfig, .repository_id = keys.repository_id()});
    Bytes out{header.begin(), header.end()};
    out.resize(out.size() + kLengthBytes);
    put_little_endian<std::uint32_t>(
        &out[ObjectHeader::kBytes], static_cast<std::uint32_t>(body.size())
    );
    const ByteSpan body_bytes = as_bytes(body);
    out.insert(out.end(), body_bytes.begin(), body_bytes.end());
    const auto mac = keys.config_hash().clone()(as_bytes(key.text()), out);
    out.insert(out.end(), mac.begin(), mac.end());
    return out;
}

}  // namespace

std::optional<RepositoryConfig> parse_config(ByteSpan object) {
    const auto header = decode_object_header(object);
    const ByteSpan body = header ? body_of(object) : ByteSpan{};
    format::Config config;
    if (!header || header->kind != ObjectKind::kConfig || body.empty() ||
        !config.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
        return std::nullopt;
    }
    require_known_features(config);
    if (config.format_version() != kFormatVersion ||
        config.repository_id() != as_text(header->repository_id.bytes()) ||
        config.compression_level() < 1 || config.compression_level() > kCompressionLevelMax) {
        return std::nullopt;
    }
    return RepositoryConfig{
        .id = header->repository_id,
        .label = config.label(),
        .compression_level = config.compression_level(),
        .features = {config.required_features().begin(), config.required_features().end()},
    };
}

Bytes encode_config(
    const KeyRing& keys, const ObjectKey& key, const CreateOptions& options, Instant created_at
) {
    format::Config config;
    config.set_format_version(kFormatVersion);
    config.set_repository_id(std::string{as_text(keys.repository_id().bytes())});
    config.set_created_at(created_at.time_since_epoch().count());
    config.set_label(options.label);
    config.set_compression_level(options.compression_level);
    for (const std::string_view feature : kKnownFeatures) {
        config.add_required_features(std::string{feature});
    }
    return encode_config(keys, key, config);
}

void require_authentic_config(const KeyRing& keys, const ObjectKey& key, ByteSpan object) {
    const auto mac =
        keys.config_hash().clone()(as_bytes(key.text()), object.first(object.size() - kHashBytes));
    if (!equal_constant_time(mac, object.last(kHashBytes))) {
        throw_corrupt(key, "it was not made with the repository's keys.");
    }
}

std::optional<StoredConfig> read_stored_config(ObjectStore& store, std::stop_token stop) {
    std::uint64_t highest = 0;
    store.list(
        kConfigPrefix,
        [&](const ObjectInfo& info) {
            highest = std::max(highest, parse_numbered_key(info.key, kConfigPrefix).value_or(0));
            return true;
        },
        stop
    );
    if (highest == 0) {
        return std::nullopt;
    }
    const ObjectKey key = config_key(static_cast<std::uint32_t>(highest));
    auto object = store.get(key, stop);
    if (!object) {
        throw_corrupt(key, "it is missing.");
    }
    auto config = parse_config(*object);
    if (!config) {
        throw_corrupt(key, "it is not a config object.");
    }
    return StoredConfig{.config = std::move(*config), .key = key, .object = std::move(*object)};
}

void RepositoryImpl::require_feature(std::string_view feature, std::stop_token stop) {
    {
        const std::lock_guard lock{mutex_};
        if (features_.contains(std::string{feature})) {
            return;
        }
    }
    for (;;) {
        const auto stored = read_stored_config(store_, stop);
        if (!stored) {
            throw_corrupt(config_key(1), "it is missing.");
        }
        require_authentic_config(engine_.keys, stored->key, stored->object);
        const auto& features = stored->config.features;
        if (std::find(features.begin(), features.end(), feature) != features.end()) {
            break;
        }
        format::Config config;
        const ByteSpan body = body_of(stored->object);
        HOLDFAST_CHECK(config.ParseFromArray(body.data(), static_cast<int>(body.size())));
        config.add_required_features(std::string{feature});
        const auto number = parse_numbered_key(stored->key, kConfigPrefix).value_or(0);
        const ObjectKey key = config_key(static_cast<std::uint32_t>(number) + 1);
        // Taken by another process: then look whether it wrote the same.
        store_.put_new(key, encode_config(engine_.keys, key, config), stop);
    }
    const std::lock_guard lock{mutex_};
    features_.emplace(feature);
}

}  // namespace holdfast::vault
