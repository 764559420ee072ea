#include "postgres/cluster_description.h"

#include "base/error.h"
#include "base/text.h"
#include "postgres/streams.h"

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

constexpr int kFormat = 1;
constexpr std::uint64_t kClusterBytesMax = 16 * kMiB;
constexpr ErrorKind kDamaged = ErrorKind::kVaultCorrupt;

Lsn read_lsn(const JsonReader& json, std::string_view name) {
    const auto lsn = parse_lsn(json.string(name));
    if (!lsn) {
        json.member(name).fail("is not a position in the log");
    }
    return *lsn;
}

std::uint64_t read_count(const JsonReader& json, std::string_view name) {
    const std::int64_t value = json.member(name).as_integer();
    if (value < 0) {
        json.member(name).fail("is negative");
    }
    return static_cast<std::uint64_t>(value);
}

std::uint32_t read_count_32(const JsonReader& json, std::string_view name) {
    const std::uint64_t value = read_count(json, name);
    if (value > UINT32_MAX) {
        json.member(name).fail("is too large");
    }
    return static_cast<std::uint32_t>(value);
}

Instant read_instant(const JsonReader& json, std::string_view name) {
    const auto instant = parse_instant(json.string(name));
    if (!instant) {
        json.member(name).fail("is not a date and time");
    }
    return *instant;
}

void read_lists(const JsonReader& json, ClusterDescription& cluster) {
    for (const JsonReader& one : json.member("tablespaces").elements()) {
        cluster.tablespaces.push_back(
            {.oid = read_count_32(one, "oid"),
             .location = one.string("location"),
             .bytes = read_count(one, "bytes")}
        );
    }
    for (const JsonReader& one : json.member("pageFailures").elements()) {
        cluster.page_failures.push_back(
            {.path = one.string("path"), .block = read_count_32(one, "block")}
        );
    }
    for (const JsonReader& one : json.member("configuration").elements()) {
        cluster.configuration.push_back({.name = one.string("name"), .path = one.string("path")});
    }
    const JsonReader settings = json.member("settings");
    settings.require_object();
    for (const auto& [name, value] : settings.value().items()) {
        cluster.settings[name] = settings.string(name);
    }
}

/// Empty when it is broken.
std::string decode_part(std::string_view part) {
    try {
        return percent_decode(part);
    } catch (const Error&) {
        return {};
    }
}

bool climbs(std::string_view path) {
    for (const std::string& part : split(path, '/')) {
        if (part.empty() || part == "." || part == ".." || part.find('\0') != std::string::npos) {
            return true;
        }
    }
    return false;
}

}  // namespace

Json to_json(const ClusterDescription& cluster) {
    Json tablespaces = Json::array();
    for (const ClusterTablespace& one : cluster.tablespaces) {
        tablespaces.push_back({{"oid", one.oid}, {"location", one.location}, {"bytes", one.bytes}});
    }
    Json failures = Json::array();
    for (const PageFailure& one : cluster.page_failures) {
        failures.push_back({{"path", one.path}, {"block", one.block}});
    }
    Json configuration = Json::array();
    for (const SavedConfiguration& one : cluster.configuration) {
        configuration.push_back({{"name", one.name}, {"path", one.path}});
    }
    return {
        {"format", kFormat},
        {"serverVersion", cluster.server_version},
        {"systemIdentifier", cluster.system_identifier},
        {"startTimeline", cluster.start_timeline},
        {"endTimeline", cluster.end_timeline},
        {"startLsn", format_lsn(cluster.start)},
        {"endLsn", format_lsn(cluster.end)},
        {"walSegmentBytes", cluster.wal_segment_bytes},
        {"blockBytes", cluster.block_bytes},
        {"dataChecksums", cluster.data_checksums},
        {"fromStandby", cluster.from_standby},
        {"directoryMode", cluster.directory_mode},
        {"tablespaces", std::move(tablespaces)},
        {"fileCount", cluster.file_count},
        {"bytes", cluster.bytes},
        {"walBytes", cluster.wal_bytes},
        {"pagesChecked", cluster.pages_checked},
        {"pageFailureCount", cluster.page_failure_count},
        {"pageFailures", std::move(failures)},
        {"configuration", std::move(configuration)},
        {"settings", cluster.settings},
        {"startTime", format_instant(cluster.started)},
        {"endTime", format_instant(cluster.ended)},
    };
}

ClusterDescription cluster_from_json(const Json& json) {
    const JsonReader reader{json, std::string{kClusterStream}, kDamaged};
    if (const std::int64_t format = reader.member("format").as_integer(); format != kFormat) {
        throw Error{
            ErrorKind::kVaultFormatUnsupported,
            {.message = fmt::format(
                 "The physical recovery point is of format {}; this version knows {}.",
                 format,
                 kFormat
             ),
             .recommended_actions = {"Restore it with the version of Holdfast that made it."}}
        };
    }
    ClusterDescription cluster;
    cluster.server_version = static_cast<int>(read_count_32(reader, "serverVersion"));
    cluster.system_identifier = reader.string("systemIdentifier");
    cluster.start_timeline = read_count_32(reader, "startTimeline");
    cluster.end_timeline = read_count_32(reader, "endTimeline");
    cluster.start = read_lsn(reader, "startLsn");
    cluster.end = read_lsn(reader, "endLsn");
    cluster.wal_segment_bytes = read_count(reader, "walSegmentBytes");
    cluster.block_bytes = read_count_32(reader, "blockBytes");
    cluster.data_checksums = reader.member("dataChecksums").as_bool();
    cluster.from_standby = reader.member("fromStandby").as_bool();
    cluster.directory_mode = read_count_32(reader, "directoryMode") & 0777U;
    cluster.file_count = read_count(reader, "fileCount");
    cluster.bytes = read_count(reader, "bytes");
    cluster.wal_bytes = read_count(reader, "walBytes");
    cluster.pages_checked = read_count(reader, "pagesChecked");
    cluster.page_failure_count = read_count(reader, "pageFailureCount");
    cluster.started = read_instant(reader, "startTime");
    cluster.ended = read_instant(reader, "endTime");
    read_lists(reader, cluster);
    return cluster;
}

ClusterDescription read_cluster_description(const StreamSource& source) {
    const Bytes bytes = read_stream(source, kClusterStream, kClusterBytesMax);
    return cluster_from_json(parse_json(as_text(bytes), kDamaged, "The description of the cluster")
    );
}

std::string stream_name_of_path(std::string_view prefix, std::string_view path) {
    std::string name{prefix};
    for (const std::string& part : split(path, '/')) {
        if (name.size() > prefix.size()) {
            name += '/';
        }
        name += stream_name_part(part);
    }
    return name;
}

std::string path_of_stream_name(std::string_view prefix, std::string_view name) {
    std::string path;
    if (name.starts_with(prefix)) {
        for (const std::string& part : split(name.substr(prefix.size()), '/')) {
            const std::string plain = decode_part(part);
            if (plain.empty() || plain.find('/') != std::string::npos) {
                path.clear();
                break;
            }
            path += path.empty() ? plain : '/' + plain;
        }
    }
    if (climbs(path)) {
        throw Error{kDamaged, fmt::format("The stream {} names no file of a cluster.", name)};
    }
    return path;
}

}  // namespace holdfast::postgres
