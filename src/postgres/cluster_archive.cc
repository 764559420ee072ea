#include "postgres/cluster_archive.h"

#include "base/error.h"
#include "base/text.h"
#include "postgres/cluster_streams.h"
#include "postgres/streams.h"
#include "postgres/tar_writer.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

constexpr std::string_view kBase = "base.tar";
constexpr std::string_view kWal = "pg_wal.tar";
constexpr std::string_view kConfiguration = "configuration.tar";
constexpr std::string_view kTarSuffix = ".tar";
constexpr std::size_t kBufferBytes = kMiB;
constexpr std::uint32_t kFileMode = 0600;

/// In which archive a file of the data directory belongs, and under which name.
struct Place {
    std::string archive;
    std::string name;
};

Place place_of(const std::string& path, const ClusterDescription& cluster) {
    for (const ClusterTablespace& one : cluster.tablespaces) {
        const std::string prefix = fmt::format("pg_tblspc/{}/", one.oid);
        if (path.starts_with(prefix)) {
            return {fmt::format("{}{}", one.oid, kTarSuffix), path.substr(prefix.size())};
        }
    }
    return {std::string{kBase}, path};
}

std::int64_t seconds_of(Instant instant) {
    return std::chrono::floor<std::chrono::seconds>(instant).time_since_epoch().count();
}

TarEntry plain_file(std::string name, std::uint64_t size, const ClusterDescription& cluster) {
    TarEntry entry;
    entry.name = std::move(name);
    entry.mode = kFileMode;
    entry.size = size;
    entry.modified = seconds_of(cluster.started);
    return entry;
}

using Visit = std::function<void(const std::string& archive, const TarEntry&, const StreamInfo&)>;

/// Every entry of every archive, or, faster, those of one.
void visit_entries(
    const StreamSource& source,
    const ClusterDescription& cluster,
    std::string_view only,
    const Visit& visit
) {
    const auto wanted = [&](std::string_view archive) { return only.empty() || only == archive; };
    if (wanted(kWal)) {
        source.list(kWalPrefix, [&](const StreamInfo& stream) {
            const std::string name = path_of_stream_name(kWalPrefix, stream.spec.name);
            visit(std::string{kWal}, plain_file(name, stream.size, cluster), stream);
        });
    }
    if (wanted(kConfiguration)) {
        source.list(kConfigurationPrefix, [&](const StreamInfo& stream) {
            const std::string name = path_of_stream_name(kConfigurationPrefix, stream.spec.name);
            visit(std::string{kConfiguration}, plain_file(name, stream.size, cluster), stream);
        });
    }
    if (only == kWal || only == kConfiguration) {
        return;
    }
    std::string prefix{kDataPrefix};
    if (!only.empty() && only != kBase) {
        prefix += fmt::format("pg_tblspc/{}/", only.substr(0, only.size() - kTarSuffix.size()));
    }
    source.list(prefix, [&](const StreamInfo& stream) {
        TarEntry entry = entry_of_stream(stream);
        entry.modified = seconds_of(cluster.started);
        Place place = place_of(entry.name, cluster);
        if (wanted(place.archive)) {
            entry.name = std::move(place.name);
            visit(place.archive, entry, stream);
        }
    });
}

void copy(
    const StreamSource& source,
    std::string_view stream,
    const std::stop_token& stop,
    const std::function<void(ByteSpan)>& out
) {
    const auto reader = source.open(stream);
    Bytes buffer(kBufferBytes);
    while (const std::size_t count = reader->read(buffer)) {
        if (stop.stop_requested()) {
            throw Error{ErrorKind::kCancelled, "Writing the archive was stopped by request."};
        }
        out(ByteSpan{buffer}.first(count));
    }
}

[[noreturn]] void fail_unknown(const std::string& name) {
    throw Error{
        ErrorKind::kRestoreItemNotFound,
        fmt::format("The physical recovery point has no file {}.", name)
    };
}

void require_known(const std::string& name, const ClusterDescription& cluster) {
    const bool tablespace =
        std::any_of(cluster.tablespaces.begin(), cluster.tablespaces.end(), [&](const auto& one) {
            return name == fmt::format("{}{}", one.oid, kTarSuffix);
        });
    const bool configuration = name == kConfiguration && !cluster.configuration.empty();
    if (name != kBase && name != kWal && !tablespace && !configuration) {
        fail_unknown(name);
    }
}

}  // namespace

std::vector<ClusterArchive> list_cluster_archives(const StreamSource& source) {
    const ClusterDescription cluster = read_cluster_description(source);
    std::map<std::string, std::uint64_t> sizes{{std::string{kBase}, 0}, {std::string{kWal}, 0}};
    for (const ClusterTablespace& one : cluster.tablespaces) {
        sizes[fmt::format("{}{}", one.oid, kTarSuffix)] = 0;
    }
    visit_entries(
        source,
        cluster,
        {},
        [&](const std::string& archive, const TarEntry& entry, const StreamInfo&) {
            sizes[archive] += TarWriter::bytes_of(entry);
        }
    );
    std::vector<ClusterArchive> out;
    for (const auto& [name, size] : sizes) {
        out.push_back({.name = name, .size = size + TarWriter::kEndBytes});
    }
    source.list(kManifestStream, [&](const StreamInfo& stream) {
        if (stream.spec.name == kManifestStream) {
            out.push_back({.name = std::string{kManifestStream}, .size = stream.size});
        }
    });
    return out;
}

void write_cluster_archive(
    const StreamSource& source, const std::string& name, ByteSink& sink, std::stop_token stop
) {
    if (name == kManifestStream) {
        copy(source, name, stop, [&](ByteSpan bytes) { sink.write(bytes); });
        return;
    }
    const ClusterDescription cluster = read_cluster_description(source);
    require_known(name, cluster);
    TarWriter tar{sink};
    visit_entries(
        source,
        cluster,
        name,
        [&](const std::string&, const TarEntry& entry, const StreamInfo& stream) {
            tar.begin(entry);
            if (entry.type == TarEntryType::kFile) {
                copy(source, stream.spec.name, stop, [&](ByteSpan bytes) { tar.write(bytes); });
            }
            tar.end();
        }
    );
    tar.finish();
}

}  // namespace holdfast::postgres
