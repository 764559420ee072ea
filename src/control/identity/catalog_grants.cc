#include "control/identity/catalog_grants.h"

namespace holdfast::control {

std::vector<RoleGrant> grants_in(const catalog::Catalog& catalog, const std::string& principal_id) {
    std::vector<RoleGrant> grants;
    catalog.read([&](const catalog::View& view) {
        view.each<catalog::RoleAssignmentRecord>(
            {.subject = principal_id},
            [&](const catalog::RoleAssignmentRecord& record) {
                grants.push_back({record.principal_id, record.role_definition_id, record.scope});
                return true;
            }
        );
    });
    return grants;
}

RoleDefinition role_of(const catalog::RoleDefinitionRecord& record) {
    return RoleDefinition{
        .id = record.id,
        .name = record.name,
        .description = record.description,
        .actions = record.actions,
        .not_actions = record.not_actions,
        .data_actions = record.data_actions,
        .not_data_actions = record.not_data_actions,
    };
}

std::optional<RoleDefinition> custom_role_in(
    const catalog::Catalog& catalog, std::string_view guid
) {
    const auto record = catalog.get<catalog::RoleDefinitionRecord>(guid);
    return record ? std::optional{role_of(*record)} : std::nullopt;
}

}  // namespace holdfast::control
