#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "control/route.h"

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace holdfast::catalog {
class Catalog;
class Transaction;
class View;
}  // namespace holdfast::catalog

namespace holdfast::control {

/// Where the status URL of an operation lies.
enum class StatusPlace {
    kVault,  ///< `{vault}/operationStatus/{id}`
    /// `{group}/providers/Microsoft.DataProtection/locations/{location}/operationStatus/{id}`: for
    /// deleting the vault itself.
    kLocation,
};

/// What an operation works on and how it is shown.
struct OperationSpec {
    std::string kind;      ///< `validateForBackup`, `restore`…: for the log.
    std::string vault_id;  ///< ARM id of the vault; who may read its operations there may poll.
    std::string location;  ///< For the Location URL.
    std::string job_id = {
    };  ///< Full ARM id of the job that this operation started; empty when none.
    StatusPlace status_place = StatusPlace::kVault;
};

/// ARM's long-running operations, durable: a row is committed before the client hears of it, a
/// restart neither loses nor repeats one. Work that was running when the process ended is reported
/// Failed (kInterrupted). Rows expire seven days after their start. Safe from any thread.
class Operations {
public:
    /// `catalog` and `clock` outlive this. Marks what a former process left in progress as Failed.
    Operations(catalog::Catalog& catalog, Clock& clock);
    /// Stops accepting, asks running work to stop, waits for it.
    ~Operations();

    /// An operation that is already done, e.g. because the job is registered. `result`: more
    /// members for the body of operationResults. Returns the operation's id.
    [[nodiscard]] std::string completed(
        const RequestContext& context, const OperationSpec& spec, Json result = nullptr
    );
    /// As completed(), as a part of the caller's transaction.
    [[nodiscard]] std::string completed_in(
        catalog::Transaction& transaction,
        const RequestContext& context,
        const OperationSpec& spec,
        Json result = nullptr
    );

    /// Runs `work` on the bounded "operations" pool; it must not use the RequestContext, which is
    /// gone by then. The object that it returns (or null) goes into the body of operationResults, a
    /// `jobId` in it also into the status; what it throws becomes the operation's error. Throws
    /// kTooManyRequests when the pool's queue is full; then nothing was recorded.
    [[nodiscard]] std::string start(
        const RequestContext& context,
        const OperationSpec& spec,
        std::function<Json(std::stop_token)> work
    );

    /// The operation that the same request started before: same principal, path, body and
    /// x-ms-client-request-id, a POST, not longer ago than 15 minutes. Without that header every
    /// request is a new one. Asked inside the transaction that records the operation, it also
    /// catches a repeat that came while the first was still at work.
    [[nodiscard]] static std::optional<std::string> find_replay(
        const catalog::View& view, const RequestContext& context
    );

    /// 202, empty body, Azure-AsyncOperation, Location, Retry-After: 1.
    [[nodiscard]] Reply accepted(const RequestContext& context, const std::string& operation_id)
        const;
    /// `status` (200 or 201) with the resource's body and Azure-AsyncOperation.
    [[nodiscard]] Reply with_resource(
        const RequestContext& context, const std::string& operation_id, int status, Json resource
    ) const;

    /// GET …/operationStatus/{operationId}: 200 with the status body; Retry-After: 1 while running.
    /// Authorizes the caller on the operation's vault.
    [[nodiscard]] Reply status_reply(const RequestContext& context, const std::string& operation_id)
        const;
    /// GET …/operationResults/{operationId}: 202 while running, then 200 with the result, or the
    /// error.
    [[nodiscard]] Reply result_reply(const RequestContext& context, const std::string& operation_id)
        const;

    /// Removes rows past their expiry. Called by the server's housekeeping.
    std::size_t remove_expired();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace holdfast::control
