#pragma once

#include "control/route.h"

#include <vector>

// What each file below routes/ adds to the API; all_routes() calls them all. The folders mirror the
// URL.
namespace holdfast::control {

// metadata/
void add_metadata_routes(std::vector<Route>& routes);

// identity/, graph/, providers/authorization/
void add_adfs_routes(std::vector<Route>& routes);
void add_activity_log_routes(std::vector<Route>& routes);
void add_directory_routes(std::vector<Route>& routes);
void add_role_assignment_routes(std::vector<Route>& routes);
void add_role_definition_routes(std::vector<Route>& routes);

// subscriptions/
void add_subscription_routes(std::vector<Route>& routes);
void add_resource_group_routes(std::vector<Route>& routes);
void add_resource_provider_routes(std::vector<Route>& routes);

// providers/data_protection/
void add_provider_routes(std::vector<Route>& routes);
void add_backup_vault_routes(std::vector<Route>& routes);
void add_backup_policy_routes(std::vector<Route>& routes);
void add_backup_instance_routes(std::vector<Route>& routes);
void add_backup_and_restore_routes(std::vector<Route>& routes);
void add_backup_job_routes(std::vector<Route>& routes);
void add_guard_proxy_routes(std::vector<Route>& routes);
void add_resource_guard_routes(std::vector<Route>& routes);
void add_deleted_vault_routes(std::vector<Route>& routes);
void add_location_routes(std::vector<Route>& routes);
void add_reapply_retention_routes(std::vector<Route>& routes);
void add_recovery_point_routes(std::vector<Route>& routes);
void add_recovery_point_stream_routes(std::vector<Route>& routes);
void add_operation_routes(std::vector<Route>& routes);
void add_status_routes(std::vector<Route>& routes);

// providers/postgresql/, providers/resource_graph/, providers/key_vault/
void add_flexible_server_routes(std::vector<Route>& routes);
void add_resource_graph_routes(std::vector<Route>& routes);
void add_key_vault_routes(std::vector<Route>& routes);

// providers/alerts/
void add_alert_routes(std::vector<Route>& routes);

// secrets/, restore/
void add_secret_routes(std::vector<Route>& routes);
void add_restore_container_routes(std::vector<Route>& routes);

}  // namespace holdfast::control
