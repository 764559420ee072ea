// What sessions, the collector, checks and the state log find in their records once these are open:
// the input as the plaintext of each of them. Whoever has the keys may be a later version, or have
// had bad memory.
#include "base/clock.h"
#include "base/error.h"
#include "vault/detail/collector.h"
#include "vault/detail/condemned.h"
#include "vault/detail/session.h"
#include "vault/detail/state_log.h"
#include "vault/detail/verified.h"
#include "vault/object_store/memory_store.h"
#include "vault_fuzz_keys.h"

#include <algorithm>

namespace {

using namespace holdfast;         // NOLINT(google-build-using-namespace): one program.
using namespace holdfast::vault;  // NOLINT(google-build-using-namespace)

Bytes sealed(ObjectKind kind, const ObjectKey& key, ByteSpan plain) {
    return seal_object(fuzz_keys(), kind, key, Salt{}, plain);
}

template <typename Read>
void attempt(Read&& read) {
    try {
        read();
    } catch (const Error& error) {
        HOLDFAST_CHECK(error.kind() == ErrorKind::kVaultCorrupt);
    }
}

void check_names(const PackNames& packs) {
    HOLDFAST_CHECK(std::is_sorted(packs.begin(), packs.end()));
    HOLDFAST_CHECK(parse_pack_names(join_pack_names(packs)) == packs);
}

/// What is read by way of a store.
void read_stored(ByteSpan input) {
    static FakeClock clock{Instant{}};
    static MemoryStore store;
    static Engine engine{store, clock, make_fuzz_keys(), 1, {.workers = 1}};
    store.replace_contents({});
    const auto put = [&](ObjectKind kind, const ObjectKey& key) {
        store.put_new(key, sealed(kind, key, input), {});
    };
    put(ObjectKind::kState, state_key(1));
    put(ObjectKind::kState, state_key(2));
    put(ObjectKind::kCondemned, condemned_key(CondemnedId{}));
    put(ObjectKind::kVerified, verified_key(1));
    put(ObjectKind::kSession, session_key(SessionId{}));
    const StateLog log = StateChain{engine}.read(0, {});
    HOLDFAST_CHECK(log.complete == log.damaged.empty());
    HOLDFAST_CHECK(log.records.size() + log.damaged.size() == 2);
    attempt([&] {
        const CondemnedView view = CondemnedStore{store, engine.keys}.load({});
        for (const CondemnedList& list : view.lists()) {
            check_names(*list.packs);
        }
    });
    attempt([&] { (void)list_sessions(engine, {}); });
    (void)VerifiedStore{engine}.load({});  // A cache: damage makes it empty.
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const ByteSpan input{reinterpret_cast<const std::byte*>(data), size};
    attempt([&] {
        const ObjectKey key = collection_key(1, CollectionObject::kLease);
        (void)open_lease(fuzz_keys(), 1, sealed(ObjectKind::kCollection, key, input));
    });
    attempt([&] {
        const ObjectKey key = collection_key(1, CollectionObject::kSuspects);
        check_names(open_suspects(fuzz_keys(), 1, sealed(ObjectKind::kSuspects, key, input)).packs);
    });
    if (const auto verified = parse_verified(input)) {
        HOLDFAST_CHECK(verified->size() <= size / sizeof(Sha256));
    }
    read_stored(input);
    // And as bytes that nobody sealed.
    attempt([&] { (void)open_session(fuzz_keys(), SessionId{}, input); });
    return 0;
}
