#pragma once

#include "base/error.h"
#include "vault/object_store/object_store.h"

#include <cstdint>
#include <mutex>
#include <string>

namespace holdfast::vault {

/// Thrown through the code under test when a FaultyStore "crashes": as far as the store can see,
/// the process is gone. Not an Error on purpose: nothing but the sweep catches it.
struct SimulatedCrash final {};

/// Fails at a chosen call. Wraps any store; used by the fault and crash sweeps.
class FaultyStore final : public ObjectStore {
public:
    enum class Fault {
        kNone,
        kFail,             ///< The call throws `kind` and has no effect.
        kFailAfterEffect,  ///< The call takes effect, then throws `kind` (a lost answer).
        kCrashBefore,  ///< This call and all later ones have no effect and throw SimulatedCrash.
        kCrashAfter,   ///< This call takes effect; it and all later ones throw SimulatedCrash.
    };
    enum class Repeat {
        kOnce,
        kForever,  ///< Every later call fails as well (a full disk).
    };
    struct Plan {
        std::uint64_t call = 0;  ///< Counted from 1 over the counted calls; 0 = never.
        Fault fault = Fault::kNone;
        ErrorKind kind = ErrorKind::kStoreUnavailable;
        Repeat repeat = Repeat::kOnce;
    };
    enum class Count {
        kMutations,  ///< put_new and remove.
        kAllCalls,
    };

    FaultyStore(ObjectStore& inner, Plan plan, Count count = Count::kMutations);

    /// Counted calls so far.
    [[nodiscard]] std::uint64_t calls() const;
    [[nodiscard]] bool crashed() const;

    [[nodiscard]] StoreFeatures features() const noexcept override;
    PutOutcome put_new(const ObjectKey& key, ByteSpan data, std::stop_token stop) override;
    [[nodiscard]] std::optional<Bytes> get(const ObjectKey& key, std::stop_token stop) override;
    [[nodiscard]] std::optional<Bytes> get_range(
        const ObjectKey& key, std::uint64_t offset, std::uint64_t length, std::stop_token stop
    ) override;
    [[nodiscard]] std::optional<std::uint64_t> size(const ObjectKey& key, std::stop_token stop)
        override;
    void list(std::string_view prefix, const ListVisitor& visitor, std::stop_token stop) override;
    bool remove(const ObjectKey& key, std::stop_token stop) override;

private:
    enum class CallKind { kMutation, kRead };
    enum class Moment { kBefore, kAfter };
    /// Counts the call; returns the number that the plan judges (0 = not counted).
    [[nodiscard]] std::uint64_t enter(CallKind kind);
    void act(std::uint64_t number, Moment moment, const std::string& what);

    ObjectStore& inner_;
    const Plan plan_;
    const Count count_;
    mutable std::mutex mutex_;
    std::uint64_t calls_ = 0;  // Guarded by mutex_.
    bool crashed_ = false;     // Guarded by mutex_.
};

}  // namespace holdfast::vault
