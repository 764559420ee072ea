// Seeded runs of whole services on one repository: processes with writers, a collector, removals
// and readers, interleaved, paused and killed at every storage call. The oracle is what the test
// itself remembers.

#include "../crash/invariants.h"
#include "simulator.h"
#include "vault/collect.h"
#include "vault/detail/format.h"
#include "vault/session_owner.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace holdfast::vault {
namespace {

using testing::Expected;
using testing::ScheduledStore;
using testing::Scheduler;
using testing::Streams;

constexpr std::size_t kProcesses = 3;
constexpr std::size_t kRounds = 3;

/// What is stored comes from a few texts, so that points share much and adopt each other's.
const Bytes& text_number(std::size_t number) {
    static const std::vector<Bytes> kTexts = [] {
        std::vector<Bytes> texts;
        for (std::uint64_t i = 0; i < 14; ++i) {
            texts.push_back(testing::pseudo_random_bytes(9000 + i * 2500, i));
        }
        return texts;
    }();
    return kTexts[number % kTexts.size()];
}

constexpr std::size_t kRelations = 3;
constexpr std::size_t kVersions = 12;

/// A relation of one extent: with more, writer and workers would call the store at a time. Each
/// version changes one more page.
const Bytes& relation(std::size_t which, std::size_t version) {
    static const std::vector<std::vector<Bytes>> kAll = [] {
        std::vector<std::vector<Bytes>> all;
        for (std::size_t i = 0; i < kRelations; ++i) {
            Bytes pages = testing::pseudo_random_bytes(20'000 + i * 18'000, 100 + i);
            std::vector<Bytes>& versions = all.emplace_back();
            for (std::size_t v = 0; v < kVersions; ++v) {
                pages[(v * 5 * 8192 + v) % pages.size()] ^= std::byte{1};
                versions.push_back(pages);
            }
        }
        return all;
    }();
    return kAll.at(which).at(version);
}

class Simulation {
public:
    explicit Simulation(std::uint64_t seed) : seed_{seed}, scheduler_{seed} {
        key_ = new_key();
        Repository::create(store_, *key_, {.label = "sim"}, clock_);
        for (std::size_t i = 0; i < kProcesses; ++i) {
            ids_.push_back(OwnerId::random());
            owners_.push_back(std::make_unique<SessionOwner>(ids_[i]));
        }
    }

    void run() {
        for (std::size_t round = 0; round < kRounds && !::testing::Test::HasFailure(); ++round) {
            plan_round();
            scheduler_.run([this](std::size_t actor, const std::string& problem) {
                ADD_FAILURE() << "seed " << seed_ << ", actor " << actor << ": " << problem;
            });
            for (std::size_t i = 0; i < kProcesses; ++i) {
                if (scheduler_.crashed(i) || scheduler_.draw(4) == 0) {
                    owners_[i] = std::make_unique<SessionOwner>(ids_[i]);  // Another incarnation.
                }
            }
            settle_unknown();
            testing::check_invariants(store_, *key_, expected_);
        }
        end();
    }

    [[nodiscard]] std::uint64_t trace() const { return scheduler_.trace(); }
    [[nodiscard]] std::uint64_t steps() const { return scheduler_.steps(); }

private:
    [[nodiscard]] OpenOptions options(std::size_t process) {
        return {
            .workers = 1,
            .pack_bytes = 48 * kKiB,
            .extent_bytes = 64 * kKiB,
            .rebase_percent = 1,  // After a few deltas.
            .owner = owners_[process].get()};
    }

    /// Which actors, and who dies when.
    void plan_round() {
        for (std::size_t process = 0; process < kProcesses; ++process) {
            if (process == 0 || scheduler_.draw(2) == 0) {
                add(process, [this](Repository& repository) { write_points(repository); });
            }
            if (process == 0 || scheduler_.draw(3) == 0) {
                add(process, [this](Repository& repository) { collect(repository); });
            }
            if (scheduler_.draw(2) == 0) {
                add(process, [this](Repository& repository) { remove_points(repository); });
            }
            if (scheduler_.draw(2) == 0) {
                add(process, [this](Repository& repository) { read_points(repository); });
            }
            if (scheduler_.draw(5) < 2) {
                scheduler_.crash_at(process, 1 + scheduler_.draw(900));
            }
        }
    }

    void add(std::size_t process, std::function<void(Repository&)> body) {
        auto actor = std::make_shared<std::size_t>(0);
        *actor = scheduler_.add_actor(process, [this, process, actor, body = std::move(body)] {
            ScheduledStore store{store_, scheduler_, *actor};
            const auto repository = Repository::open(store, *key_, clock_, options(process));
            // So that there are moments without any session, in which a collector condemns at once.
            for (std::uint64_t n = scheduler_.draw(2) * scheduler_.draw(1200); n > 0; --n) {
                (void)store.size(config_key(1), {});
            }
            body(*repository);
        });
    }

    void write_points(Repository& repository) {
        for (std::uint64_t n = 1 + scheduler_.draw(3); n > 0; --n) {
            Streams streams;
            for (std::uint64_t i = 2 + scheduler_.draw(4); i > 0; --i) {
                streams[fmt::format("s{}", i)] = text_number(scheduler_.draw(14));
            }
            if (scheduler_.draw(2) == 0) {
                const std::size_t which = scheduler_.draw(kRelations);
                streams[fmt::format("{}{}", testing::kPagesPrefix, which)] =
                    relation(which, scheduler_.draw(kVersions));
            }
            const std::string instance = fmt::format("instance-{}", scheduler_.draw(3));
            const bool given_up = scheduler_.draw(8) == 0;
            const auto writer = repository.begin_point(testing::begin_point(instance), {});
            if (given_up) {
                continue;
            }
            // Before the writer's own thread has anything to do: from then on, until it commits,
            // this one must not touch what the actors share.
            unknown_.emplace(writer->id(), streams);
            expected_.possible.insert(writer->id());
            for (const auto& [name, bytes] : streams) {
                const auto layout = name.starts_with(testing::kPagesPrefix)
                                        ? StreamLayout::kPages
                                        : StreamLayout::kBytes;
                const auto stream =
                    writer->open_stream({.name = name, .kind = "k", .layout = layout});
                stream->write(bytes);
                stream->close();
            }
            const PointId id = writer->commit({}, {}).id;
            unknown_.erase(id);
            expected_.possible.erase(id);
            expected_.committed.emplace(id, std::move(streams));
        }
    }

    void collect(Repository& repository) {
        for (std::uint64_t n = 1 + scheduler_.draw(3); n > 0; --n) {
            try {
                const CollectPlan plan = repository.plan_collection(
                    {.repack_dead_percent = 30, .unused_percent_max = 5}, {}
                );
                for (const DamagedObject& object : plan.obstacles) {
                    ADD_FAILURE() << "seed " << seed_ << ": " << object.problem;
                }
                const CollectReport report = repository.collect(plan, {});
                EXPECT_TRUE(report.kept_damaged.empty()) << "seed " << seed_;
            } catch (const Error& error) {
                if (error.kind() != ErrorKind::kConflict) {
                    throw;
                }
            }
        }
    }

    void remove_points(Repository& repository) {
        for (std::uint64_t n = 1 + scheduler_.draw(4); n > 0; --n) {
            const auto victim = pick();
            if (!victim) {
                return;
            }
            unknown_.emplace(*victim, expected_.committed.at(*victim));
            expected_.committed.erase(*victim);
            expected_.possible.insert(*victim);
            repository.remove_point(*victim, "{}", {});
            unknown_.erase(*victim);
            expected_.possible.erase(*victim);
        }
    }

    void read_points(Repository& repository) {
        for (std::uint64_t n = 1 + scheduler_.draw(3); n > 0; --n) {
            const auto id = pick();
            if (!id) {
                return;
            }
            const Streams wanted = expected_.committed.at(*id);
            try {
                EXPECT_EQ(testing::read_streams(repository, *id), wanted) << "seed " << seed_;
            } catch (const Error&) {
                if (expected_.committed.contains(*id)) {
                    throw;  // It was not removed, so there is no excuse.
                }
            }
        }
    }

    [[nodiscard]] std::optional<PointId> pick() {
        if (expected_.committed.empty()) {
            return std::nullopt;
        }
        const auto at =
            static_cast<std::ptrdiff_t>(scheduler_.draw(expected_.committed.size()));
        return std::next(expected_.committed.begin(), at)->first;
    }

    /// Calls that a crash cut short: whether they took effect, the repository tells.
    void settle_unknown() {
        const auto repository = Repository::open(store_, *key_, clock_);
        for (const auto& [id, streams] : unknown_) {
            if (repository->find_point(id, {})) {
                EXPECT_EQ(testing::read_streams(*repository, id), streams) << "seed " << seed_;
            }
        }
    }

    /// Everybody starts anew once more: then nothing is left but what the points need.
    void end() {
        for (int pass = 0; pass < 2; ++pass) {
            for (std::size_t process = 0; process < kProcesses; ++process) {
                owners_[process] = std::make_unique<SessionOwner>(ids_[process]);
                const auto repository = Repository::open(store_, *key_, clock_, options(process));
                try {
                    repository->collect(repository->plan_collection({}, {}), {});
                } catch (const Error& error) {
                    // Another's collection, which only that one knows to be dead.
                    EXPECT_EQ(error.kind(), ErrorKind::kConflict) << "seed " << seed_;
                }
            }
        }
        const auto repository = Repository::open(store_, *key_, clock_, options(0));
        const CollectPlan everything =
            repository->plan_collection({.end_foreign_sessions = true}, {});
        const CollectReport last = repository->collect(everything, {});
        EXPECT_TRUE(last.waiting_for.empty()) << "seed " << seed_;
        EXPECT_EQ(last.condemned_left.packs, 0U) << "seed " << seed_;
        testing::check_invariants(store_, *key_, expected_);
        const CollectPlan plan = repository->plan_collection({}, {});
        EXPECT_EQ(plan.dead.packs, 0U) << "seed " << seed_;
        std::uint64_t packs = 0;
        store_.list(
            kPacksPrefix,
            [&](const ObjectInfo& info) {
                packs += info.size_bytes;
                return true;
            },
            {}
        );
        constexpr std::uint64_t kPackOverheads = 16 * kKiB;
        EXPECT_LE(packs, plan.live_bytes * 11 / 10 + kPackOverheads) << "seed " << seed_;
    }

    const std::uint64_t seed_;
    Scheduler scheduler_;  // First: the ids and keys below come from its seed.
    MemoryStore store_;
    FakeClock clock_{testing::instant(0)};
    std::optional<Secret> key_;
    std::vector<OwnerId> ids_;
    std::vector<std::unique_ptr<SessionOwner>> owners_;
    Expected expected_;                    // Of the actor that runs.
    std::map<PointId, Streams> unknown_;  // Being committed or removed. Likewise.
};

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* const text = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe)
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(CollectSimulation, KeepsEveryCommittedPoint) {
    std::vector<std::uint64_t> seeds;
    if (std::getenv("HOLDFAST_SIM_SEED") != nullptr) {  // NOLINT(concurrency-mt-unsafe)
        seeds = {number_from("HOLDFAST_SIM_SEED", 0)};
    } else {
        // These found a collector that took a point for damaged which another process removed while
        // it was marked; among those that follow, 538 finds one that waits for no session.
        seeds = {362, 674, 823};
        constexpr std::uint64_t kFirst = 450;
        const std::uint64_t runs = number_from("HOLDFAST_SIM_RUNS", 100);
        for (std::uint64_t seed = kFirst; seed < kFirst + runs; ++seed) {
            seeds.push_back(seed);
        }
    }
    std::uint64_t steps = 0;
    for (const std::uint64_t seed : seeds) {
        SCOPED_TRACE(fmt::format("HOLDFAST_SIM_SEED={}", seed));
        Simulation simulation{seed};
        simulation.run();
        steps += simulation.steps();
        if (::testing::Test::HasFailure()) {
            return;
        }
    }
    RecordProperty("seeds", fmt::format("{}", fmt::join(seeds, " ")));
    fmt::print("seeds {}, {} storage calls\n", fmt::join(seeds, " "), steps);
}

TEST(CollectSimulation, TheSameSeedMakesTheSameRun) {
    for (const std::uint64_t seed : {3U, 77U}) {
        Simulation one{seed};
        one.run();
        const std::uint64_t trace = one.trace();
        Simulation other{seed};
        other.run();
        EXPECT_EQ(other.trace(), trace);
    }
}

}  // namespace
}  // namespace holdfast::vault
