#include "jobs/detail/restore_plan.h"

#include "base/error.h"
#include "base/text.h"
#include "jobs/data_plane.h"
#include "jobs/detail/runners.h"
#include "jobs/repositories.h"
#include "postgres/cluster_description.h"
#include "protection/instance_state.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr std::size_t kRestoreWorkers = 2;

void look_up(const EngineParts& parts, RestorePlan& plan) {
    const RestoreRequest& request = plan.request;
    parts.catalog.read([&](const catalog::View& view) {
        plan.instance = require_instance(view, request.instance_id);
        plan.vault = require_vault(view, plan.instance.vault_id);
        plan.point = require_point(view, plan.instance, request.point_id);
    });
    const auto state = protection::parse_protection_state(plan.instance.state);
    if (state && !protection::accepts_restore(*state)) {
        throw protection::not_accepted(*state, "restore", plan.instance.id);
    }
}

void open_point(RestorePlan& plan, std::stop_token stop) {
    const auto id = vault::PointId::parse(plan.point.id);
    HOLDFAST_CHECK(id.has_value());
    plan.method = method_of(plan.point);
    plan.reader = plan.repository->open_point(*id, stop);
    plan.source = std::make_unique<PointSource>(*plan.reader, stop);
}

[[noreturn]] void no_such_database(
    const std::string& wanted, const std::vector<std::string>& held, const std::string& target
) {
    throw Error{
        ErrorKind::kRestoreItemNotFound,
        ErrorText{
            .message =
                wanted.empty()
                    ? std::string{"The recovery point holds several databases; say which one to "
                                  "restore."}
                    : fmt::format("The recovery point does not hold the database \"{}\".", wanted),
            .target = target,
            .recommended_actions = {fmt::format("It holds: {}.", join(held, ", "))},
        }
    };
}

bool contains(const std::vector<std::string>& list, const std::string& name) {
    return std::find(list.begin(), list.end(), name) != list.end();
}

/// Where the databases go is a server that this request names; the secret may be its own.
ResolvedDatasource resolve_target(
    const EngineParts& parts, const DatasourceName& name, const std::string& secret_uri
) {
    // Resolved as the server, not as the database: that one need not exist yet.
    ResolvedDatasource target = parts.credentials.resolve(name.server_id, secret_uri);
    target.name.database = name.database;
    return target;
}

postgres::RestoreOptions step(
    std::string source, std::string target, postgres::Ownership ownership
) {
    postgres::RestoreOptions options;
    options.source_database = std::move(source);
    options.target_database = std::move(target);
    options.ownership = ownership;
    options.workers = kRestoreWorkers;
    return options;
}

/// Which databases a physical point holds is known to the server that is started on it alone.
void plan_physical_target(
    RestorePlan& plan, const ServerTarget& target, const DatasourceName& name,
    postgres::Ownership ownership
) {
    const std::string source =
        !target.source_database.empty() ? target.source_database : name.database.value_or("");
    if (source.empty()) {
        throw Error{
            ErrorKind::kUnsupportedOperation,
            ErrorText{
                .message = "A physical recovery point is not restored over a running server as a "
                           "whole.",
                .target = "restoreTargetInfo.datasourceInfo.resourceId",
                .recommended_actions =
                    {"The whole cluster: run holdfast restore on the database host, or restore as "
                     "files into a container.",
                     "One database: name it (…/flexibleServers/SERVER/databases/NAME).",
                     "Single tables: holdfast dataprotection backup-instance restore "
                     "initialize-for-item-recovery --items database/schema/table."},
            }
        };
    }
    plan.steps.push_back(step(source, name.database.value_or(source), ownership));
}

void plan_server_target(const EngineParts& parts, RestorePlan& plan, const ServerTarget& target) {
    const DatasourceName name =
        parse_datasource_id(target.datasource_id, "restoreTargetInfo.datasourceInfo.resourceId");
    plan.target = resolve_target(parts, name, target.secret_uri);
    const auto ownership =
        target.skip_ownership ? postgres::Ownership::kSkip : postgres::Ownership::kRestore;
    if (plan.method == BackupMethod::kPhysical) {
        plan_physical_target(plan, target, name, ownership);
        return;
    }
    const std::vector<std::string> held = postgres::databases_in(*plan.source);
    std::string source = target.source_database;
    if (!source.empty() && !contains(held, source)) {
        no_such_database(source, held, "restoreTargetInfo.holdfast.sourceDatabase");
    }
    if (!name.database) {
        for (const std::string& database : held) {
            if (source.empty() || source == database) {
                plan.steps.push_back(step(database, database, ownership));
            }
        }
        return;
    }
    if (source.empty()) {
        if (held.size() == 1) {
            source = held.front();
        } else if (contains(held, *name.database)) {
            source = *name.database;
        } else {
            no_such_database("", held, "restoreTargetInfo.holdfast.sourceDatabase");
        }
    }
    plan.steps.push_back(step(source, *name.database, ownership));
}

void plan_items_target(const EngineParts& parts, RestorePlan& plan, const ItemsTarget& target) {
    const DatasourceName name =
        parse_datasource_id(target.datasource_id, "restoreTargetInfo.datasourceInfo.resourceId");
    plan.target = resolve_target(parts, name, target.secret_uri);
    const std::vector<std::string> held = postgres::databases_in(*plan.source);
    const auto ownership =
        target.skip_ownership ? postgres::Ownership::kSkip : postgres::Ownership::kRestore;
    const bool physical = plan.method == BackupMethod::kPhysical;
    for (const ItemPath& item : target.items) {
        if (!physical && !contains(held, item.database)) {
            no_such_database(item.database, held, "restoreTargetInfo.restoreCriteria");
        }
        const std::string target_database = name.database.value_or(item.database);
        auto found = std::find_if(plan.steps.begin(), plan.steps.end(), [&](const auto& known) {
            return known.source_database == item.database;
        });
        if (found == plan.steps.end()) {
            plan.steps.push_back(step(item.database, target_database, ownership));
            found = std::prev(plan.steps.end());
        } else if (found->items.empty() || item.schema.empty()) {
            throw Error{
                ErrorKind::kPluginInvalidInput,
                ErrorText{
                    .message = fmt::format(
                        "The database \"{}\" is asked for as a whole and in parts.", item.database
                    ),
                    .target = "restoreTargetInfo.restoreCriteria",
                    .recommended_actions = {"Name either the database or items of it."},
                }
            };
        }
        if (!item.schema.empty()) {
            found->items.push_back(
                {.schema = item.schema, .table = item.table, .target_table = item.target_table}
            );
        }
    }
    if (name.database && plan.steps.size() > 1) {
        throw Error{
            ErrorKind::kPluginInvalidInput,
            ErrorText{
                .message = "Items of several databases cannot be restored into one database.",
                .target = "restoreTargetInfo.restoreCriteria",
                .recommended_actions = {"Restore the items of one database at a time."},
            }
        };
    }
}

}  // namespace

std::unique_ptr<RestorePlan> plan_restore(
    const EngineParts& parts, const RestoreRequest& request, std::stop_token stop
) {
    auto plan = std::make_unique<RestorePlan>();
    plan->request = request;
    look_up(parts, *plan);
    if (const auto* files = std::get_if<FilesTarget>(&request.target)) {
        plan->directory = parts.containers.open(files->url);
    }
    plan->repository = parts.repositories.open(plan->vault, stop);
    open_point(*plan, stop);
    if (const auto* server = std::get_if<ServerTarget>(&request.target)) {
        plan_server_target(parts, *plan, *server);
    } else if (const auto* items = std::get_if<ItemsTarget>(&request.target)) {
        plan_items_target(parts, *plan, *items);
    }
    return plan;
}

namespace {

/// What can be told of a physical step before the scratch server runs.
void check_physical_step(
    const EngineParts& parts, const RestorePlan& plan, const postgres::RestoreOptions& step
) {
    const auto cluster = postgres::read_cluster_description(*plan.source);
    parts.data_plane.check_scratch(cluster.major());
    const postgres::ServerInfo server =
        parts.data_plane.read_server(plan.target->connection, step.stop);
    if (server.major() < cluster.major()) {
        throw Error{
            ErrorKind::kRestoreToLowerVersion,
            ErrorText{
                .message = fmt::format(
                    "The recovery point is of PostgreSQL {}, the target server is version {}.",
                    cluster.major(),
                    server.version
                ),
                .target = plan.target->server.id,
                .recommended_actions =
                    {fmt::format("Restore to a server of version {} or newer.", cluster.major())},
            }
        };
    }
    const bool exists = server.find_database(step.target_database) != nullptr;
    if (step.items.empty() && exists) {
        throw Error{
            ErrorKind::kDatabaseExists,
            ErrorText{
                .message = fmt::format(
                    "The database \"{}\" exists on the target server.", step.target_database
                ),
                .target = step.target_database,
                .recommended_actions = {"Restore into a database of another name."},
            }
        };
    }
    if (!step.items.empty() && !exists) {
        throw Error{
            ErrorKind::kDatabaseNotFound,
            ErrorText{
                .message = fmt::format(
                    "The database \"{}\" does not exist on the target server.",
                    step.target_database
                ),
                .target = step.target_database,
                .recommended_actions = {fmt::format(
                    "Create it: CREATE DATABASE {};",
                    postgres::quote_identifier(step.target_database)
                )},
            }
        };
    }
}

}  // namespace

std::vector<std::string> check_step(
    const EngineParts& parts, const RestorePlan& plan, const postgres::RestoreOptions& step
) {
    if (plan.method == BackupMethod::kPhysical) {
        check_physical_step(parts, plan, step);
        return {};
    }
    const postgres::RestoreCheck check =
        parts.data_plane.check_restore(plan.target->connection, *plan.source, step);
    check.throw_if_failed();
    return check.warnings;
}

FilesRestore files_restore(
    const EngineParts& parts, const RestorePlan& plan, std::stop_token stop
) {
    const auto& target = std::get<FilesTarget>(plan.request.target);
    const postgres::StreamSource& source = *plan.source;
    DataPlane& data_plane = parts.data_plane;
    return FilesRestore{
        .source = source,
        .directory = *plan.directory,
        .file_prefix = target.file_prefix,
        .role_passwords = target.role_passwords,
        .point =
            Json{
                {"id", plan.point.id},
                {"time", format_instant(plan.point.time)},
                {"backupInstance", plan.instance.id},
                {"datasource", plan.instance.datasource_id},
                {"retentionTag", plan.point.tag},
            },
        .now = parts.clock.now(),
        .schema_sql = [&data_plane, &source](std::stop_token token
                      ) { return data_plane.schema_sql(source, std::move(token)); },
        .progress = {},
        .stop = std::move(stop),
    };
}

}  // namespace holdfast::jobs
