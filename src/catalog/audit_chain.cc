#include "catalog/audit_chain.h"

#include "base/sha256.h"
#include "catalog/catalog_traits.h"

#include <fmt/format.h>

namespace holdfast::catalog {

std::string audit_hash(std::string_view previous, const AuditRecord& record) {
    Json document = record;
    document.erase("hash");
    const std::string text = fmt::format(
        "{}\n{}", previous, document.dump(-1, ' ', false, Json::error_handler_t::replace)
    );
    return to_hex(sha256(as_bytes(text)));
}

void AuditChain::add(const AuditRecord& record) {
    if (!fault_ && records_ != 0 && record.sequence <= sequence_) {
        fault_ = fmt::format("Record {} comes after record {}.", record.sequence, sequence_);
    }
    // Records from before the chain began have no hash; once one has, all must.
    const bool before_chain = record.hash.empty() && head_.empty();
    if (!fault_ && !before_chain && record.hash != audit_hash(head_, record)) {
        fault_ = fmt::format(
            "Record {} was changed, or a record between {} and {} is missing.",
            record.sequence,
            sequence_,
            record.sequence
        );
    }
    ++records_;
    sequence_ = record.sequence;
    head_ = record.hash;
}

}  // namespace holdfast::catalog
