#include "jobs/recovery_points.h"

#include "base/error.h"
#include "base/text.h"

#include <fmt/format.h>

namespace holdfast::jobs {

catalog::PointRecord require_point(
    const catalog::View& view, const catalog::InstanceRecord& instance, std::string_view id
) {
    auto point = view.get<catalog::PointRecord>(id);
    if (!point || !equal_ignoring_case(point->instance_id, instance.id)) {
        throw Error{
            ErrorKind::kRecoveryPointNotFound,
            ErrorText{
                .message = fmt::format(
                    "The recovery point \"{}\" does not belong to the backup instance \"{}\".",
                    id,
                    instance.name
                ),
                .target = "recoveryPointId",
                .recommended_actions =
                    {"Choose one from: holdfast dataprotection recovery-point list."},
            }
        };
    }
    return std::move(*point);
}

}  // namespace holdfast::jobs
