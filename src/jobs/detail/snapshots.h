#pragma once

#include "jobs/engine.h"

#include <mutex>
#include <optional>

namespace holdfast::jobs {

/// Puts a copy of the catalog's resources into every repository: soon after a change (several
/// changes together), and daily. Safe from any thread.
class SnapshotKeeper {
public:
    SnapshotKeeper(EngineParts parts, const EngineSettings& settings);

    /// The resources changed.
    void note_change();
    /// Writes when it is time. Returns when it will be time next.
    Instant keep();
    /// Writes now if anything changed since.
    void flush();

private:
    [[nodiscard]] Instant due(Instant now) const;
    void write();

    const EngineParts parts_;
    const EngineSettings settings_;
    mutable std::mutex mutex_;
    // Guarded by mutex_.
    std::optional<Instant> changed_at_;  // Of the first change that no snapshot has.
    std::optional<Instant> written_at_;
};

/// The snapshot's document: `{"format":1,"writtenAt":…,"resources":{…}}`.
[[nodiscard]] Json snapshot_document(const catalog::Catalog& catalog, Instant now);

}  // namespace holdfast::jobs
