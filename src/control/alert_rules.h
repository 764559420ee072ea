#pragma once

#include "alerts/alert.h"
#include "catalog/records.h"
#include "control/route.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

// Which changes somebody else has to hear of.
namespace holdfast::control {

/// An action that is worth an alert whenever it succeeded.
struct AlertRule {
    std::string_view action;  ///< As in the route table.
    alerts::Kind kind;
    std::string_view what;  ///< The sentence's verb and object.
};
[[nodiscard]] std::span<const AlertRule> alert_rules();

/// The alert that a record of the audit trail asks for; nothing for all others.
[[nodiscard]] std::optional<alerts::Event> event_of(const catalog::AuditRecord& record);

/// For handlers that alone know that a change weakens something: says who did it. `what`: the
/// sentence without its subject, like "switched the soft delete of vault v off".
[[nodiscard]] alerts::Event event_by(
    const RequestContext& context, alerts::Kind kind, std::string scope, std::string_view what
);

}  // namespace holdfast::control
