#pragma once

#include "control/identity/principal.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::control {

/// What a role permits: actions minus notActions, `*` matches any run of characters, compared
/// without case.
struct RoleDefinition {
    std::string id;    ///< GUID; Azure's own for the built-in roles.
    std::string name;  ///< `Owner`
    std::string description;
    std::vector<std::string> actions = {};
    std::vector<std::string> not_actions = {};
    std::vector<std::string> data_actions = {};
    std::vector<std::string> not_data_actions = {};
};

/// Azure's built-in roles that this server honours, Owner first.
[[nodiscard]] const std::vector<RoleDefinition>& builtin_roles();
/// By GUID, by name, or by a full roleDefinitions resource id; nullptr when there is none.
[[nodiscard]] const RoleDefinition* find_builtin_role(std::string_view id_or_name);

inline constexpr std::string_view kOwnerRoleId = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";

/// True when `pattern` (with `*`) covers `action`.
[[nodiscard]] bool action_matches(std::string_view pattern, std::string_view action) noexcept;
[[nodiscard]] bool role_permits(const RoleDefinition& role, std::string_view action) noexcept;
/// True when `scope` is `at` or lies below it, segment by segment, without case. `/` contains
/// everything.
[[nodiscard]] bool scope_contains(std::string_view at, std::string_view scope) noexcept;

/// One grant, as the decision needs it.
struct RoleGrant {
    std::string principal_id;
    std::string role;   ///< GUID or full id of the definition.
    std::string scope;  ///< `/`, or an ARM id.
};

/// Decides who may do what: the only such place. Deny by default. Safe from any thread.
class Authorizer {
public:
    /// `grants_of` yields the assignments of one principal object id; it is asked on every
    /// decision, so that a revoked grant ends at once.
    explicit Authorizer(std::function<std::vector<RoleGrant>(const std::string&)> grants_of);

    [[nodiscard]] bool allows(
        const Principal& principal, std::string_view action, std::string_view scope
    ) const;
    /// Throws kAuthorizationFailed, naming principal, action and scope as ARM does.
    void authorize(const Principal& principal, std::string_view action, std::string_view scope)
        const;

private:
    const std::function<std::vector<RoleGrant>(const std::string&)> grants_of_;
};

}  // namespace holdfast::control
