// …/recoveryPoints/{recoveryPointId}/listStreams and readStreams: a recovery point's contents, for
// `holdfast restore`.
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/guards.h"
#include "control/routes/lookup.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"
#include "jobs/point_streams.h"
#include "jobs/point_transfer.h"
#include "jobs/repositories.h"
#include "protection/instance_state.h"
#include "vault/vault.h"

#include <atomic>
#include <memory>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::InstanceRecord;
using catalog::PointRecord;
using catalog::VaultRecord;

constexpr std::string_view kReadData =
    "Microsoft.DataProtection/backupVaults/backupInstances/recoveryPoints/streams/read";
// Each holds a reader with its buffers: more at once would break the server's memory bound.
constexpr int kTransfersMax = 16;

/// A place among the transfers under way.
class Place {
public:
    explicit Place(std::shared_ptr<std::atomic<int>> count) : count_{std::move(count)} {
        if (++*count_ > kTransfersMax) {
            --*count_;
            count_.reset();
            throw Error{
                ErrorKind::kTooManyRequests,
                ErrorText{
                    .message = fmt::format(
                        "{} transfers of recovery points are under way, which is the most that "
                        "this server does at once.",
                        kTransfersMax
                    ),
                    .recommended_actions = {"Try again in a while, or use fewer connections."},
                }
            };
        }
    }
    ~Place() {
        if (count_) {
            --*count_;
        }
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

private:
    std::shared_ptr<std::atomic<int>> count_;
};

class TransferBody final : public BodySource {
public:
    TransferBody(std::unique_ptr<Place> place, std::unique_ptr<jobs::FrameSource> frames)
        : place_{std::move(place)}, frames_{std::move(frames)} {}
    std::string next() override { return frames_->next(); }

private:
    const std::unique_ptr<Place> place_;
    const std::unique_ptr<jobs::FrameSource> frames_;
};

/// The repository, and the point opened in it.
struct OpenedPoint {
    std::shared_ptr<vault::Repository> repository;
    std::unique_ptr<vault::PointReader> reader;
};

[[noreturn]] void no_such_point(const std::string& name, const InstanceRecord& instance) {
    throw not_found(
        ErrorKind::kRecoveryPointNotFound,
        kPointType,
        name,
        child_id(instance.id, "recoveryPoints", name)
    );
}

std::shared_ptr<OpenedPoint> open_point(const RequestContext& context) {
    const std::string& name = context.path.at("recoveryPointId");
    const std::vector<std::string> approvals = read_guard_requests(body_reader(context));
    VaultRecord vault;
    context.services.catalog.read([&](const catalog::View& view) {
        vault = require_vault(view, context);
        const InstanceRecord instance = require_instance(view, context);
        const auto state = protection::parse_protection_state(instance.state);
        if (!state || !protection::accepts_restore(*state)) {
            throw protection::not_accepted(
                state.value_or(protection::ProtectionState::kProtectionError),
                "restore",
                instance.id
            );
        }
        const auto point = view.get<PointRecord>(name);
        if (!point || !equal_ignoring_case(point->instance_id, instance.id)) {
            no_such_point(name, instance);
        }
        require_guard_approval(view, context, vault, CriticalOperation::kRestore, approvals);
    });
    const auto id = vault::PointId::parse(to_lower(name));
    HOLDFAST_CHECK(id.has_value());
    auto opened = std::make_shared<OpenedPoint>();
    opened->repository = context.services.repositories.open(vault);
    opened->reader = opened->repository->open_point(*id, {});
    return opened;
}

jobs::TransferSource transfer_source(const std::shared_ptr<OpenedPoint>& point) {
    return {
        .keep = point,
        .open = [reader = point->reader.get()](std::stop_token stop
                ) { return std::make_unique<jobs::PointSource>(*reader, std::move(stop)); }
    };
}

Reply transfer(std::unique_ptr<Place> place, std::unique_ptr<jobs::FrameSource> frames) {
    return Reply::stream(
        std::make_unique<TransferBody>(std::move(place), std::move(frames)),
        "application/octet-stream"
    );
}

std::vector<std::string> read_names(const RequestContext& context) {
    const JsonReader list = body_reader(context).member("streams");
    std::vector<std::string> names;
    for (const JsonReader& element : list.elements()) {
        names.push_back(element.as_string());
    }
    if (names.empty() || names.size() > jobs::kStreamsPerRequestMax) {
        list.fail(
            fmt::format("names {} streams", names.size()),
            fmt::format("1 to {} names", jobs::kStreamsPerRequestMax)
        );
    }
    return names;
}

}  // namespace

void add_recovery_point_stream_routes(std::vector<Route>& routes) {
    const std::string point = std::string{kInstancePattern} + "/recoveryPoints/{recoveryPointId}";
    const auto count = std::make_shared<std::atomic<int>>(0);
    const auto add = [&](std::string_view verb, std::string summary, Handler handler) {
        routes.push_back(Route{
            .verb = Verb::kPost,
            .pattern = point + "/" + std::string{verb},
            .action = std::string{kReadData},
            .summary = std::move(summary),
            .handler = std::move(handler),
            .body = BodyRule::kRequired,
        });
    };
    add("listStreams",
        "Streams the list of a recovery point's contents (an extension; see docs/azure.md).",
        [count](const RequestContext& context) {
            body_reader(context).refuse_unknown({"prefix", "resourceGuardOperationRequests"});
            auto place = std::make_unique<Place>(count);
            std::string prefix = body_reader(context).string_or("prefix", "");
            auto frames =
                jobs::send_listing(transfer_source(open_point(context)), std::move(prefix));
            return transfer(std::move(place), std::move(frames));
        });
    add("readStreams",
        "Streams contents of a recovery point (an extension; see docs/azure.md).",
        [count](const RequestContext& context) {
            body_reader(context).refuse_unknown({"streams", "resourceGuardOperationRequests"});
            auto place = std::make_unique<Place>(count);
            std::vector<std::string> names = read_names(context);
            auto frames =
                jobs::send_streams(transfer_source(open_point(context)), std::move(names));
            return transfer(std::move(place), std::move(frames));
        });
}

}  // namespace holdfast::control
