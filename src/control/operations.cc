#include "control/operations.h"

#include "base/error.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/text.h"
#include "base/threads.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/identity/authorize.h"
#include "control/resource_id.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::OperationRecord;

// A validation talks to one PostgreSQL server and mostly waits; more at once than this would only
// press that server.
constexpr std::size_t kWorkers = 4;
constexpr std::size_t kQueueMax = 64;
constexpr auto kLifetime = std::chrono::days{7};
constexpr auto kReplayWindow = std::chrono::minutes{15};
constexpr std::string_view kUnsetTime = "0001-01-01T00:00:00Z";
constexpr std::string_view kReadAction =
    "Microsoft.DataProtection/backupVaults/operationStatus/read";
constexpr std::string_view kRetryAfterSeconds = "1";  // az sleeps 30 s without it.

/// What makes two POSTs the same request; empty where a repeat cannot be told from a new one.
std::string fingerprint_of(const RequestContext& context) {
    const Request& request = context.request;
    if (request.verb != Verb::kPost || request.client_request_id.empty()) {
        return {};
    }
    const std::string identity = fmt::format(
        "{}\n{}\n{}\n{}\n{}",
        context.principal.object_id,
        to_string(request.verb),
        to_lower(join(request.path, "/")),
        to_hex(sha256(as_bytes(request.body))),
        request.client_request_id
    );
    return to_hex(sha256(as_bytes(identity)));
}

OperationRecord make_record(const RequestContext& context, const OperationSpec& spec, Instant now) {
    OperationRecord record;
    // Unguessable, and as a GUID what the clients expect to see.
    record.id = new_guid();
    record.kind = spec.kind;
    record.resource_id = spec.vault_id;
    record.location = spec.location;
    record.job_id = spec.job_id;
    record.principal_id = context.principal.object_id;
    record.correlation_id = context.request.correlation_id;
    record.request_fingerprint = fingerprint_of(context);
    record.request =
        Json{{"statusPlace", spec.status_place == StatusPlace::kVault ? "vault" : "location"}};
    record.started_at = now;
    record.expires_at = now + kLifetime;
    return record;
}

Json result_of(const OperationRecord& record, Json more) {
    Json result{{"objectType", "OperationJobExtendedInfo"}};
    if (!record.job_id.empty()) {
        result["jobId"] = record.job_id;
    }
    if (more.is_object()) {
        result.update(more);
    }
    return result;
}

/// The status resource's id, which is also the path of its URL.
std::string status_id(const OperationRecord& record) {
    const auto vault = ResourceId::try_parse(record.resource_id);
    if (!vault || record.request.value("statusPlace", "vault") == "vault") {
        return fmt::format("{}/operationStatus/{}", record.resource_id, record.id);
    }
    return fmt::format(
        "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.DataProtection/locations/{}/"
        "operationStatus/{}",
        vault->subscription_id(),
        vault->group_name(),
        record.location,
        record.id
    );
}

std::string result_path(const OperationRecord& record) {
    const auto vault = ResourceId::try_parse(record.resource_id);
    return fmt::format(
        "/subscriptions/{}/providers/Microsoft.DataProtection/locations/{}/operationResults/{}",
        vault ? vault->subscription_id() : std::string{"unknown"},
        record.location,
        record.id
    );
}

void set_operation_headers(
    const RequestContext& context, const OperationRecord& record, Reply& reply
) {
    reply.headers.set("Azure-AsyncOperation", absolute_url(context, url_path(status_id(record))));
    reply.headers.set("Retry-After", std::string{kRetryAfterSeconds});
}

bool is_running(const OperationRecord& record) {
    return record.status == "Inprogress";
}

int status_of_code(std::string_view code) {
    for (const ErrorKind kind : all_error_kinds()) {
        if (traits(kind).arm_code == code) {
            return traits(kind).http_status;
        }
    }
    return 400;
}

Error interrupted_error() {
    return Error{
        ErrorKind::kInterrupted,
        ErrorText{
            .message = "The server was restarted while the operation ran.",
            .recommended_actions = {"Send the request again; nothing of it has taken effect."},
        }
    };
}

}  // namespace

struct Operations::State {
    State(catalog::Catalog& catalog_in, Clock& clock_in) : catalog{catalog_in}, clock{clock_in} {}

    /// Throws kResourceNotFound, also for an expired one and for a path that names another vault.
    [[nodiscard]] OperationRecord load(const RequestContext& context, const std::string& id) const {
        auto record = catalog.get<OperationRecord>(id);
        if (record && context.path.has("vaultName")) {
            const auto vault = ResourceId::try_parse(record->resource_id);
            if (vault && !equal_ignoring_case(vault->name(), context.path.at("vaultName"))) {
                record.reset();
            }
        }
        if (!record || record->expires_at <= clock.now()) {
            throw Error{
                ErrorKind::kResourceNotFound,
                ErrorText{
                    .message = fmt::format(
                        "The operation '{}' was not found; operations are kept for 7 days.", id
                    ),
                    .target = id,
                    .recommended_actions = {"Look at the resource or the job itself."},
                }
            };
        }
        if (record->principal_id != context.principal.object_id) {
            context.services.authorizer.authorize(
                context.principal, kReadAction, record->resource_id
            );
        }
        return *record;
    }

    void finish(const std::string& id, Json result) {
        catalog.write([&](catalog::Transaction& transaction) {
            auto record = transaction.get<OperationRecord>(id);
            if (record && is_running(*record)) {
                record->status = "Succeeded";
                record->result = result_of(*record, std::move(result));
                record->ended_at = clock.now();
                transaction.put(*record);
            }
        });
    }

    void fail(const std::string& id, const Error& error) {
        catalog.write([&](catalog::Transaction& transaction) {
            auto record = transaction.get<OperationRecord>(id);
            if (record && is_running(*record)) {
                record->status = error.kind() == ErrorKind::kCancelled ? "Canceled" : "Failed";
                record->error = error_object(error, record->correlation_id);
                record->ended_at = clock.now();
                transaction.put(*record);
            }
        });
    }

    void run(
        const std::string& id,
        const std::string& correlation_id,
        const std::function<Json(std::stop_token)>& work
    ) {
        const auto record_failure = [&](const Error& error) {
            log_warning(
                "operation failed",
                {{"operation", id}, {"correlation_id", correlation_id}, {"error", error.log_line()}}
            );
            // Should even this write fail, the row is judged at the next start.
            run_boundary(
                [&] { fail(id, error); },
                [&](const Error& second) {
                    log_error(
                        "operation outcome not recorded",
                        {{"operation", id}, {"error", second.log_line()}}
                    );
                }
            );
        };
        run_boundary(
            [&] { finish(id, work(stop.get_token())); },
            [&](const Error& error) {
                // Work that gave way to the shutdown was interrupted; nobody cancelled it.
                const bool interrupted =
                    error.kind() == ErrorKind::kCancelled && stop.stop_requested();
                record_failure(interrupted ? interrupted_error() : error);
            }
        );
    }

    catalog::Catalog& catalog;
    Clock& clock;
    std::stop_source stop;
    // Last member: its destructor runs what is queued, which uses the others.
    ThreadPool pool{"operations", kWorkers, kQueueMax};
};

Operations::Operations(catalog::Catalog& catalog, Clock& clock)
    : state_{std::make_unique<State>(catalog, clock)} {
    for (const OperationRecord& record :
         catalog.list<OperationRecord>({.states = {"Inprogress"}})) {
        state_->fail(record.id, interrupted_error());
    }
}

Operations::~Operations() {
    state_->stop.request_stop();
}

std::string Operations::completed(
    const RequestContext& context, const OperationSpec& spec, Json result
) {
    std::string id;
    state_->catalog.write([&](catalog::Transaction& transaction) {
        id = completed_in(transaction, context, spec, std::move(result));
    });
    return id;
}

std::string Operations::completed_in(
    catalog::Transaction& transaction,
    const RequestContext& context,
    const OperationSpec& spec,
    Json result
) {
    OperationRecord record = make_record(context, spec, state_->clock.now());
    record.status = "Succeeded";
    record.result = result_of(record, std::move(result));
    record.ended_at = record.started_at;
    transaction.put(record);
    return record.id;
}

std::string Operations::start(
    const RequestContext& context,
    const OperationSpec& spec,
    std::function<Json(std::stop_token)> work
) {
    OperationRecord record = make_record(context, spec, state_->clock.now());
    std::optional<std::string> replayed;
    state_->catalog.write([&](catalog::Transaction& transaction) {
        replayed = find_replay(transaction, context);
        if (!replayed) {
            transaction.put(record);
        }
    });
    if (replayed) {
        return *replayed;
    }
    const bool taken =
        state_->pool.try_submit([state = state_.get(),
                                 id = record.id,
                                 correlation_id = record.correlation_id,
                                 work = std::move(work)] { state->run(id, correlation_id, work); });
    if (!taken) {
        state_->catalog.write([&](catalog::Transaction& transaction) {
            (void)transaction.remove<OperationRecord>(record.id);
        });
        throw Error{
            ErrorKind::kTooManyRequests,
            ErrorText{
                .message = fmt::format("{} operations are waiting already.", kQueueMax),
                .recommended_actions = {"Send the request again in a few seconds."},
            }
        };
    }
    return record.id;
}

std::optional<std::string> Operations::find_replay(
    const catalog::View& view, const RequestContext& context
) {
    const std::string fingerprint = fingerprint_of(context);
    if (fingerprint.empty()) {
        return std::nullopt;
    }
    const auto found = view.list<OperationRecord>(
        {.subject = fingerprint,
         .from = context.services.clock.now() - kReplayWindow,
         .order = catalog::Order::kNewestFirst,
         .limit = 1}
    );
    return found.empty() ? std::nullopt : std::optional{found.front().id};
}

Reply Operations::accepted(const RequestContext& context, const std::string& operation_id) const {
    const OperationRecord record = state_->load(context, operation_id);
    Reply reply = Reply::empty(202);
    set_operation_headers(context, record, reply);
    reply.headers.set("Location", absolute_url(context, url_path(result_path(record))));
    return reply;
}

Reply Operations::with_resource(
    const RequestContext& context, const std::string& operation_id, int status, Json resource
) const {
    const OperationRecord record = state_->load(context, operation_id);
    Reply reply = Reply::json(status, std::move(resource));
    set_operation_headers(context, record, reply);
    return reply;
}

Reply Operations::status_reply(const RequestContext& context, const std::string& operation_id)
    const {
    const OperationRecord record = state_->load(context, operation_id);
    Json body{
        {"id", status_id(record)},
        {"name", record.id},
        {"status", record.status},
        {"startTime", format_instant(record.started_at)},
        {"endTime", record.ended_at ? format_instant(*record.ended_at) : std::string{kUnsetTime}},
    };
    if (record.result.is_object() && record.result.contains("jobId")) {
        body["properties"] = record.result;
    }
    if (record.error.is_object()) {
        body["error"] = record.error;
    }
    Reply reply = Reply::ok(std::move(body));
    if (is_running(record)) {
        reply.headers.set("Retry-After", std::string{kRetryAfterSeconds});
    }
    return reply;
}

Reply Operations::result_reply(const RequestContext& context, const std::string& operation_id)
    const {
    const OperationRecord record = state_->load(context, operation_id);
    if (is_running(record)) {
        return accepted(context, operation_id);
    }
    if (record.error.is_object()) {
        const std::string code = record.error.value("code", std::string{});
        Reply reply = Reply::json(status_of_code(code), Json{{"error", record.error}});
        reply.headers.set("x-ms-error-code", code);
        return reply;
    }
    return Reply::ok(record.result);
}

std::size_t Operations::remove_expired() {
    std::size_t removed = 0;
    const Instant now = state_->clock.now();
    state_->catalog.write([&](catalog::Transaction& transaction) {
        // Ordered by start and all of one lifetime, so the expired ones come first.
        std::vector<std::string> expired;
        transaction.each<OperationRecord>(
            {.until = now - kLifetime},
            [&](const OperationRecord& record) {
                expired.push_back(record.id);
                return expired.size() < 1000;  // Bounds the transaction; the rest goes next time.
            }
        );
        for (const std::string& id : expired) {
            removed += transaction.remove<OperationRecord>(id) ? 1U : 0U;
        }
    });
    return removed;
}

}  // namespace holdfast::control
