#include "vault/detail/session.h"

#include "base/error.h"
#include "base/log.h"
#include "vault/detail/engine.h"
#include "vault/detail/format.pb.h"
#include "vault/detail/sealed.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

std::string text_of(const std::array<std::byte, 16>& id) {
    return std::string{as_text(id)};
}

}  // namespace

bool SessionRecord::knows(const CondemnedId& list) const {
    return std::find(known_condemned.begin(), known_condemned.end(), list) !=
           known_condemned.end();
}

SessionRecord open_session(const KeyRing& keys, const SessionId& id, ByteSpan object) {
    const ObjectKey key = session_key(id);
    const Bytes plain = open_object(keys, ObjectKind::kSession, key, object);
    format::Session session;
    if (!session.ParseFromArray(plain.data(), static_cast<int>(plain.size())) ||
        session.session_id() != as_text(id.bytes())) {
        throw_corrupt(key, "it is not a session record.");
    }
    SessionRecord record{.id = id};
    record.started_at = Instant{std::chrono::microseconds{session.started_at()}};
    if (!session.point_id().empty()) {
        const auto group = parse_id<PointGroup>(session.point_group());
        const auto point = parse_id<PointId>(session.point_id());
        if (!group || !point) {
            throw_corrupt(key, "it names no point.");
        }
        record.point = SessionPoint{.group = *group, .id = *point};
    }
    // Records of before there was a collector have no owner: nobody can tell about them.
    record.owner = parse_id<OwnerId>(session.owner_id()).value_or(OwnerId{});
    record.incarnation = parse_id<Incarnation>(session.incarnation()).value_or(Incarnation{});
    for (const std::string& list : session.known_condemned()) {
        const auto known = parse_id<CondemnedId>(list);
        if (!known) {
            throw_corrupt(key, "it names no condemned list.");
        }
        record.known_condemned.push_back(*known);
    }
    return record;
}

Session::Session(Engine& engine, std::optional<SessionPoint> point, std::stop_token stop)
    : engine_{engine}, point_{point} {
    view_ = engine_.condemned.load(stop);
    format::Session session;
    session.set_session_id(text_of(id_.bytes()));
    if (point_) {
        session.set_point_id(text_of(point_->id.bytes()));
        session.set_point_group(text_of(point_->group.bytes()));
    }
    session.set_started_at(engine_.clock.now().time_since_epoch().count());
    session.set_owner_id(text_of(engine_.owner.id().bytes()));
    session.set_incarnation(text_of(engine_.owner.incarnation().bytes()));
    for (const CondemnedList& list : view_.lists()) {
        session.add_known_condemned(text_of(list.id.bytes()));
    }
    const ObjectKey key = session_key(id_);
    const Bytes object = seal_object(
        engine_.keys,
        ObjectKind::kSession,
        key,
        random_array<32>(),
        as_bytes(session.SerializeAsString())
    );
    record_bytes_ = object.size();
    engine_.owner.enter(id_.bytes());
    try {
        engine_.store.put_new(key, object, stop);
        // What became condemned since: the record says nothing of it, so its packs stay, but there
        // is no need to rely on them.
        view_.add(engine_.condemned.load(stop));
    } catch (...) {  // lint-allow: thrown on; the constructor's destructor does not run.
        engine_.owner.leave(id_.bytes());
        throw;
    }
}

Session::~Session() {
    engine_.owner.leave(id_.bytes());
}

void Session::end() {
    try {
        engine_.store.remove(session_key(id_), {});
    } catch (const Error& error) {
        log_warning("A finished session was not removed.", {{"problem", error.what()}});
    }
}

SessionLife judge(const SessionRecord& record, const SessionOwner& owner) {
    if (record.owner != owner.id()) {
        return SessionLife::kElsewhere;
    }
    return record.incarnation == owner.incarnation() && owner.is_at_work(record.id.bytes())
               ? SessionLife::kHere
               : SessionLife::kDead;
}

std::vector<SessionRecord> list_sessions(Engine& engine, std::stop_token stop) {
    std::vector<SessionId> ids;
    engine.store.list(
        kSessionsPrefix,
        [&](const ObjectInfo& info) {
            if (const auto id = parse_session_key(info.key)) {
                ids.push_back(*id);
            }
            return true;
        },
        stop
    );
    std::vector<SessionRecord> sessions;
    for (const SessionId& id : ids) {
        if (const auto object = engine.store.get(session_key(id), stop)) {
            sessions.push_back(open_session(engine.keys, id, *object));
        }
    }
    return sessions;
}

void bar_session(Engine& engine, const SessionRecord& session, std::stop_token stop) {
    if (session.point) {
        format::Commit aborted;
        aborted.set_outcome(format::Commit::ABORTED);
        aborted.set_point_id(text_of(session.point->id.bytes()));
        aborted.set_session_id(text_of(session.id.bytes()));
        const ObjectKey key = commit_key(session.point->group, session.point->id);
        // Taken already: then it is settled, one way or the other.
        engine.store.put_new(
            key,
            seal_object(
                engine.keys,
                ObjectKind::kCommit,
                key,
                random_array<32>(),
                as_bytes(aborted.SerializeAsString())
            ),
            stop
        );
    }
    engine.store.remove(session_key(session.id), stop);
}

}  // namespace holdfast::vault
