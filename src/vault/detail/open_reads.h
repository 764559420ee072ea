#pragma once

#include "vault/detail/manifest.h"

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

namespace holdfast::vault {

/// The points that this process is reading: what they reach stays, even when they are removed
/// meanwhile. Safe from any thread.
class OpenReads {
public:
    /// One point being read, from before it is looked up until the guard is destroyed.
    class Guard {
    public:
        explicit Guard(OpenReads& reads);
        ~Guard();
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;
        /// Now it is known where the point begins. Nothing: it has no streams.
        void found(const std::optional<ContentRef>& root);

    private:
        OpenReads& reads_;
        const std::uint64_t number_;
    };

    /// Where the points being read begin. Waits for those that are just being looked up.
    [[nodiscard]] std::vector<ContentRef> roots(const std::stop_token& stop);

private:
    struct Read {
        bool found = false;
        std::optional<ContentRef> root;
    };
    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::uint64_t next_ = 0;              // Guarded by mutex_.
    std::map<std::uint64_t, Read> open_;  // Guarded by mutex_.
};

}  // namespace holdfast::vault
