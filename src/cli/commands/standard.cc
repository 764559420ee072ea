#include "cli/client_side/commands.h"
#include "cli/command_table.h"
#include "cli/commands/common.h"

namespace holdfast::cli {

std::vector<Command> standard_commands() {
    std::vector<Command> table;
    add_account_commands(table);
    add_alert_commands(table);
    add_audit_commands(table);
    add_az_setup_commands(table);
    add_directory_commands(table);
    add_client_side_commands(table);
    add_group_commands(table);
    add_instance_commands(table);
    add_job_commands(table);
    add_keyvault_commands(table);
    add_login_commands(table);
    add_point_commands(table);
    add_policy_commands(table);
    add_postgres_commands(table);
    add_resource_graph_commands(table);
    add_rest_commands(table);
    add_restore_commands(table);
    add_restore_directory_commands(table);
    add_role_commands(table);
    add_status_commands(table);
    add_vault_commands(table);
    return table;
}

}  // namespace holdfast::cli
