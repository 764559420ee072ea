#pragma once

#include "alerts/channel.h"
#include "alerts/outbox.h"
#include "base/clock.h"
#include "catalog/catalog.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace holdfast::alerts {

/// Brings what is in the outbox to every channel: at least once, oldest first, again with growing
/// pauses, and given up after three days. A process that ends loses nothing: what was sent and not
/// yet noted is sent again with the same id.
class Courier {
public:
    static constexpr std::chrono::seconds kPauseMin{30};
    static constexpr std::chrono::hours kPauseMax{1};
    static constexpr std::chrono::hours kGiveUpAfter{72};
    /// Alerts that need nothing more are forgotten after so long, …
    static constexpr std::chrono::hours kKept{24 * 90};
    /// … and the oldest of them when there are more than so many.
    static constexpr std::int64_t kKeptMax = 20'000;
    /// Between two looks into the outbox at most.
    static constexpr std::chrono::seconds kLookInterval{5};

    Courier(
        catalog::Catalog& catalog, Clock& clock, std::vector<std::unique_ptr<Channel>> channels
    );
    /// stop().
    ~Courier();
    Courier(const Courier&) = delete;
    Courier& operator=(const Courier&) = delete;

    void start();
    void stop();

    /// Sends everything that is due. Returns how many deliveries were made.
    std::size_t deliver_due(std::stop_token stop);
    /// Removes what nobody needs any more.
    void forget_old();

    struct TestResult {
        std::string channel;
        std::string target;
        bool delivered = false;
        std::string detail;
    };
    /// Sends a test alert through every channel at once, past the outbox.
    [[nodiscard]] std::vector<TestResult> test(std::string_view asked_by, std::stop_token stop);

    [[nodiscard]] const std::vector<std::unique_ptr<Channel>>& channels() const noexcept {
        return channels_;
    }

private:
    struct Pause {
        int failures = 0;
        Instant until;
    };
    void run(const std::stop_token& stop);
    bool attempt(catalog::AlertRecord& record, Json& delivery, const std::stop_token& stop);
    void note(const catalog::AlertRecord& record, const Json& delivery);

    catalog::Catalog& catalog_;
    Clock& clock_;
    const std::vector<std::unique_ptr<Channel>> channels_;
    std::mutex mutex_;                     // One delivery at a time.
    std::map<std::string, Pause> pauses_;  // By channel. Guarded by mutex_.
    std::jthread thread_;
};

}  // namespace holdfast::alerts
