#pragma once

#include "base/clock.h"
#include "base/secret.h"
#include "catalog/catalog.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::catalog {

struct SecretProperties {
    std::string content_type = {};
    Json tags = Json::object();
};

/// The built-in secret store, in Key Vault's shape: stores (vault names) of named secrets with
/// versions. Values are sealed with AES-256-GCM under a key derived from the service's KEK, bound
/// to store, name and version, so that rows can't be swapped. Safe from any thread.
class SecretStore {
public:
    static constexpr std::string_view kDefaultStore = "default";
    /// A secret's value at most: 25 KiB, as Key Vault.
    static constexpr std::size_t kValueSizeMax = 25 * 1024;

    /// `sealing_key`: 32 bytes, used for nothing else.
    /// `own_hosts`: names and addresses of this server: in a URI they mean the default store.
    SecretStore(Secret sealing_key, Clock& clock, std::vector<std::string> own_hosts = {});

    /// Adds a version and makes it the newest. Throws kInvalidParameter for a name that is not
    /// [0-9A-Za-z-]{1,127} or a value too long. The caller's transaction decides when it becomes
    /// durable.
    SecretRecord set(
        Transaction& transaction,
        std::string_view store,
        std::string_view name,
        const Secret& value,
        const SecretProperties& properties = {}
    );

    /// The newest version when `version` is empty. Nothing when there is none.
    [[nodiscard]] std::optional<SecretRecord> find(
        const View& view,
        std::string_view store,
        std::string_view name,
        std::string_view version = {}
    ) const;
    /// The newest version of every secret of a store, by name.
    [[nodiscard]] std::vector<SecretRecord> list(const View& view, std::string_view store) const;
    /// Removes all versions. Returns false when there was none.
    bool remove(Transaction& transaction, std::string_view store, std::string_view name);

    /// Opens the value. Throws kKeyWrong when it was sealed under another key or damaged.
    [[nodiscard]] Secret open(const SecretRecord& record) const;

    /// The value behind a secret URI (`https://<store>.<suffix>/secrets/<name>[/<version>]`,
    /// `/secrets/<name>` or `secret:<name>`). Only the built-in store is ever asked: nothing leaves
    /// this host. Throws kSecretNotFound, or kInvalidSecret when the URI is not of this form.
    [[nodiscard]] Secret resolve(const View& view, std::string_view uri) const;

    struct Reference {
        std::string store;
        std::string name;
        std::string version;
    };
    [[nodiscard]] static Reference parse_uri(std::string_view uri);
    /// The same, with this server's own names for the default store.
    [[nodiscard]] Reference reference_of(std::string_view uri) const;

private:
    const Secret sealing_key_;
    Clock& clock_;
    const std::vector<std::string> own_hosts_;
};

}  // namespace holdfast::catalog
