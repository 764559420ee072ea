#include "control/audit.h"

#include "alerts/outbox.h"
#include "control/alert_rules.h"

namespace holdfast::control {

void Audit::write(catalog::AuditRecord record) {
    catalog_.write([&](catalog::Transaction& transaction) {
        write_in(transaction, std::move(record));
    });
}

void Audit::write_in(catalog::Transaction& transaction, catalog::AuditRecord record) {
    record.at = clock_.now();
    (void)transaction.append_audit(record);
    if (alerts_ == nullptr) {
        return;
    }
    if (const auto event = event_of(record)) {
        alerts_->raise_in(transaction, *event);
    }
}

}  // namespace holdfast::control
