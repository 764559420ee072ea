#include "control/routes/providers/authorization/role_scope.h"

#include "base/text.h"
#include "control/identity/catalog_grants.h"
#include "control/resource_id.h"
#include "control/routes/lookup.h"

namespace holdfast::control {

using catalog::RoleAssignmentRecord;
using catalog::RoleDefinitionRecord;

std::string checked_scope(
    const catalog::View& view, std::string_view text, std::string_view target
) {
    while (text.size() > 1 && text.ends_with('/')) {
        text.remove_suffix(1);
    }
    if (text == "/") {
        return "/";
    }
    const ResourceId id = ResourceId::parse(text, target);
    if (!id.subscription_id().empty()) {
        (void)require_subscription(view, id.subscription_id());
    }
    return id.text();
}

std::string scope_of_path(const catalog::View& view, const RequestContext& context) {
    return checked_scope(view, context.path.at("scope"), "scope");
}

std::string first_subscription(const catalog::View& view) {
    const auto subscriptions = view.list<catalog::SubscriptionRecord>({.limit = 1});
    return subscriptions.empty() ? std::string{} : subscriptions.front().id;
}

std::optional<FoundRole> find_role(const catalog::View& view, std::string_view text) {
    if (const RoleDefinition* role = find_builtin_role(text)) {
        return FoundRole{.role = *role};
    }
    auto record = view.get<RoleDefinitionRecord>(role_guid(text));
    if (!record) {
        auto named = view.list<RoleDefinitionRecord>({.parent = std::string{text}, .limit = 1});
        if (named.empty()) {
            return std::nullopt;
        }
        record = std::move(named.front());
    }
    return FoundRole{
        .role = role_of(*record), .assignable_scopes = record->assignable_scopes, .record = record
    };
}

void check_roles_stay_assignable(const catalog::View& view, std::string_view except) {
    bool needed = false;
    bool remains = false;
    view.each<RoleAssignmentRecord>({.parent = "/"}, [&](const RoleAssignmentRecord& assignment) {
        const auto found = find_role(view, assignment.role_definition_id);
        if (!found || !role_permits(found->role, kWriteAssignment)) {
            return true;
        }
        if (equal_ignoring_case(assignment.id, except)) {
            needed = true;
            return true;
        }
        const auto holder = view.get<catalog::PrincipalRecord>(assignment.principal_id);
        remains = remains || (holder && holder->enabled);
        return true;
    });
    if (needed && !remains) {
        throw Error{
            ErrorKind::kConflict,
            ErrorText{
                .message = "This is the last role assignment that lets somebody assign roles on "
                           "the whole server.",
                .target = std::string{except},
                .recommended_actions = {"Make somebody else Owner at scope / first."},
            }
        };
    }
}

}  // namespace holdfast::control
