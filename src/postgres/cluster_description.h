#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "postgres/page.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

class StreamSource;

struct ClusterTablespace {
    std::uint32_t oid = 0;
    std::string location;  ///< On the server; relative when it lies within the data directory.
    std::uint64_t bytes = 0;
};

/// A page whose contents do not match its own checksum, though nothing wrote it since the backup
/// began.
struct PageFailure {
    std::string path;         ///< Relative to the data directory.
    std::uint32_t block = 0;  ///< In the relation fork, over all segments.
};

/// A configuration file that lay outside the data directory: stream `configuration/<name>`.
struct SavedConfiguration {
    std::string name;  ///< Relative to the directory of postgresql.conf; `postgresql.conf` itself.
    std::string path;  ///< On the server.
};

/// What a physical recovery point is: its stream `cluster.json`, written last.
struct ClusterDescription {
    int server_version = 0;  ///< 150004 for 15.4.
    std::string system_identifier;
    std::uint32_t start_timeline = 0;
    std::uint32_t end_timeline = 0;
    Lsn start = 0;  ///< Recovery begins here…
    Lsn end = 0;    ///< …and is consistent when it has come to here.
    std::uint64_t wal_segment_bytes = 0;
    std::uint32_t block_bytes = 0;
    bool data_checksums = false;
    bool from_standby = false;
    unsigned directory_mode = 0700;              ///< Of the data directory.
    std::vector<ClusterTablespace> tablespaces;  ///< Without pg_default and pg_global.
    std::uint64_t file_count = 0;
    std::uint64_t bytes = 0;      ///< Of all files, those of tablespaces too.
    std::uint64_t wal_bytes = 0;  ///< Of the log's segments.
    std::uint64_t pages_checked = 0;
    std::uint64_t page_failure_count = 0;
    std::vector<PageFailure> page_failures;  ///< The first of them.
    std::vector<SavedConfiguration> configuration;
    std::map<std::string, std::string> settings;  ///< What a restore must know: max_connections…
    Instant started = {};
    Instant ended = {};

    [[nodiscard]] int major() const noexcept { return server_version / 10000; }
};

[[nodiscard]] Json to_json(const ClusterDescription& cluster);
/// Reads what to_json wrote. Throws kVaultCorrupt when it is not that, kVaultFormatUnsupported when
/// a newer version of this program wrote it.
[[nodiscard]] ClusterDescription cluster_from_json(const Json& json);

/// Of a recovery point. Throws kObjectNotFound when it is not a physical one.
[[nodiscard]] ClusterDescription read_cluster_description(const StreamSource& source);

/// Names of a physical recovery point's streams.
inline constexpr std::string_view kClusterStream = "cluster.json";
inline constexpr std::string_view kManifestStream = "backup_manifest";
inline constexpr std::string_view kDataPrefix = "data/";
inline constexpr std::string_view kWalPrefix = "wal/";
inline constexpr std::string_view kConfigurationPrefix = "configuration/";

/// `data/base/1/1259` for `base/1/1259`: each part percent-encoded; and back.
[[nodiscard]] std::string stream_name_of_path(std::string_view prefix, std::string_view path);
/// Throws kVaultCorrupt when the name holds a path that is absolute or climbs.
[[nodiscard]] std::string path_of_stream_name(std::string_view prefix, std::string_view name);

}  // namespace holdfast::postgres
