#include "control/metrics.h"

#include "catalog/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(MetricsTextTest, WritesFamiliesAsPrometheusReadsThem) {
    MetricsText out;
    out.family("a_total", MetricsText::Type::kCounter, "How many.");
    out.sample({}, 3);
    out.sample({{"name", "back\\slash \"quote\"\nline"}}, 0.5);
    EXPECT_EQ(
        std::move(out).take(),
        "# HELP a_total How many.\n# TYPE a_total counter\na_total 3\n"
        "a_total{name=\"back\\\\slash \\\"quote\\\"\\nline\"} 0.5\n"
    );
}

TEST(MetricsTextTest, AddsUpTheBucketsOfAHistogram) {
    const std::vector<double> bounds{0.1, 1};
    Histogram histogram{bounds};
    for (const double value : {0.05, 0.1, 0.2, 5.0}) {
        histogram.observe(value);
    }
    MetricsText out;
    out.family("t", MetricsText::Type::kHistogram, "Took.");
    out.sample({{"route", "/x"}}, histogram);
    EXPECT_EQ(
        std::move(out).take(),
        "# HELP t Took.\n# TYPE t histogram\n"
        "t_bucket{route=\"/x\",le=\"0.1\"} 2\nt_bucket{route=\"/x\",le=\"1\"} 3\n"
        "t_bucket{route=\"/x\",le=\"+Inf\"} 4\nt_sum{route=\"/x\"} 5.35\n"
        "t_count{route=\"/x\"} 4\n"
    );
}

class MetricsTest : public ::testing::Test {
protected:
    std::string render() {
        return metrics.render(
            {.catalog = *catalog,
             .connections = [] { return std::size_t{7}; },
             .certificate_end = [this] { return clock.now() + std::chrono::hours{1}; }}
        );
    }
    FakeClock clock{*parse_instant("2026-05-01T12:00:00Z")};
    std::unique_ptr<catalog::Catalog> catalog = catalog::open_sqlite_catalog(":memory:", clock);
    Metrics metrics{clock};
};

TEST_F(MetricsTest, CountsRequestsByRouteAndLoginFailures) {
    metrics.request({"GET", "/x/{name}", 200, std::chrono::milliseconds{3}});
    metrics.request({"GET", "/x/{name}", 200, std::chrono::milliseconds{3}});
    metrics.request({"POST", "/adfs/oauth2/token", 401, std::chrono::milliseconds{20}});
    metrics.request({"POST", "/adfs/oauth2/token", 200, std::chrono::milliseconds{20}});
    const std::string text = render();
    EXPECT_THAT(
        text,
        HasSubstr(
            "holdfast_http_requests_total{method=\"GET\",route=\"/x/{name}\",status=\"200\"} 2\n"
        )
    );
    EXPECT_THAT(
        text,
        HasSubstr(
            "holdfast_http_request_duration_seconds_bucket{route=\"/x/{name}\",le=\"0.005\"} 2\n"
        )
    );
    EXPECT_THAT(text, HasSubstr("holdfast_login_failures_total 1\n"));
    EXPECT_THAT(text, HasSubstr("holdfast_connections 7\n"));
    EXPECT_THAT(text, HasSubstr("holdfast_certificate_expiry_seconds 3600\n"));
}

TEST_F(MetricsTest, LooksUpInstancesVaultsAndJobs) {
    catalog->write([&](catalog::Transaction& transaction) {
        catalog::VaultRecord vault;
        vault.id = "/v";
        vault.created_at = clock.now();
        transaction.put(vault);
        catalog::InstanceRecord instance;
        instance.id = "/v/i";
        instance.vault_id = "/v";
        instance.friendly_name = "app";
        instance.state = "ProtectionConfigured";
        instance.created_at = clock.now();
        transaction.put(instance);
        for (const int hours : {30, 5}) {
            catalog::PointRecord point;
            point.id = std::to_string(hours);
            point.vault_id = "/v";
            point.instance_id = "/v/i";
            point.time = clock.now() - std::chrono::hours{hours};
            point.stored_bytes = 1000;
            point.logical_bytes = 4000;
            transaction.put(point);
        }
        catalog::JobRecord job;
        job.id = "j";
        job.vault_id = "/v";
        job.status = "Failed";
        job.created_at = clock.now();
        transaction.put(job);
        (void)transaction.append_audit({});
    });
    const std::string text = render();
    EXPECT_THAT(
        text,
        HasSubstr(
            "holdfast_last_recovery_point_age_seconds{instance=\"/v/i\",datasource=\"app\"} 18000\n"
        )
    );
    EXPECT_THAT(text, HasSubstr("holdfast_backup_instances{state=\"ProtectionConfigured\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("holdfast_vault_stored_bytes{vault=\"/v\"} 2000\n"));
    EXPECT_THAT(text, HasSubstr("holdfast_vault_logical_bytes{vault=\"/v\"} 8000\n"));
    EXPECT_THAT(text, HasSubstr("holdfast_recovery_points{vault=\"/v\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("holdfast_jobs{state=\"Failed\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("holdfast_audit_records_total 1\n"));
}

TEST_F(MetricsTest, CountsWhatTheEngineSays) {
    EXPECT_THAT(render(), Not(HasSubstr("\nholdfast_scheduler_last_look_age_seconds ")));
    catalog::JobRecord job;
    job.operation = "Backup";
    job.status = "Failed";
    job.started_at = clock.now();
    job.ended_at = clock.now() + std::chrono::seconds{10};
    job.errors = Json::array({{{"code", "VaultDataDamaged"}}});
    metrics.job_ended(job);
    metrics.backup_queued(std::chrono::seconds{2});
    metrics.looked();
    clock.advance(std::chrono::seconds{4});
    const std::string text = render();
    EXPECT_THAT(
        text, HasSubstr("holdfast_jobs_ended_total{operation=\"Backup\",state=\"Failed\"} 1\n")
    );
    EXPECT_THAT(
        text, HasSubstr("holdfast_job_duration_seconds_bucket{operation=\"Backup\",le=\"15\"} 1\n")
    );
    EXPECT_THAT(text, HasSubstr("holdfast_repository_errors_total{code=\"VaultDataDamaged\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("holdfast_scheduler_lag_seconds 2\n"));
    EXPECT_THAT(text, HasSubstr("holdfast_scheduler_last_look_age_seconds 4\n"));
}

}  // namespace
}  // namespace holdfast::control
