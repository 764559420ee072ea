#include "control/operations.h"

#include "control/arm.h"
#include "control/testing/control_plane.h"

#include <condition_variable>

#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

using testing::body_of;
using testing::code_of;
using testing::ControlPlane;

const std::string kVault =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.DataProtection/backupVaults/v";
const std::string kVaultPattern =
    "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/providers/"
    "Microsoft.DataProtection/"
    "backupVaults/{vaultName}";
const std::string kVersion = "?api-version=2024-04-01";

/// Holds the work of an operation until the test lets it go.
struct Gate {
    std::mutex mutex;
    std::condition_variable_any changed;
    bool open = false;
    void release() {
        const std::lock_guard lock{mutex};
        open = true;
        changed.notify_all();
    }
};

class OperationsTest : public ::testing::Test {
protected:
    std::vector<Route> routes() {
        const auto start = [this](const RequestContext& context) {
            const std::string how = context.path.at("how");
            Operations& operations = *plane->operations;
            OperationSpec spec{.kind = how, .vault_id = kVault, .location = "westus"};
            if (how == "job") {
                spec.job_id = kVault + "/backupJobs/J";
                return operations.accepted(context, operations.completed(context, spec));
            }
            if (how == "vaultdelete") {
                spec.status_place = StatusPlace::kLocation;
            }
            const std::string id =
                operations.start(context, spec, [this, how](std::stop_token stop) -> Json {
                    std::unique_lock lock{gate.mutex};
                    if (!gate.changed.wait(lock, stop, [this] { return gate.open; })) {
                        throw Error{ErrorKind::kCancelled, "The work was stopped."};
                    }
                    if (how == "fail") {
                        throw Error{
                            ErrorKind::kServerAuthFailed,
                            ErrorText{
                                .message = "Wrong password.", .recommended_actions = {"Correct it."}
                            }
                        };
                    }
                    return Json{{"warnings", Json::array({"x"})}};
                });
            return how == "put" ? operations.with_resource(context, id, 201, Json{{"name", "v"}})
                                : operations.accepted(context, id);
        };
        const auto row = [](Verb verb, std::string pattern, Handler handler) {
            return Route{
                .verb = verb,
                .pattern = std::move(pattern),
                .action = "Microsoft.DataProtection/backupVaults/operationStatus/read",
                .summary = "Row.",
                .handler = std::move(handler),
                .access = Access::kAuthenticated,
            };
        };
        const auto status = [this](const RequestContext& context) {
            return plane->operations->status_reply(context, context.path.at("operationId"));
        };
        const auto result = [this](const RequestContext& context) {
            return plane->operations->result_reply(context, context.path.at("operationId"));
        };
        const std::string location =
            "/subscriptions/{subscriptionId}/providers/Microsoft.DataProtection/locations/"
            "{location}";
        return {
            row(Verb::kPost, kVaultPattern + "/start/{how}", start),
            row(Verb::kGet, kVaultPattern + "/operationStatus/{operationId}", status),
            row(Verb::kGet, location + "/operationResults/{operationId}", result),
            row(Verb::kGet,
                "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/providers/"
                "Microsoft.DataProtection/locations/{location}/operationStatus/{operationId}",
                status),
        };
    }

    /// Path and query of an absolute URL in a header.
    static std::string path_in(const Reply& reply, std::string_view header) {
        const std::string url = reply.headers.get_or(header, "");
        EXPECT_TRUE(url.starts_with("https://localhost:8443/")) << url;
        return url.substr(std::string_view{"https://localhost:8443"}.size());
    }
    Reply start(const std::string& how) {
        return plane->as_owner("POST", kVault + "/start/" + how + kVersion);
    }
    Reply get(const std::string& path) { return plane->as_owner("GET", path); }
    Reply get_until_done(const std::string& path) {
        SystemClock real;
        for (int i = 0; i < 2000; ++i) {
            Reply reply = get(path);
            if (body_of(reply)["status"] != "Inprogress") {
                return reply;
            }
            real.wait_for(std::chrono::milliseconds{5}, {});
        }
        ADD_FAILURE() << "still running";
        return get(path);
    }

    Gate gate;
    std::unique_ptr<ControlPlane> plane = std::make_unique<ControlPlane>(routes());
};

TEST_F(OperationsTest, runs_in_the_wire_forms_of_arm) {
    const Reply accepted = start("work");
    EXPECT_EQ(accepted.status, 202);
    EXPECT_TRUE(std::holds_alternative<std::monostate>(accepted.body));
    EXPECT_EQ(accepted.headers.get_or("Retry-After", ""), "1");
    const std::string status_path = path_in(accepted, "Azure-AsyncOperation");
    const std::string result_path = path_in(accepted, "Location");
    EXPECT_TRUE(status_path.starts_with(kVault + "/operationStatus/"));
    EXPECT_TRUE(status_path.ends_with(kVersion));
    EXPECT_TRUE(result_path.starts_with(
        "/subscriptions/s/providers/Microsoft.DataProtection/locations/westus/operationResults/"
    ));

    const Reply running = get(status_path);
    const std::string id = body_of(running)["name"];
    EXPECT_EQ(running.headers.get_or("Retry-After", ""), "1");
    EXPECT_EQ(
        body_of(running),
        (Json{
            {"id", kVault + "/operationStatus/" + id},
            {"name", id},
            {"status", "Inprogress"},
            {"startTime", "2026-05-01T12:00:00.0000000Z"},
            {"endTime", "0001-01-01T00:00:00Z"},
        })
    );
    EXPECT_EQ(get(result_path).status, 202);

    plane->clock.advance(std::chrono::seconds{5});
    gate.release();
    const Reply done = get_until_done(status_path);
    EXPECT_EQ(body_of(done)["status"], "Succeeded");
    EXPECT_EQ(body_of(done)["endTime"], "2026-05-01T12:00:05.0000000Z");
    EXPECT_FALSE(body_of(done).contains("properties"));
    EXPECT_FALSE(done.headers.has("Retry-After"));
    const Reply result = get(result_path);
    EXPECT_EQ(result.status, 200);
    EXPECT_EQ(
        body_of(result), (Json{{"objectType", "OperationJobExtendedInfo"}, {"warnings", {"x"}}})
    );
}

TEST_F(OperationsTest, names_the_job_that_it_started) {
    const Reply accepted = start("job");
    const Json status = body_of(get(path_in(accepted, "Azure-AsyncOperation")));
    EXPECT_EQ(status["status"], "Succeeded");
    const Json info{
        {"objectType", "OperationJobExtendedInfo"}, {"jobId", kVault + "/backupJobs/J"}
    };
    EXPECT_EQ(status["properties"], info);
    EXPECT_EQ(body_of(get(path_in(accepted, "Location"))), info);
}

TEST_F(OperationsTest, answers_a_put_with_the_resource) {
    const Reply created = start("put");
    EXPECT_EQ(created.status, 201);
    EXPECT_EQ(body_of(created), (Json{{"name", "v"}}));
    EXPECT_FALSE(created.headers.has("Location"));
    gate.release();
    EXPECT_EQ(
        body_of(get_until_done(path_in(created, "Azure-AsyncOperation")))["status"], "Succeeded"
    );
}

TEST_F(OperationsTest, reports_failures_inside_the_status) {
    const Reply accepted = start("fail");
    gate.release();
    const Reply status = get_until_done(path_in(accepted, "Azure-AsyncOperation"));
    EXPECT_EQ(status.status, 200);
    EXPECT_EQ(body_of(status)["status"], "Failed");
    EXPECT_EQ(body_of(status)["error"]["code"], "UserErrorDBUserAuthFailed");
    EXPECT_EQ(
        body_of(status)["error"]["additionalInfo"][0]["info"]["recommendedAction"],
        Json::array({"Correct it."})
    );
    const Reply result = get(path_in(accepted, "Location"));
    EXPECT_EQ(result.status, 400);
    EXPECT_EQ(code_of(result), "UserErrorDBUserAuthFailed");
}

TEST_F(OperationsTest, survives_a_restart_and_reports_what_was_interrupted) {
    gate.release();
    const std::string finished = path_in(start("work"), "Azure-AsyncOperation");
    EXPECT_EQ(body_of(get_until_done(finished))["status"], "Succeeded");
    gate.open = false;
    const std::string running = path_in(start("work"), "Azure-AsyncOperation");
    plane->restart_operations();
    EXPECT_EQ(body_of(get(finished))["status"], "Succeeded");
    const Json interrupted = body_of(get(running));
    EXPECT_EQ(interrupted["status"], "Failed");
    EXPECT_EQ(interrupted["error"]["code"], "UserErrorJobInterruptedByRestart");
}

TEST_F(OperationsTest, marks_what_a_killed_process_left) {
    catalog::OperationRecord record;
    record.id = new_guid();
    record.resource_id = kVault;
    record.started_at = plane->clock.now();
    record.expires_at = plane->clock.now() + std::chrono::days{7};
    plane->catalog->write([&](catalog::Transaction& transaction) { transaction.put(record); });
    const std::string path = kVault + "/operationStatus/" + record.id + kVersion;
    EXPECT_EQ(body_of(get(path))["status"], "Inprogress");
    plane->restart_operations();
    EXPECT_EQ(body_of(get(path))["status"], "Failed");
}

TEST_F(OperationsTest, expires) {
    const std::string path = path_in(start("job"), "Azure-AsyncOperation");
    plane->clock.advance(std::chrono::days{6});
    EXPECT_EQ(get(path).status, 200);
    EXPECT_EQ(plane->operations->remove_expired(), 0U);
    plane->clock.advance(std::chrono::days{1} + std::chrono::seconds{1});
    EXPECT_EQ(get(path).status, 404);
    EXPECT_EQ(plane->operations->remove_expired(), 1U);
    EXPECT_EQ(plane->operations->remove_expired(), 0U);
}

TEST_F(OperationsTest, is_for_its_starter_and_readers_of_the_vault) {
    const std::string path = path_in(start("job"), "Azure-AsyncOperation");
    const auto status_for = [&](const std::string& token) {
        return plane->call({.target = path, .token = token}).status;
    };
    EXPECT_EQ(status_for(plane->add_principal("r", "Reader", kVault)), 200);
    EXPECT_EQ(status_for(plane->add_principal("x", "Reader", "/subscriptions/other")), 403);
    std::string elsewhere = path;
    elsewhere.replace(elsewhere.find("/v/"), 3, "/w/");
    EXPECT_EQ(get(elsewhere).status, 404);
    EXPECT_EQ(get(kVault + "/operationStatus/" + new_guid() + kVersion).status, 404);
}

TEST_F(OperationsTest, puts_the_status_of_a_vault_delete_beside_the_vault) {
    const Reply accepted = start("vaultdelete");
    const std::string path = path_in(accepted, "Azure-AsyncOperation");
    EXPECT_TRUE(
        path.starts_with("/subscriptions/s/resourceGroups/g/providers/Microsoft.DataProtection/"
                         "locations/westus/operationStatus/")
    );
    gate.release();
    EXPECT_EQ(body_of(get_until_done(path))["status"], "Succeeded");
}

TEST_F(OperationsTest, takes_no_more_than_it_can_hold) {
    int refused = 0;
    for (int i = 0; i < 80; ++i) {
        const Reply reply = start("work");
        if (reply.status == 429) {
            ++refused;
            EXPECT_EQ(code_of(reply), "TooManyRequests");
        }
    }
    EXPECT_GE(refused, 80 - 64 - 4);
    EXPECT_EQ(
        static_cast<int>(plane->catalog->list<catalog::OperationRecord>().size()) + refused, 80
    );
    gate.release();
}

}  // namespace
}  // namespace holdfast::control
