#pragma once

#include "catalog/catalog.h"
#include "control/identity/authorize.h"
#include "control/route.h"

#include <optional>
#include <string>
#include <string_view>

// What role assignments and role definitions share.
namespace holdfast::control {

inline constexpr std::string_view kWriteAssignment =
    "Microsoft.Authorization/roleAssignments/write";

/// The route's `{*scope}`: `/`, a subscription, a group or a resource, without its trailing slash.
/// Throws kInvalidResourceId, kSubscriptionNotFound.
[[nodiscard]] std::string scope_of_path(const catalog::View& view, const RequestContext& context);
/// The same check for a scope in a request's body; `target` is its JSON path.
[[nodiscard]] std::string checked_scope(
    const catalog::View& view, std::string_view text, std::string_view target
);

/// The subscription that ids of role definitions are given in.
[[nodiscard]] std::string first_subscription(const catalog::View& view);

/// A built-in role, or a custom one with where it may be assigned.
struct FoundRole {
    RoleDefinition role;
    std::vector<std::string> assignable_scopes = {"/"};
    std::optional<catalog::RoleDefinitionRecord> record = {};
};
/// By id, GUID or name; nothing when there is none.
[[nodiscard]] std::optional<FoundRole> find_role(const catalog::View& view, std::string_view text);

/// Throws kConflict when nobody could assign roles on the whole server any more without the
/// assignment `except`.
void check_roles_stay_assignable(const catalog::View& view, std::string_view except);

}  // namespace holdfast::control
