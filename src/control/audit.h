#pragma once

#include "base/clock.h"
#include "catalog/catalog.h"

namespace holdfast::control {

/// The one path by which audit records are written: every change, every refusal, every access to
/// data. Safe from any thread. When write() returns, the record survives power loss.
class Audit {
public:
    Audit(catalog::Catalog& catalog, Clock& clock) : catalog_{catalog}, clock_{clock} {}
    /// The sequence and the time are set here. `details` must be free of secrets.
    void write(catalog::AuditRecord record);
    /// The same as a part of a transaction that makes the change itself.
    void write_in(catalog::Transaction& transaction, catalog::AuditRecord record);

private:
    catalog::Catalog& catalog_;
    Clock& clock_;
};

}  // namespace holdfast::control
