#pragma once

#include "vault/detail/condemned.h"
#include "vault/detail/format.h"
#include "vault/session_owner.h"
#include "vault/vault.h"

#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

// Sessions: how a writer and the collector learn of each other (docs/format.md 4.4, 6).
//
// A session relies on no pack of a list in its view. Its record names the lists it had read before
// it was written; so the collector, which looks at the sessions after a list is durable, knows that
// a session without that list in its record may have relied on such a pack, and leaves the packs
// alone until it has ended.

namespace holdfast::vault {

struct Engine;

/// What a session writes, when it writes a point.
struct SessionPoint {
    PointGroup group;
    PointId id;
};

struct SessionRecord {
    SessionId id;
    std::optional<SessionPoint> point;
    OwnerId owner;
    Incarnation incarnation;
    Instant started_at = {};
    std::vector<CondemnedId> known_condemned;

    [[nodiscard]] bool knows(const CondemnedId& list) const;
};

/// Parser of stored bytes. Throws kVaultCorrupt naming the record.
[[nodiscard]] SessionRecord open_session(const KeyRing& keys, const SessionId& id, ByteSpan object);

/// A session of this process, from before its record is written until it is destroyed. It ends with
/// end(); destroyed without, its record stays until a collector sees that nobody is at work on it.
class Session {
public:
    /// Writes the record. When this returns, whatever is condemned from now on, and not in view(),
    /// stays until this session has ended.
    Session(Engine& engine, std::optional<SessionPoint> point, std::stop_token stop);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    [[nodiscard]] const SessionId& id() const noexcept { return id_; }
    [[nodiscard]] const std::optional<SessionPoint>& point() const noexcept { return point_; }
    [[nodiscard]] const CondemnedView& view() const noexcept { return view_; }
    [[nodiscard]] std::uint64_t record_bytes() const noexcept { return record_bytes_; }
    /// Removes the record: what was written is protected by a commit record now, or by nothing.
    /// A record that stays is harmless, so this does not fail.
    void end();

private:
    Engine& engine_;
    const SessionId id_ = SessionId::random();
    const std::optional<SessionPoint> point_;
    CondemnedView view_;
    std::uint64_t record_bytes_ = 0;
};

enum class SessionLife {
    kHere,       ///< At work in this process.
    kDead,       ///< Of this owner and not at work: it died, or was given up.
    kElsewhere,  ///< Of another owner, who alone can tell.
};
[[nodiscard]] SessionLife judge(const SessionRecord& record, const SessionOwner& owner);

/// Every session whose record is durable when this is called, but for those ended meanwhile. Throws
/// kVaultCorrupt naming a record that cannot be read.
[[nodiscard]] std::vector<SessionRecord> list_sessions(Engine& engine, std::stop_token stop);

/// Ends a session that is not at work any more: its point can never be committed after this, unless
/// it was before.
void bar_session(Engine& engine, const SessionRecord& session, std::stop_token stop);

}  // namespace holdfast::vault
