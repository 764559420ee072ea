#include "postgres/preflight.h"

#include "base/text.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

/// Databases that a cloud provider keeps for itself on its customers' servers: nobody else may
/// connect.
constexpr std::array<std::string_view, 4> kManagedServiceDatabases{
    "azure_maintenance", "azure_sys", "cloudsqladmin", "rdsadmin"
};

/// What pg_dump takes: not the system's schemas, and not what an extension brought (its CREATE
/// EXTENSION does that), but for the tables whose contents the extension asks to be dumped.
constexpr std::string_view kUserRelations =
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'"
    " AND (NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = "
    "'pg_catalog.pg_class'::pg_catalog.regclass"
    "   AND d.objid = c.oid AND d.deptype = 'e')"
    "  OR EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig)))";

std::string qualified(std::string_view schema, std::string_view name) {
    return quote_identifier(schema) + "." + quote_identifier(name);
}

/// Long lists are cut: the remedies cure all of it, the names are for orientation.
std::string some_of(const std::vector<std::string>& names) {
    constexpr std::size_t kShownMax = 5;
    if (names.size() <= kShownMax) {
        return join(names, ", ");
    }
    const std::vector<std::string> shown{names.begin(), names.begin() + kShownMax};
    return fmt::format("{} and {} more", join(shown, ", "), names.size() - kShownMax);
}

/// Looks at one database for rights that pg_dump will need.
class DatabaseCheck {
public:
    DatabaseCheck(
        Connection& connection,
        const ServerInfo& server,
        std::vector<Finding>& findings,
        std::stop_token stop
    )
        : connection_{connection},
          role_name_{server.current_role.name},
          role_{quote_identifier(role_name_)},
          findings_{findings},
          stop_{std::move(stop)} {}

    void run() {
        check_schemas();
        check_relations(
            {.code = "MissingSelectOnTables",
             .noun = "tables",
             .kinds = "'r', 'p'",
             .grant = "TABLES",
             .object = ""}
        );
        check_relations(
            {.code = "MissingSelectOnSequences",
             .noun = "sequences",
             .kinds = "'S'",
             .grant = "SEQUENCES",
             .object = "SEQUENCE "}
        );
        check_large_objects();
        check_row_security();
    }

private:
    struct RelationKind {
        std::string code;
        std::string noun;
        std::string kinds;
        std::string grant;
        std::string object;
    };

    QueryResult ask(const std::string& sql) { return connection_.query(sql, {}, {.stop = stop_}); }

    void add(std::string code, std::string message, std::vector<std::string> remedies) {
        findings_.push_back(
            {.severity = Severity::kError,
             .code = std::move(code),
             .database = connection_.database(),
             .message =
                 fmt::format("Database {}: {}", quote_identifier(connection_.database()), message),
             .remedies = std::move(remedies)}
        );
    }

    /// A statement that must run in this database; psql users see where.
    [[nodiscard]] std::string here(std::string_view statement) const {
        return fmt::format(
            "{} -- in database {}", statement, quote_identifier(connection_.database())
        );
    }

    void check_schemas() {
        const QueryResult rows = ask(fmt::format(
            "SELECT DISTINCT n.nspname{} AND c.relkind IN ('r', 'p', 'S')"
            " AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') ORDER BY 1",
            kUserRelations
        ));
        std::vector<std::string> names;
        std::vector<std::string> remedies;
        for (std::size_t row = 0; row < rows.row_count(); ++row) {
            names.push_back(quote_identifier(rows.text(row, "nspname")));
            remedies.push_back(
                here(fmt::format("GRANT USAGE ON SCHEMA {} TO {};", names.back(), role_))
            );
        }
        if (!names.empty()) {
            add("MissingUsageOnSchemas",
                fmt::format("role {} has no USAGE on schemas {}.", role_, some_of(names)),
                std::move(remedies));
        }
    }

    void check_relations(const RelationKind& kind) {
        const QueryResult rows = ask(fmt::format(
            "SELECT n.nspname, c.relname{} AND c.relkind IN ({})"
            " AND NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') ORDER BY 1, 2",
            kUserRelations,
            kind.kinds
        ));
        if (rows.row_count() == 0) {
            return;
        }
        std::vector<std::string> names;
        std::vector<std::string> remedies;
        constexpr std::size_t kSingleGrantsMax = 5;
        for (std::size_t row = 0; row < rows.row_count(); ++row) {
            const std::string schema = rows.text(row, "nspname");
            names.push_back(qualified(schema, rows.text(row, "relname")));
            std::string remedy =
                rows.row_count() <= kSingleGrantsMax
                    ? fmt::format("GRANT SELECT ON {}{} TO {};", kind.object, names.back(), role_)
                    : fmt::format(
                          "GRANT SELECT ON ALL {} IN SCHEMA {} TO {};",
                          kind.grant,
                          quote_identifier(schema),
                          role_
                      );
            remedy = here(remedy);
            if (remedies.empty() || remedies.back() != remedy) {
                remedies.push_back(std::move(remedy));
            }
        }
        add(kind.code,
            fmt::format(
                "role {} has no SELECT on {} {}: {}.",
                role_,
                names.size(),
                kind.noun,
                some_of(names)
            ),
            std::move(remedies));
    }

    /// There is no has_largeobject_privilege() before 18, so the ACL is read here.
    void check_large_objects() {
        const QueryResult rows =
            ask("SELECT m.oid FROM pg_catalog.pg_largeobject_metadata m"
                " WHERE pg_catalog.current_setting('lo_compat_privileges') = 'off'"
                " AND NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')"
                " AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a WHERE "
                "a.privilege_type = 'SELECT'"
                "   AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))"
                " ORDER BY m.oid LIMIT 1000");
        if (rows.row_count() == 0) {
            return;
        }
        std::vector<std::string> oids;
        for (std::size_t row = 0; row < rows.row_count(); ++row) {
            oids.push_back(rows.text(row, "oid"));
        }
        constexpr std::size_t kNamedMax = 20;
        const std::string remedy =
            oids.size() <= kNamedMax
                ? fmt::format("GRANT SELECT ON LARGE OBJECT {} TO {};", join(oids, ", "), role_)
                : fmt::format(
                      "DO $$ DECLARE o oid; BEGIN FOR o IN SELECT oid FROM pg_largeobject_metadata "
                      "LOOP EXECUTE "
                      "format('GRANT SELECT ON LARGE OBJECT %s TO %I', o, {}); END LOOP; END $$;",
                      quote_literal(role_name_)
                  );
        add("MissingSelectOnLargeObjects",
            fmt::format(
                "role {} has no SELECT on {}{} large objects: {}.",
                role_,
                oids.size() == 1000 ? "at least " : "",
                oids.size(),
                some_of(oids)
            ),
            {here(remedy)});
    }

    void check_row_security() {
        const QueryResult rows = ask(fmt::format(
            "SELECT n.nspname, c.relname{} AND c.relkind IN ('r', 'p') AND c.relrowsecurity"
            " AND pg_catalog.row_security_active(c.oid) ORDER BY 1, 2",
            kUserRelations
        ));
        std::vector<std::string> names;
        for (std::size_t row = 0; row < rows.row_count(); ++row) {
            names.push_back(qualified(rows.text(row, "nspname"), rows.text(row, "relname")));
        }
        if (!names.empty()) {
            add("RowSecurity",
                fmt::format(
                    "row-level security would hide rows of {} from role {}, so pg_dump refuses to "
                    "read them.",
                    some_of(names),
                    role_
                ),
                {fmt::format("ALTER ROLE {} BYPASSRLS;", role_)});
        }
    }

    Connection& connection_;
    std::string role_name_;
    std::string role_;  ///< Quoted.
    std::vector<Finding>& findings_;
    std::stop_token stop_;
};

std::optional<SkippedDatabase> skip(const DatabaseInfo& database, const BackupScope& scope) {
    const std::string& name = database.name;
    const auto& excluded = scope.excluded_databases;
    if (std::find(excluded.begin(), excluded.end(), name) != excluded.end()) {
        return SkippedDatabase{name, SkipCause::kExcluded, "excluded by configuration"};
    }
    const auto& managed = kManagedServiceDatabases;
    if (!database.may_connect && std::find(managed.begin(), managed.end(), name) != managed.end()) {
        return SkippedDatabase{name, SkipCause::kManagedService, "belongs to the managed service"};
    }
    if (!database.allows_connections) {
        return SkippedDatabase{name, SkipCause::kAllowsNoConnections, "does not allow connections"};
    }
    if (database.is_template) {
        return SkippedDatabase{name, SkipCause::kTemplate, "is a template database"};
    }
    return std::nullopt;
}

/// Every server has these two; nobody expects them in a backup.
bool is_standard_template(const DatabaseInfo& database) {
    return database.is_template && (database.name == "template0" || database.name == "template1");
}

void choose_databases(const BackupScope& scope, PreflightReport& report) {
    for (const DatabaseInfo& database : report.server.databases) {
        if (scope.database) {
            if (database.name == *scope.database) {
                report.databases.push_back(database.name);
                report.size_estimate_bytes += database.size_bytes.value_or(0);
            }
            continue;
        }
        if (is_standard_template(database)) {
            continue;
        }
        if (auto skipped = skip(database, scope)) {
            report.skipped.push_back(std::move(*skipped));
            continue;
        }
        report.databases.push_back(database.name);
        report.size_estimate_bytes += database.size_bytes.value_or(0);
    }
}

void add_server_findings(
    const ConnectionParameters& connection, const BackupScope& scope, PreflightReport& report
) {
    for (std::string& warning : tls_warnings(connection)) {
        report.findings.push_back(
            {.severity = Severity::kWarning, .code = "WeakTls", .message = std::move(warning)}
        );
    }
    if (!report.server.may_read_passwords && !scope.database) {
        report.findings.push_back(
            {.severity = Severity::kNote,
             .code = "RolePasswordsNotReadable",
             .message = fmt::format(
                 "Role {} may not read pg_authid: roles are backed up without their password "
                 "hashes.",
                 quote_identifier(report.server.current_role.name)
             ),
             .remedies = {fmt::format(
                 "GRANT SELECT ON pg_catalog.pg_authid TO {};",
                 quote_identifier(report.server.current_role.name)
             )}}
        );
    }
    for (const SkippedDatabase& skipped : report.skipped) {
        report.findings.push_back(
            {.severity =
                 skipped.cause == SkipCause::kManagedService ? Severity::kNote : Severity::kWarning,
             .code = "DatabaseSkipped",
             .database = skipped.name,
             .message = fmt::format(
                 "Database {} is not backed up: it {}.",
                 quote_identifier(skipped.name),
                 skipped.cause == SkipCause::kExcluded ? "is " + skipped.reason : skipped.reason
             )}
        );
    }
}

/// A database that this role may not connect to, or that went away since it was listed, is a
/// finding; anything else ends the check.
void check_database(
    const ConnectionParameters& connection,
    const DatabaseInfo& database,
    PreflightReport& report,
    std::stop_token stop
) {
    if (!database.may_connect) {
        report.findings.push_back(
            {.code = "MissingConnect",
             .database = database.name,
             .message = fmt::format(
                 "Role {} has no CONNECT on database {}.",
                 quote_identifier(report.server.current_role.name),
                 quote_identifier(database.name)
             ),
             .remedies = {fmt::format(
                 "GRANT CONNECT ON DATABASE {} TO {};",
                 quote_identifier(database.name),
                 quote_identifier(report.server.current_role.name)
             )}}
        );
        return;
    }
    if (report.server.current_role.superuser) {
        return;
    }
    Connection session = Connection::open(connection.with_database(database.name), stop);
    DatabaseCheck{session, report.server, report.findings, std::move(stop)}.run();
}

}  // namespace

bool PreflightReport::ok() const noexcept {
    return std::none_of(findings.begin(), findings.end(), [](const Finding& finding) {
        return finding.severity == Severity::kError;
    });
}

std::vector<std::string> PreflightReport::warnings() const {
    std::vector<std::string> messages;
    for (const Finding& finding : findings) {
        if (finding.severity == Severity::kWarning) {
            messages.push_back(finding.message);
        }
    }
    return messages;
}

void PreflightReport::throw_if_failed() const {
    if (ok()) {
        return;
    }
    ErrorText text;
    for (const Finding& finding : findings) {
        if (finding.severity != Severity::kError) {
            continue;
        }
        text.details.push_back(
            {.code = finding.code, .message = finding.message, .target = finding.database}
        );
        for (const std::string& remedy : finding.remedies) {
            const auto& known = text.recommended_actions;
            if (std::find(known.begin(), known.end(), remedy) == known.end()) {
                text.recommended_actions.push_back(remedy);
            }
        }
    }
    text.message = fmt::format(
        "Role {} lacks rights that a backup needs. {}",
        quote_identifier(server.current_role.name),
        text.details.size() == 1
            ? text.details.front().message
            : fmt::format(
                  "{} kinds of rights are missing; the details name each.", text.details.size()
              )
    );
    throw Error{ErrorKind::kMissingDatabasePermissions, std::move(text)};
}

PreflightReport preflight_backup(
    const ConnectionParameters& connection,
    const BackupScope& scope,
    const ClientTools& tools,
    std::stop_token stop
) {
    PreflightReport report;
    {
        Connection session = Connection::open(
            scope.database ? connection.with_database(*scope.database) : connection.clone(), stop
        );
        report.server = read_server_info(session, stop);
    }
    report.client_version = tools.at_least(report.server.major()).version;
    choose_databases(scope, report);
    if (scope.database && report.databases.empty()) {
        throw Error{
            ErrorKind::kDatabaseNotFound,
            {.message =
                 fmt::format("The server has no database {}.", quote_identifier(*scope.database)),
             .recommended_actions =
                 {"Check the database's name; it may have been dropped or renamed."}}
        };
    }
    add_server_findings(connection, scope, report);
    for (const std::string& name : report.databases) {
        check_database(connection, *report.server.find_database(name), report, stop);
    }
    return report;
}

}  // namespace holdfast::postgres
