#pragma once

#include "base/clock.h"
#include "catalog/catalog.h"
#include "vault/vault.h"

#include <cstddef>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::jobs {

/// The catalog's setting with the fingerprint of the server's key-encryption key.
inline constexpr std::string_view kKeyFingerprintSetting = "kek_fingerprint";

/// A repository to rebuild from, and where it lies below the vaults' root.
struct RebuildSource {
    vault::Repository& repository;
    std::string directory;
};

struct RebuiltVault {
    std::string vault_id;
    std::string repository_id;
    std::string directory;
    std::size_t points = 0;
    std::optional<Instant> snapshot_at;  ///< Of the catalog snapshot that the repository holds.
    bool states_complete = true;  ///< False: nothing of this vault expires until somebody decides.
    std::vector<vault::DamagedObject> damaged;
};
struct RebuildReport {
    std::vector<RebuiltVault> vaults;
    std::size_t instances_from_points = 0;  ///< Found in no snapshot: made of the points' metadata.
    std::vector<std::string> warnings;
    /// Fingerprint of the key that the secrets in the snapshot are sealed under; empty: unknown.
    std::string sealed_under;
};

/// Fills an empty catalog from repositories: resources from the newest catalog snapshot, points and
/// their state from the repositories themselves (they have the last word). What no snapshot knows
/// is made from the points' metadata, with its protection stopped, so that nothing of it expires.
/// Never changes a repository. kKeyFingerprintSetting is left empty: the next start writes down the
/// key that it finds.
[[nodiscard]] RebuildReport rebuild_catalog(
    catalog::Catalog& catalog, const std::vector<RebuildSource>& sources, std::stop_token stop = {}
);

}  // namespace holdfast::jobs
