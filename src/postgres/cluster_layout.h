#pragma once

#include "postgres/cluster_restore.h"
#include "postgres/target_tree.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::postgres {

/// Where the parts of a cluster go: the data directory, its tablespaces, and a pg_wal that is a
/// link to another place.
class ClusterLayout {
public:
    /// Checks everything that can be checked without changing anything, then makes the directories
    /// that are missing. Throws as restore_cluster().
    [[nodiscard]] static ClusterLayout prepare(
        const ClusterDescription& cluster, const RestoreClusterOptions& options
    );

    struct Place {
        const TargetTree* tree;
        std::string path;  ///< Relative to the tree.
    };
    [[nodiscard]] Place place_of(const std::string& path) const;

    [[nodiscard]] const TargetTree& data() const noexcept { return *data_; }
    /// Directories of tablespaces outside the data directory, by OID.
    [[nodiscard]] const std::map<std::string, TargetTree>& tablespaces() const noexcept {
        return tablespaces_;
    }
    [[nodiscard]] const std::optional<TargetTree>& wal() const noexcept { return wal_; }
    [[nodiscard]] const std::optional<FileOwner>& owner() const noexcept { return owner_; }
    void sync() const;

private:
    std::optional<FileOwner> owner_;
    std::optional<TargetTree> data_;
    std::map<std::string, TargetTree> tablespaces_;
    std::optional<TargetTree> wal_;
};

/// Lies in a data directory while it is being restored.
inline constexpr const char* kRestoreMark = "holdfast.restore";

}  // namespace holdfast::postgres
