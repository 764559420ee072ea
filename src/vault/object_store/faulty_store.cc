#include "vault/object_store/faulty_store.h"

#include <fmt/format.h>

namespace holdfast::vault {

FaultyStore::FaultyStore(ObjectStore& inner, Plan plan, Count count)
    : inner_{inner}, plan_{plan}, count_{count} {}

std::uint64_t FaultyStore::calls() const {
    const std::lock_guard lock{mutex_};
    return calls_;
}

bool FaultyStore::crashed() const {
    const std::lock_guard lock{mutex_};
    return crashed_;
}

StoreFeatures FaultyStore::features() const noexcept {
    return inner_.features();
}

PutOutcome FaultyStore::put_new(const ObjectKey& key, ByteSpan data, std::stop_token stop) {
    const std::uint64_t number = enter(CallKind::kMutation);
    act(number, Moment::kBefore, "put " + key.text());
    const PutOutcome outcome = inner_.put_new(key, data, stop);
    act(number, Moment::kAfter, "put " + key.text());
    return outcome;
}

std::optional<Bytes> FaultyStore::get(const ObjectKey& key, std::stop_token stop) {
    const std::uint64_t number = enter(CallKind::kRead);
    act(number, Moment::kBefore, "get " + key.text());
    return inner_.get(key, stop);
}

std::optional<Bytes> FaultyStore::get_range(
    const ObjectKey& key, std::uint64_t offset, std::uint64_t length, std::stop_token stop
) {
    const std::uint64_t number = enter(CallKind::kRead);
    act(number, Moment::kBefore, "get " + key.text());
    return inner_.get_range(key, offset, length, stop);
}

std::optional<std::uint64_t> FaultyStore::size(const ObjectKey& key, std::stop_token stop) {
    const std::uint64_t number = enter(CallKind::kRead);
    act(number, Moment::kBefore, "size " + key.text());
    return inner_.size(key, stop);
}

void FaultyStore::list(std::string_view prefix, const ListVisitor& visitor, std::stop_token stop) {
    const std::uint64_t number = enter(CallKind::kRead);
    act(number, Moment::kBefore, fmt::format("list {}", prefix));
    inner_.list(prefix, visitor, stop);
}

bool FaultyStore::remove(const ObjectKey& key, std::stop_token stop) {
    const std::uint64_t number = enter(CallKind::kMutation);
    act(number, Moment::kBefore, "remove " + key.text());
    const bool removed = inner_.remove(key, stop);
    act(number, Moment::kAfter, "remove " + key.text());
    return removed;
}

std::uint64_t FaultyStore::enter(CallKind kind) {
    const std::lock_guard lock{mutex_};
    if (crashed_) {
        throw SimulatedCrash{};
    }
    if (kind == CallKind::kRead && count_ == Count::kMutations) {
        return 0;
    }
    return ++calls_;
}

void FaultyStore::act(std::uint64_t number, Moment moment, const std::string& what) {
    const bool due =
        number != 0 && plan_.call != 0 &&
        (number == plan_.call || (number > plan_.call && plan_.repeat == Repeat::kForever));
    if (!due || plan_.fault == Fault::kNone) {
        return;
    }
    const bool after = plan_.fault == Fault::kFailAfterEffect || plan_.fault == Fault::kCrashAfter;
    if (after != (moment == Moment::kAfter)) {
        return;
    }
    if (plan_.fault == Fault::kCrashBefore || plan_.fault == Fault::kCrashAfter) {
        const std::lock_guard lock{mutex_};
        crashed_ = true;
        throw SimulatedCrash{};
    }
    throw Error{plan_.kind, fmt::format("Injected fault at storage call {} ({}).", number, what)};
}

}  // namespace holdfast::vault
