#pragma once

#include "control/identity/principal.h"

#include <functional>
#include <optional>
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
inline constexpr std::string_view kReaderRoleId = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
inline constexpr std::string_view kLongTermBackupRoleId = "c088a766-074b-43ba-90d4-1fb21feae531";
inline constexpr std::string_view kBlobContributorRoleId = "ba92f5b4-2d11-453d-a403-e96b0029c9fe";
/// Our own: reads what recovery points hold.
inline constexpr std::string_view kPointDataRoleId = "6c1f1f0e-5d3c-4b0e-9a55-5e2f4a1b7d83";
inline constexpr std::string_view kSecretsUserRoleId = "4633458b-17de-408a-b874-0445c86b69e6";
inline constexpr std::string_view kSecretsOfficerRoleId = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7";

/// What reads or writes data itself, a secret's value or a restored file: permitted by a role's
/// dataActions alone, so that who manages everything does not thereby see everything.
[[nodiscard]] bool is_data_action(std::string_view action) noexcept;

/// True when `pattern` (with `*`) covers `action`.
[[nodiscard]] bool action_matches(std::string_view pattern, std::string_view action) noexcept;
[[nodiscard]] bool role_permits(const RoleDefinition& role, std::string_view action) noexcept;
/// True when `scope` is `at` or lies below it, segment by segment, without case. `/` contains
/// everything.
[[nodiscard]] bool scope_contains(std::string_view at, std::string_view scope) noexcept;

/// The GUID at the end of a roleDefinitions id; the text itself when it has no slash.
[[nodiscard]] std::string_view role_guid(std::string_view id) noexcept;
/// `/subscriptions/S/providers/Microsoft.Authorization/roleDefinitions/GUID`, the form that Azure
/// gives every role's id in.
[[nodiscard]] std::string role_definition_id(
    std::string_view subscription_id, std::string_view guid
);

/// Decides who may do what: the only such place. Deny by default. Safe from any thread.
class Authorizer {
public:
    using GrantsOf = std::function<std::vector<RoleGrant>(const std::string&)>;
    using CustomRole = std::function<std::optional<RoleDefinition>(std::string_view)>;
    /// `grants_of` yields the assignments of one principal object id, `custom_role` the definition
    /// of a GUID that is no built-in role's; both are asked on every decision, so that a revoked
    /// grant ends at once.
    explicit Authorizer(GrantsOf grants_of, CustomRole custom_role = {});

    [[nodiscard]] bool allows(
        const Principal& principal, std::string_view action, std::string_view scope
    ) const;
    /// As allows(), on whatever scope: for what concerns nobody who has no part in this server.
    [[nodiscard]] bool allows_somewhere(const Principal& principal, std::string_view action) const;
    /// Throws kAuthorizationFailed, naming principal, action and scope as ARM does.
    void authorize(const Principal& principal, std::string_view action, std::string_view scope)
        const;

private:
    [[nodiscard]] bool any_grant(
        const Principal& principal,
        std::string_view action,
        const std::function<bool(const RoleGrant&)>& reaches
    ) const;

    const GrantsOf grants_of_;
    const CustomRole custom_role_;
};

}  // namespace holdfast::control
