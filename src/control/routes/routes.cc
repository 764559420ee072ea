#include "control/routes/routes.h"

#include "control/routes/route_groups.h"

namespace holdfast::control {

std::vector<Route> all_routes() {
    std::vector<Route> routes;
    add_metadata_routes(routes);
    add_adfs_routes(routes);
    add_activity_log_routes(routes);
    add_directory_routes(routes);
    add_role_assignment_routes(routes);
    add_role_definition_routes(routes);
    add_subscription_routes(routes);
    add_resource_group_routes(routes);
    add_resource_provider_routes(routes);
    add_provider_routes(routes);
    add_backup_vault_routes(routes);
    add_backup_policy_routes(routes);
    add_backup_instance_routes(routes);
    add_backup_and_restore_routes(routes);
    add_backup_job_routes(routes);
    add_recovery_point_routes(routes);
    add_recovery_point_stream_routes(routes);
    add_resource_guard_routes(routes);
    add_location_routes(routes);
    add_deleted_vault_routes(routes);
    add_reapply_retention_routes(routes);
    add_guard_proxy_routes(routes);
    add_operation_routes(routes);
    add_status_routes(routes);
    add_flexible_server_routes(routes);
    add_resource_graph_routes(routes);
    add_key_vault_routes(routes);
    add_alert_routes(routes);
    add_secret_routes(routes);
    add_restore_container_routes(routes);
    return routes;
}

}  // namespace holdfast::control
