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
        /// Now it is known where the point begins (nothing: it has no streams), and which object
        /// makes it exist.
        void found(const std::optional<ContentRef>& root, const ObjectKey& commit);

    private:
        OpenReads& reads_;
        const std::uint64_t number_;
    };

    struct Read {
        ContentRef root;
        ObjectKey commit;
    };
    /// The points being read that have streams. Waits for those that are just being looked up.
    [[nodiscard]] std::vector<Read> list(const std::stop_token& stop);

private:
    struct Open {
        bool found = false;
        std::optional<Read> read = {};
    };
    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::uint64_t next_ = 0;              // Guarded by mutex_.
    std::map<std::uint64_t, Open> open_;  // Guarded by mutex_.
};

}  // namespace holdfast::vault
