#pragma once

#include "base/clock.h"
#include "catalog/catalog.h"

namespace holdfast::alerts {
class Outbox;
}  // namespace holdfast::alerts

namespace holdfast::control {

/// The one path by which audit records are written: every change, every refusal, every access to
/// data. Safe from any thread. When write() returns, the record survives power loss.
class Audit {
public:
    /// `alerts`: is told of what must not go unnoticed (alert_rules.h), in the record's own
    /// transaction. May be null.
    Audit(catalog::Catalog& catalog, Clock& clock, const alerts::Outbox* alerts = nullptr)
        : catalog_{catalog}, clock_{clock}, alerts_{alerts} {}
    /// The sequence and the time are set here. `details` must be free of secrets.
    void write(catalog::AuditRecord record);
    /// The same as a part of a transaction that makes the change itself.
    void write_in(catalog::Transaction& transaction, catalog::AuditRecord record);

private:
    catalog::Catalog& catalog_;
    Clock& clock_;
    const alerts::Outbox* const alerts_;
};

}  // namespace holdfast::control
