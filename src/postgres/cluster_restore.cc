#include "postgres/cluster_restore.h"

#include "base/crc32c.h"
#include "base/direct_io.h"
#include "base/error.h"
#include "base/text.h"
#include "base/threads.h"
#include "base/zeros.h"
#include "postgres/backup_manifest.h"
#include "postgres/cluster_layout.h"
#include "postgres/cluster_settings.h"
#include "postgres/cluster_streams.h"
#include "postgres/file_table.h"
#include "postgres/streams.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace holdfast::postgres {

namespace fs = std::filesystem;

namespace {

constexpr const char* kControlFile = "global/pg_control";
constexpr std::size_t kWorkersMax = 16;
constexpr std::size_t kQueueMax = 256;
/// Files that are put in order before the workers get them.
constexpr std::size_t kBatchMax = 4096;
constexpr std::uint64_t kLargeBytesMin = 16 * kMiB;
constexpr std::size_t kReadBytes = kMiB;
constexpr mode_t kWalMode = 0600;
/// Below this, space is as well had by writing, and written through the page cache.
constexpr std::uint64_t kPreSizeBytesMin = 128 * kKiB;

struct FileTask {
    TarEntry entry;
    std::string stream;
};

/// So that no worker is left with a large one at the end. Small files stay in the order of their
/// names, in which what is stored of them lies.
void put_largest_first(std::vector<FileTask>& tasks) {
    const auto weight = [](const FileTask& task) {
        return task.entry.size < kLargeBytesMin ? 0 : task.entry.size;
    };
    std::stable_sort(tasks.begin(), tasks.end(), [&](const FileTask& a, const FileTask& b) {
        return weight(a) > weight(b);
    });
}

/// Writes one file after the other, from one worker.
class FileRestorer {
public:
    FileRestorer(
        const StreamSource& source,
        const ClusterLayout& layout,
        const FileTable& manifest,
        const RestoreClusterOptions& options,
        std::atomic<std::uint64_t>& bytes_done
    )
        : source_{source},
          layout_{layout},
          manifest_{manifest},
          options_{options},
          bytes_done_{bytes_done} {}

    std::uint64_t bytes = 0;
    std::uint64_t bytes_written = 0;

    void restore(const FileTask& task) {
        const ClusterLayout::Place place = layout_.place_of(task.entry.name);
        path_ = place.tree->root() / place.path;
        reader_ = source_.open(task.stream);
        const std::uint64_t size = reader_->size();
        const FileDescriptor fd = open(place, task.entry.mode, size);
        crc_ = 0;
        position_ = 0;
        while (position_ < size) {
            if (options_.stop.stop_requested()) {
                throw Error{ErrorKind::kCancelled, "The restore was stopped by request."};
            }
            step(fd.get(), size);
        }
        bytes += size;
        place.tree->give(fd.get(), place.path, task.entry.mode);
        compare(task.entry.name, size);
    }

private:
    FileDescriptor open(const ClusterLayout::Place& place, mode_t mode, std::uint64_t size) {
        existing_ = 0;
        FileDescriptor fd;
        if (options_.existing == ExistingFiles::kDelta) {
            fd = place.tree->open_file(place.path, O_RDWR, 0);
            if (!fd.valid()) {
                place.tree->remove(place.path);
            }
        }
        if (fd.valid()) {
            const off_t end = ::lseek(fd.get(), 0, SEEK_END);
            existing_ = static_cast<std::uint64_t>(std::max<off_t>(end, 0));
            if (existing_ > size) {
                if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
                    throw_target_errno("shorten", path_, errno);
                }
                existing_ = size;
            }
        } else {
            fd = place.tree->open_file(place.path, O_RDWR | O_CREAT | O_EXCL, mode);
            if (!fd.valid()) {
                throw_target_errno("make", path_, EEXIST);
            }
        }
        pre_sized_ = size > existing_ && size >= kPreSizeBytesMin && make_room(fd.get(), size);
        return fd;
    }

    /// Whether the file has its size now, zeros where nothing was before.
    bool make_room(int fd, std::uint64_t size) const {
        if (::fallocate(fd, 0, 0, static_cast<off_t>(size)) == 0) {
            return true;
        }
        if (errno != EOPNOTSUPP) {
            throw_target_errno("make room for", path_, errno);
        }
        return false;
    }

    /// One piece of the stream, or one buffer.
    void step(int fd, std::uint64_t size) {
        const std::size_t piece = existing_ > position_ ? reader_->next_piece_bytes() : 0;
        if (piece > 0 && position_ + piece <= existing_) {
            read_existing(fd, piece);
            if (reader_->skip_if_equal(have_)) {
                accept(have_);
                return;
            }
        }
        const std::size_t wanted = piece > 0 ? piece : kReadBytes;
        const MutableByteSpan room = buffer_.reserve(wanted);
        const std::size_t count = reader_->read(room);
        if (count == 0) {
            throw Error{
                ErrorKind::kVaultCorrupt,
                fmt::format("{} ends after {} of {} bytes.", path_.string(), position_, size)
            };
        }
        const ByteSpan got = room.first(count);
        if (piece == 0 && position_ + count <= existing_) {
            read_existing(fd, count);
            if (std::equal(got.begin(), got.end(), have_.begin(), have_.end())) {
                accept(got);
                return;
            }
        }
        write(fd, got);
        bytes_written += count;
        accept(got);
    }

    void accept(ByteSpan got) {
        crc_ = crc32c(got, crc_);
        position_ += got.size();
        bytes_done_.fetch_add(got.size(), std::memory_order_relaxed);
    }

    void read_existing(int fd, std::size_t count) {
        have_.resize(count);
        const std::int64_t got = read_past_cache(fd, have_, position_, scratch_);
        if (got < 0) {
            throw_target_errno("read", path_, static_cast<int>(-got));
        }
        // Shortened meanwhile: what is missing differs.
        std::fill(have_.begin() + static_cast<std::ptrdiff_t>(got), have_.end(), std::byte{0});
    }

    void write(int fd, ByteSpan got) const {
        if (pre_sized_ && position_ >= existing_ && is_zero(got)) {
            return;
        }
        if (const int error = write_past_cache(fd, got, position_)) {
            throw_target_errno("write", path_, error);
        }
    }

    void compare(const std::string& name, std::uint64_t size) const {
        const auto said = manifest_.find(name);
        // The log is not in the manifest.
        if (said && !said->matches(size, crc_)) {
            throw Error{
                ErrorKind::kVaultCorrupt,
                fmt::format(
                    "\"{}\" of the recovery point is not what the server's manifest says.", name
                )
            };
        }
    }

    const StreamSource& source_;
    const ClusterLayout& layout_;
    const FileTable& manifest_;
    const RestoreClusterOptions& options_;
    std::atomic<std::uint64_t>& bytes_done_;
    fs::path path_;
    std::unique_ptr<StreamReader> reader_;
    std::uint64_t position_ = 0;
    std::uint64_t existing_ = 0;  ///< Bytes of an older file that may be kept.
    bool pre_sized_ = false;
    std::uint32_t crc_ = 0;
    AlignedBuffer buffer_;
    AlignedBuffer scratch_;
    Bytes have_;
};

/// One restore.
class Restore {
public:
    Restore(const StreamSource& source, const RestoreClusterOptions& options)
        : source_{source}, options_{options} {
        restored_.cluster = read_cluster_description(source);
        restored_.data_directory = options.target;
        total_ = restored_.cluster.bytes + restored_.cluster.wal_bytes;
    }

    RestoredCluster run() {
        read_manifest();
        layout_.emplace(ClusterLayout::prepare(restored_.cluster, options_));
        forget_old_state();
        restore_files();
        link_tablespaces();
        if (options_.existing == ExistingFiles::kDelta) {
            remove_what_does_not_belong();
        }
        write_settings(source_, *layout_, options_, restored_);
        finish();
        tell_next_steps();
        return std::move(restored_);
    }

private:
    void read_manifest() {
        struct Collector final : ManifestHandler {
            explicit Collector(FileTable& out) : table{out} {}
            FileTable& table;
            void file(const std::string& path, const ManifestFile& file) override {
                if (file.crc32c) {
                    table.add(path, file.size, *file.crc32c);
                }
            }
        } collector{manifest_};
        BackupManifestReader manifest{collector};
        const auto reader = source_.open(kManifestStream);
        Bytes buffer(64 * kKiB);
        while (const std::size_t count = reader->read(buffer)) {
            manifest.write(ByteSpan{buffer}.first(count));
        }
        manifest.finish();
        (void)manifest_.seal();
    }

    /// From here on no server starts from what was there.
    void forget_old_state() const {
        if (options_.existing != ExistingFiles::kDelta) {
            return;
        }
        const TargetTree& data = layout_->data();
        for (const char* name : {kControlFile, "postmaster.pid", "recovery.signal"}) {
            data.remove(name);
        }
        sync();
    }

    void sync() const {
        if (options_.durability == Durability::kDurable) {
            layout_->sync();
        }
    }

    void remember(const std::string& path) {
        if (options_.existing == ExistingFiles::kDelta) {
            belongs_.push_back(std::hash<std::string>{}(path));
        }
    }
    [[nodiscard]] bool belongs(const std::string& path) const {
        return std::binary_search(belongs_.begin(), belongs_.end(), std::hash<std::string>{}(path));
    }

    /// Links of tablespaces are made from the description: the server leaves them out of a backup
    /// that has a tablespace_map.
    void place_link(const TarEntry& entry) {
        constexpr std::string_view kTablespaces = "pg_tblspc/";
        if (!entry.name.starts_with(kTablespaces) ||
            !layout_->tablespaces().contains(entry.name.substr(kTablespaces.size()))) {
            restored_.warnings.push_back(fmt::format(
                "The link {} to \"{}\" is of no tablespace and was left out.",
                entry.name,
                entry.link_target
            ));
        }
    }

    void link_tablespaces() {
        for (const auto& [oid, tree] : layout_->tablespaces()) {
            const std::string path = "pg_tblspc/" + oid;
            remember(path);
            layout_->data().make_link(path, tree.root().string());
        }
    }

    /// Directories and links at once, in the order of their names; files for the workers.
    void place(const StreamInfo& stream, const std::function<void(FileTask)>& hand_out) {
        TarEntry entry = entry_of_stream(stream);
        if (entry.type == TarEntryType::kSymbolicLink) {
            place_link(entry);
            return;
        }
        // Whether it becomes a standby, or goes on with other log, is decided anew.
        if (entry.name == "standby.signal" || entry.name == "recovery.signal") {
            return;
        }
        remember(entry.name);
        if (entry.type == TarEntryType::kDirectory) {
            place_directory(entry);
        } else if (entry.name == kControlFile) {
            control_ = FileTask{std::move(entry), stream.spec.name};
        } else {
            ++restored_.file_count;
            hand_out({std::move(entry), stream.spec.name});
        }
    }

    void place_directory(const TarEntry& entry) const {
        if (entry.name == "pg_wal" && layout_->wal()) {
            return;
        }
        const ClusterLayout::Place place = layout_->place_of(entry.name);
        place.tree->make_directory(place.path, entry.mode);
    }

    void list(const std::function<void(FileTask)>& hand_out) {
        source_.list(kDataPrefix, [&](const StreamInfo& stream) { place(stream, hand_out); });
        source_.list(kWalPrefix, [&](const StreamInfo& stream) {
            TarEntry entry;
            entry.name = "pg_wal/" + path_of_stream_name(kWalPrefix, stream.spec.name);
            entry.mode = kWalMode;
            entry.size = stream.size;
            remember(entry.name);
            ++restored_.file_count;
            hand_out({std::move(entry), stream.spec.name});
        });
    }

    [[nodiscard]] std::size_t worker_count() const {
        // Twice: every other one may wait for a disk.
        const std::size_t machine = 2 * std::max(1U, std::thread::hardware_concurrency());
        return std::min(options_.workers == 0 ? machine : options_.workers, kWorkersMax);
    }

    void restore_files() {
        std::stop_source failed;
        const std::stop_callback forward{options_.stop, [&failed] { failed.request_stop(); }};
        BoundedQueue<FileTask> queue{kQueueMax};
        std::mutex mutex;
        std::optional<Error> failure;
        const auto report_failure = [&](const Error& error) {
            const std::lock_guard lock{mutex};
            if (!failure) {
                failure = error;
            }
            failed.request_stop();
        };
        {
            std::vector<std::jthread> workers;
            for (std::size_t i = 0; i < worker_count(); ++i) {
                workers.emplace_back([&] {
                    name_this_thread("restore");
                    run_boundary([&] { work(queue, failed.get_token(), mutex); }, report_failure);
                });
            }
            run_boundary(
                [&] {
                    std::vector<FileTask> batch;
                    const auto hand_out_batch = [&] {
                        put_largest_first(batch);
                        for (FileTask& task : batch) {
                            if (!queue.push(std::move(task), failed.get_token())) {
                                throw Error{
                                    ErrorKind::kCancelled, "The restore was stopped by request."
                                };
                            }
                            report();
                        }
                        batch.clear();
                    };
                    list([&](FileTask task) {
                        batch.push_back(std::move(task));
                        if (batch.size() == kBatchMax) {
                            hand_out_batch();
                        }
                    });
                    hand_out_batch();
                },
                report_failure
            );
            queue.close();
        }
        if (failure) {
            throw Error{*failure};
        }
        if (options_.stop.stop_requested()) {
            throw Error{ErrorKind::kCancelled, "The restore was stopped by request."};
        }
    }

    void work(BoundedQueue<FileTask>& queue, const std::stop_token& stop, std::mutex& mutex) {
        FileRestorer restorer{source_, *layout_, manifest_, options_, bytes_done_};
        while (const auto task = queue.pop(stop)) {
            restorer.restore(*task);
            files_done_.fetch_add(1, std::memory_order_relaxed);
            report();
        }
        const std::lock_guard lock{mutex};
        restored_.bytes += restorer.bytes;
        restored_.bytes_written += restorer.bytes_written;
    }

    void report() {
        if (!options_.progress) {
            return;
        }
        constexpr std::chrono::milliseconds kInterval{100};
        const std::unique_lock lock{report_mutex_, std::try_to_lock};
        const SteadyInstant now = clock_.steady_now();
        if (lock.owns_lock() && now - last_report_ >= kInterval) {
            last_report_ = now;
            options_.progress(
                {.bytes_done = bytes_done_, .bytes_total = total_, .files_done = files_done_}
            );
        }
    }

    void remove_below(const TargetTree& tree, const std::string& start, const std::string& prefix) {
        std::vector<std::string> extra;
        tree.walk(start, [&](const std::string& path, const struct stat&) {
            const bool ours = belongs(prefix + path) ||
                              (prefix.empty() && (path == kRestoreMark || path == "lost+found"));
            if (!ours) {
                extra.push_back(path);
            }
            return ours;
        });
        for (const std::string& path : extra) {
            restored_.files_removed += tree.remove(path);
        }
    }

    void remove_what_does_not_belong() {
        std::sort(belongs_.begin(), belongs_.end());
        remove_below(layout_->data(), {}, {});
        if (layout_->wal()) {
            remove_below(*layout_->wal(), {}, "pg_wal/");
        }
        for (const auto& [oid, tree] : layout_->tablespaces()) {
            const std::string prefix = "pg_tblspc/" + oid + '/';
            // Only its own version's directory: another server's may lie beside it.
            tree.walk({}, [&](const std::string& path, const struct stat&) {
                if (path.find('/') == std::string::npos && belongs(prefix + path)) {
                    remove_below(tree, path, prefix);
                }
                return false;
            });
        }
    }

    void finish() {
        sync();
        if (!control_) {
            throw Error{ErrorKind::kVaultCorrupt, "The recovery point has no global/pg_control."};
        }
        FileRestorer restorer{source_, *layout_, manifest_, options_, bytes_done_};
        restorer.restore(*control_);
        ++restored_.file_count;
        restored_.bytes += restorer.bytes;
        restored_.bytes_written += restorer.bytes_written;
        layout_->data().remove(kRestoreMark);
        sync();
    }

    void tell_next_steps() {
        const ClusterDescription& cluster = restored_.cluster;
        const std::string directory = restored_.data_directory.string();
        const auto archive = cluster.settings.find("archive_mode");
        if (archive != cluster.settings.end() && archive->second != "off") {
            restored_.next_steps.push_back(
                "If the old server still runs or its log archive is still in use, set "
                "archive_mode = off or another archive_command first: as restored, this server "
                "archives to where the old one did."
            );
        }
        if (!layout_->owner() && ::geteuid() == 0) {
            restored_.next_steps.push_back(fmt::format(
                "Give the files to the account that runs PostgreSQL: chown -R <account> {}.",
                directory
            ));
        }
        restored_.next_steps.push_back(fmt::format(
            "Start PostgreSQL {} as the owner of the files: pg_ctl -D {} start.",
            cluster.major(),
            directory
        ));
    }

    const StreamSource& source_;
    const RestoreClusterOptions& options_;
    RestoredCluster restored_;
    FileTable manifest_;
    std::optional<ClusterLayout> layout_;
    std::optional<FileTask> control_;
    std::vector<std::size_t> belongs_;  ///< Hashes of paths, sorted once all are known.
    std::uint64_t total_ = 0;
    std::atomic<std::uint64_t> bytes_done_ = 0;
    std::atomic<std::uint64_t> files_done_ = 0;
    SystemClock clock_;
    std::mutex report_mutex_;
    SteadyInstant last_report_{};
};

}  // namespace

RestoredCluster restore_cluster(const StreamSource& source, const RestoreClusterOptions& options) {
    return Restore{source, options}.run();
}

}  // namespace holdfast::postgres
