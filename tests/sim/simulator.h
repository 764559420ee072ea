#pragma once

#include "vault/object_store/faulty_store.h"
#include "vault/object_store/memory_store.h"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace holdfast::vault::testing {

/// Lets several threads run as if they were processes on one store: only one of them runs at a
/// time, and at storage calls alone does the seed decide who goes on, who sleeps for long and who
/// dies. The same seed makes the same run, random ids and salts included.
///
/// An actor may have threads of its own as long as no two of them call the store at a time.
class Scheduler {
public:
    explicit Scheduler(std::uint64_t seed);
    ~Scheduler();
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;

    /// Actors of a process die together. Returns the actor's number.
    std::size_t add_actor(std::size_t process, std::function<void()> body);
    /// `process` dies at its `call`-th storage call of the next run().
    void crash_at(std::size_t process, std::uint64_t call);
    /// Runs every actor to its end. What an actor throws, but for the simulated crash, is given to
    /// `report`.
    void run(const std::function<void(std::size_t actor, const std::string& problem)>& report);

    [[nodiscard]] bool crashed(std::size_t process) const;
    [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }
    /// Tells runs apart: a digest of who called what in which order.
    [[nodiscard]] std::uint64_t trace() const noexcept { return trace_; }
    /// For decisions of the test itself: below `bound`.
    [[nodiscard]] std::uint64_t draw(std::uint64_t bound);

    /// Called by ScheduledStore at each storage call, before it takes effect.
    void step(std::size_t actor, const std::string& what);

private:
    struct Actor {
        std::size_t process = 0;
        std::function<void()> body;
        bool done = false;
        std::uint64_t sleeps_until = 0;  // In steps.
    };
    struct Process {
        std::uint64_t calls = 0;
        std::uint64_t crash_at = 0;
        bool crashed = false;
    };
    static constexpr std::size_t kNobody = ~std::size_t{0};
    void pass_on();  // REQUIRES: mutex_ held.
    void wait_for_turn(std::unique_lock<std::mutex>& lock, std::size_t actor);

    std::mutex mutex_;
    std::condition_variable changed_;
    // Guarded by mutex_.
    std::mt19937_64 random_;
    std::vector<Actor> actors_;
    std::vector<Process> processes_;
    std::size_t running_ = kNobody;
    std::uint64_t turn_steps_ = 0;
    std::uint64_t steps_ = 0;
    std::uint64_t trace_ = 0;
};

/// The store as one actor sees it.
class ScheduledStore final : public ObjectStore {
public:
    ScheduledStore(ObjectStore& inner, Scheduler& scheduler, std::size_t actor)
        : inner_{inner}, scheduler_{scheduler}, actor_{actor} {}

    [[nodiscard]] StoreFeatures features() const noexcept override { return inner_.features(); }
    PutOutcome put_new(const ObjectKey& key, ByteSpan data, std::stop_token stop) override {
        scheduler_.step(actor_, "put " + key.text());
        return inner_.put_new(key, data, std::move(stop));
    }
    [[nodiscard]] std::optional<Bytes> get(const ObjectKey& key, std::stop_token stop) override {
        scheduler_.step(actor_, "get " + key.text());
        return inner_.get(key, std::move(stop));
    }
    [[nodiscard]] std::optional<Bytes> get_range(
        const ObjectKey& key, std::uint64_t offset, std::uint64_t length, std::stop_token stop
    ) override {
        scheduler_.step(actor_, "get " + key.text());
        return inner_.get_range(key, offset, length, std::move(stop));
    }
    [[nodiscard]] std::optional<std::uint64_t> size(const ObjectKey& key, std::stop_token stop)
        override {
        scheduler_.step(actor_, "size " + key.text());
        return inner_.size(key, std::move(stop));
    }
    void list(std::string_view prefix, const ListVisitor& visitor, std::stop_token stop) override {
        scheduler_.step(actor_, "list " + std::string{prefix});
        inner_.list(prefix, visitor, std::move(stop));
    }
    bool remove(const ObjectKey& key, std::stop_token stop) override {
        scheduler_.step(actor_, "remove " + key.text());
        return inner_.remove(key, std::move(stop));
    }

private:
    ObjectStore& inner_;
    Scheduler& scheduler_;
    const std::size_t actor_;
};

}  // namespace holdfast::vault::testing
