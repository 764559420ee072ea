#include "control/audit.h"

namespace holdfast::control {

void Audit::write(catalog::AuditRecord record) {
    catalog_.write([&](catalog::Transaction& transaction) {
        write_in(transaction, std::move(record));
    });
}

void Audit::write_in(catalog::Transaction& transaction, catalog::AuditRecord record) {
    record.at = clock_.now();
    (void)transaction.append_audit(record);
}

}  // namespace holdfast::control
