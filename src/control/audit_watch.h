#pragma once

#include "base/clock.h"
#include "catalog/audit_chain.h"
#include "catalog/catalog.h"

#include <optional>
#include <stop_token>
#include <thread>

namespace holdfast::alerts {
class Outbox;
}  // namespace holdfast::alerts

namespace holdfast::control {

/// Checks the audit trail's chain while the server runs: new records every hour, the whole trail at
/// the start and once a day. A fault becomes an alert. What is checked here is on this machine and
/// can be rewritten as a whole: `holdfast audit verify --expect-hash` is the proof.
class AuditWatch {
public:
    static constexpr std::chrono::hours kInterval{1};
    static constexpr std::chrono::hours kWholeInterval{24};

    AuditWatch(catalog::Catalog& catalog, Clock& clock, const alerts::Outbox& alerts)
        : catalog_{catalog}, clock_{clock}, alerts_{alerts} {}
    ~AuditWatch() { stop(); }
    AuditWatch(const AuditWatch&) = delete;
    AuditWatch& operator=(const AuditWatch&) = delete;

    void start();
    void stop();
    /// One look. Returns what is wrong, after having raised it. Not while started.
    std::optional<std::string> look(const std::stop_token& stop);

private:
    [[nodiscard]] std::optional<std::string> check_new(const std::stop_token& stop);

    catalog::Catalog& catalog_;
    Clock& clock_;
    const alerts::Outbox& alerts_;
    catalog::AuditChain chain_;
    std::optional<Instant> whole_at_;  // When the whole trail was begun last.
    std::jthread thread_;
};

}  // namespace holdfast::control
