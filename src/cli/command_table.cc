#include "cli/command_table.h"

#include "base/error.h"

namespace holdfast::cli {
namespace {

struct Group {
    std::string_view path;
    std::string_view summary;
};

constexpr std::array kGroups{
    Group{"account", "Subscriptions of the server."},
    Group{"ad", "The server's directory: who can log in."},
    Group{"ad signed-in-user", "Who is logged in."},
    Group{"ad signing-key", "The keys that the server signs tokens with."},
    Group{"ad sp", "Service principals: programs that log in with a secret."},
    Group{"ad sp credential", "The secrets of a service principal."},
    Group{"ad user", "Users: people who log in with a password."},
    Group{"alert", "Alerts: what was raised, who was told."},
    Group{"alert mute", "Rules by which alerts are recorded and not sent."},
    Group{"audit", "The audit trail: who did what."},
    Group{"clock", "The server's clock."},
    Group{"completion", "Shell completion."},
    Group{"dataprotection", "Back up and restore PostgreSQL."},
    Group{"dataprotection backup-instance", "Datasources under protection."},
    Group{"dataprotection backup-instance deleted-backup-instance", "Soft-deleted instances."},
    Group{"dataprotection backup-instance restore", "Prepare and start restores."},
    Group{"dataprotection backup-policy", "Schedules, tags and retention."},
    Group{"dataprotection backup-policy retention-rule", "Retention rules of a policy file."},
    Group{"dataprotection backup-policy tag", "Tags of a policy file."},
    Group{"dataprotection backup-policy trigger", "Schedules of a policy file."},
    Group{"dataprotection backup-vault", "Vaults, where the backups lie."},
    Group{"dataprotection job", "Runs of backups and restores."},
    Group{"dataprotection recovery-point", "Restorable backups of an instance."},
    Group{"dataprotection restorable-time-range", "Times that can be restored to."},
    Group{"group", "Resource groups."},
    Group{"keyvault", "Secrets of the server's built-in store."},
    Group{"keyvault secret", "Passwords and connection strings for datasources."},
    Group{"postgres", "PostgreSQL servers that can be protected."},
    Group{"postgres flexible-server", "Registered servers."},
    Group{"postgres flexible-server db", "Databases of a registered server."},
    Group{"role", "Who may do what."},
    Group{"role assignment", "Roles that principals have at scopes."},
    Group{"role definition", "Roles, built-in ones and one's own."},
    Group{"vault", "Repositories on disk, without a server."},
};

}  // namespace

CommandTable::CommandTable(std::vector<Command> commands) : commands_{std::move(commands)} {
    std::sort(commands_.begin(), commands_.end(), [](const Command& a, const Command& b) {
        return a.path < b.path;
    });
    const auto twin = std::adjacent_find(
        commands_.begin(),
        commands_.end(),
        [](const Command& a, const Command& b) { return a.path == b.path; }
    );
    HOLDFAST_CHECK(twin == commands_.end());
}

const Command* CommandTable::find(std::string_view path) const {
    const auto found = std::lower_bound(
        commands_.begin(),
        commands_.end(),
        path,
        [](const Command& row, std::string_view wanted) { return row.path < wanted; }
    );
    return found != commands_.end() && found->path == path ? &*found : nullptr;
}

bool CommandTable::is_group(std::string_view path) const {
    return path.empty() || !children(path).empty();
}

std::vector<std::string_view> CommandTable::children(std::string_view path) const {
    std::vector<std::string_view> out;
    for (const Command& row : commands_) {
        std::string_view rest = row.path;
        if (!path.empty()) {
            if (!rest.starts_with(path) || rest.size() <= path.size() || rest[path.size()] != ' ') {
                continue;
            }
            rest.remove_prefix(path.size() + 1);
        }
        out.push_back(rest.substr(0, rest.find(' ')));
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

std::string_view group_summary(std::string_view path) {
    for (const Group& group : kGroups) {
        if (group.path == path) {
            return group.summary;
        }
    }
    return {};
}

const std::vector<Option>& global_options() {
    static const std::vector<Option> options{
        with_default(
            one_of(
                {"--output", "-o"},
                {"json", "jsonc", "table", "tsv", "yaml", "none"},
                "Form of the result."
            ),
            "json"
        ),
        optional({"--query"}, "JMESPath that selects from the result."),
        optional({"--subscription"}, "Id or name of the subscription."),
        flag({"--only-show-errors"}, "No warnings."),
        flag({"--verbose"}, "Say what is done, on stderr."),
        flag({"--debug"}, "As --verbose, with every request."),
        flag({"--help", "-h"}, "Show this help."),
    };
    return options;
}

}  // namespace holdfast::cli
