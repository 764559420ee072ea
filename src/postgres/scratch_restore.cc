#include "postgres/scratch_restore.h"

#include "base/error.h"
#include "base/json.h"
#include "postgres/directory_streams.h"
#include "postgres/logical_backup.h"

#include <functional>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

constexpr std::chrono::minutes kCatalogTimeout{5};
/// Each becomes an argument of pg_dump; tables below a MiB are cheaper to dump than to name.
constexpr int kTablesLeftOutMax = 300;
constexpr std::uint64_t kTableLeftOutBytesMin = kMiB;
constexpr std::size_t kSettingsBytesMax = 64 * kMiB;

/// Passes streams on. What ScratchServer put aside, settings for every role, gets its place back in
/// the description of the database.
class SettingsRestorer final : public StreamSink {
public:
    SettingsRestorer(StreamSink& next, const std::string& settings_role)
        : next_{next}, settings_role_{settings_role} {}

    void begin(const StreamSpec& spec) override {
        if (spec.kind == StreamKind::kSettings) {
            settings_.emplace();
        }
        next_.begin(spec);
    }
    void write(ByteSpan bytes) override {
        if (!settings_) {
            next_.write(bytes);
            return;
        }
        if (settings_->size() + bytes.size() > kSettingsBytesMax) {
            throw Error{ErrorKind::kDumpFailed, "The description of the database is too large."};
        }
        settings_->append(as_text(bytes));
    }
    void end() override {
        if (settings_) {
            next_.write(as_bytes(corrected(*settings_)));
            settings_.reset();
        }
        next_.end();
    }

private:
    [[nodiscard]] std::string corrected(const std::string& text) const {
        Json json = parse_json(text, ErrorKind::kDumpFailed, "settings of the database");
        DatabaseInfo database = database_from_json(json);
        for (Setting& setting : database.settings) {
            if (setting.role == settings_role_) {
                setting.role.clear();
            }
        }
        json.update(to_json(database));
        return json.dump(2);
    }

    StreamSink& next_;
    const std::string& settings_role_;
    std::optional<std::string> settings_;
};

/// Large tables whose rows the items have no use for: other tables than the items, their partitions
/// and what they inherit from.
std::vector<std::string> tables_without_use(
    ScratchServer& server, const RestoreOptions& options
) {
    Connection session =
        Connection::open(server.connection(options.source_database), server.stop_token());
    const QueryOptions how{.stop = server.stop_token(), .timeout = kCatalogTimeout};
    std::string wanted;
    for (const RestoreItem& item : options.items) {
        wanted += fmt::format(
            "{}(n.nspname = {}{})",
            wanted.empty() ? "" : " OR ",
            quote_literal(item.schema),
            item.table.empty() ? "" : " AND c.relname = " + quote_literal(item.table)
        );
    }
    const QueryResult rows = session.query(
        fmt::format(
            "WITH RECURSIVE up(oid) AS (SELECT c.oid FROM pg_catalog.pg_class c JOIN "
            "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {} UNION SELECT "
            "i.inhparent FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.oid), kin(oid) "
            "AS (SELECT oid FROM up UNION SELECT i.inhrelid FROM kin JOIN pg_catalog.pg_inherits i "
            "ON i.inhparent = kin.oid) SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN "
            "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.oid "
            "NOT IN (SELECT oid FROM kin) AND n.nspname NOT IN ('pg_catalog', "
            "'information_schema') AND pg_catalog.pg_table_size(c.oid) >= {} ORDER BY "
            "pg_catalog.pg_table_size(c.oid) DESC LIMIT {}",
            wanted,
            kTableLeftOutBytesMin,
            kTablesLeftOutMax
        ),
        {},
        how
    );
    std::vector<std::string> tables;
    for (std::size_t i = 0; i < rows.row_count(); ++i) {
        tables.push_back(
            quote_identifier(rows.text(i, "nspname")) + "." +
            quote_identifier(rows.text(i, "relname"))
        );
    }
    return tables;
}

void dump(
    ScratchServer& server,
    const ClientTools& tools,
    const RestoreOptions& options,
    StreamSink& sink
) {
    BackupOptions how;
    how.stop = server.stop_token();
    if (!options.items.empty()) {
        how.without_rows_of = tables_without_use(server, options);
        how.large_objects = LargeObjects::kExclude;
    }
    if (options.progress) {
        how.progress = [&](const BackupProgress& progress) {
            options.progress({.step = "dump", .bytes_done = progress.bytes_done});
        };
    }
    SettingsRestorer corrected{sink, server.settings_role()};
    try {
        static_cast<void>(dump_database(
            server.connection(),
            options.source_database,
            tools,
            server.clock(),
            corrected,
            how
        ));
    } catch (const Error& error) {
        server.throw_cause_of(error);
        throw;
    }
}

}  // namespace

LogicalRestore restore_from_scratch(
    const ConnectionParameters& target,
    ScratchServer& server,
    const ClientTools& tools,
    const RestoreOptions& options
) {
    DirectoryStreams streams{server.directory().dump()};
    dump(server, tools, options, streams);
    return run_logical_restore(target, streams, tools, options);
}

}  // namespace holdfast::postgres
