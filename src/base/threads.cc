#include "base/threads.h"

#include <pthread.h>
#include <sched.h>

namespace holdfast {

ThreadPool::ThreadPool(std::string name, std::size_t threads, std::size_t queue_max)
    : queue_max_{queue_max} {
    threads_.reserve(threads);
    for (std::size_t i = 0; i < threads; ++i) {
        threads_.emplace_back([this, label = name + "-" + std::to_string(i)] {
            name_this_thread(label);
            work();
        });
    }
}

ThreadPool::~ThreadPool() {
    {
        const std::lock_guard lock{mutex_};
        closing_ = true;
    }
    not_empty_.notify_all();
    not_full_.notify_all();
    threads_.clear();
}

bool ThreadPool::try_submit(std::function<void()> task) {
    {
        const std::lock_guard lock{mutex_};
        if (closing_ || tasks_.size() >= queue_max_) {
            return false;
        }
        tasks_.push_back(std::move(task));
    }
    not_empty_.notify_one();
    return true;
}

bool ThreadPool::submit(std::function<void()> task, std::stop_token stop) {
    {
        std::unique_lock lock{mutex_};
        not_full_.wait(lock, stop, [this] { return closing_ || tasks_.size() < queue_max_; });
        if (closing_ || tasks_.size() >= queue_max_) {
            return false;
        }
        tasks_.push_back(std::move(task));
    }
    not_empty_.notify_one();
    return true;
}

void ThreadPool::work() {
    while (true) {
        std::function<void()> task;
        {
            std::unique_lock lock{mutex_};
            not_empty_.wait(lock, [this] { return closing_ || !tasks_.empty(); });
            if (tasks_.empty()) {
                return;
            }
            task = std::move(tasks_.front());
            tasks_.pop_front();
        }
        not_full_.notify_one();
        task();
    }
}

void name_this_thread(const std::string& name) {
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

void compute_in_batches() {
    const sched_param none{};
    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
}

}  // namespace holdfast
