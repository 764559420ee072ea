#include "postgres/base_backup.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/text.h"
#include "base/threads.h"
#include "postgres/archive_decoder.h"
#include "postgres/backup_manifest.h"
#include "postgres/file_table.h"
#include "postgres/server_info.h"
#include "postgres/wal_stream.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

constexpr std::size_t kPageFailuresKept = 100;

/// What must be no smaller on a standby than it was, what must be installed, and where files lie.
constexpr std::array kSettingsKept{
    "archive_mode",
    "config_file",
    "data_directory",
    "hba_file",
    "ident_file",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
    "server_version",
    "shared_preload_libraries",
    "wal_level",
};

[[noreturn]] void fail(const std::string& problem) {
    throw Error{
        ErrorKind::kBaseBackupFailed,
        {.message = fmt::format("The server's base backup is not usable: {}.", problem),
         .recommended_actions = {"Back up again; if it happens again, look at the server's log."}}
    };
}

/// For a label within single quotes of the replication grammar, which knows no escapes.
std::string plain_label(std::string_view label) {
    std::string out;
    for (const char c : label) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == ' ' || c == '.' || c == '-' || c == '_';
        out += plain ? c : '_';
    }
    return out;
}

std::uint64_t parse_octets(const std::string& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        fail(fmt::format("the server's block size \"{}\" is no number", text));
    }
    return value;
}

/// `0700`
unsigned parse_mode(const std::string& text) {
    constexpr int kOctal = 8;
    unsigned mode = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, kOctal);
    if (error != std::errc{} || end != text.data() + text.size()) {
        fail(fmt::format("the mode of its directory \"{}\" is no octal number", text));
    }
    return mode & 0777U;
}

/// The pages of one file as its bytes come by.
class PageChecker {
public:
    PageChecker(Lsn start, std::uint32_t segment_blocks, BaseBackup& result)
        : start_{start}, segment_blocks_{segment_blocks}, result_{result} {}

    void begin(const std::string& path) {
        const auto file = parse_relation_file(path);
        active_ = file.has_value();
        path_ = path;
        block_ = file ? file->segment * segment_blocks_ : 0;
        partial_bytes_ = 0;
    }

    void write(ByteSpan bytes) {
        while (active_ && !bytes.empty()) {
            if (partial_bytes_ == 0 && bytes.size() >= kPageBytes) {
                check(bytes.first(kPageBytes));
                bytes = bytes.subspan(kPageBytes);
                continue;
            }
            const std::size_t taken = std::min(bytes.size(), kPageBytes - partial_bytes_);
            std::copy_n(bytes.begin(), taken, partial_.data() + partial_bytes_);
            partial_bytes_ += taken;
            bytes = bytes.subspan(taken);
            if (partial_bytes_ == kPageBytes) {
                partial_bytes_ = 0;
                check(partial_);
            }
        }
    }

private:
    void check(ByteSpan page) {
        const PageHeader header = read_page_header(page);
        const std::uint32_t block = block_++;
        // What was written since may be torn here; recovery replaces it.
        if (header.upper == 0 || header.lsn >= start_) {
            return;
        }
        ++result_.pages_checked;
        if (page_checksum(page, block) != header.checksum) {
            ++result_.page_failure_count;
            if (result_.page_failures.size() < kPageFailuresKept) {
                result_.page_failures.push_back({path_, block});
            }
        }
    }

    const Lsn start_;
    const std::uint32_t segment_blocks_;
    BaseBackup& result_;
    bool active_ = false;
    std::string path_;
    std::uint32_t block_ = 0;
    std::array<std::byte, kPageBytes> partial_{};
    std::size_t partial_bytes_ = 0;
};

/// The entries of one archive: named by their place in the data directory, counted, checked; and
/// the manifest, which says what they should have been.
class Receiver final : public TarHandler, public ManifestHandler {
public:
    Receiver(TarHandler& target, BaseBackup& result, const BaseBackupOptions& options)
        : target_{target}, result_{result}, options_{options} {}

    std::optional<PageChecker> pages;
    std::string prefix;  ///< Of the archive that is coming.
    std::uint64_t bytes_estimate = 0;

    void begin(const TarEntry& entry) override {
        TarEntry placed = entry;
        placed.name = prefix + entry.name;
        is_file_ = entry.type == TarEntryType::kFile;
        size_ = 0;
        crc_ = 0;
        path_ = placed.name;
        if (is_file_) {
            ++result_.file_count;
            if (pages) {
                pages->begin(path_);
            }
        }
        target_.begin(placed);
    }
    void write(ByteSpan bytes) override {
        size_ += bytes.size();
        crc_ = crc32c(bytes, crc_);
        result_.bytes += bytes.size();
        if (pages) {
            pages->write(bytes);
        }
        target_.write(bytes);
        report();
    }
    void end() override {
        if (is_file_) {
            received_.add(path_, size_, crc_);
            unlisted_log_files_ += is_log(path_) ? 1U : 0U;
        }
        target_.end();
    }

    void begin_manifest() {
        if (!received_.seal()) {
            fail("it has a file twice");
        }
        manifest_.emplace(*this);
    }
    void write_manifest(ByteSpan bytes) {
        if (!manifest_) {
            begin_manifest();
        }
        manifest_->write(bytes);
        if (options_.on_manifest) {
            options_.on_manifest(bytes);
        }
    }
    void finish_manifest() {
        if (!manifest_) {
            fail("it has no manifest");
        }
        manifest_->finish();
        if (received_.left() > unlisted_log_files_) {
            fail(fmt::format(
                "{} of its files are not in its manifest", received_.left() - unlisted_log_files_
            ));
        }
    }

    /// As the manifest lists it.
    void file(const std::string& path, const ManifestFile& said) override {
        const auto found = received_.take(path);
        if (!found) {
            fail(fmt::format("\"{}\" is in its manifest more often than it came", path));
        }
        unlisted_log_files_ -= is_log(path) ? 1U : 0U;
        if (!said.crc32c) {
            fail(fmt::format("its manifest has no CRC-32C of \"{}\"", path));
        }
        if (!found->matches(said.size, found->crc32c)) {
            fail(fmt::format(
                "\"{}\" came with {} bytes instead of {}", path, found->size_low, said.size
            ));
        }
        if (found->crc32c != *said.crc32c) {
            fail(fmt::format("\"{}\" was changed on its way (CRC-32C)", path));
        }
    }

private:
    /// The log travels with the backup without being part of the manifest; its status files are.
    static bool is_log(std::string_view path) { return path.starts_with("pg_wal/"); }

    void report() {
        if (!options_.progress) {
            return;
        }
        constexpr std::chrono::milliseconds kInterval{100};
        const SteadyInstant now = clock_.steady_now();
        if (now - last_report_ >= kInterval) {
            last_report_ = now;
            options_.progress(
                {.bytes_done = result_.bytes, .bytes_estimate = bytes_estimate, .file = path_}
            );
        }
    }

    TarHandler& target_;
    BaseBackup& result_;
    const BaseBackupOptions& options_;
    SystemClock clock_;
    SteadyInstant last_report_{};
    bool is_file_ = false;
    std::string path_;
    std::uint64_t size_ = 0;
    std::uint32_t crc_ = 0;
    FileTable received_;
    std::size_t unlisted_log_files_ = 0;
    std::optional<BackupManifestReader> manifest_;
};

std::string tablespace_prefix(std::string_view oid) {
    return oid.empty() ? std::string{} : fmt::format("pg_tblspc/{}/", oid);
}

/// One backup on one walsender.
class Run {
public:
    Run(Connection& connection, TarHandler& handler, const BaseBackupOptions& options)
        : connection_{connection},
          options_{options},
          query_{.stop = options.stop, .timeout = options.silence_max},
          receiver_{handler, result_, options_} {}

    BaseBackup take() {
        identify();
        connection_.start_bulk(base_backup_command(connection_.server_major(), options_), query_);
        const QueryResult begin = expect_rows("where it begins");
        result_.start = lsn_in(begin);
        result_.timeline = static_cast<std::uint32_t>(begin.integer(0, "tli"));
        take_tablespaces();
        if (options_.on_start) {
            options_.on_start(result_.start, result_.timeline);
        }
        if (result_.page_checks == BaseBackup::PageChecks::kDone) {
            receiver_.pages.emplace(result_.start, result_.segment_blocks, result_);
        }
        if (version_traits(connection_.server_major()).has_option_lists) {
            take_typed_stream();
        } else {
            take_stream_for_each_tablespace();
        }
        const QueryResult end = expect_rows("where it ends");
        result_.end = lsn_in(end);
        result_.end_timeline = static_cast<std::uint32_t>(end.integer(0, "tli"));
        // What the server found wrong comes last of all.
        QueryResult rest{nullptr};
        while (connection_.next_answer(rest, query_) != Answer::kEnd) {
        }
        receiver_.finish_manifest();
        return std::move(result_);
    }

private:
    QueryResult show(const std::string& name) {
        return connection_.execute("SHOW " + name, {.stop = options_.stop});
    }

    std::string shown(const std::string& name) { return show(name).text(0, name); }

    void identify() {
        const QueryResult system = connection_.execute("IDENTIFY_SYSTEM", {.stop = options_.stop});
        result_.system_identifier = system.text(0, "systemid");
        result_.server_version = connection_.server_version();
        result_.wal_segment_bytes = parse_memory_size(shown("wal_segment_size"));
        result_.block_bytes = static_cast<std::uint32_t>(parse_octets(shown("block_size")));
        result_.directory_mode = parse_mode(shown("data_directory_mode"));
        if (shown("data_checksums") != "on") {
            result_.page_checks = BaseBackup::PageChecks::kNoChecksums;
        } else if (result_.block_bytes != kPageBytes) {
            result_.page_checks = BaseBackup::PageChecks::kOtherPageSize;
        } else {
            result_.page_checks = BaseBackup::PageChecks::kDone;
            result_.segment_blocks =
                static_cast<std::uint32_t>(parse_memory_size(shown("segment_size")) / kPageBytes);
        }
        for (const char* name : kSettingsKept) {
            try {
                result_.settings[name] = shown(name);
            } catch (const Error& error) {
                // Some are for superusers alone; a backup does without.
                if (error.kind() != ErrorKind::kMissingDatabasePermissions) {
                    throw;
                }
            }
        }
    }

    QueryResult expect_rows(std::string_view what) {
        QueryResult rows{nullptr};
        if (connection_.next_answer(rows, query_) != Answer::kRows || rows.row_count() == 0) {
            fail(fmt::format("the server did not say {}", what));
        }
        return rows;
    }

    static Lsn lsn_in(const QueryResult& row) {
        const auto lsn = parse_lsn(row.text(0, "recptr"));
        if (!lsn) {
            fail(fmt::format("\"{}\" is not a position in the log", row.text(0, "recptr")));
        }
        return *lsn;
    }

    void take_tablespaces() {
        const QueryResult rows = expect_rows("which tablespaces it has");
        for (std::size_t i = 0; i < rows.row_count(); ++i) {
            const auto kib = rows.is_null(i, "size") ? 0 : rows.integer(i, "size");
            receiver_.bytes_estimate += static_cast<std::uint64_t>(kib) * kKiB;
            order_.push_back(rows.optional_text(i, "spcoid").value_or(""));
            if (!rows.is_null(i, "spcoid")) {
                result_.tablespaces.push_back({
                    .oid = static_cast<std::uint32_t>(rows.integer(i, "spcoid")),
                    .location = rows.text(i, "spclocation"),
                    .size_estimate_bytes = static_cast<std::uint64_t>(kib) * kKiB,
                });
            }
        }
    }

    void expect_copy() {
        QueryResult rows{nullptr};
        if (connection_.next_answer(rows, query_) != Answer::kCopyOut) {
            fail("the server sent no data");
        }
    }

    /// PostgreSQL 13 and 14.
    void take_stream_for_each_tablespace() {
        for (const std::string& oid : order_) {
            expect_copy();
            receiver_.prefix = tablespace_prefix(oid);
            TarReader reader{receiver_};
            while (const auto bytes = connection_.read_copy(query_)) {
                reader.write(*bytes);
            }
            reader.finish();
        }
        expect_copy();
        while (const auto bytes = connection_.read_copy(query_)) {
            receiver_.write_manifest(*bytes);
        }
    }

    /// PostgreSQL 15 and later: the first byte of a message says what it is.
    void take_typed_stream() {
        expect_copy();
        std::optional<TarReader> reader;
        std::optional<ArchiveDecoder> decoder;
        const auto finish_archive = [&] {
            if (decoder) {
                decoder->finish();
            }
            if (reader) {
                reader->finish();
            }
            decoder.reset();
            reader.reset();
        };
        bool in_manifest = false;
        while (const auto message = connection_.read_copy(query_)) {
            if (message->empty()) {
                fail("it has an empty message");
            }
            const char type = std::to_integer<char>(message->front());
            const ByteSpan body = message->subspan(1);
            if (type == 'n' || type == 'm') {
                finish_archive();
                in_manifest = type == 'm';
                if (!in_manifest) {
                    begin_archive(body);
                    reader.emplace(receiver_);
                    if (options_.compression == ServerCompression::kZstd) {
                        decoder.emplace();
                    }
                }
            } else if (type == 'd' && in_manifest) {
                receiver_.write_manifest(body);
            } else if (type == 'd' && decoder) {
                decoder->write(body, [&reader](ByteSpan unpacked) { reader->write(unpacked); });
            } else if (type == 'd' && reader) {
                reader->write(body);
            } else if (type != 'p') {
                fail(fmt::format("it has a message of the unknown type '{}'", type));
            }
        }
        finish_archive();
    }

    /// `base.tar` or `<oid>.tar`, with `.zst` when compressed, then the tablespace's location.
    void begin_archive(ByteSpan body) {
        const std::string_view text = as_text(body);
        const std::string_view name = text.substr(0, text.find('\0'));
        const std::string_view suffix =
            options_.compression == ServerCompression::kZstd ? ".tar.zst" : ".tar";
        if (!name.ends_with(suffix)) {
            fail(fmt::format("it has an archive \"{}\" instead of a {}", name, suffix.substr(1)));
        }
        const std::string_view stem = name.substr(0, name.size() - suffix.size());
        if (stem == "base") {
            receiver_.prefix.clear();
        } else if (std::find(order_.begin(), order_.end(), stem) != order_.end()) {
            receiver_.prefix = tablespace_prefix(stem);
        } else {
            fail(fmt::format("it has an archive \"{}\" of no tablespace", name));
        }
    }

    Connection& connection_;
    const BaseBackupOptions& options_;
    const QueryOptions query_;
    BaseBackup result_;
    Receiver receiver_;
    std::vector<std::string>
        order_;  ///< OIDs of the tablespaces as they come; empty: the main one.
};

/// What a user can do about the server's refusal.
[[noreturn]] void throw_backup_failure(const Error& error, const ConnectionParameters& parameters) {
    const auto& properties = error.text().properties;
    const auto found = properties.find("sqlstate");
    const std::string sqlstate = found == properties.end() ? std::string{} : found->second;
    ErrorText text = error.text();
    if (sqlstate == "42501") {
        text.recommended_actions = {
            fmt::format("ALTER ROLE {} REPLICATION;", quote_identifier(parameters.user))
        };
        throw Error{ErrorKind::kMissingReplicationRight, std::move(text)};
    }
    if (sqlstate == "53300") {
        text.recommended_actions = {
            "Raise max_wal_senders (a backup takes two) and restart the server, or end a "
            "replication client that is not needed (pg_stat_replication)."
        };
        throw Error{ErrorKind::kNoFreeWalSender, std::move(text)};
    }
    if (sqlstate == "53400") {
        text.recommended_actions = {
            "Raise max_replication_slots (a backup takes one) and restart the server, or drop a "
            "slot that is not needed (pg_replication_slots)."
        };
        throw Error{ErrorKind::kNoFreeWalSender, std::move(text)};
    }
    if (sqlstate == "0A000" && error.text().message.find("zstd") != std::string::npos) {
        text.recommended_actions = {
            "The server was built without zstd: switch its compression off "
            "(backup-instance update --server-compression None)."
        };
    }
    if (error.kind() == ErrorKind::kPostgresQuery) {
        text.message =
            fmt::format("The base backup of {} failed: {}", parameters.describe(), error.what());
        throw Error{ErrorKind::kBaseBackupFailed, std::move(text)};
    }
    throw Error{error};
}

WalStream open_wal_stream(const ConnectionParameters& parameters, const std::stop_token& stop) {
    try {
        return WalStream{parameters, stop};
    } catch (const Error& error) {
        throw_backup_failure(error, parameters);
    }
}

}  // namespace

std::string base_backup_command(int major, const BaseBackupOptions& options) {
    const bool fast = options.checkpoint == CheckpointMode::kFast;
    const bool wal = options.wal == BackupWal::kIncluded;
    const std::string label = plain_label(options.label);
    if (!version_traits(major).has_option_lists) {
        return fmt::format(
            "BASE_BACKUP LABEL '{}' PROGRESS{}{} NOWAIT{} TABLESPACE_MAP NOVERIFY_CHECKSUMS "
            "MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'",
            label,
            fast ? " FAST" : "",
            wal ? " WAL" : "",
            options.rate_max_kib > 0 ? fmt::format(" MAX_RATE {}", options.rate_max_kib) : ""
        );
    }
    return fmt::format(
        "BASE_BACKUP (LABEL '{}', PROGRESS true, CHECKPOINT '{}', WAL {}, WAIT false{}, "
        "TABLESPACE_MAP true, VERIFY_CHECKSUMS false, MANIFEST 'yes', "
        "MANIFEST_CHECKSUMS 'CRC32C'{}, TARGET 'client')",
        label,
        fast ? "fast" : "spread",
        wal,
        options.rate_max_kib > 0 ? fmt::format(", MAX_RATE {}", options.rate_max_kib) : "",
        options.compression == ServerCompression::kZstd
            ? ", COMPRESSION 'zstd', COMPRESSION_DETAIL 'level=1'"
            : ""
    );
}

BaseBackup take_base_backup(
    const ConnectionParameters& parameters, TarHandler& handler, const BaseBackupOptions& options
) {
    ConnectionParameters walsender = parameters.clone();
    walsender.session = SessionKind::kReplication;
    walsender.options.clear();
    try {
        Connection connection = Connection::open(walsender, options.stop);
        return Run{connection, handler, options}.take();
    } catch (const Error& error) {
        throw_backup_failure(error, walsender);
    }
}

BaseBackup take_base_backup_with_wal(
    const ConnectionParameters& parameters,
    TarHandler& handler,
    WalTarget& wal,
    const BaseBackupOptions& options
) {
    WalStream stream = open_wal_stream(parameters, options.stop);
    // Whichever of the two fails ends the other; the first failure is the one to tell.
    std::stop_source stop;
    const std::stop_callback forward{options.stop, [&stop] { stop.request_stop(); }};
    std::optional<Error> wal_failure;
    struct Streaming {
        std::stop_source& stop;
        std::jthread thread = {};
        ~Streaming() {
            stop.request_stop();
            wait();
        }
        void wait() {
            if (thread.joinable()) {
                thread.join();
            }
        }
    } streaming{stop};
    BaseBackupOptions inner = options;
    inner.wal = BackupWal::kStreamedBeside;
    inner.stop = stop.get_token();
    inner.on_start = [&](Lsn start, std::uint32_t timeline) {
        streaming.thread = std::jthread{[&, start, timeline] {
            name_this_thread("wal-stream");
            run_boundary(
                [&] { stream.run(wal, start, timeline, stop.get_token()); },
                [&](const Error& error) {
                    if (stop.request_stop()) {
                        wal_failure = error;
                    }
                }
            );
        }};
        if (options.on_start) {
            options.on_start(start, timeline);
        }
    };
    std::optional<BaseBackup> backup;
    try {
        backup = take_base_backup(parameters, handler, inner);
        stream.finish_at(backup->end);
    } catch (const Error&) {
        stop.request_stop();
        streaming.wait();
        if (!wal_failure) {
            throw;
        }
    }
    streaming.wait();
    if (wal_failure) {
        throw Error{*wal_failure};
    }
    return std::move(*backup);
}

}  // namespace holdfast::postgres
