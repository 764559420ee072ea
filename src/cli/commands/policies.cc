#include "base/error.h"
#include "cli/commands/common.h"
#include "cli/generic_update.h"
#include "protection/policy.h"
#include "protection/simulate.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::string_view kPolicyTable =
    "[@][].{Name: name, Schedule: properties.policyRules[?objectType=='AzureBackupRule'] | "
    "[].trigger.schedule.repeatingTimeIntervals[] | join(', ', @), TimeZone: "
    "properties.policyRules[?objectType=='AzureBackupRule'] | [0].trigger.schedule.timeZone, "
    "Retention: properties.policyRules[?objectType=='AzureRetentionRule'] | "
    "[].join(' ', [name, lifecycles[0].deleteAfter.duration]) | join(', ', @)}";

/// A policy file holds the policy itself (as the template prints it) or a whole resource (as show
/// prints it).
Json policy_properties(const Json& document) {
    const Json* properties = find_member(document, "properties");
    return properties != nullptr ? *properties : document;
}

Json put_policy(const std::string& path, const Json& properties, Session& session) {
    const Json body{{"properties", properties}};
    const Response response = session.call("PUT", path, &body);
    return without_nulls(parse_json(response.body, ErrorKind::kInternal, "The server's answer"));
}

Json create_policy(const Arguments& arguments, Session& session) {
    const Json document = load_json_argument(arguments.string("--policy"), session);
    const std::string path = resource_path(kPolicyResource, arguments, session);
    return put_policy(path, policy_properties(document), session);
}

Json update_policy(const Arguments& arguments, Session& session) {
    const std::string path = resource_path(kPolicyResource, arguments, session);
    if (arguments.given("--policy")) {
        const Json document = load_json_argument(arguments.string("--policy"), session);
        return put_policy(path, policy_properties(document), session);
    }
    Json policy = without_nulls(session.get(path));
    for (const std::string& assignment : arguments.list("--set")) {
        set_property(policy, assignment);
    }
    for (const std::vector<std::string>& words : arguments.groups("--add")) {
        add_property(policy, words);
    }
    for (const std::vector<std::string>& words : arguments.groups("--remove")) {
        remove_property(policy, words);
    }
    return put_policy(path, policy["properties"], session);
}

Json simulate_policy(const Arguments& arguments, Session& session) {
    const std::int64_t count =
        whole_number(arguments, {.option = "--count", .fallback = 20, .max = 10'000});
    std::optional<Instant> from;
    if (arguments.given("--from")) {
        from = instant_argument(arguments.string("--from"));
    }
    if (arguments.given("--policy")) {
        const Json document = load_json_argument(arguments.string("--policy"), session);
        const protection::BackupPolicy policy =
            protection::parse_policy(policy_properties(document), "policy");
        return to_json(protection::simulate(
            policy, from.value_or(session.clock().now()), static_cast<std::size_t>(count)
        ));
    }
    if (!arguments.given("--resource-group") || !arguments.given("--vault-name") ||
        !arguments.given("--backup-policy-name")) {
        throw Error{
            ErrorKind::kUsage,
            ErrorText{
                .message = "the following arguments are required: --policy, or --resource-group/-g "
                           "with --vault-name/-v and --backup-policy-name/--name/-n",
                .recommended_actions = {"See: holdfast dataprotection backup-policy simulate -h"},
            }
        };
    }
    Json body{{"count", count}};
    if (from) {
        body["from"] = format_instant(*from);
    }
    const std::string path = resource_path(kPolicyResource, arguments, session) + "/simulate";
    const Response response = session.call("POST", path, &body);
    return parse_json(response.body, ErrorKind::kInternal, "The server's answer");
}

Option as_optional(Option option) {
    option.presence = Presence::kOptional;
    return option;
}

void add_change_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "dataprotection backup-policy create",
        .summary = "Create a backup policy from a file.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             policy_name_option(),
             required({"--policy"}, "The policy: a file's path, @path or JSON.")},
        .examples =
            {{"From the edited template",
              "holdfast dataprotection backup-policy create --backup-policy-name FinalOSSPolicy "
              "--policy AddedRetentionRuleAndTag.JSON --resource-group testBkpVaultRG "
              "--vault-name TestBkpVault"}},
        .handler = create_policy,
        .table = kPolicyTable,
    });
    table.push_back({
        .path = "dataprotection backup-policy update",
        .summary = "Change a backup policy in place; points made before keep their expiry.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             policy_name_option(),
             optional({"--policy"}, "The whole new policy: a file's path, @path or JSON."),
             list({"--set"}, "Set a property: path=value."),
             key_values({"--add"}, "Append to a list: path value."),
             key_values({"--remove"}, "Remove a property: path, or path index.")},
        .examples =
            {{"Another time zone",
              "holdfast dataprotection backup-policy update -g testBkpVaultRG -v TestBkpVault -n "
              "FinalOSSPolicy --set properties.policyRules[0].trigger.schedule.timeZone=UTC"}},
        .handler = update_policy,
        .resource = kPolicyResource,
        .table = kPolicyTable,
    });
    table.push_back({
        .path = "dataprotection backup-policy delete",
        .summary = "Delete a backup policy that no backup instance uses.",
        .options =
            {resource_group_option(),
             vault_name_option(),
             policy_name_option(),
             yes_option(),
             no_wait_option()},
        .examples =
            {{"Delete a policy",
              "holdfast dataprotection backup-policy delete -g testBkpVaultRG -v TestBkpVault -n "
              "FinalOSSPolicy -y"}},
        .handler = delete_handler(kPolicyResource),
        .resource = kPolicyResource,
    });
}

}  // namespace

void add_policy_commands(std::vector<Command>& table) {
    add_change_commands(table);
    table.push_back({
        .path = "dataprotection backup-policy show",
        .summary = "Show a backup policy.",
        .options = {resource_group_option(), vault_name_option(), policy_name_option()},
        .examples =
            {{"Show a policy",
              "holdfast dataprotection backup-policy show -g testBkpVaultRG --vault-name "
              "TestBkpVault --name FinalOSSPolicy"}},
        .handler = show_handler(kPolicyResource),
        .resource = kPolicyResource,
        .table = kPolicyTable,
    });
    table.push_back({
        .path = "dataprotection backup-policy list",
        .summary = "List the backup policies of a vault.",
        .options = {resource_group_option(), vault_name_option(), max_items_option()},
        .examples =
            {{"All policies of a vault",
              "holdfast dataprotection backup-policy list -g testBkpVaultRG -v TestBkpVault"}},
        .handler = list_handler(kPolicyResource),
        .table = kPolicyTable,
    });
    table.push_back({
        .path = "dataprotection backup-policy simulate",
        .summary =
            "Show the next runs of a policy with tag and expiry of each, and how many points "
            "will be held.",
        .options =
            {optional(
                 {"--policy"},
                 "A policy that is not created yet: a file's path, @path or "
                 "JSON. Needs no server."
             ),
             as_optional(resource_group_option()),
             as_optional(vault_name_option()),
             as_optional(policy_name_option()),
             with_default(optional({"--count"}, "How many runs."), "20"),
             optional({"--from"}, "Runs after this time; now when left out.")},
        .examples =
            {{"A policy file, before it is created",
              "holdfast dataprotection backup-policy simulate --policy policy.json --count 10"},
             {"A policy of a vault",
              "holdfast dataprotection backup-policy simulate -g testBkpVaultRG -v TestBkpVault -n "
              "FinalOSSPolicy -o table"}},
        .handler = simulate_policy,
        .details = "Every run is taken as successful. Held: how many recovery points exist right "
                   "after the run. JSON also has heldOverTime and steadyState.",
        .table =
            "runs[].{Scheduled: scheduledTime, Rule: ruleName, Tag: retentionTagName, Expires: "
            "expiryTime, Held: recoveryPointsHeld}",
    });
}

}  // namespace holdfast::cli
