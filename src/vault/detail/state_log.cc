#include "vault/detail/state_log.h"

#include "base/error.h"
#include "vault/detail/format.pb.h"
#include "vault/detail/sealed.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

constexpr std::size_t kDocumentBytesMax = kMiB;

bool known_kind(std::uint32_t kind) {
    return kind >= static_cast<std::uint32_t>(StateKind::kExpirySet) &&
           kind <= static_cast<std::uint32_t>(StateKind::kPackDistrusted);
}

/// Throws kVaultCorrupt naming `key`.
StoredStateRecord decode(const ObjectKey& key, std::uint64_t sequence, const format::State& state) {
    StoredStateRecord out;
    out.sequence = state.sequence();
    out.recorded_at = Instant{std::chrono::microseconds{state.recorded_at()}};
    if (out.sequence != sequence) {
        throw_corrupt(key, "it carries the number of another record.");
    }
    if (!known_kind(state.kind())) {
        throw_corrupt(key, "its kind is unknown to this program.");
    }
    out.record.kind = static_cast<StateKind>(state.kind());
    out.record.instance_id = state.instance_id();
    if (!state.point_id().empty()) {
        std::array<std::byte, 16> id{};
        if (state.point_id().size() != id.size()) {
            throw_corrupt(key, "it names no point.");
        }
        std::copy_n(as_bytes(state.point_id()).begin(), id.size(), id.begin());
        out.record.point = PointId{id};
    }
    if (state.has_until()) {
        out.record.until = Instant{std::chrono::microseconds{state.until()}};
    }
    out.record.document_json = state.document_json();
    return out;
}

}  // namespace

std::uint64_t StateChain::highest_stored(std::stop_token stop) {
    std::uint64_t highest = 0;
    engine_.store.list(
        kStatePrefix,
        [&](const ObjectInfo& info) {
            highest = std::max(highest, parse_numbered_key(info.key, kStatePrefix).value_or(0));
            return true;
        },
        std::move(stop)
    );
    return highest;
}

StateChain::Last StateChain::last(std::stop_token stop) {
    Last out{.sequence = highest_stored(stop)};
    if (out.sequence > 0) {
        const ObjectKey key = state_key(out.sequence);
        const auto object = engine_.store.get(key, stop);
        if (!object) {
            throw_corrupt(key, "it is missing.");
        }
        out.sha256 = sha256(*object);
    }
    return out;
}

std::uint64_t StateChain::append(const StateRecord& record, std::stop_token stop) {
    if (record.document_json.size() > kDocumentBytesMax) {
        throw Error{ErrorKind::kInvalidInput, "A state record's document may have at most 1 MiB."};
    }
    format::State state;
    state.set_recorded_at(engine_.clock.now().time_since_epoch().count());
    state.set_kind(static_cast<std::uint32_t>(record.kind));
    state.set_instance_id(record.instance_id);
    if (record.point) {
        state.set_point_id(std::string{as_text(record.point->bytes())});
    }
    if (record.until) {
        state.set_until(record.until->time_since_epoch().count());
    }
    state.set_document_json(record.document_json);

    const std::lock_guard lock{mutex_};
    for (;;) {
        if (!last_) {
            last_ = last(stop);
        }
        // Whatever happens below, the next append looks at the store again unless this one
        // succeeded.
        const Last before = *std::exchange(last_, std::nullopt);
        state.set_sequence(before.sequence + 1);
        state.set_previous_sha256(
            before.sequence == 0 ? std::string{} : std::string{as_text(before.sha256)}
        );
        const ObjectKey key = state_key(state.sequence());
        const Bytes object = seal_object(
            engine_.keys,
            ObjectKind::kState,
            key,
            random_array<32>(),
            as_bytes(state.SerializeAsString())
        );
        // The number is taken by another process, or by this very record when a retry below us lost
        // the first answer.
        if (engine_.store.put_new(key, object, stop) == PutOutcome::kCreated ||
            engine_.store.get(key, stop) == object) {
            last_ = Last{.sequence = state.sequence(), .sha256 = sha256(object)};
            return state.sequence();
        }
    }
}

StateLog StateChain::read(std::uint64_t after_sequence, std::stop_token stop) {
    StateLog log;
    const std::uint64_t highest = highest_stored(stop);
    // The record before the first wanted one proves that nothing lies between them.
    Bytes previous;
    for (std::uint64_t n = std::max<std::uint64_t>(after_sequence, 1); n <= highest; ++n) {
        const ObjectKey key = state_key(n);
        const auto object = engine_.store.get(key, stop);
        try {
            if (!object) {
                throw_corrupt(key, "it is missing.");
            }
            format::State state;
            const Bytes plain = open_object(engine_.keys, ObjectKind::kState, key, *object);
            if (!state.ParseFromArray(plain.data(), static_cast<int>(plain.size()))) {
                throw_corrupt(key, "it is not a state record.");
            }
            auto record = decode(key, n, state);
            if (!previous.empty() && state.previous_sha256() != as_text(sha256(previous))) {
                throw_corrupt(key, "it does not follow the record before it.");
            }
            if (n > after_sequence) {
                log.records.push_back(std::move(record));
            }
            previous = *object;
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::kVaultCorrupt) {
                throw;
            }
            log.damaged.push_back({.object_key = key.text(), .problem = error.what(), .points = {}}
            );
            log.complete = false;
            previous.clear();  // What follows a damaged record cannot be judged by it.
        }
    }
    return log;
}

}  // namespace holdfast::vault
