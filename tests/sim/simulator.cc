#include "simulator.h"

#include "base/error.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include <sys/syscall.h>
#include <unistd.h>

// Random ids, salts and keys come from getrandom(2). In this program it is drawn from the seed
// while a scheduler lives, so that a run can be had again.

namespace {

std::mutex random_mutex;
std::mt19937_64 seeded_random;  // Guarded by random_mutex.
std::atomic<bool> random_is_seeded = false;

}  // namespace

extern "C" ssize_t getrandom(void* buffer, size_t size, unsigned flags) {
    if (!random_is_seeded) {
        return static_cast<ssize_t>(::syscall(SYS_getrandom, buffer, size, flags));
    }
    const std::lock_guard lock{random_mutex};
    auto* const out = static_cast<unsigned char*>(buffer);
    for (size_t i = 0; i < size; ++i) {
        out[i] = static_cast<unsigned char>(seeded_random() >> 32);
    }
    return static_cast<ssize_t>(size);
}

namespace holdfast::vault::testing {

Scheduler::Scheduler(std::uint64_t seed) : random_{seed} {
    const std::lock_guard lock{random_mutex};
    seeded_random.seed(seed ^ 0x5eed);
    random_is_seeded = true;
}

Scheduler::~Scheduler() {
    random_is_seeded = false;
}

std::size_t Scheduler::add_actor(std::size_t process, std::function<void()> body) {
    actors_.push_back({.process = process, .body = std::move(body)});
    processes_.resize(std::max(processes_.size(), process + 1));
    return actors_.size() - 1;
}

void Scheduler::crash_at(std::size_t process, std::uint64_t call) {
    processes_.resize(std::max(processes_.size(), process + 1));
    processes_[process].crash_at = call;
}

bool Scheduler::crashed(std::size_t process) const {
    return process < processes_.size() && processes_[process].crashed;
}

std::uint64_t Scheduler::draw(std::uint64_t bound) {
    const std::lock_guard lock{mutex_};
    return random_() % bound;
}

void Scheduler::pass_on() {
    std::vector<std::size_t> awake;
    std::size_t first_to_wake = kNobody;
    for (std::size_t i = 0; i < actors_.size(); ++i) {
        if (actors_[i].done) {
            continue;
        }
        if (actors_[i].sleeps_until <= steps_) {
            awake.push_back(i);
        } else if (first_to_wake == kNobody ||
                   actors_[i].sleeps_until < actors_[first_to_wake].sleeps_until) {
            first_to_wake = i;
        }
    }
    running_ = awake.empty() ? first_to_wake : awake[random_() % awake.size()];
    // Mostly short turns, now and then a long one.
    turn_steps_ = random_() % 4 == 0 ? 1 + random_() % 200 : 1 + random_() % 12;
    changed_.notify_all();
}

void Scheduler::wait_for_turn(std::unique_lock<std::mutex>& lock, std::size_t actor) {
    changed_.wait(lock, [&] { return running_ == actor; });
}

void Scheduler::step(std::size_t actor, const std::string& what) {
    std::unique_lock lock{mutex_};
    wait_for_turn(lock, actor);
    if (turn_steps_ == 0) {
        if (random_() % 10 == 0) {
            actors_[actor].sleeps_until = steps_ + random_() % 600;
        }
        pass_on();
        wait_for_turn(lock, actor);
    }
    --turn_steps_;
    ++steps_;
    Process& process = processes_[actors_[actor].process];
    ++process.calls;
    process.crashed = process.crashed || process.calls == process.crash_at;
    if (process.crashed) {
        throw SimulatedCrash{};
    }
    trace_ = trace_ * 0x100000001b3 + std::hash<std::string>{}(what) + actor;
}

void Scheduler::run(
    const std::function<void(std::size_t actor, const std::string& problem)>& report
) {
    std::vector<std::thread> threads;
    {
        const std::lock_guard lock{mutex_};
        for (std::size_t i = 0; i < actors_.size(); ++i) {
            threads.emplace_back([this, i, &report] {
                {
                    std::unique_lock turn{mutex_};
                    wait_for_turn(turn, i);
                }
                std::string problem;
                try {
                    actors_[i].body();
                } catch (const SimulatedCrash&) {
                } catch (const Error& error) {
                    problem = error.log_line();
                }
                const std::lock_guard end{mutex_};
                if (!problem.empty() && !processes_[actors_[i].process].crashed) {
                    report(i, problem);
                }
                actors_[i].done = true;
                pass_on();
            });
        }
        pass_on();
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    actors_.clear();
    for (Process& process : processes_) {
        process.calls = 0;
        process.crash_at = 0;
    }
}

}  // namespace holdfast::vault::testing
