#pragma once

#include "base/clock.h"
#include "control/metrics_text.h"
#include "control/route.h"
#include "jobs/engine.h"

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace holdfast::catalog {
class Catalog;
}  // namespace holdfast::catalog

namespace holdfast::control {

/// What the service counts while it runs, and what it looks up when it is asked. Safe from any
/// thread.
class Metrics final : public jobs::EngineObserver {
public:
    explicit Metrics(Clock& clock) : clock_{clock} {}

    struct RequestFacts {
        std::string_view method;
        std::string_view route;  ///< The pattern, never the path: a bounded number of series.
        int status = 0;
        std::chrono::microseconds took{0};
    };
    void request(const RequestFacts& facts);

    void job_ended(const catalog::JobRecord& job) override;
    void backup_queued(std::chrono::microseconds late) override;
    void looked() override;

    /// What lies elsewhere and is read when somebody asks.
    struct Sources {
        const catalog::Catalog& catalog;
        std::function<std::size_t()> connections;
        std::function<Instant()> certificate_end;
    };
    /// The text exposition format 0.0.4 of Prometheus.
    [[nodiscard]] std::string render(const Sources& sources) const;

private:
    /// How long the sums over all recovery points are good.
    static constexpr std::chrono::minutes kVaultsKept{5};

    [[nodiscard]] std::string vaults(const catalog::Catalog& catalog) const;
    void render_requests(MetricsText& out) const;
    void render_engine(MetricsText& out) const;

    Clock& clock_;
    mutable std::mutex mutex_;
    // Guarded by mutex_.
    std::map<std::tuple<std::string, std::string, int>, std::uint64_t> requests_;
    std::map<std::string, Histogram> request_seconds_;  // By route.
    std::uint64_t login_failures_ = 0;
    std::map<std::pair<std::string, std::string>, std::uint64_t> jobs_ended_;
    std::map<std::string, Histogram> job_seconds_;      // By operation.
    std::map<std::string, std::uint64_t> store_errors_;  // By error code.
    double last_lag_seconds_ = 0;
    std::uint64_t backups_queued_ = 0;
    std::optional<SteadyInstant> looked_at_;
    mutable std::string vaults_;
    mutable std::optional<SteadyInstant> vaults_at_;
};

/// GET /metrics for who may read it on the whole server.
void add_metrics_route(std::vector<Route>& routes, std::function<std::string()> render);

}  // namespace holdfast::control
