// A cluster that is made up while it is read: what backups of relation files cost the vault as they
// grow, without a database and without a disk full of data. One line of JSON for every generation.
//
//   vault_synthetic [--name=value]...
//     files, file-bytes     how many relation files, how long each
//     generations, changed  backups after the first, share of pages an update touches before each
//     store                 directory to make the repository in; "memory" (figures of memory then
//                           include it)
//     extent-bytes, level, rebase-percent, workers, verify, restore
//
// Pages look like heap pages: rows that compress about 3:1; an update changes the LSN, the checksum
// and one row's tail of 40 bytes. CPU of making pages is measured and given apart.

#include "base/clock.h"
#include "vault/detail/format.h"
#include "vault/object_store/local_store.h"
#include "vault/object_store/memory_store.h"
#include "vault/object_store/metered_store.h"
#include "vault/vault.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>

#include <sys/resource.h>
#include <time.h>

namespace holdfast::vault {
namespace {

using Options = std::map<std::string, std::string>;

Options parse(int argc, char** argv) {
    Options options{
        {"files", "8"},
        {"file-bytes", "16777216"},
        {"generations", "2"},
        {"changed", "0.01"},
        {"store", "memory"},
        {"extent-bytes", "0"},
        {"level", "1"},
        {"rebase-percent", "200"},
        {"workers", "0"},
        {"verify", "1"},
        {"restore", "0"},
    };
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument{argv[i]};
        const auto equals = argument.find('=');
        if (!argument.starts_with("--") || equals == std::string_view::npos ||
            !options.contains(std::string{argument.substr(2, equals - 2)})) {
            fmt::print(stderr, "vault_synthetic: unknown argument '{}'\n", argument);
            std::exit(2);
        }
        options[std::string{argument.substr(2, equals - 2)}] = argument.substr(equals + 1);
    }
    return options;
}

std::uint64_t number(const Options& options, const std::string& name) {
    return std::stoull(options.at(name));
}

std::uint64_t mix(std::uint64_t x) noexcept {  // splitmix64
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

double seconds(const timespec& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}
double clock_seconds(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return seconds(time);
}

/// Of the process, from its start or the last reset_peak().
std::uint64_t peak_rss_kib() {
    std::ifstream status{"/proc/self/status"};
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmHWM:")) {
            return std::stoull(line.substr(6));
        }
    }
    return 0;
}

/// Pages by file, number and generation; the same on every run.
class Cluster {
public:
    Cluster(std::uint64_t file_bytes, double changed)
        : file_bytes_{file_bytes}, threshold_{static_cast<std::uint64_t>(changed * 4294967296.0)} {
        constexpr std::string_view kWords = "order customer shipped pending invoice berlin lisbon ";
        for (std::size_t i = 0; i < templates_.size(); ++i) {
            templates_[i] = static_cast<std::byte>(kWords[mix(i / 7) % kWords.size()]);
        }
    }

    [[nodiscard]] std::uint64_t file_bytes() const { return file_bytes_; }
    [[nodiscard]] bool changes(std::uint64_t page, std::uint64_t generation) const {
        return (mix(page ^ (generation << 48)) & 0xffffffff) < threshold_;
    }

    /// `page`: unique over all files.
    void make(std::uint64_t page, std::uint64_t generation, std::byte* out) const {
        const std::size_t from = mix(page) % kTemplates * kPageBytes;
        std::memcpy(out, &templates_[from], kPageBytes);
        for (std::size_t row = 128; row + 16 < kPageBytes; row += 128) {
            const std::uint64_t key = mix(page * 64 + row);
            std::memcpy(out + row, &key, sizeof key);
        }
        stamp(mix(page), out);
        for (std::uint64_t g = 1; g <= generation; ++g) {
            if (changes(page, g)) {
                update(mix(page ^ (g << 40)), out);
            }
        }
    }

private:
    static constexpr std::size_t kTemplates = 64;

    static void stamp(std::uint64_t lsn, std::byte* out) {
        std::memcpy(out, &lsn, 8);
        const std::uint64_t checksum = mix(lsn);
        std::memcpy(out + 8, &checksum, 2);
    }
    static void update(std::uint64_t seed, std::byte* out) {
        stamp(seed, out);
        const std::size_t at = 64 + seed % (kPageBytes - 128);
        for (std::size_t i = 0; i < 40; i += 8) {
            const std::uint64_t word = mix(seed + i) & 0x3f3f3f3f3f3f3f3f;
            std::memcpy(out + at + i, &word, 8);
        }
    }

    std::uint64_t file_bytes_;
    std::uint64_t threshold_;
    Bytes templates_ = Bytes(kTemplates * kPageBytes);
};

struct Run {
    Options options;
    Cluster cluster;
    MeteredStore& store;
    Repository& repository;
    std::uint64_t files = 0;
    std::uint64_t pages_per_file = 0;
};

/// No two alike, and not in order: a multiple modulo a prime.
std::string name_of(std::uint64_t file) {
    constexpr std::uint64_t kFiles = 10'000;  // Of a database.
    return fmt::format(
        "data/base/{}/{}", 16384 + file / kFiles, 16384 + file % kFiles * 7919 % 10'007
    );
}

/// Writes one point; returns what the making of pages took.
PointSummary back_up(const Run& run, std::uint64_t generation, double& making) {
    const auto writer = run.repository.begin_point(
        {.instance_id = "/synthetic", .started_at = Instant{std::chrono::seconds{generation}}}, {}
    );
    Bytes piece(16 * kPageBytes);
    for (std::uint64_t file = 0; file < run.files; ++file) {
        const auto stream = writer->open_stream(
            {.name = name_of(file),
             .kind = "file",
             .attributes = {{"mode", "600"}},
             .layout = StreamLayout::kPages,
             .size_hint_bytes = run.cluster.file_bytes()}
        );
        for (std::uint64_t page = 0; page < run.pages_per_file;) {
            const double before = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
            std::size_t size = 0;
            for (; size < piece.size() && page < run.pages_per_file; ++page) {
                run.cluster.make(file * run.pages_per_file + page, generation, &piece[size]);
                size += kPageBytes;
            }
            making += clock_seconds(CLOCK_THREAD_CPUTIME_ID) - before;
            stream->write(ByteSpan{piece}.first(size));
        }
        stream->close();
    }
    return writer->commit({.completed_at = Instant{std::chrono::seconds{1000 + generation}}}, {});
}

void restore(const Run& run, PointId id) {
    const double wall = clock_seconds(CLOCK_MONOTONIC);
    const double cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    const auto figures = run.store.figures();
    const auto point = run.repository.open_point(id, {});
    Bytes out(256 * kKiB);
    std::uint64_t bytes = 0;
    point->list_streams(
        [&](const StreamSummary& stream) {
            const auto reader = point->open_stream(stream.info.name, {});
            while (const std::size_t got = reader->read(out)) {
                bytes += got;
            }
            return true;
        },
        {}
    );
    fmt::print(
        R"({{"restore":"{}","gib":{:.3f},"wall_s":{:.2f},"cpu_s":{:.2f},"gets":{}}})"
        "\n",
        id.to_string(),
        static_cast<double>(bytes) / static_cast<double>(kGiB),
        clock_seconds(CLOCK_MONOTONIC) - wall,
        clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu,
        run.store.figures().gets - figures.gets
    );
}

void report(const Run& run, std::uint64_t generation) {
    std::uint64_t changed = 0;
    for (std::uint64_t page = 0; page < run.files * run.pages_per_file; ++page) {
        changed += generation > 0 && run.cluster.changes(page, generation) ? 1U : 0U;
    }
    const double wall = clock_seconds(CLOCK_MONOTONIC);
    const double cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    const auto before = run.store.figures();
    double making = 0;
    const PointSummary point = back_up(run, generation, making);
    const auto after = run.store.figures();
    const double gib = static_cast<double>(point.size_bytes) / static_cast<double>(kGiB);
    const double net = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu - making;
    const double per_page =
        changed > 0 ? static_cast<double>(point.stored_bytes) / static_cast<double>(changed) : 0;
    fmt::print(
        R"({{"generation":{},"files":{},"gib":{:.3f},"wall_s":{:.2f},"cpu_s":{:.2f},)"
        R"("cpu_s_per_gib":{:.2f},"making_cpu_s":{:.2f},"peak_rss_mib":{},"stored_bytes":{},)"
        R"("changed_pages":{},"stored_per_changed_page":{:.1f},"gets":{},"get_bytes":{},"puts":{}}})"
        "\n",
        generation,
        run.files,
        gib,
        clock_seconds(CLOCK_MONOTONIC) - wall,
        net,
        net / gib,
        making,
        peak_rss_kib() / 1024,
        point.stored_bytes,
        changed,
        per_page,
        after.gets - before.gets,
        after.get_bytes - before.get_bytes,
        after.puts - before.puts
    );
    std::fflush(stdout);
    if (number(run.options, "restore") != 0) {
        restore(run, point.id);
    }
}

int main_of(const Options& options) {
    SystemClock clock;
    MemoryStore memory;
    std::optional<LocalStore> local;
    if (options.at("store") != "memory") {
        std::filesystem::create_directories(options.at("store"));
        local.emplace(options.at("store"));
    }
    ObjectStore& inner = local ? static_cast<ObjectStore&>(*local) : memory;
    MeteredStore store{inner};
    const Secret key = new_key();
    Repository::create(
        store, key, {.compression_level = static_cast<int>(number(options, "level"))}, clock
    );
    const auto repository = Repository::open(
        store,
        key,
        clock,
        {.verification =
             number(options, "verify") != 0 ? Verification::kBeforePublish : Verification::kOff,
         .workers = number(options, "workers"),
         .extent_bytes = number(options, "extent-bytes"),
         .rebase_percent = static_cast<unsigned>(number(options, "rebase-percent"))}
    );
    const std::uint64_t file_bytes = number(options, "file-bytes");
    const Run run{
        .options = options,
        .cluster = Cluster{file_bytes, std::stod(options.at("changed"))},
        .store = store,
        .repository = *repository,
        .files = number(options, "files"),
        .pages_per_file = std::max<std::uint64_t>(1, file_bytes / kPageBytes),
    };
    for (std::uint64_t generation = 0; generation <= number(options, "generations"); ++generation) {
        report(run, generation);
    }
    return 0;
}

}  // namespace
}  // namespace holdfast::vault

int main(int argc, char** argv) {
    return holdfast::vault::main_of(holdfast::vault::parse(argc, argv));
}
