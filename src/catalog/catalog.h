#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "catalog/records.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace holdfast::catalog {

/// A column that only one table has.
struct ExtraColumn {
    std::string_view name;
    std::variant<std::string, std::int64_t> value;
};

/// A record as the database sees it: a document, its key and the columns that queries may use.
struct Row {
    std::string key;      ///< Lower case.
    std::string parent;   ///< Lower case; what the record belongs to.
    std::string subject;  ///< Lower case; what the record is about.
    std::string state;
    std::int64_t at = 0;  ///< Microseconds since 1970; what listings are ordered by.
    std::string document;
    std::vector<ExtraColumn> extra = {};
};

/// Where a record stands in a listing, so that the next page begins behind it whatever came or went
/// meanwhile.
struct Place {
    std::int64_t at = 0;
    std::string key;  ///< Lower case.
};

/// A condition on a column that only jobs have; for queries of jobs alone.
struct JobCondition {
    enum class Column {
        kActivity,  ///< job_activity()
        kDatasource,
        kDatasourceType,
        kStarted,  ///< What the wire calls startTime.
        kEnded,
    };
    Column column = Column::kActivity;
    std::vector<std::string> any_of = {};     ///< For the texts: any of these, without case.
    std::optional<Instant> later_than = {};   ///< For the times; a job without one never matches.
    std::optional<Instant> sooner_than = {};  ///< Likewise.
};

enum class Order { kOldestFirst, kNewestFirst };

/// All given conditions must hold. Text is compared without case.
struct Query {
    std::optional<std::string> parent = {};
    std::optional<std::string> parent_prefix = {};         ///< E.g. all below one subscription.
    std::optional<std::vector<std::string>> parents = {};  ///< Any of these; none when empty.
    std::optional<std::string> subject = {};
    std::vector<std::string> states = {};  ///< Any of these; empty = all.
    std::optional<Instant> from = {};      ///< Inclusive.
    std::optional<Instant> until = {};     ///< Exclusive.
    std::vector<JobCondition> job_conditions = {};
    Order order = Order::kOldestFirst;  ///< By `at`, then key.
    std::optional<Place> after = {};    ///< Only what comes behind this, in that order.
    std::int64_t limit = -1;            ///< Negative = no limit.
    std::int64_t offset = 0;
};

/// Which table a record lives in and what its query columns are; specialised in catalog_traits.h
/// for every record.
///
/// | record            | key            | parent          | subject       | state        | at |
/// |---|---|---|---|---|---|
/// | Subscription      | id             | -               | -             | -            |
/// created_at   | | ResourceGroup     | id             | subscription    | -             | - |
/// created_at   | | Server            | id             | group id        | -             | - |
/// created_at   | | Vault             | id             | group id        | repository id |
/// provisioning | created_at   | | Policy            | id             | vault id        | - | - |
/// created_at   | | Instance          | id             | vault id        | datasource id | state |
/// created_at   | | Job               | id             | vault id        | instance id   | status
/// | created_at   | | Point             | id             | instance id     | vault id      | state
/// | time         | | Operation         | id             | resource id     | fingerprint   | status
/// | started_at   | | Secret            | store/name/ver | store/name      | store         | - |
/// created_at   | | Principal         | id             | -               | resource id   | kind |
/// created_at   | | Token             | id             | principal       | -             | - |
/// created_at   | | RoleAssignment    | id             | scope           | principal     | - |
/// created_at   | | ResourceGuard     | id             | group id        | -             | - |
/// created_at   | | GuardProxy        | id             | vault id        | guard id      | - |
/// created_at   | | GuardRequest      | id             | guard id        | requester     | status |
/// created_at   | | PolicyVersion     | policy/version | policy id       | -             | - |
/// created_at   |
template <typename Record>
struct RecordTraits;

/// A consistent view: nothing changes while it is used.
class View {
public:
    virtual ~View() = default;

    template <typename Record>
    [[nodiscard]] std::optional<Record> get(std::string_view key) const;
    template <typename Record>
    [[nodiscard]] std::vector<Record> list(const Query& query = {}) const;
    template <typename Record>
    [[nodiscard]] std::int64_t count(const Query& query = {}) const;
    /// Visits without holding all records in memory; returning false ends it.
    template <typename Record>
    void each(const Query& query, const std::function<bool(const Record&)>& visitor) const;

    /// Newest first, at most `limit`, below `before` when given.
    [[nodiscard]] virtual std::vector<AuditRecord> audit(
        std::optional<std::int64_t> before, std::int64_t limit
    ) const = 0;
    /// Oldest first, at most `limit`, above `after`.
    [[nodiscard]] virtual std::vector<AuditRecord> audit_after(
        std::int64_t after, std::int64_t limit
    ) const = 0;

    /// Small facts of the service itself ("highest_time_seen"); no secrets.
    [[nodiscard]] virtual std::optional<std::string> setting(std::string_view name) const = 0;

protected:
    [[nodiscard]] virtual std::optional<std::string> get_document(
        std::string_view table, std::string_view key
    ) const = 0;
    virtual void visit_documents(
        std::string_view table,
        const Query& query,
        const std::function<bool(const std::string& document)>& visitor
    ) const = 0;
    [[nodiscard]] virtual std::int64_t count_documents(std::string_view table, const Query& query)
        const = 0;
};

/// The one open write transaction: sees its own writes; others see them all or none.
class Transaction : public View {
public:
    /// Inserts or replaces; sets `etag` (new at every put) and `modified_at` where the record has
    /// them.
    template <typename Record>
    void put(Record& record);
    /// Returns false when there was no such record.
    template <typename Record>
    bool remove(std::string_view key);

    /// Appends to the audit trail; the sequence and the hash are given by the catalog.
    virtual std::int64_t append_audit(const AuditRecord& record) = 0;
    virtual void set_setting(std::string_view name, std::string_view value) = 0;
    [[nodiscard]] virtual Instant now() const = 0;

protected:
    virtual void put_row(std::string_view table, const Row& row) = 0;
    virtual bool remove_row(std::string_view table, std::string_view key) = 0;
};

/// The transactional database of resources, jobs, points and identities. Rebuildable from the
/// repositories.
///
/// Threads: any. Readers never wait for the writer; writers queue for each other.
/// Durability: when write() returned, the changes survive power loss (SQLite: WAL with
/// synchronous=FULL). Throws: kCatalogUnavailable (busy, I/O), kStoreFull, kCatalogNewer (a newer
/// version of Holdfast wrote it).
class Catalog {
public:
    virtual ~Catalog() = default;

    /// Runs `body` in a write transaction: committed when it returns, undone when it throws. Keep
    /// it short: no network, no repository I/O inside. Not re-entrant.
    virtual void write(const std::function<void(Transaction&)>& body) = 0;
    virtual void read(const std::function<void(const View&)>& body) const = 0;

    template <typename Record>
    [[nodiscard]] std::optional<Record> get(std::string_view key) const {
        std::optional<Record> found;
        read([&](const View& view) { found = view.get<Record>(key); });
        return found;
    }
    template <typename Record>
    [[nodiscard]] std::vector<Record> list(const Query& query = {}) const {
        std::vector<Record> found;
        read([&](const View& view) { found = view.list<Record>(query); });
        return found;
    }

    /// Called after every committed transaction that changed resources (not jobs, operations or
    /// audit), from the committing thread: for debounced snapshots into the repositories. Set once,
    /// before use.
    virtual void on_resources_changed(std::function<void()> callback) = 0;

    /// Everything needed to rebuild the control plane, as one JSON document: all records but jobs,
    /// operations and audit. Sealed secret values stay sealed.
    [[nodiscard]] virtual Json export_resources() const = 0;
    /// Puts the records of an exported document; existing ones of the same key are replaced.
    virtual void import_resources(const Json& exported) = 0;
};

/// Opens `path`, creating it (mode 0600) and bringing its schema up to date. ":memory:" for tests.
[[nodiscard]] std::unique_ptr<Catalog> open_sqlite_catalog(
    const std::filesystem::path& path, Clock& clock
);

}  // namespace holdfast::catalog

#include "catalog/catalog_traits.h"  // IWYU pragma: export
