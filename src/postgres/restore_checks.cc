// What a restore needs and the target lacks, all of it at once and before anything is changed.

#include "postgres/restore_checks.h"

#include "base/text.h"
#include "postgres/logical_restore.h"
#include "postgres/restore_plan.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

/// A PostgreSQL array literal for a text[] parameter.
std::string array_literal(const std::set<std::string>& values) {
    std::string literal = "{";
    for (const std::string& value : values) {
        if (literal.size() > 1) {
            literal.push_back(',');
        }
        literal.push_back('"');
        for (const char c : value) {
            if (c == '"' || c == '\\') {
                literal.push_back('\\');
            }
            literal.push_back(c);
        }
        literal.push_back('"');
    }
    return literal + "}";
}

class Checker {
public:
    Checker(Connection& maintenance, const RestorePlan& plan, const RestoreOptions& options)
        : maintenance_{maintenance}, plan_{plan}, options_{options} {}

    RestoreCheck run() {
        check_rights();
        check_roles();
        check_tablespaces();
        check_extensions();
        check_objects();
        check_.warnings = plan_.warnings();
        return std::move(check_);
    }

private:
    void missing(std::string code, std::string message, std::string target, std::string remedy) {
        check_.missing.push_back(
            {.code = std::move(code), .message = std::move(message), .target = std::move(target)}
        );
        if (!remedy.empty() && std::find(check_.remedies.begin(), check_.remedies.end(), remedy) ==
                                   check_.remedies.end()) {
            check_.remedies.push_back(std::move(remedy));
        }
    }

    [[nodiscard]] std::string me() const { return quote_identifier(plan_.target().role.name); }

    /// Those of `names` that `sql` (with $1 a text[]) does not return.
    std::set<std::string> absent(const std::set<std::string>& names, const std::string& sql) {
        if (names.empty()) {
            return {};
        }
        const QueryResult rows =
            maintenance_.query(sql, {array_literal(names)}, {.stop = options_.stop});
        std::set<std::string> left = names;
        for (std::size_t row = 0; row < rows.row_count(); ++row) {
            left.erase(rows.text(row, "name"));
        }
        return left;
    }

    void check_rights() {
        const RoleInfo& role = plan_.target().role;
        if (plan_.creates_database() && !role.superuser && !role.create_database) {
            missing(
                "MissingCreateDatabase",
                fmt::format("Role {} may not create databases.", me()),
                role.name,
                fmt::format("ALTER ROLE {} CREATEDB;", me())
            );
        }
    }

    void check_roles() {
        const std::string exists =
            "SELECT rolname AS name FROM pg_catalog.pg_roles WHERE rolname = ANY "
            "($1::pg_catalog.text[])";
        const std::set<std::string> owners = plan_.owners();
        std::set<std::string> all = plan_.mentioned_roles();
        all.insert(owners.begin(), owners.end());
        // Predefined roles of a newer server can't be made; what is granted to them can only be
        // left out.
        for (const std::string& role : absent(all, exists)) {
            missing(
                "MissingRole",
                fmt::format("Role {} does not exist on the target.", quote_identifier(role)),
                role,
                fmt::format("CREATE ROLE {};", quote_identifier(role))
            );
        }
        if (plan_.target().role.superuser) {
            return;
        }
        std::set<std::string> present = owners;
        for (const std::string& role : absent(owners, exists)) {
            present.erase(role);
        }
        const std::string member =
            "SELECT rolname AS name FROM pg_catalog.pg_roles WHERE rolname = ANY "
            "($1::pg_catalog.text[])"
            " AND pg_catalog.pg_has_role(oid, 'MEMBER')";
        for (const std::string& role : absent(present, member)) {
            missing(
                "MissingMembership",
                fmt::format(
                    "Role {} can't give objects to {}: it is no member of it.",
                    me(),
                    quote_identifier(role)
                ),
                role,
                fmt::format("GRANT {} TO {};", quote_identifier(role), me())
            );
        }
    }

    void check_tablespaces() {
        const std::set<std::string> lacking = absent(
            plan_.tablespaces(),
            "SELECT spcname AS name FROM pg_catalog.pg_tablespace WHERE spcname = ANY "
            "($1::pg_catalog.text[])"
        );
        for (const std::string& name : lacking) {
            missing(
                "MissingTablespace",
                fmt::format("Tablespace {} does not exist on the target.", quote_identifier(name)),
                name,
                fmt::format("CREATE TABLESPACE {} LOCATION '<directory>';", quote_identifier(name))
            );
        }
    }

    void check_extensions() {
        const std::set<std::string> lacking = absent(
            plan_.extensions(),
            "SELECT name FROM pg_catalog.pg_available_extensions WHERE name = ANY "
            "($1::pg_catalog.text[])"
        );
        for (const std::string& name : lacking) {
            missing(
                "MissingExtension",
                fmt::format("Extension {} is not available on the target.", quote_identifier(name)),
                name,
                fmt::format(
                    "Install the package that brings extension {} on the target server.",
                    quote_identifier(name)
                )
            );
        }
        if (plan_.target().role.superuser) {
            return;
        }
        const std::set<std::string> creatable = absent(
            plan_.extensions(),
            "SELECT DISTINCT v.name FROM pg_catalog.pg_available_extension_versions v"
            " JOIN pg_catalog.pg_available_extensions a ON a.name = v.name AND a.default_version = "
            "v.version"
            " WHERE v.name = ANY ($1::pg_catalog.text[]) AND (v.trusted OR NOT v.superuser)"
        );
        for (const std::string& name : creatable) {
            if (!lacking.contains(name)) {
                check_.warnings.push_back(fmt::format(
                    "Extension {} may need a superuser to be created; role {} is none.",
                    quote_identifier(name),
                    me()
                ));
            }
        }
    }

    /// Items: nothing that exists is overwritten.
    void check_objects() {
        if (plan_.creates_database() || plan_.whole_database()) {
            return;
        }
        std::vector<ErrorDetail> existing;
        for (const PlannedObject& object : plan_.objects()) {
            if (object_oid(*plan_.target().session, object)) {
                existing.push_back(
                    {.code = "ObjectExists",
                     .message = fmt::format("{} {} exists.", object.desc, object.reference),
                     .target = object.reference}
                );
            }
        }
        if (existing.empty()) {
            return;
        }
        throw Error{
            ErrorKind::kRestoreTargetExists,
            {.message = fmt::format(
                 "Database {} has {} already.",
                 quote_identifier(options_.target_database),
                 existing.size() == 1 ? existing.front().target
                                      : fmt::format("{} of the objects", existing.size())
             ),
             .recommended_actions = {"Restore under another name, into another database, or drop "
                                     "or rename what is there first."},
             .details = existing}
        };
    }

    Connection& maintenance_;
    const RestorePlan& plan_;
    const RestoreOptions& options_;
    RestoreCheck check_;
};

}  // namespace

RestoreCheck check_plan(
    Connection& maintenance, const RestorePlan& plan, const RestoreOptions& options
) {
    if (plan.source_major() > plan.target().server_major) {
        throw Error{
            ErrorKind::kRestoreToLowerVersion,
            {.message = fmt::format(
                 "The backup is of PostgreSQL {}; the target runs {}. Restoring to a lower version "
                 "is not supported.",
                 plan.source_major(),
                 plan.target().server_major
             ),
             .recommended_actions = {"Restore to a server of the same or a higher version."}}
        };
    }
    if (plan.whole_database() && !plan.creates_database()) {
        throw Error{
            ErrorKind::kDatabaseExists,
            {.message = fmt::format(
                 "The target server has a database {} already.",
                 quote_identifier(options.target_database)
             ),
             .target = options.target_database,
             .recommended_actions = {"Choose another name for the restored database."}}
        };
    }
    const auto& existing = plan.target().database;
    if (existing && (!existing->may_connect || !existing->allows_connections)) {
        throw Error{
            ErrorKind::kMissingDatabasePermissions,
            {.message = fmt::format(
                 "Role {} may not connect to database {}.",
                 quote_identifier(plan.target().role.name),
                 quote_identifier(options.target_database)
             ),
             .recommended_actions = {fmt::format(
                 "GRANT CONNECT ON DATABASE {} TO {};",
                 quote_identifier(options.target_database),
                 quote_identifier(plan.target().role.name)
             )}}
        };
    }
    return Checker{maintenance, plan, options}.run();
}

void RestoreCheck::throw_if_failed() const {
    if (missing.empty()) {
        return;
    }
    ErrorText text;
    text.message =
        missing.size() == 1
            ? fmt::format("The target lacks what the restore needs: {}", missing.front().message)
            : fmt::format("The target lacks {} things that the restore needs.", missing.size());
    text.details = missing;
    text.recommended_actions = remedies;
    const bool about_roles =
        std::any_of(missing.begin(), missing.end(), [](const ErrorDetail& detail) {
            return detail.code == "MissingRole" || detail.code == "MissingMembership";
        });
    if (about_roles) {
        text.recommended_actions.push_back(
            "Or restore without owners and grants: make the request with --skip-ownership "
            "(restoreTargetInfo.holdfast.skipOwnership)."
        );
    }
    throw Error{ErrorKind::kRestorePrerequisites, std::move(text)};
}

}  // namespace holdfast::postgres
