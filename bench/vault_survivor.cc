// vault_survivor REPOSITORY KEY-FILE POINT: removes every recovery point but one and collects, at
// once and without asking. A tool of bench/physical.py, for a repository that no server works on.
// Prints {"stored_bytes", "reached_bytes", "seconds"} as JSON.

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "vault/collect.h"
#include "vault/object_store/local_store.h"
#include "vault/vault.h"

#include <chrono>
#include <cstdio>
#include <string>

namespace holdfast::vault {
namespace {

Json keep_one(const std::string& path, const std::string& key_file, const std::string& survivor) {
    SystemClock clock;
    LocalStore store{path};
    const auto repository = Repository::open(store, read_key_file(key_file), clock);
    const SteadyInstant begin = clock.steady_now();
    for (const PointSummary& point : repository->list_points({}).points) {
        if (point.id.to_string() != survivor) {
            repository->remove_point(point.id, "{}", {});
        }
    }
    const CollectOptions options{.end_foreign_sessions = true};
    static_cast<void>(repository->collect(repository->plan_collection(options, {}), {}));
    const CollectPlan left = repository->plan_collection(options, {});
    const std::chrono::duration<double> seconds = clock.steady_now() - begin;
    return Json{
        {"stored_bytes", repository->usage({}).stored_bytes},
        {"reached_bytes", left.live_bytes},
        {"seconds", seconds.count()}
    };
}

}  // namespace
}  // namespace holdfast::vault

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fputs("usage: vault_survivor REPOSITORY KEY-FILE POINT\n", stderr);
        return 2;
    }
    int status = 0;
    holdfast::run_boundary(
        [&] { std::puts(holdfast::vault::keep_one(argv[1], argv[2], argv[3]).dump().c_str()); },
        [&](const holdfast::Error& error) {
            std::fprintf(stderr, "%s\n", error.what());
            status = 1;
        }
    );
    return status;
}
