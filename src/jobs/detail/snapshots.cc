#include "jobs/detail/snapshots.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "jobs/repositories.h"

#include <algorithm>

namespace holdfast::jobs {

Json snapshot_document(const catalog::Catalog& catalog, Instant now) {
    return Json{
        {"format", 1},
        {"writtenAt", format_instant(now)},
        {"resources", catalog.export_resources()},
    };
}

SnapshotKeeper::SnapshotKeeper(EngineParts parts, const EngineSettings& settings)
    : parts_{parts}, settings_{settings} {}

void SnapshotKeeper::note_change() {
    const std::lock_guard lock{mutex_};
    if (!changed_at_) {
        changed_at_ = parts_.clock.now();
    }
}

Instant SnapshotKeeper::due(Instant now) const {
    const std::lock_guard lock{mutex_};
    if (!written_at_) {
        // The first of this process: soon, so that a restored catalog is covered again.
        return changed_at_ ? *changed_at_ + settings_.snapshot_delay : now;
    }
    const Instant latest = *written_at_ + settings_.snapshot_interval_max;
    if (!changed_at_) {
        return latest;
    }
    return std::min(
        latest,
        std::max(
            *changed_at_ + settings_.snapshot_delay, *written_at_ + settings_.snapshot_interval_min
        )
    );
}

Instant SnapshotKeeper::keep() {
    const Instant now = parts_.clock.now();
    const Instant when = due(now);
    // A clock that was set back must not put it off for long.
    if (when > now && when - now <= settings_.snapshot_interval_max) {
        return when;
    }
    write();
    return due(now);
}

void SnapshotKeeper::flush() {
    {
        const std::lock_guard lock{mutex_};
        if (!changed_at_) {
            return;
        }
    }
    write();
}

void SnapshotKeeper::write() {
    const Instant now = parts_.clock.now();
    {
        // What changes from here on is not surely in this snapshot.
        const std::lock_guard lock{mutex_};
        changed_at_.reset();
        written_at_ = now;
    }
    const std::string text = snapshot_document(parts_.catalog, now).dump();
    bool complete = true;
    for (const auto& vault : parts_.catalog.list<catalog::VaultRecord>()) {
        if (vault.repository_id.empty()) {
            continue;
        }
        run_boundary(
            [&] { parts_.repositories.open(vault)->put_catalog_snapshot(as_bytes(text), {}); },
            [&](const Error& error) {
                complete = false;
                log_warning(
                    "The catalog could not be copied into a vault",
                    {{"vault", vault.id}, {"reason", error.log_line()}}
                );
            }
        );
    }
    if (!complete) {
        const std::lock_guard lock{mutex_};
        changed_at_ = changed_at_.value_or(now);
    }
}

}  // namespace holdfast::jobs
