#include "catalog/secret_store.h"

#include "base/error.h"
#include "base/sealing.h"

#include <map>

#include <fmt/format.h>

namespace holdfast::catalog {
namespace {

constexpr std::size_t kNameSizeMax = 127;

bool is_secret_name(std::string_view name) noexcept {
    if (name.empty() || name.size() > kNameSizeMax) {
        return false;
    }
    for (const char c : name) {
        const bool ok =
            (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        if (!ok) {
            return false;
        }
    }
    return true;
}

/// What the sealed value is bound to, so that a row can't be moved to another name.
std::string context_of(const SecretRecord& record) {
    return fmt::format(
        "holdfast/1/secret/{}/{}/{}", to_lower(record.store), to_lower(record.name), record.version
    );
}

[[noreturn]] void refuse_uri(std::string_view uri) {
    throw Error{
        ErrorKind::kInvalidSecret,
        ErrorText{
            .message = fmt::format(
                "\"{}\" is not the URI of a secret of the built-in store.", uri.substr(0, 200)
            ),
            .target = std::string{uri.substr(0, 200)},
            .recommended_actions = {"Use https://<store>.<suffix>/secrets/<name> or "
                                    "/secrets/<name>; set the secret with"
                                    " 'holdfast keyvault secret set'."},
        }
    };
}

}  // namespace

SecretStore::SecretStore(Secret sealing_key, Clock& clock, std::vector<std::string> own_hosts)
    : sealing_key_{std::move(sealing_key)}, clock_{clock}, own_hosts_{std::move(own_hosts)} {
    HOLDFAST_CHECK(sealing_key_.size() == kSealingKeySize);
}

SecretRecord SecretStore::set(
    Transaction& transaction,
    std::string_view store,
    std::string_view name,
    const Secret& value,
    const SecretProperties& properties
) {
    if (!is_secret_name(name)) {
        throw Error{
            ErrorKind::kInvalidParameter,
            ErrorText{
                .message = fmt::format(
                    "The secret name \"{}\" is not valid. Allowed: 1 to {} letters, digits and "
                    "hyphens.",
                    name.substr(0, 200),
                    kNameSizeMax
                ),
                .target = "secret-name",
                .recommended_actions = {"Choose another name."},
            }
        };
    }
    if (value.size() > kValueSizeMax) {
        throw Error{
            ErrorKind::kInvalidParameter,
            ErrorText{
                .message = fmt::format("The secret's value has more than {} bytes.", kValueSizeMax),
                .target = "value",
                .recommended_actions = {"Store a shorter value."},
            }
        };
    }
    // The newest stays the newest when the wall clock stood still or went back since the last one.
    Instant created_at = clock_.now();
    if (const auto last = find(transaction, store, name)) {
        created_at = std::max(created_at, last->created_at + std::chrono::microseconds{1});
    }
    SecretRecord record{
        .store = to_lower(store),
        .name = std::string{name},
        .version = to_hex(random_array<16>()),
        .sealed = {},
        .content_type = properties.content_type,
        .tags = properties.tags,
        .created_at = created_at,
        .modified_at = {},
        .etag = {},
    };
    record.sealed = to_base64(seal_small(sealing_key_, context_of(record), value.expose()));
    transaction.put(record);
    return record;
}

std::optional<SecretRecord> SecretStore::find(
    const View& view, std::string_view store, std::string_view name, std::string_view version
) const {
    if (!version.empty()) {
        return view.get<SecretRecord>(fmt::format("{}/{}", secret_parent(store, name), version));
    }
    auto newest = view.list<SecretRecord>(
        {.parent = secret_parent(store, name), .order = Order::kNewestFirst, .limit = 1}
    );
    if (newest.empty()) {
        return std::nullopt;
    }
    return std::move(newest.front());
}

std::vector<SecretRecord> SecretStore::list(const View& view, std::string_view store) const {
    std::map<std::string, SecretRecord> newest;
    view.each<SecretRecord>({.subject = std::string{store}}, [&](const SecretRecord& record) {
        newest.insert_or_assign(to_lower(record.name), record);
        return true;
    });
    std::vector<SecretRecord> found;
    found.reserve(newest.size());
    for (auto& [name, record] : newest) {
        found.push_back(std::move(record));
    }
    return found;
}

bool SecretStore::remove(Transaction& transaction, std::string_view store, std::string_view name) {
    const auto versions = transaction.list<SecretRecord>({.parent = secret_parent(store, name)});
    for (const SecretRecord& record : versions) {
        transaction.remove<SecretRecord>(
            fmt::format("{}/{}", secret_parent(record.store, record.name), record.version)
        );
    }
    return !versions.empty();
}

Secret SecretStore::open(const SecretRecord& record) const {
    const auto sealed = from_base64(record.sealed);
    return open_small(sealing_key_, context_of(record), sealed.value_or(Bytes{}));
}

Secret SecretStore::resolve(const View& view, std::string_view uri) const {
    const Reference reference = reference_of(uri);
    const auto record = find(view, reference.store, reference.name, reference.version);
    if (!record || !record->enabled) {
        throw Error{
            ErrorKind::kSecretNotFound,
            ErrorText{
                .message = fmt::format(
                    "There is no secret \"{}\" in the secret store \"{}\".",
                    reference.name,
                    reference.store
                ),
                .target = std::string{uri},
                .recommended_actions = {fmt::format(
                    "Run: holdfast keyvault secret set --vault-name {} --name {} --file -",
                    reference.store,
                    reference.name
                )},
            }
        };
    }
    return open(*record);
}

SecretStore::Reference SecretStore::reference_of(std::string_view uri) const {
    Reference reference = parse_uri(uri);
    if (const auto scheme = uri.find("://"); scheme != std::string_view::npos) {
        const std::string_view rest = uri.substr(scheme + 3);
        const std::string_view host = rest.substr(0, rest.find_first_of(":/"));
        for (const std::string& own : own_hosts_) {
            if (equal_ignoring_case(own, host)) {
                reference.store = kDefaultStore;
            }
        }
    }
    return reference;
}

SecretStore::Reference SecretStore::parse_uri(std::string_view uri) {
    constexpr std::string_view kScheme = "https://";
    constexpr std::string_view kShort = "secret:";
    Reference reference{.store = std::string{kDefaultStore}, .name = {}, .version = {}};
    std::string_view rest = uri;
    if (rest.starts_with(kShort)) {
        reference.name = std::string{rest.substr(kShort.size())};
        return is_secret_name(reference.name) ? reference : (refuse_uri(uri), reference);
    }
    if (starts_with_ignoring_case(rest, kScheme)) {
        rest.remove_prefix(kScheme.size());
        const auto slash = rest.find('/');
        const std::string_view host = rest.substr(0, slash);
        const auto label_end = host.find_first_of(".:");
        // A host of one label, or an address, has no store in front: it is the server itself.
        if (label_end != std::string_view::npos && host[label_end] == '.' &&
            host.find_first_not_of("0123456789.:") != std::string_view::npos) {
            reference.store = to_lower(host.substr(0, label_end));
        }
        rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash);
    }
    const std::vector<std::string> parts = split(rest, '/');
    const bool shape = (parts.size() == 3 || parts.size() == 4) && parts[0].empty() &&
                       equal_ignoring_case(parts[1], "secrets") && is_secret_name(parts[2]);
    if (!shape) {
        refuse_uri(uri);
    }
    reference.name = parts[2];
    reference.version = parts.size() == 4 ? parts[3] : "";
    return reference;
}

}  // namespace holdfast::catalog
