#pragma once

#include "base/ids.h"

#include <memory>
#include <mutex>
#include <set>

namespace holdfast::vault {

using OwnerId = Id128<struct OwnerIdTag>;
using Incarnation = Id128<struct IncarnationTag>;

/// Who writes: a process, over its restarts. What it writes to a vault carries the owner's id and
/// an incarnation drawn when this object is made; so the collector of the same owner knows which
/// sessions died with an earlier process, without a clock and without asking anybody.
///
/// REQUIRES: at no time two processes with the same `id` write. The service keeps its id in its
/// state directory, which it holds locked while it runs. An owner whose id is drawn at random is
/// nobody's but its own: what it leaves behind counts as alive until somebody who knows says
/// otherwise (CollectOptions::end_foreign_sessions).
///
/// Safe from any thread.
class SessionOwner {
public:
    SessionOwner() : SessionOwner{OwnerId::random()} {}
    explicit SessionOwner(const OwnerId& id) : id_{id} {}
    SessionOwner(const SessionOwner&) = delete;
    SessionOwner& operator=(const SessionOwner&) = delete;

    [[nodiscard]] const OwnerId& id() const noexcept { return id_; }
    [[nodiscard]] const Incarnation& incarnation() const noexcept { return incarnation_; }

    /// Work of this process: sessions and collections, by their random ids. Whatever of this
    /// incarnation is not at work has died.
    using WorkId = std::array<std::byte, 16>;
    void enter(const WorkId& work) {
        const std::lock_guard lock{mutex_};
        at_work_.insert(work);
    }
    void leave(const WorkId& work) {
        const std::lock_guard lock{mutex_};
        at_work_.erase(work);
    }
    [[nodiscard]] bool is_at_work(const WorkId& work) const {
        const std::lock_guard lock{mutex_};
        return at_work_.contains(work);
    }

private:
    const OwnerId id_;
    const Incarnation incarnation_ = Incarnation::random();
    mutable std::mutex mutex_;
    std::set<WorkId> at_work_;  // Guarded by mutex_.
};

}  // namespace holdfast::vault
