#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace holdfast {

/// Joins two stages of a pipeline: a full queue slows the producer, so memory stays bounded. Safe
/// from any thread.
template <typename T>
class BoundedQueue {
public:
    explicit BoundedQueue(std::size_t capacity) : capacity_{capacity} {}

    /// Blocks while full. Returns false, leaving `item` untouched, when closed or stopped.
    bool push(T&& item, std::stop_token stop) {
        std::unique_lock lock{mutex_};
        not_full_.wait(lock, stop, [this] { return closed_ || items_.size() < capacity_; });
        if (closed_ || items_.size() >= capacity_) {
            return false;
        }
        items_.push_back(std::move(item));
        lock.unlock();
        not_empty_.notify_one();
        return true;
    }

    /// Blocks while empty. Nothing when closed and drained, or stopped.
    std::optional<T> pop(std::stop_token stop) {
        std::unique_lock lock{mutex_};
        not_empty_.wait(lock, stop, [this] { return closed_ || !items_.empty(); });
        if (items_.empty()) {
            return std::nullopt;
        }
        std::optional<T> item{std::move(items_.front())};
        items_.pop_front();
        lock.unlock();
        not_full_.notify_one();
        return item;
    }

    /// No more pushes; what is queued can still be popped.
    void close() {
        {
            const std::lock_guard lock{mutex_};
            closed_ = true;
        }
        not_empty_.notify_all();
        not_full_.notify_all();
    }

private:
    const std::size_t capacity_;
    std::mutex mutex_;
    std::condition_variable_any not_full_;
    std::condition_variable_any not_empty_;
    std::deque<T> items_;
    bool closed_ = false;
};

/// A named, bounded pool. Tasks run in the order given. The destructor stops accepting, runs what
/// is queued and joins. A task must not throw: wrap it in run_boundary (an escaped exception ends
/// the process).
class ThreadPool {
public:
    /// `name` (at most 12 characters) is what ps and gdb show. `queue_max` pending tasks at most.
    ThreadPool(std::string name, std::size_t threads, std::size_t queue_max);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    /// Returns false, without taking the task, when the queue is full or the pool is closing.
    bool try_submit(std::function<void()> task);
    /// Blocks while the queue is full.
    bool submit(std::function<void()> task, std::stop_token stop);

private:
    void work();

    const std::size_t queue_max_;
    std::mutex mutex_;
    // Apart, so that a task wakes one worker and nobody else.
    std::condition_variable not_empty_;
    std::condition_variable_any not_full_;
    std::deque<std::function<void()>> tasks_;
    bool closing_ = false;
    std::vector<std::jthread> threads_;
};

/// Sets the calling thread's name.
void name_this_thread(const std::string& name);
/// Tells the scheduler that the calling thread computes for long stretches: when it has something
/// to do again, it waits for a processor rather than take it from a thread that feeds it, be it of
/// this program or another. Its share of the time stays the same. Not every system allows it; then
/// nothing changes.
void compute_in_batches();

}  // namespace holdfast
