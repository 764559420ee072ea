#include "control/metrics.h"

#include "base/text.h"
#include "base/version.h"
#include "catalog/alert_records.h"
#include "catalog/catalog.h"

#include <sys/resource.h>

namespace holdfast::control {
namespace {

using Type = MetricsText::Type;

constexpr std::string_view kTokenPath = "oauth2/token";

const std::vector<double>& request_bounds() {
    static const std::vector<double> bounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                            0.25,  0.5,    1,     2.5,  5,     10};
    return bounds;
}

const std::vector<double>& job_bounds() {
    static const std::vector<double> bounds{1,    5,    15,    60,    300,   900,
                                            1800, 3600, 7200, 14400, 28800, 86400};
    return bounds;
}

/// Codes of what the repository, its store or its key did.
bool is_store_error(std::string_view code) {
    return code.starts_with("ObjectStore") || code.starts_with("VaultData") ||
           code.starts_with("VaultReadOnly") || code.starts_with("VaultFormat") ||
           code.starts_with("UserErrorVault") || code.starts_with("BackupWriteVerification");
}

double seconds(std::chrono::microseconds duration) {
    return std::chrono::duration<double>(duration).count();
}

void render_jobs(MetricsText& out, const catalog::View& view) {
    out.family("holdfast_jobs", Type::kGauge, "Jobs that the catalog has, by state.");
    for (const char* state :
         {"Queued",
          "InProgress",
          "Cancelling",
          "Completed",
          "CompletedWithWarnings",
          "Failed",
          "Cancelled"}) {
        out.sample(
            {{"state", state}},
            static_cast<double>(view.count<catalog::JobRecord>({.states = {state}}))
        );
    }
}

void render_instances(MetricsText& out, const catalog::View& view, Instant now) {
    std::vector<std::pair<MetricsText::Labels, double>> ages;
    std::map<std::string, std::int64_t> states;
    view.each<catalog::InstanceRecord>({}, [&](const catalog::InstanceRecord& instance) {
        if (instance.soft_deleted) {
            ++states["SoftDeleted"];
            return true;
        }
        ++states[instance.state];
        const auto newest = view.list<catalog::PointRecord>(
            {.parent = instance.id,
             .states = {"Completed"},
             .order = catalog::Order::kNewestFirst,
             .limit = 1}
        );
        if (!newest.empty()) {
            ages.push_back(
                {{{"instance", instance.id}, {"datasource", instance.friendly_name}},
                 seconds(now - newest.front().time)}
            );
        }
        return true;
    });
    out.family("holdfast_backup_instances", Type::kGauge, "Backup instances by protection state.");
    for (const auto& [state, count] : states) {
        out.sample({{"state", state}}, static_cast<double>(count));
    }
    out.family(
        "holdfast_last_recovery_point_age_seconds",
        Type::kGauge,
        "Age of the newest complete recovery point; an instance without one has none."
    );
    for (const auto& [labels, age] : ages) {
        out.sample(labels, age);
    }
}

/// Reads every point: not for each scrape.
std::string render_vaults(const catalog::Catalog& catalog) {
    MetricsText out;
    struct Vault {
        std::int64_t points = 0;
        std::int64_t stored = 0;
        std::int64_t logical = 0;
    };
    std::map<std::string, Vault> vaults;
    catalog.read([&](const catalog::View& view) {
        for (const auto& vault : view.list<catalog::VaultRecord>()) {
            Vault& sums = vaults[vault.id];
            view.each<catalog::PointRecord>(
                {.subject = vault.id},
                [&](const catalog::PointRecord& point) {
                    ++sums.points;
                    sums.stored += point.stored_bytes;
                    sums.logical += point.logical_bytes;
                    return true;
                }
            );
        }
    });
    const auto family = [&](std::string_view name, std::string_view help, auto member) {
        out.family(name, Type::kGauge, help);
        for (const auto& [id, sums] : vaults) {
            out.sample({{"vault", id}}, static_cast<double>(sums.*member));
        }
    };
    family("holdfast_recovery_points", "Recovery points of a vault.", &Vault::points);
    family(
        "holdfast_vault_stored_bytes",
        "Bytes that the recovery points of a vault added to it.",
        &Vault::stored
    );
    family(
        "holdfast_vault_logical_bytes",
        "Bytes that the recovery points of a vault stand for.",
        &Vault::logical
    );
    return std::move(out).take();
}

void render_catalog(MetricsText& out, const catalog::Catalog& catalog, Instant now) {
    catalog.read([&](const catalog::View& view) {
        render_jobs(out, view);
        render_instances(out, view, now);
        const auto newest = view.audit(std::nullopt, 1);
        out.family("holdfast_audit_records_total", Type::kCounter, "Records of the audit trail.");
        out.sample(
            {}, newest.empty() ? 0.0 : static_cast<double>(newest.front().sequence)
        );
        out.family("holdfast_alerts", Type::kGauge, "Alerts in the outbox by what became of them.");
        for (const char* state : {"Pending", "Sent", "Failed", "Muted", "Recorded"}) {
            out.sample(
                {{"state", state}},
                static_cast<double>(view.count<catalog::AlertRecord>({.states = {state}}))
            );
        }
    });
}

void render_process(MetricsText& out) {
    rusage usage{};
    if (::getrusage(RUSAGE_SELF, &usage) != 0) {
        return;
    }
    const auto to_seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    out.family("process_cpu_seconds_total", Type::kCounter, "Processor time of the server.");
    out.sample({}, to_seconds(usage.ru_utime) + to_seconds(usage.ru_stime));
    out.family(
        "holdfast_resident_memory_max_bytes", Type::kGauge, "The most memory that was resident."
    );
    out.sample({}, static_cast<double>(usage.ru_maxrss) * 1024);
}

}  // namespace

void Metrics::request(const RequestFacts& facts) {
    const std::string route{facts.route};
    const std::lock_guard lock{mutex_};
    ++requests_[{std::string{facts.method}, route, facts.status}];
    request_seconds_.try_emplace(route, request_bounds())
        .first->second.observe(seconds(facts.took));
    if (route.ends_with(kTokenPath) && facts.status >= 400) {
        ++login_failures_;
    }
}

void Metrics::job_ended(const catalog::JobRecord& job) {
    const std::lock_guard lock{mutex_};
    ++jobs_ended_[{job.operation, job.status}];
    if (job.started_at && job.ended_at) {
        job_seconds_.try_emplace(job.operation, job_bounds())
            .first->second.observe(seconds(*job.ended_at - *job.started_at));
    }
    for (const Json& error : job.errors) {
        const std::string code = error.value("code", "");
        if (is_store_error(code)) {
            ++store_errors_[code];
        }
    }
}

void Metrics::backup_queued(std::chrono::microseconds late) {
    const std::lock_guard lock{mutex_};
    ++backups_queued_;
    last_lag_seconds_ = seconds(late);
}

void Metrics::looked() {
    const std::lock_guard lock{mutex_};
    looked_at_ = clock_.steady_now();
}

std::string Metrics::vaults(const catalog::Catalog& catalog) const {
    {
        const std::lock_guard lock{mutex_};
        if (vaults_at_ && clock_.steady_now() - *vaults_at_ < kVaultsKept) {
            return vaults_;
        }
    }
    std::string text = render_vaults(catalog);
    const std::lock_guard lock{mutex_};
    vaults_ = std::move(text);
    vaults_at_ = clock_.steady_now();
    return vaults_;
}

void Metrics::render_requests(MetricsText& out) const {
    out.family("holdfast_http_requests_total", Type::kCounter, "Requests that were answered.");
    for (const auto& [key, count] : requests_) {
        const auto& [method, route, status] = key;
        out.sample(
            {{"method", method}, {"route", route}, {"status", std::to_string(status)}},
            static_cast<double>(count)
        );
    }
    out.family(
        "holdfast_http_request_duration_seconds",
        Type::kHistogram,
        "From the complete request to its answer, without the network."
    );
    for (const auto& [route, histogram] : request_seconds_) {
        out.sample({{"route", route}}, histogram);
    }
    out.family("holdfast_login_failures_total", Type::kCounter, "Logins that were refused.");
    out.sample({}, static_cast<double>(login_failures_));
}

void Metrics::render_engine(MetricsText& out) const {
    out.family("holdfast_jobs_ended_total", Type::kCounter, "Jobs that ended since the start.");
    for (const auto& [key, count] : jobs_ended_) {
        out.sample({{"operation", key.first}, {"state", key.second}}, static_cast<double>(count));
    }
    out.family("holdfast_job_duration_seconds", Type::kHistogram, "How long jobs ran.");
    for (const auto& [operation, histogram] : job_seconds_) {
        out.sample({{"operation", operation}}, histogram);
    }
    out.family(
        "holdfast_repository_errors_total",
        Type::kCounter,
        "Jobs that failed because of a repository, its store or its key, by error code."
    );
    for (const auto& [code, count] : store_errors_) {
        out.sample({{"code", code}}, static_cast<double>(count));
    }
    out.family(
        "holdfast_scheduled_backups_queued_total", Type::kCounter, "Scheduled runs that were queued."
    );
    out.sample({}, static_cast<double>(backups_queued_));
    out.family(
        "holdfast_scheduler_lag_seconds",
        Type::kGauge,
        "How long after its time the last scheduled run was queued."
    );
    out.sample({}, last_lag_seconds_);
    out.family(
        "holdfast_scheduler_last_look_age_seconds",
        Type::kGauge,
        "Since the scheduler has last been through everything."
    );
    if (looked_at_) {
        out.sample({}, std::chrono::duration<double>(clock_.steady_now() - *looked_at_).count());
    }
}

std::string Metrics::render(const Sources& sources) const {
    MetricsText out;
    out.family("holdfast_build_info", Type::kGauge, "The version that runs; always 1.");
    out.sample({{"version", std::string{version()}}}, 1);
    const Instant now = clock_.now();
    render_catalog(out, sources.catalog, now);
    {
        const std::lock_guard lock{mutex_};
        render_requests(out);
        render_engine(out);
    }
    out.family("holdfast_connections", Type::kGauge, "Open connections.");
    out.sample({}, static_cast<double>(sources.connections()));
    out.family(
        "holdfast_certificate_expiry_seconds", Type::kGauge, "Until the server's certificate ends."
    );
    out.sample({}, seconds(sources.certificate_end() - now));
    render_process(out);
    return std::move(out).take() + vaults(sources.catalog);
}

void add_metrics_route(std::vector<Route>& routes, std::function<std::string()> render) {
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/metrics",
        .action = "Holdfast.Metrics/metrics/read",
        .summary = "Figures of the service, in Prometheus's text format.",
        .handler =
            [render = std::move(render)](const RequestContext&) {
                return Reply::text(200, render(), "text/plain; version=0.0.4; charset=utf-8");
            },
        .api_version = ApiVersion::kExempt,
        .scope =
            [](const Services&, const Request&, const PathParameters&) { return std::string{"/"}; },
    });
}

}  // namespace holdfast::control
