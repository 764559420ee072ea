#include "vault/detail/mark.h"

#include "base/error.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

constexpr std::uint64_t kBitsPerBlob = 24;
constexpr std::uint64_t kFilterBytesMax = 96 * kMiB;
/// So that an index that knows few blobs, or none, does not make a filter that keeps nothing.
constexpr std::uint64_t kBlobsMin = 64 * 1024;
constexpr std::size_t kObstaclesMax = 100;

struct FilterShape {
    std::uint64_t blobs;
    std::uint64_t bits;
    int probes;
};

FilterShape shape_for(std::uint64_t blobs) {
    blobs = std::max(blobs, kBlobsMin);
    const std::uint64_t bits =
        std::clamp<std::uint64_t>(kFilterBytesMax * 8 / blobs, 1, kBitsPerBlob);
    // The best number of probes is 0.7 for each bit; beyond eight they cost more than they tell.
    const int probes = std::clamp(static_cast<int>(bits * 7 / 10), 1, 8);
    return {.blobs = blobs, .bits = bits, .probes = probes};
}

KeyFilter make_filter(std::uint64_t blobs) {
    const FilterShape shape = shape_for(blobs);
    return KeyFilter{shape.blobs, shape.bits, shape.probes};
}

}  // namespace

Marker::Marker(Engine& engine, std::uint64_t blobs) : engine_{engine}, live_{make_filter(blobs)} {}

void Marker::mark(
    const std::optional<ContentRef>& root,
    const std::string& what,
    std::optional<PointId> point,
    std::vector<DamagedObject>& obstacles,
    std::stop_token stop
) {
    const auto note = [&](std::string key, std::string problem) {
        if (obstacles.size() < kObstaclesMax) {
            DamagedObject object{.object_key = std::move(key), .problem = std::move(problem)};
            if (point) {
                object.points.push_back(*point);
            }
            obstacles.push_back(std::move(object));
        }
    };
    std::optional<Error> last;
    const NodeSource source = [&](BlobType type, const ChunkId& id) {
        try {
            return engine_.blobs.read(type, id, stop);
        } catch (const Error& error) {
            last = error;
            throw;
        }
    };
    walk_everything(
        source,
        root,
        [&](BlobType type, const ChunkId& id) {
            if (stop.stop_requested()) {
                throw_cancelled();
            }
            const ChunkKey key = chunk_key(id);
            live_.insert(key);
            return !is_node(type) || nodes_.insert(key).second;
        },
        [&](BlobType, const ChunkId& id) {
            note(
                last && !last->text().target.empty() ? last->text().target : to_hex(id),
                last ? last->what()
                     : fmt::format("A node of {} is not what it should be.", what)
            );
            // Not to be taken for read by a later walk.
            nodes_.erase(chunk_key(id));
            last.reset();
        }
    );
}

}  // namespace holdfast::vault
