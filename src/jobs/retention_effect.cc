#include "jobs/retention_effect.h"

#include "base/bytes.h"
#include "base/sha256.h"
#include "jobs/detail/runners.h"
#include "protection/policy.h"
#include "protection/retention.h"

#include <fmt/format.h>

namespace holdfast::jobs {

RetentionEffect retention_effect(
    const catalog::View& view, const catalog::InstanceRecord& instance, Instant now
) {
    const catalog::PolicyRecord record = require_policy(view, instance.policy_id);
    const protection::BackupPolicy policy =
        protection::parse_policy(record.properties, "properties");
    RetentionEffect effect;
    effect.policy_id = record.id;
    effect.policy_version = record.version;
    std::string identity = fmt::format("{}\n{}\n", record.id, record.version);
    view.each<catalog::PointRecord>(
        {.parent = instance.id, .order = catalog::Order::kNewestFirst},
        [&](const catalog::PointRecord& point) {
            PointRetention change{
                .point_id = point.id,
                .time = point.time,
                .tag = point.tag,
                .made_under = point.policy_version,
                .expires = point.expires_at,
                .would_expire = protection::expiry_of(policy, point.tag, point.time).expires,
            };
            effect.shortened += change.is_shorter() ? 1U : 0U;
            effect.extended += change.is_longer() ? 1U : 0U;
            effect.expiring += change.is_shorter() && change.would_expire <= now ? 1U : 0U;
            identity += fmt::format(
                "{} {} {}\n",
                change.point_id,
                change.expires ? change.expires->time_since_epoch().count() : 0,
                change.would_expire.time_since_epoch().count()
            );
            effect.points.push_back(std::move(change));
            return true;
        }
    );
    effect.token = to_hex(sha256(as_bytes(identity)));
    return effect;
}

}  // namespace holdfast::jobs
