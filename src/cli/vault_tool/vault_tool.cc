#include "cli/vault_tool/vault_tool.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "cli/session.h"
#include "cli/vault_tool/open_vault.h"
#include "jobs/containers.h"
#include "jobs/files_restore.h"
#include "jobs/point_streams.h"
#include "jobs/rebuild.h"
#include "postgres/client_tools.h"
#include "postgres/restore_files.h"
#include "vault/collect.h"
#include "vault/vault.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <memory>
#include <ostream>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

/// `file:///a/b%20c`.
std::string file_url(const std::filesystem::path& path) {
    std::string url = "file://";
    for (const std::string& part : split(path.string(), '/')) {
        if (!part.empty()) {
            url += "/" + percent_encode(part);
        }
    }
    return url;
}

Json damaged_json(const std::vector<vault::DamagedObject>& damaged) {
    Json list = Json::array();
    for (const vault::DamagedObject& object : damaged) {
        Json points = Json::array();
        for (const vault::PointId& point : object.points) {
            points.push_back(point.to_string());
        }
        list.push_back(Json{
            {"object", object.object_key}, {"problem", object.problem}, {"recoveryPoints", points}
        });
    }
    return list;
}

int read_percent(const Arguments& arguments) {
    if (!arguments.given("--read-data")) {
        return 0;
    }
    const std::string& text = arguments.string("--read-data");
    if (text.empty()) {
        return 100;
    }
    int percent = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), percent);
    const std::string_view rest{end, static_cast<std::size_t>(text.data() + text.size() - end)};
    if (failed != std::errc{} || (!rest.empty() && rest != "%") || percent < 1 || percent > 100) {
        throw Error{
            ErrorKind::kUsage,
            fmt::format("--read-data takes a percentage from 1 to 100, not \"{}\".", text)
        };
    }
    return percent;
}

/// `10%`, `50GiB`, `30m`.
vault::ReadBudget read_budget(const Arguments& arguments) {
    vault::ReadBudget budget;
    for (const std::string& text : arguments.list("--budget")) {
        std::uint64_t number = 0;
        const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
        const std::string_view unit{end, static_cast<std::size_t>(text.data() + text.size() - end)};
        const bool sane = failed == std::errc{} && number > 0 && number <= 1'000'000;
        if (sane && unit == "%" && number <= 100) {
            budget.percent = static_cast<int>(number);
        } else if (sane && unit == "MiB") {
            budget.bytes = number * kMiB;
        } else if (sane && unit == "GiB") {
            budget.bytes = number * kGiB;
        } else if (sane && unit == "m") {
            budget.time = std::chrono::minutes{number};
        } else if (sane && unit == "h") {
            budget.time = std::chrono::hours{number};
        } else {
            throw Error{
                ErrorKind::kUsage,
                fmt::format(
                    "--budget takes a share, an amount or a time, like 10%, 50GiB or 30m, not "
                    "\"{}\".",
                    text
                )
            };
        }
    }
    return budget;
}

Json figures_json(const vault::PackFigures& figures) {
    return Json{{"packs", figures.packs}, {"bytes", figures.bytes}};
}

Json sessions_json(const std::vector<vault::SessionInfo>& sessions) {
    Json list = Json::array();
    for (const vault::SessionInfo& session : sessions) {
        Json one{
            {"session", session.id},
            {"startedAt", format_instant_seconds(session.started_at)},
            {"elsewhere", session.elsewhere},
        };
        if (session.point) {
            one["recoveryPoint"] = session.point->to_string();
        }
        list.push_back(std::move(one));
    }
    return list;
}

Json plan_json(const vault::CollectPlan& plan) {
    return Json{
        {"recoveryPoints", plan.point_count},
        {"stored", figures_json(plan.stored)},
        {"neededBytes", plan.live_bytes},
        {"remove", figures_json(plan.dead)},
        {"rewrite", figures_json(plan.repack)},
        {"rewriteNeededBytes", plan.repack_live_bytes},
        {"condemnedBefore", figures_json(plan.condemned_before)},
        {"perhapsOfBackupsAtWork", figures_json(plan.suspects)},
        {"interruptedSessions", plan.dead_sessions},
        {"sessions", sessions_json(plan.sessions)},
        {"obstacles", damaged_json(plan.obstacles)},
    };
}

int percent_option(const Arguments& arguments, const std::string& name, int least) {
    const std::string& text = arguments.string(name);
    int percent = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), percent);
    if (failed != std::errc{} || end != text.data() + text.size() || percent < least ||
        percent > 100) {
        throw Error{
            ErrorKind::kUsage,
            fmt::format("{} takes a percentage from {} to 100, not \"{}\".", name, least, text)
        };
    }
    return percent;
}

Json collect(const Arguments& arguments, Session& session) {
    const Secret key = read_key(arguments.string("--key-file"));
    const OpenVault opened = open_vault(arguments.string("--path"), key, session);
    vault::CollectOptions options;
    options.repack_dead_percent = percent_option(arguments, "--repack-percent", 1);
    options.unused_percent_max = percent_option(arguments, "--unused-percent", 0);
    options.end_foreign_sessions = arguments.flag("--end-foreign-sessions");
    const bool show = session.console().err_is_terminal;
    options.on_progress = [&](std::string_view what, std::uint64_t done, std::uint64_t total) {
        if (show) {
            session.console().err << fmt::format("\r{}: {} of {}   ", what, done, total)
                                  << std::flush;
        }
    };
    const vault::CollectPlan plan = opened.repository->plan_collection(options, {});
    if (arguments.flag("--dry-run")) {
        if (!plan.obstacles.empty()) {
            session.set_exit_code(1);
        }
        return plan_json(plan);
    }
    const vault::CollectReport report = opened.repository->collect(plan, {});
    if (show) {
        session.console().err << '\n';
    }
    if (!report.waiting_for.empty()) {
        session.warn(
            "Some space stays until the sessions listed under waitingFor have ended. If you know "
            "that no other process works on the vault, say so with --end-foreign-sessions."
        );
    }
    return Json{
        {"removed", figures_json(report.removed)},
        {"rewrittenBytes", report.copied_bytes},
        {"condemnedLeft", figures_json(report.condemned_left)},
        {"perhapsOfBackupsAtWork", figures_json(report.suspects)},
        {"waitingFor", sessions_json(report.waiting_for)},
        {"endedSessions", report.ended_sessions},
        {"removedLeftovers", report.removed_leftovers},
        {"keptDamaged", damaged_json(report.kept_damaged)},
    };
}

Json rebuild_index(const Arguments& arguments, Session& session) {
    const Secret key = read_key(arguments.string("--key-file"));
    const OpenVault opened = open_vault(arguments.string("--path"), key, session);
    opened.repository->rebuild_index({});
    const vault::Usage usage = opened.repository->usage({});
    return Json{{"packs", usage.pack_count}, {"indexBytes", usage.index_bytes}};
}

Json check(const Arguments& arguments, Session& session) {
    const Secret key = read_key(arguments.string("--key-file"));
    const OpenVault opened = open_vault(arguments.string("--path"), key, session);
    vault::CheckOptions options;
    options.read_data_percent = read_percent(arguments);
    options.budget = read_budget(arguments);
    std::array<std::byte, 8> seed{};
    fill_random(seed);
    options.seed = get_little_endian<std::uint64_t>(seed.data());
    const bool show = session.console().err_is_terminal;
    options.on_progress = [&](std::uint64_t done, std::uint64_t total) {
        if (show) {
            session.console().err << fmt::format("\r{} of {} packs", done, total) << std::flush;
        }
    };
    const vault::CheckReport report = opened.repository->check(options, {});
    if (show) {
        session.console().err << '\n';
    }
    if (!report.sound()) {
        session.set_exit_code(1);
    }
    Json oldest;
    if (report.oldest_read_at) {
        oldest = format_instant_seconds(*report.oldest_read_at);
    }
    return Json{
        {"sound", report.sound()},
        {"repositoryId", opened.repository->id().to_string()},
        {"vault", opened.repository->label()},
        {"objects", report.object_count},
        {"packs", report.pack_count},
        {"packsRead", report.pack_read_count},
        {"packsReadBytes", report.pack_read_bytes},
        {"packsNeverRead", report.pack_never_read_count},
        {"oldestReadAt", oldest},
        {"recoveryPoints", report.point_count},
        {"storedBytes", report.stored_bytes},
        {"unreferencedBytes", report.unreferenced_bytes},
        {"damaged", damaged_json(report.damaged)},
        {"notes", report.notes},
    };
}

Json rebuilt_json(const jobs::RebuildReport& report) {
    Json vaults = Json::array();
    for (const jobs::RebuiltVault& vault : report.vaults) {
        Json one{
            {"vault", vault.vault_id},
            {"repositoryId", vault.repository_id},
            {"recoveryPoints", vault.points},
            {"statesComplete", vault.states_complete},
            {"damaged", damaged_json(vault.damaged)},
        };
        if (vault.snapshot_at) {
            one["catalogSnapshotOf"] = format_instant_seconds(*vault.snapshot_at);
        }
        vaults.push_back(std::move(one));
    }
    return Json{
        {"vaults", std::move(vaults)},
        {"instancesFromPoints", report.instances_from_points},
        {"warnings", report.warnings},
    };
}

Json scan(const Arguments& arguments, Session& session) {
    const Secret key = read_key(arguments.string("--key-file"));
    std::vector<OpenVault> vaults;
    std::vector<jobs::RebuildSource> sources;
    Json repositories = Json::array();
    for (const std::string& path : arguments.list("--path")) {
        vaults.push_back(open_vault(path, key, session));
    }
    for (const OpenVault& opened : vaults) {
        std::filesystem::path name = std::filesystem::absolute(opened.path).lexically_normal();
        if (!name.has_filename()) {
            name = name.parent_path();  // Typed with a slash at its end.
        }
        sources.push_back({*opened.repository, name.filename().string()});
        const vault::PointList list = opened.repository->list_points({});
        Json points = Json::array();
        for (const vault::PointSummary& point : list.points) {
            points.push_back(point_json(point));
        }
        repositories.push_back(Json{
            {"path", opened.path.string()},
            {"vault", opened.repository->label()},
            {"repositoryId", opened.repository->id().to_string()},
            {"recoveryPoints", std::move(points)},
        });
    }
    const std::string target = arguments.string("--write-catalog");
    if (!target.empty() && std::filesystem::exists(target)) {
        throw Error{
            ErrorKind::kConflict,
            ErrorText{
                .message = fmt::format("{} exists; a catalog is never overwritten.", target),
                .target = "--write-catalog",
                .recommended_actions = {"Move the file away, or name another one."},
            }
        };
    }
    // Without a file to write, the catalog is built in memory: the report is the same.
    const auto catalog =
        catalog::open_sqlite_catalog(target.empty() ? ":memory:" : target, session.clock());
    jobs::RebuildReport report = jobs::rebuild_catalog(*catalog, sources);
    if (!target.empty() && !report.sealed_under.empty() &&
        report.sealed_under != vault::key_fingerprint(key)) {
        report.warnings.push_back(fmt::format(
            "Secrets, the passwords of registered servers, tokens and the certificate authority "
            "were sealed under the server's key {}. Without it set them again: keyvault secret "
            "set, postgres flexible-server register, owner-token; and remove the directory tls.",
            report.sealed_under
        ));
    }
    Json result = rebuilt_json(report);
    result["repositories"] = std::move(repositories);
    if (!target.empty()) {
        result["catalog"] = target;
    }
    for (const Json& warning : result["warnings"]) {
        session.warn(warning.get<std::string>());
    }
    return result;
}

Json extract(const Arguments& arguments, Session& session) {
    const Secret key = read_key(arguments.string("--key-file"));
    const std::string prefix = arguments.string("--file-prefix");
    jobs::check_file_prefix(prefix);
    const OpenVault opened = open_vault(arguments.string("--path"), key, session);
    const std::filesystem::path target = std::filesystem::absolute(arguments.string("--to"));
    make_directory_durably(target, 0700);
    const jobs::RestoreContainers containers{
        jobs::ContainerSettings{.containers = {}, .file_roots = {target}, .origins = {}}
    };
    const jobs::ContainerDirectory directory = containers.open(file_url(target));
    const auto reader =
        opened.repository->open_point(choose_point(arguments, *opened.repository), {});
    const jobs::PointSource source{*reader, {}};
    const postgres::ClientTools tools;
    jobs::FilesRestore restore{
        .source = source,
        .directory = directory,
        .file_prefix = prefix,
        .role_passwords = arguments.flag("--include-role-passwords")
                              ? jobs::RolePasswordFiles::kInclude
                              : jobs::RolePasswordFiles::kLeaveOut,
        .point = point_json(reader->summary()),
        .now = session.clock().now(),
    };
    if (tools.found().empty()) {
        session.warn(
            "No pg_restore was found: the schema file, which is only for reading, is left out."
        );
    } else {
        restore.schema_sql = [&](std::stop_token stop) {
            return postgres::render_schema_sql(source, tools, std::move(stop));
        };
    }
    const jobs::FilesRestoreReport report = jobs::restore_as_files(restore);
    Json files = Json::array();
    for (const jobs::RestoredFile& file : report.files) {
        files.push_back(
            Json{{"name", file.name}, {"sizeBytes", file.size_bytes}, {"sha256", file.sha256}}
        );
    }
    return Json{
        {"recoveryPoint", point_json(reader->summary())},
        {"directory", target.string()},
        {"files", std::move(files)},
    };
}

Json recovery_kit(const Arguments& arguments, Session& session) {
    const Secret key = read_key(arguments.string("--key-file"));
    const OpenVault opened = open_vault(arguments.string("--path"), key, session);
    const std::string& label = opened.repository->label();
    const Secret kit = opened.repository->recovery_kit(vault::RecoveryKitContext{
        .vault_name = label.substr(label.rfind('/') + 1),
        .location = std::filesystem::absolute(opened.path).string(),
    });
    const std::string target = arguments.string("--output-file");
    if (target == "-") {
        session.console().out << kit.expose_text() << std::flush;
        opened.repository->mark_recovery_kit_written({});
        return nullptr;
    }
    if (!write_file_durably(target, kit.expose(), 0600, Overwrite::kNo)) {
        throw Error{
            ErrorKind::kConflict,
            ErrorText{
                .message = fmt::format("{} exists already.", target),
                .target = "--output-file",
                .recommended_actions = {"Name another file."},
            }
        };
    }
    opened.repository->mark_recovery_kit_written({});
    session.warn(fmt::format(
        "{} opens this vault. Keep it away from this machine and from the vault's storage.", target
    ));
    return Json{
        {"file", target},
        {"vault", label},
        {"repositoryId", opened.repository->id().to_string()},
    };
}

Json add_key(const Arguments& arguments, Session& session) {
    const Secret key = read_key(arguments.string("--key-file"));
    const OpenVault opened = open_vault(arguments.string("--path"), key, session);
    const std::string& file = arguments.string("--new-key-file");
    const Secret added = vault::read_or_create_key_file(file);
    opened.repository->add_key(added, {});
    return Json{
        {"keyFile", file},
        {"fingerprint", vault::key_fingerprint(added)},
        {"repositoryId", opened.repository->id().to_string()},
    };
}

}  // namespace

std::vector<Command> vault_commands() {
    return {
        Command{
            .path = "vault check",
            .summary = "Check a repository: every object, and with --read-data every byte.",
            .options =
                {path_option(),
                 key_option(),
                 Option{
                     .names = {"--read-data"},
                     .help =
                         "Read, decrypt and hash the packs too: all, or `--read-data=10%` of them.",
                     .kind = OptionKind::kFlagOrValue,
                 },
                 list(
                     {"--budget"},
                     "Read so much of the packs, those first that were read longest ago: a share, "
                     "an amount, a time (10%, 50GiB, 30m); the first that is used up ends it."
                 )},
            .examples =
                {{"Check everything",
                  "holdfast vault check --path /srv/vaults/prod --key-file kek.key --read-data"},
                 {"Go on where the last check stopped, for half an hour",
                  "holdfast vault check --path /srv/vaults/prod --key-file kek.key --budget 30m"}},
            .handler = check,
            .details = "Exit code 1 when anything is damaged; each damaged object is named with "
                       "the recovery "
                       "points that need it.",
        },
        Command{
            .path = "vault collect",
            .summary = "Reclaim the space of what no recovery point needs any more.",
            .options =
                {path_option(),
                 key_option(),
                 flag({"--dry-run"}, "Say what would be removed, and remove nothing."),
                 with_default(
                     optional(
                         {"--repack-percent"},
                         "Rewrite packs of which so much is not needed any more; 100: none."
                     ),
                     "50"
                 ),
                 with_default(
                     optional(
                         {"--unused-percent"}, "So much may stay unneeded inside packs; 100: any."
                     ),
                     "5"
                 ),
                 flag(
                     {"--end-foreign-sessions"},
                     "You vouch that no other process, on whatever machine, works on the vault: "
                     "its backups are given up for dead."
                 )},
            .examples =
                {{"See what there is to gain",
                  "holdfast vault collect --path /srv/vaults/prod --key-file kek.key --dry-run"}},
            .handler = collect,
            .details = "The server does this by itself. Runs beside it; removes nothing when "
                       "anything cannot be read.",
        },
        Command{
            .path = "vault rebuild-index",
            .summary = "Write the index of a repository anew from its packs.",
            .options = {path_option(), key_option()},
            .examples =
                {{"After damage to the index",
                  "holdfast vault rebuild-index --path /srv/vaults/prod --key-file kek.key"}},
            .handler = rebuild_index,
        },
        Command{
            .path = "vault scan",
            .summary = "Tell what repositories hold, and rebuild a lost catalog from them.",
            .options =
                {required_list({"--path"}, "Directories of vaults; several belong to one service."),
                 key_option(),
                 optional({"--write-catalog"}, "Write a new catalog to this file.")},
            .examples =
                {{"See what is there",
                  "holdfast vault scan --path /srv/vaults/prod --key-file recovery-kit.txt"},
                 {"Rebuild the catalog of a lost server",
                  "holdfast vault scan --path /srv/vaults/prod --key-file kek.key --write-catalog "
                  "/var/lib/holdfast/catalog.db"}},
            .handler = scan,
        },
        Command{
            .path = "vault extract",
            .summary = "Restore a recovery point as files, without a server.",
            .options =
                {path_option(),
                 key_option(),
                 point_option(),
                 instance_option(),
                 required({"--to"}, "The directory to write into; made when it is missing."),
                 with_default(optional({"--file-prefix"}, "Begins every file's name."), "restored"),
                 flag({"--include-role-passwords"}, "Write the roles' password hashes too.")},
            .examples =
                {{"Get the newest backup back",
                  "holdfast vault extract --path /srv/vaults/prod --key-file recovery-kit.txt --to "
                  "out"}},
            .handler = extract,
        },
        vault_restore_command(),
        Command{
            .path = "vault recovery-kit",
            .summary = "Write the page that opens a vault when the server and its key are lost.",
            .options =
                {path_option(),
                 key_option(),
                 required({"--output-file"}, "A new file (mode 0600), or - for standard output.")},
            .examples =
                {{"Write the kit",
                  "holdfast vault recovery-kit --path /srv/vaults/prod --key-file kek.key "
                  "--output-file "
                  "kit.txt"}},
            .handler = recovery_kit,
        },
        Command{
            .path = "vault add-key",
            .summary = "Let another key file open a vault, e.g. that of a new server.",
            .options =
                {path_option(),
                 key_option(),
                 required({"--new-key-file"}, "The other key file; made when it does not exist.")},
            .examples =
                {{"Take over a vault on a new machine",
                  "holdfast vault add-key --path /srv/vaults/prod --key-file recovery-kit.txt "
                  "--new-key-file "
                  "/var/lib/holdfast/keys/kek.key"}},
            .handler = add_key,
        },
    };
}

}  // namespace holdfast::cli
