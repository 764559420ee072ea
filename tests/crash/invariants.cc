#include "invariants.h"

#include "vault/detail/format.h"

#include <gtest/gtest.h>

namespace holdfast::vault::testing {

namespace {

/// Nothing lies in a repository but its objects.
void check_names(ObjectStore& store) {
    store.list(
        "",
        [](const ObjectInfo& info) {
            const std::string& text = info.key.text();
            const bool known = parse_point_key(info.key) || parse_pack_key(info.key) ||
                               parse_index_key(info.key) || parse_session_key(info.key) ||
                               parse_condemned_key(info.key) || parse_collection_key(info.key) ||
                               parse_numbered_key(info.key, kVerifiedPrefix) ||
                               text.starts_with(kConfigPrefix) || text.starts_with(kKeysPrefix) ||
                               text.starts_with(kStatePrefix) || text.starts_with(kCatalogPrefix);
            EXPECT_TRUE(known) << text;
            return true;
        },
        {}
    );
}

}  // namespace

void check_invariants(ObjectStore& store, const Secret& key, const Expected& expected) {
    check_names(store);
    SystemClock clock;
    const auto repository = Repository::open(store, key, clock);  // I1

    const PointList list = repository->list_points({});
    EXPECT_TRUE(list.damaged.empty());
    std::set<PointId> listed;
    for (const PointSummary& point : list.points) {  // I2, I3, I6: all that is listed restores.
        listed.insert(point.id);
        EXPECT_TRUE(expected.committed.contains(point.id) || expected.possible.contains(point.id))
            << "a point that nobody committed is visible";
        const Streams streams = read_streams(*repository, point.id);
        EXPECT_EQ(total_bytes(streams), point.size_bytes);
        EXPECT_EQ(streams.size(), point.stream_count);
    }
    for (const auto& [id, streams] : expected.committed) {
        EXPECT_TRUE(listed.contains(id)) << "a committed point is gone";
        if (listed.contains(id)) {
            EXPECT_EQ(read_streams(*repository, id), streams);
        }
    }

    const CheckReport report = repository->check({.read_data_percent = 100}, {});  // I4, I5
    for (const DamagedObject& object : report.damaged) {
        ADD_FAILURE() << object.object_key << ": " << object.problem;
    }
    for (const std::string& note : report.notes) {
        EXPECT_EQ(note.find("rebuild the index"), std::string::npos) << note;
    }
    EXPECT_TRUE(repository->read_states(0, {}).complete);  // I7
}

}  // namespace holdfast::vault::testing
