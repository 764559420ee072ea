#include "control/audit_watch.h"

#include "alerts/outbox.h"
#include "base/error.h"
#include "base/log.h"
#include "base/threads.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

constexpr std::int64_t kPage = 1000;

}  // namespace

void AuditWatch::start() {
    thread_ = std::jthread{[this](const std::stop_token& token) {
        name_this_thread("audit-watch");
        while (!token.stop_requested()) {
            run_boundary(
                [&] { (void)look(token); },
                [](const Error& error) {
                    log_error("The audit trail could not be read", {{"reason", error.log_line()}});
                }
            );
            clock_.wait_for(kInterval, token);
        }
    }};
}

void AuditWatch::stop() {
    if (thread_.joinable()) {
        thread_.request_stop();
        thread_.join();
    }
}

std::optional<std::string> AuditWatch::check_new(const std::stop_token& stop) {
    bool more = true;
    while (more && !chain_.fault() && !stop.stop_requested()) {
        std::vector<catalog::AuditRecord> page;
        catalog_.read([&](const catalog::View& view) {
            page = view.audit_after(chain_.head_sequence(), kPage);
            if (page.empty() && chain_.records() > 0) {
                // The end as we knew it must still be there.
                page = view.audit_after(chain_.head_sequence() - 1, 1);
                if (page.empty() || page.front().hash != chain_.head()) {
                    more = false;
                } else {
                    page.clear();
                }
            }
        });
        if (!more) {
            return "Records at the end of the audit trail were removed or rewritten.";
        }
        for (const catalog::AuditRecord& record : page) {
            chain_.add(record);
        }
        more = static_cast<std::int64_t>(page.size()) == kPage;
    }
    return chain_.fault();
}

std::optional<std::string> AuditWatch::look(const std::stop_token& stop) {
    const Instant now = clock_.now();
    if (!whole_at_ || now < *whole_at_ || now >= *whole_at_ + kWholeInterval) {
        chain_ = {};
        whole_at_ = now;
    }
    const auto fault = check_new(stop);
    if (!fault) {
        return std::nullopt;
    }
    log_error("The audit trail is not sound", {{"fault", *fault}});
    catalog_.write([&](catalog::Transaction& transaction) {
        alerts_.raise_in(
            transaction,
            {.kind = alerts::Kind::kAuditChainBroken,
             .message = *fault,
             .actions =
                 {"Compare with an export that is kept elsewhere: holdfast audit verify --file.",
                  "Find out who can write to the state directory of the server."},
             .repeat = alerts::Repeat::kStandsFor}
        );
    });
    whole_at_.reset();  // From its beginning the next time: it may have been put right.
    return fault;
}

}  // namespace holdfast::control
