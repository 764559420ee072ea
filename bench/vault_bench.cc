// What a GiB costs in the vault: every step of the write pipeline alone, then backup, second backup
// and restore whole. CPU time is the figure to compare; wall time depends on who else uses the
// machine.
//
//   vault_bench [--benchmark_filter=...]     with HOLDFAST_BENCH_FILE=<file>: that file's bytes
//   instead of made ones

#include "base/file.h"
#include "vault/detail/blob_writer.h"
#include "vault/detail/chunker.h"
#include "vault/object_store/local_store.h"
#include "vault/object_store/memory_store.h"
#include "vault/vault.h"

#include <cstdlib>
#include <random>

#include <benchmark/benchmark.h>

namespace holdfast::vault {
namespace {

using benchmark::State;

/// A third each: rows of text and JSON with Zipf-distributed words, hexadecimal of random bytes,
/// padded numbers. What COPY gives of the tables of the reference data set.
Bytes make_rows(std::size_t size) {
    std::mt19937_64 engine{20240611};
    std::vector<std::string> words;
    constexpr std::string_view kConsonants = "bcdfghklmnprstvw";
    constexpr std::string_view kVowels = "aeiou";
    for (int i = 0; i < 6000; ++i) {
        std::string word;
        for (std::uint64_t n = 1 + engine() % 3; n > 0; --n) {
            word += kConsonants[engine() % kConsonants.size()];
            word += kVowels[engine() % kVowels.size()];
        }
        words.push_back(word);
    }
    const auto word = [&]() -> const std::string& {
        // Roughly 1/rank: the rank is exponential in a uniform draw.
        const double draw = static_cast<double>(engine() % 1'000'000) / 1e6;
        return words[static_cast<std::size_t>(std::pow(6000.0, draw)) % words.size()];
    };
    std::string out;
    for (std::uint64_t i = 1; out.size() < size / 3; ++i) {
        out += fmt::format(
            "{}\t{}\t2024-01-{:02} {:02}:{:02}:00+00\tpage_view\t{:016x}\t{{\"ip\": "
            "\"10.0.{}.{}\", "
            "\"path\": \"/{}/{}\", \"ms\": {}, \"ok\": true}}\t",
            i,
            engine() % 500,
            1 + i / 90'000 % 28,
            i / 3600 % 24,
            i / 60 % 60,
            engine(),
            engine() % 256,
            engine() % 256,
            word(),
            word(),
            engine() % 900
        );
        for (std::uint64_t n = 20 + engine() % 70; n > 0; --n) {
            out += word();
            out += n > 1 ? ' ' : '\n';
        }
    }
    while (out.size() < size / 3 * 2) {
        out += fmt::format("{}\t\\\\x", out.size());
        for (int j = 0; j < 1024; ++j) {
            out += fmt::format("{:016x}", engine());
        }
        out += '\n';
    }
    for (std::uint64_t i = 1; out.size() < size; ++i) {
        out += fmt::format("{}\t{}\t0\t{:84}\n", i, i / 100'000 + 1, "");
    }
    return to_bytes(out);
}

const Bytes& sample() {
    static const Bytes kSample = [] {
        if (const char* path = std::getenv("HOLDFAST_BENCH_FILE"); path != nullptr) {
            return to_bytes(read_file(path, 4 * kGiB).value());
        }
        return make_rows(192 * kMiB);
    }();
    return kSample;
}

template <typename Body>
void over_chunks(State& state, Body&& body) {
    const ByteSpan all{sample()};
    std::uint64_t bytes = 0;
    for (auto _ : state) {
        for (std::size_t at = 0; at + kMiB <= all.size(); at += kMiB) {
            body(all.subspan(at, kMiB));
            bytes += kMiB;
        }
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}

void chunk(State& state) {
    const GearTable gear = make_gear_table(Secret{as_bytes(std::string(32, 'k'))});
    Chunker chunker{gear, {}};
    std::size_t chunks = 0;
    over_chunks(state, [&](ByteSpan bytes) {
        while (const auto end = chunker.find_end(bytes)) {
            bytes = bytes.subspan(*end);
            ++chunks;
        }
    });
    const double bytes =
        static_cast<double>(sample().size()) * static_cast<double>(state.iterations());
    state.counters["mean_chunk_KiB"] = bytes / 1024 / static_cast<double>(chunks);
}
BENCHMARK(chunk)->Unit(benchmark::kMillisecond);

void copy(State& state) {
    Buffer out;
    out.reserve(kMiB);
    over_chunks(state, [&](ByteSpan bytes) {
        std::copy(bytes.begin(), bytes.end(), out.data());
        benchmark::ClobberMemory();
    });
}
BENCHMARK(copy)->Unit(benchmark::kMillisecond);

template <BlobType type>
void identify(State& state) {
    const KeyRing keys = KeyRing::generate(RepositoryId::random());
    BlobIds ids{keys};
    over_chunks(state, [&](ByteSpan bytes) { benchmark::DoNotOptimize(ids(type, bytes)); });
}
BENCHMARK(identify<BlobType::kDataChunk>)->Unit(benchmark::kMillisecond);
BENCHMARK(identify<BlobType::kTaggedExtent>)->Unit(benchmark::kMillisecond);

void digest_poly1305(State& state) {
    const Secret key = Secret::random(kKeyBytes);
    FastDigest digest{key};
    over_chunks(state, [&](ByteSpan bytes) { benchmark::DoNotOptimize(digest(bytes)); });
}
BENCHMARK(digest_poly1305)->Unit(benchmark::kMillisecond);

void compress(State& state) {
    Compressor compressor{static_cast<int>(state.range(0))};
    Buffer scratch;
    std::uint64_t in = 0;
    std::uint64_t out = 0;
    over_chunks(state, [&](ByteSpan bytes) {
        const ByteSpan compressed = compressor.compress(bytes, scratch);
        in += bytes.size();
        out += compressed.empty() ? bytes.size() : compressed.size();
    });
    state.counters["ratio"] = static_cast<double>(in) / static_cast<double>(out);
}
BENCHMARK(compress)->Arg(-5)->Arg(-3)->Arg(-1)->Arg(1)->Arg(2)->Arg(3)->Unit(benchmark::kMillisecond
);

void decompress(State& state) {
    Compressor compressor{1};
    Decompressor decompressor;
    std::vector<Bytes> compressed;
    Buffer scratch;
    const ByteSpan all{sample()};
    for (std::size_t at = 0; at + kMiB <= all.size(); at += kMiB) {
        const ByteSpan bytes = compressor.compress(all.subspan(at, kMiB), scratch);
        compressed.emplace_back(bytes.begin(), bytes.end());
    }
    Bytes plain(kMiB);
    std::uint64_t bytes = 0;
    for (auto _ : state) {
        for (const Bytes& one : compressed) {
            benchmark::DoNotOptimize(one.empty() || decompressor.decompress(one, plain));
            bytes += kMiB;
        }
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
BENCHMARK(decompress)->Unit(benchmark::kMillisecond);

void seal_aes_256_gcm(State& state) {
    Aead aead;
    const Secret key = Secret::random(kKeyBytes);
    Bytes out(kMiB + kTagBytes);
    std::uint32_t slot = 0;
    over_chunks(state, [&](ByteSpan bytes) { aead.seal(key, slot++, {}, bytes, out); });
}
BENCHMARK(seal_aes_256_gcm)->Unit(benchmark::kMillisecond);

/// Whole backups into memory: pipeline without the disk. Argument: verification off or on.
void back_up(State& state) {
    SystemClock clock;
    const ByteSpan all{sample()};
    std::uint64_t stored = 0;
    for (auto _ : state) {
        state.PauseTiming();
        MemoryStore store;
        const Secret key = new_key();
        Repository::create(store, key, {}, clock);
        const auto repository = Repository::open(
            store,
            key,
            clock,
            {.verification = state.range(0) == 0 ? Verification::kOff : Verification::kBeforePublish
            }
        );
        state.ResumeTiming();
        const auto writer = repository->begin_point({.instance_id = "i"}, {});
        const auto stream = writer->open_stream({.name = "s", .kind = "k"});
        for (std::size_t at = 0; at < all.size(); at += 64 * kKiB) {
            stream->write(all.subspan(at, std::min<std::size_t>(64 * kKiB, all.size() - at)));
        }
        stream->close();
        stored = writer->commit({}, {}).stored_bytes;
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(all.size()) * state.iterations());
    state.counters["stored_MB"] = static_cast<double>(stored) / 1e6;
}
BENCHMARK(back_up)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();

struct Written {
    Written() : key{new_key()} {
        Repository::create(store, key, {}, clock);
        repository = Repository::open(store, key, clock);
        id = write();
    }
    PointId write() {
        const ByteSpan all{sample()};
        const auto writer = repository->begin_point({.instance_id = "i"}, {});
        const auto stream = writer->open_stream({.name = "s", .kind = "k"});
        for (std::size_t at = 0; at < all.size(); at += 64 * kKiB) {
            stream->write(all.subspan(at, std::min<std::size_t>(64 * kKiB, all.size() - at)));
        }
        stream->close();
        return writer->commit({}, {}).id;
    }
    SystemClock clock;
    MemoryStore store;
    Secret key;
    std::unique_ptr<Repository> repository;
    PointId id;
};

void back_up_unchanged(State& state) {
    Written written;
    for (auto _ : state) {
        written.write();
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(sample().size()) * state.iterations());
}
BENCHMARK(back_up_unchanged)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();

void restore(State& state) {
    const Written written;
    Bytes out(128 * kKiB);
    for (auto _ : state) {
        const auto reader = written.repository->open_point(written.id, {});
        const auto stream = reader->open_stream("s", {});
        while (stream->read(out) > 0) {
        }
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(sample().size()) * state.iterations());
}
BENCHMARK(restore)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();

}  // namespace
}  // namespace holdfast::vault

BENCHMARK_MAIN();
