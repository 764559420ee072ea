#pragma once

#include "catalog/records.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::catalog {

/// What `record.hash` has to be: SHA-256 of the hash of the record before it, a line feed and the
/// record's own document without its hash. Whoever changes, removes or inserts a record breaks
/// every hash from there on.
[[nodiscard]] std::string audit_hash(std::string_view previous, const AuditRecord& record);

/// Checks a trail record by record, oldest first: from the catalog or from an export.
class AuditChain {
public:
    void add(const AuditRecord& record);

    [[nodiscard]] std::int64_t records() const noexcept { return records_; }
    /// The last record's; compare it with one written down elsewhere, because a trail that was cut
    /// off or rewritten from some record to its end is sound in itself.
    [[nodiscard]] const std::string& head() const noexcept { return head_; }
    [[nodiscard]] std::int64_t head_sequence() const noexcept { return sequence_; }
    /// What is wrong with the first record that does not fit; nothing while all fit.
    [[nodiscard]] const std::optional<std::string>& fault() const noexcept { return fault_; }

private:
    std::int64_t records_ = 0;
    std::int64_t sequence_ = 0;
    std::string head_;
    std::optional<std::string> fault_;
};

}  // namespace holdfast::catalog
