#include "vault/detail/entry_runs.h"

#include "base/error.h"
#include "vault/testing/vault_testing.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <thread>

namespace holdfast::vault {
namespace {

format::StreamEntry entry(std::uint64_t number) {
    format::StreamEntry made;
    made.set_name(fmt::format("data/base/{}", number));
    made.set_kind("file");
    made.set_size_bytes(number);
    made.set_inline_content(std::string(number % 50, 'x'));
    return made;
}

std::vector<std::string> merged(EntryRuns& runs) {
    std::vector<std::string> names;
    runs.merge([&](const format::StreamEntry& one) {
        EXPECT_EQ(one.SerializeAsString(), entry(one.size_bytes()).SerializeAsString());
        names.push_back(one.name());
    });
    return names;
}

TEST(EntryRuns, GivesBackInOrderWhatCameInAny) {
    for (const std::uint64_t memory : {std::uint64_t{1}, 8 * kKiB, 300 * kKiB, 16 * kMiB}) {
        constexpr std::uint64_t kEach = 1000;
        EntryRuns runs{memory};
        {
            std::vector<std::jthread> threads;
            for (std::uint64_t thread = 0; thread < 3; ++thread) {
                threads.emplace_back([&runs, thread] {
                    for (std::uint64_t i = 0; i < kEach; ++i) {
                        runs.add(entry(thread * kEach + i * 7919 % kEach));
                    }
                });
            }
        }
        EXPECT_EQ(runs.spilled_bytes() > 0, memory < 16 * kMiB);
        const auto names = merged(runs);
        EXPECT_EQ(names.size(), 3 * kEach);
        EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
    }
    EntryRuns nothing{kMiB};
    EXPECT_TRUE(merged(nothing).empty());
}

TEST(EntryRuns, FindsANameThatCameTwice) {
    for (const std::uint64_t memory : {std::uint64_t{1}, 16 * kMiB}) {
        EntryRuns runs{memory};
        for (const std::uint64_t number : {5U, 3U, 9U, 3U, 1U}) {
            runs.add(entry(number));
        }
        EXPECT_EQ(
            testing::kind_thrown([&] { runs.merge([](const format::StreamEntry&) {}); }),
            ErrorKind::kInvalidInput
        );
    }
}

TEST(EntryRuns, PointsOfManyStreamsWithLittleMemory) {
    testing::TestVault vault{{.workers = 2, .entry_memory_bytes = 20 * kKiB}};
    testing::Streams streams;
    for (unsigned i = 0; i < 3000; ++i) {
        const std::string prefix = i % 2 == 0 ? "pages/" : "b/";
        streams[fmt::format("{}{}", prefix, i * 7919 % 3000)] = to_bytes(fmt::format("{:80}", i));
    }
    const PointSummary point = vault.back_up(streams);
    EXPECT_EQ(point.stream_count, 3000U);
    EXPECT_TRUE(vault.restore(point.id) == streams);
    const PointSummary again = vault.back_up(streams);
    EXPECT_LT(again.stored_bytes, 1000U);
}

}  // namespace
}  // namespace holdfast::vault
