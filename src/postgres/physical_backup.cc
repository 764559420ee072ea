#include "postgres/physical_backup.h"

#include "base/error.h"
#include "base/text.h"
#include "postgres/configuration_files.h"
#include "postgres/server_info.h"
#include "postgres/streams.h"
#include "postgres/wal_stream.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

/// `000000010000000A000000FF`
std::string segment_name(std::uint32_t timeline, Lsn position, std::uint64_t segment_bytes) {
    const Lsn number = position / segment_bytes;
    const Lsn segments_a_log = (Lsn{1} << 32) / segment_bytes;
    return fmt::format(
        "{:08X}{:08X}{:08X}", timeline, number / segments_a_log, number % segments_a_log
    );
}

/// The log as it streams by, cut into the streams `wal/<segment>`.
///
/// What the server is told to be durable has only been handed on: its slot ends with the backup,
/// and the log that it kept is needed by this point alone, which does not exist before the layers
/// below have made all of it durable and committed it.
class WalStreams final : public WalTarget {
public:
    explicit WalStreams(BackupStreams& streams) : streams_{streams} {}

    void begin(std::uint64_t segment_bytes) override { segment_bytes_ = segment_bytes; }

    void history(const std::string& name, ByteSpan contents) override {
        StreamSpec spec;
        spec.name = stream_name_of_path(kWalPrefix, name);
        spec.kind = StreamKind::kWal;
        spec.size_hint_bytes = contents.size();
        const auto writer = streams_.open(spec);
        writer->write(contents);
        writer->close();
    }

    void write(std::uint32_t timeline, Lsn position, ByteSpan bytes) override {
        while (!bytes.empty()) {
            const std::uint64_t at = position % segment_bytes_;
            if (segment_ == nullptr) {
                open(timeline, position);
            }
            const std::size_t taken =
                static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), segment_bytes_ - at)
                );
            segment_->write(bytes.first(taken));
            bytes_ += taken;
            position += taken;
            bytes = bytes.subspan(taken);
            left_ = segment_bytes_ - at - taken;
            if (left_ == 0) {
                segment_->close();
                segment_.reset();
            }
        }
    }
    void sync() override {}

    /// Fills the last segment with zeros: a segment of any other size is no segment.
    void finish() {
        if (segment_ == nullptr) {
            return;
        }
        const Bytes zeros(static_cast<std::size_t>(std::min<std::uint64_t>(left_, kMiB)));
        while (left_ > 0) {
            const std::size_t count =
                static_cast<std::size_t>(std::min<std::uint64_t>(left_, zeros.size()));
            segment_->write(ByteSpan{zeros}.first(count));
            bytes_ += count;
            left_ -= count;
        }
        segment_->close();
        segment_.reset();
    }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

private:
    void open(std::uint32_t timeline, Lsn position) {
        StreamSpec spec;
        spec.name =
            stream_name_of_path(kWalPrefix, segment_name(timeline, position, segment_bytes_));
        spec.kind = StreamKind::kWal;
        spec.size_hint_bytes = segment_bytes_;
        segment_ = streams_.open(spec);
    }

    BackupStreams& streams_;
    std::uint64_t segment_bytes_ = 0;
    std::unique_ptr<StreamWriter> segment_;
    std::uint64_t left_ = 0;  ///< Of the open segment.
    std::uint64_t bytes_ = 0;
};

/// The OID in `pg_tblspc/<oid>/…`; empty for what lies in no tablespace.
std::string_view tablespace_of(std::string_view path) {
    constexpr std::string_view kPrefix = "pg_tblspc/";
    if (!path.starts_with(kPrefix)) {
        return {};
    }
    path.remove_prefix(kPrefix.size());
    const std::size_t slash = path.find('/');
    return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}

/// The entries of the data directory as streams.
class DataStreams final : public TarHandler {
public:
    explicit DataStreams(BackupStreams& streams) : streams_{streams} {}

    void begin(const TarEntry& entry) override {
        StreamSpec spec;
        spec.name = stream_name_of_path(kDataPrefix, entry.name);
        spec.attributes["mode"] = fmt::format("{:04o}", entry.mode);
        spec.size_hint_bytes = entry.size;
        switch (entry.type) {
            case TarEntryType::kFile:
                spec.kind = StreamKind::kFile;
                break;
            case TarEntryType::kDirectory:
                spec.kind = StreamKind::kDirectory;
                break;
            case TarEntryType::kSymbolicLink:
                spec.kind = StreamKind::kSymbolicLink;
                spec.attributes["target"] = entry.link_target;
                break;
        }
        const auto relation =
            entry.type == TarEntryType::kFile ? parse_relation_file(entry.name) : std::nullopt;
        if (relation && relation->fork == RelationFork::kMain) {
            spec.layout = StreamLayout::kPages;
        }
        if (const std::string_view oid = tablespace_of(entry.name); !oid.empty()) {
            tablespace_bytes_[std::string{oid}] += entry.size;
        }
        in_label_ = entry.name == "backup_label" && entry.size <= kLabelBytesMax;
        writer_ = streams_.open(spec);
    }
    void write(ByteSpan bytes) override {
        if (in_label_) {
            label_ += as_text(bytes);
        }
        writer_->write(bytes);
    }
    void end() override {
        writer_->close();
        writer_.reset();
        in_label_ = false;
    }

    void manifest(ByteSpan bytes) {
        if (manifest_ == nullptr) {
            StreamSpec spec;
            spec.name = kManifestStream;
            spec.kind = StreamKind::kBackupManifest;
            manifest_ = streams_.open(spec);
        }
        manifest_->write(bytes);
    }
    void finish() {
        if (manifest_ != nullptr) {
            manifest_->close();
            manifest_.reset();
        }
    }

    [[nodiscard]] bool from_standby() const {
        return label_.find("\nBACKUP FROM: standby\n") != std::string::npos;
    }
    /// Whether anything of it came: each has a directory of its server's version.
    [[nodiscard]] bool has_tablespace(std::uint32_t oid) const {
        return tablespace_bytes_.contains(fmt::format("{}", oid));
    }
    [[nodiscard]] std::uint64_t tablespace_bytes(std::uint32_t oid) const {
        const auto found = tablespace_bytes_.find(fmt::format("{}", oid));
        return found == tablespace_bytes_.end() ? 0 : found->second;
    }

private:
    static constexpr std::uint64_t kLabelBytesMax = 8 * kKiB;

    BackupStreams& streams_;
    std::unique_ptr<StreamWriter> writer_;
    std::unique_ptr<StreamWriter> manifest_;
    std::map<std::string, std::uint64_t> tablespace_bytes_;
    bool in_label_ = false;
    std::string label_;
};

void write_stream(BackupStreams& streams, std::string_view name, StreamKind kind, ByteSpan bytes) {
    StreamSpec spec;
    spec.name = name;
    spec.kind = kind;
    spec.size_hint_bytes = bytes.size();
    const auto writer = streams.open(spec);
    writer->write(bytes);
    writer->close();
}

ClusterDescription describe(const BaseBackup& base, const DataStreams& data) {
    ClusterDescription cluster;
    cluster.server_version = base.server_version;
    cluster.system_identifier = base.system_identifier;
    cluster.start_timeline = base.timeline;
    cluster.end_timeline = base.end_timeline;
    cluster.start = base.start;
    cluster.end = base.end;
    cluster.wal_segment_bytes = base.wal_segment_bytes;
    cluster.block_bytes = base.block_bytes;
    cluster.data_checksums = base.page_checks != BaseBackup::PageChecks::kNoChecksums;
    cluster.from_standby = data.from_standby();
    cluster.directory_mode = base.directory_mode;
    for (const BackupTablespace& one : base.tablespaces) {
        cluster.tablespaces.push_back(
            {.oid = one.oid, .location = one.location, .bytes = data.tablespace_bytes(one.oid)}
        );
    }
    cluster.file_count = base.file_count;
    cluster.bytes = base.bytes;
    cluster.pages_checked = base.pages_checked;
    cluster.page_failure_count = base.page_failure_count;
    cluster.page_failures = base.page_failures;
    cluster.settings = base.settings;
    return cluster;
}

std::string_view name_of(BaseBackup::PageChecks checks) {
    switch (checks) {
        case BaseBackup::PageChecks::kDone:
            return "done";
        case BaseBackup::PageChecks::kNoChecksums:
            return "noChecksums";
        case BaseBackup::PageChecks::kOtherPageSize:
            return "otherPageSize";
    }
    return "unknown";
}

void warn_of_pages(PhysicalBackup& backup) {
    constexpr std::size_t kNamedMax = 10;
    const ClusterDescription& cluster = backup.cluster;
    for (std::size_t i = 0; i < std::min(cluster.page_failures.size(), kNamedMax); ++i) {
        const PageFailure& failure = cluster.page_failures[i];
        backup.warnings.push_back(fmt::format(
            "Block {} of \"{}\" does not match its checksum: the server's own data is damaged "
            "there.",
            failure.block,
            failure.path
        ));
    }
    if (cluster.page_failure_count > kNamedMax) {
        backup.warnings.push_back(fmt::format(
            "{} blocks in all do not match their checksums.", cluster.page_failure_count
        ));
    }
}

Json summary(
    const ConnectionParameters& parameters, const PhysicalBackup& backup, const BaseBackup& base
) {
    const ClusterDescription& cluster = backup.cluster;
    const auto version = cluster.settings.find("server_version");
    return {
        {"objectType", "HoldfastPhysicalBackup"},
        {"version", 1},
        {"method", "physical"},
        {"scope", "server"},
        {"server",
         {{"host", parameters.host},
          {"port", parameters.port},
          {"version", version == cluster.settings.end() ? std::string{} : version->second},
          {"versionNumber", cluster.server_version},
          {"systemIdentifier", cluster.system_identifier},
          {"standby", cluster.from_standby},
          {"userName", parameters.user}}},
        {"backupTool", "holdfast"},
        {"cluster", to_json(cluster)},
        {"pageChecks", name_of(base.page_checks)},
        {"dataSourceSizeBytes", cluster.bytes},
        {"warnings", backup.warnings},
        {"notes", backup.notes},
    };
}

/// Whether the server reads the page as damaged too, now: what the backup saw may have been half
/// of a write, which recovery replaces.
bool is_damaged_still(
    Connection& session,
    const BaseBackup& base,
    const PageFailure& failure,
    const std::stop_token& stop
) {
    const std::uint64_t offset = std::uint64_t{failure.block % base.segment_blocks} * kPageBytes;
    const QueryResult rows = session.query(
        "SELECT pg_catalog.encode(pg_catalog.pg_read_binary_file($1, $2, $3, true), 'hex') AS page",
        {failure.path, fmt::format("{}", offset), fmt::format("{}", kPageBytes)},
        {.stop = stop}
    );
    const auto page = from_hex(rows.text(0, "page"));
    if (!page || page->size() != kPageBytes) {
        return false;  // Dropped or truncated meanwhile.
    }
    const PageHeader header = read_page_header(*page);
    return header.upper != 0 && header.lsn < base.start &&
           page_checksum(*page, failure.block) != header.checksum;
}

void read_failed_pages_again(
    Connection& session,
    BaseBackup& base,
    std::vector<std::string>& notes,
    const std::stop_token& stop
) {
    try {
        const auto sound = std::remove_if(
            base.page_failures.begin(),
            base.page_failures.end(),
            [&](const auto& one) { return !is_damaged_still(session, base, one, stop); }
        );
        base.page_failure_count -= static_cast<std::uint64_t>(base.page_failures.end() - sound);
        base.page_failures.erase(sound, base.page_failures.end());
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kMissingDatabasePermissions &&
            error.kind() != ErrorKind::kPostgresQuery) {
            throw;
        }
        notes.push_back(fmt::format(
            "Pages that do not match their checksums could not be read a second time, so some may "
            "only have been written just then: {}",
            error.what()
        ));
    }
}

/// Throws when the server has a tablespace, and had it before the backup, of which nothing came.
void require_every_tablespace(
    const std::map<std::uint32_t, std::string>& before,
    const std::map<std::uint32_t, std::string>& after,
    const DataStreams& data
) {
    for (const auto& [oid, name] : before) {
        if (after.contains(oid) && !data.has_tablespace(oid)) {
            throw Error{
                ErrorKind::kBaseBackupFailed,
                {.message = fmt::format(
                     "The server's base backup leaves out the tablespace {} (OID {}).",
                     quote_identifier(name),
                     oid
                 ),
                 .recommended_actions =
                     {"If it lies within the data directory (allow_in_place_tablespaces): "
                      "PostgreSQL before 16 leaves such tablespaces out of base backups. Move what "
                      "it holds to another tablespace and drop it.",
                      fmt::format(
                          "Otherwise look at the server's log, and at pg_tblspc/{} in its data "
                          "directory.",
                          oid
                      )}}
            };
        }
    }
}

void note_unknown_tablespaces(const BaseBackup& base, PhysicalBackup& backup) {
    if (!version_traits(base.server_version / 10000).sends_in_place_tablespaces) {
        backup.notes.push_back(
            "Tablespaces within the data directory (allow_in_place_tablespaces, for tests of "
            "PostgreSQL itself), which this version leaves out of base backups, were not looked "
            "for."
        );
    }
}

/// What an ordinary session can add. A backup is complete without.
void look_with_sql(
    const ConnectionParameters& parameters,
    BackupStreams& streams,
    const PhysicalPreflight& preflight,
    const DataStreams& data,
    BaseBackup& base,
    PhysicalBackup& backup,
    const std::stop_token& stop
) {
    ConnectionParameters ordinary = parameters.clone();
    ordinary.session = SessionKind::kOrdinary;
    std::optional<Connection> session;
    try {
        session.emplace(Connection::open(ordinary, stop));
    } catch (const Error& error) {
        if (error.kind() == ErrorKind::kCancelled) {
            throw;
        }
        backup.notes.push_back(fmt::format(
            "Configuration files outside the data directory were not looked for: {}", error.what()
        ));
        note_unknown_tablespaces(base, backup);
        return;
    }
    if (preflight.tablespaces) {
        require_every_tablespace(*preflight.tablespaces, list_tablespaces(*session, stop), data);
    } else {
        note_unknown_tablespaces(base, backup);
    }
    if (!base.page_failures.empty()) {
        read_failed_pages_again(*session, base, backup.notes, stop);
    }
    backup.cluster.configuration = save_configuration(*session, streams, backup.notes, stop);
}

}  // namespace

PhysicalBackup run_physical_backup(
    const ConnectionParameters& parameters,
    Clock& clock,
    BackupStreams& streams,
    const PhysicalBackupOptions& options
) {
    const PhysicalPreflight preflight = preflight_physical_backup(parameters, options.stop);
    preflight.throw_if_failed();
    PhysicalBackup backup;
    const Instant started = clock.now();
    DataStreams data{streams};
    WalStreams wal{streams};
    BaseBackup base = take_base_backup_with_wal(
        parameters,
        data,
        wal,
        {.label = options.label,
         .checkpoint = options.checkpoint,
         .rate_max_kib = options.rate_max_kib,
         .compression = options.compression,
         .stop = options.stop,
         .silence_max = options.silence_max,
         .on_manifest = [&data](ByteSpan bytes) { data.manifest(bytes); },
         .progress = options.progress}
    );
    wal.finish();
    data.finish();
    look_with_sql(parameters, streams, preflight, data, base, backup, options.stop);
    std::vector<SavedConfiguration> configuration = std::move(backup.cluster.configuration);
    backup.cluster = describe(base, data);
    backup.cluster.configuration = std::move(configuration);
    backup.cluster.wal_bytes = wal.bytes();
    backup.cluster.started = started;
    backup.cluster.ended = clock.now();
    warn_of_pages(backup);
    if (base.page_checks == BaseBackup::PageChecks::kNoChecksums) {
        backup.notes.push_back("The server has no data checksums: damaged pages go unnoticed.");
    }
    if (options.compression != ServerCompression::kNone &&
        !version_traits(preflight.server_version / 10000).has_option_lists) {
        backup.notes.push_back(
            "The server is older than PostgreSQL 15 and cannot compress what it sends."
        );
    }
    write_stream(
        streams, kClusterStream, StreamKind::kCluster, as_bytes(to_json(backup.cluster).dump())
    );
    backup.manifest = summary(parameters, backup, base);
    return backup;
}

}  // namespace holdfast::postgres
