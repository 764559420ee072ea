#include "postgres/logical_restore.h"

#include "base/log.h"
#include "base/process.h"
#include "base/text.h"
#include "base/threads.h"
#include "postgres/restore_checks.h"
#include "postgres/restore_plan.h"
#include "postgres/streams.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

namespace holdfast::postgres {
namespace {

/// The number under which a pg_restore finds its table of contents; 3 and 4 are ToolConnection's.
constexpr int kArchiveNumber = 5;

/// Calls the user's function at most every 100 ms, one thread at a time.
class ProgressMeter {
public:
    ProgressMeter(const RestoreOptions& options, std::uint64_t total) : options_{options} {
        state_.bytes_total = total;
    }
    void begin_step(std::string step) {
        const std::lock_guard lock{mutex_};
        state_.step = std::move(step);
        report();
    }
    void add(std::size_t bytes) {
        const std::lock_guard lock{mutex_};
        state_.bytes_done += bytes;
        constexpr std::chrono::milliseconds kInterval{100};
        const SteadyInstant now = clock_.steady_now();
        if (now - last_ >= kInterval) {
            last_ = now;
            report();
        }
    }
    [[nodiscard]] std::uint64_t bytes_done() {
        const std::lock_guard lock{mutex_};
        return state_.bytes_done;
    }

private:
    void report() const {
        if (options_.progress) {
            options_.progress(state_);
        }
    }
    const RestoreOptions& options_;
    SystemClock clock_;
    std::mutex mutex_;
    RestoreProgress state_;
    SteadyInstant last_{};
};

/// A composed archive on its way into a memory file.
class DescriptorSink final : public ByteSink {
public:
    explicit DescriptorSink(int fd) : fd_{fd} {}
    void write(ByteSpan bytes) override { write_all(fd_, bytes, "a table of contents in memory"); }

private:
    int fd_;
};

/// Thrown through the composer when pg_restore has closed its input: it knows why, the composer
/// does not.
struct InputClosed {};

class ProcessSink final : public ByteSink {
public:
    ProcessSink(Process& process, ProgressMeter& meter, std::stop_token stop)
        : process_{process}, meter_{meter}, stop_{std::move(stop)} {}
    void write(ByteSpan bytes) override {
        if (process_.write_input(bytes, stop_) == Process::WriteOutcome::kClosed) {
            throw InputClosed{};
        }
        meter_.add(bytes.size());
    }

private:
    Process& process_;
    ProgressMeter& meter_;
    std::stop_token stop_;
};

/// pg_restore with what all its runs have in common.
class PgRestore {
public:
    PgRestore(
        const ConnectionParameters& database,
        const ToolSet& tools,
        const RestoreOptions& options,
        ProgressMeter& meter
    )
        : database_{database},
          tools_{tools},
          options_{options},
          meter_{meter},
          tool_connection_{database} {}

    struct Section {
        std::string name;  ///< `pre-data`, `post-data`; empty: all.
        std::vector<std::string> arguments = {};
    };

    /// From a memory file that holds a table of contents.
    void run(const Section& section, const FileDescriptor& archive, const std::stop_token& stop)
        const {
        ProcessSpec spec = make_spec(section);
        spec.arguments.push_back(fmt::format("/proc/self/fd/{}", kArchiveNumber));
        spec.files.push_back({.source = archive.get(), .number = kArchiveNumber});
        Process process = Process::start(spec);
        finish(process, stop);
    }

    /// From its standard input, which `feed` writes.
    void run_fed(
        const Section& section,
        const std::function<void(ByteSink&)>& feed,
        const std::stop_token& stop
    ) const {
        ProcessSpec spec = make_spec(section);
        spec.input = ChildStream::kPipe;
        Process process = Process::start(spec);
        ProcessSink sink{process, meter_, stop};
        try {
            feed(sink);
        } catch (const InputClosed&) {
            process.close_input();
            finish(process, stop);
            throw Error{
                ErrorKind::kRestoreFailed, "pg_restore ended before all data was restored."
            };
        }
        process.close_input();
        finish(process, stop);
    }

private:
    [[nodiscard]] ProcessSpec make_spec(const Section& section) const {
        ProcessSpec spec;
        spec.program = tools_.program("pg_restore");
        spec.arguments = {"--exit-on-error", "--format=custom"};
        if (!section.name.empty()) {
            spec.arguments.push_back("--section=" + section.name);
        }
        spec.arguments.insert(
            spec.arguments.end(), section.arguments.begin(), section.arguments.end()
        );
        if (options_.ownership == Ownership::kSkip) {
            spec.arguments.insert(spec.arguments.end(), {"--no-owner", "--no-acl"});
        }
        if (options_.tablespaces == Tablespaces::kSkip) {
            spec.arguments.emplace_back("--no-tablespaces");
        }
        tool_connection_.apply(spec);
        return spec;
    }

    void finish(Process& process, const std::stop_token& stop) const {
        const ExitStatus status = process.wait(stop);
        if (stop.stop_requested() && !status.ok()) {
            throw Error{ErrorKind::kCancelled, "The restore was stopped by request."};
        }
        if (!status.ok()) {
            throw tool_error(
                {"pg_restore", process.standard_error(), status},
                ErrorKind::kRestoreFailed,
                database_
            );
        }
    }

    const ConnectionParameters& database_;
    const ToolSet& tools_;
    const RestoreOptions& options_;
    ProgressMeter& meter_;
    ToolConnection tool_connection_;
};

/// Runs tasks on threads of their own. The first failure stops the others and is thrown when all
/// have ended.
class Crew {
public:
    explicit Crew(const std::stop_token& outer)
        : forward_{outer, [this] { stop_.request_stop(); }} {}

    void start(std::function<void(const std::stop_token&)> task) {
        threads_.emplace_back([this, task = std::move(task)] {
            name_this_thread("pg_restore");
            const auto fail = [this](const Error& error) {
                const std::lock_guard lock{mutex_};
                if (!failure_) {
                    failure_ = error;
                }
                stop_.request_stop();
            };
            run_boundary([&] { task(stop_.get_token()); }, fail);
        });
    }
    void join() {
        threads_.clear();
        if (failure_) {
            throw Error{*failure_};
        }
    }

private:
    std::stop_source stop_;
    std::stop_callback<std::function<void()>> forward_;
    std::mutex mutex_;
    std::optional<Error> failure_;
    std::vector<std::jthread> threads_;  // Last: joined before the others are destroyed.
};

/// One restore on its way: what was made is remembered, so that it can be taken away again.
class Restore {
public:
    Restore(
        const ConnectionParameters& target,
        const StreamSource& source,
        const ToolSet& tools,
        const RestorePlan& plan,
        const RestoreOptions& options
    )
        : target_{target},
          database_{target.with_database(options.target_database)},
          tools_{tools},
          source_{source},
          plan_{plan},
          options_{options},
          meter_{options, plan.data_bytes()} {}

    LogicalRestore run(Connection& maintenance) {
        if (plan_.creates_database()) {
            create_database(maintenance);
        } else {
            result_.database_oid = plan_.target().database->oid;
        }
        pg_restore_.emplace(database_, tools_, options_, meter_);
        if (plan_.composer() != nullptr) {
            restore_pre_data();
            restore_data();
            restore_post_data();
        } else {
            restore_whole_archive();
        }
        // Before the properties: a read-only database or one without free connections can't be
        // analyzed.
        if (options_.analyze == Analyze::kYes) {
            analyze();
        }
        if (plan_.creates_database()) {
            make_durable(maintenance);
            set_properties(maintenance);
        }
        result_.database = options_.target_database;
        result_.bytes = meter_.bytes_done();
        return std::move(result_);
    }

    [[nodiscard]] const std::vector<std::string>& done() const noexcept { return result_.done; }

    /// Drops what was made; returns what happened, in words. Never throws: the failure before it is
    /// what matters.
    std::vector<std::string> undo() noexcept {
        std::vector<std::string> report;
        const auto left_behind = [&](const Error& error) {
            log_warning("a failed restore could not be cleaned up", {{"error", error.log_line()}});
            report.push_back(fmt::format(
                "{} could not be cleaned up: {}",
                quote_identifier(options_.target_database),
                error.what()
            ));
        };
        run_boundary(
            [&] {
                if (result_.database_created) {
                    drop_database(report);
                } else if (!made_.empty()) {
                    drop_objects(report);
                }
            },
            left_behind
        );
        return report;
    }

private:
    struct MadeObject {
        PlannedObject object;
        std::uint32_t oid = 0;
    };

    void create_database(Connection& maintenance) {
        meter_.begin_step("create");
        const std::string& name = options_.target_database;
        const std::string sql = create_database_sql(
            plan_.settings(), {name, plan_.target().server_major}, options_.tablespaces
        );
        constexpr std::chrono::minutes kPatience{10};
        static_cast<void>(maintenance.execute(sql, {.stop = options_.stop, .timeout = kPatience}));
        const auto made = read_database_info(maintenance, name);
        if (!made) {
            throw Error{
                ErrorKind::kRestoreFailed,
                fmt::format("Database {} was dropped by somebody else.", quote_identifier(name))
            };
        }
        result_.database_created = true;
        result_.database_oid = made->oid;
        result_.done.push_back(
            fmt::format("created database {} (OID {})", quote_identifier(name), made->oid)
        );
        spare_syncs();
    }

    /// Nobody misses a database that is lost half-restored, so its sessions need not wait for the
    /// disk at every statement; make_durable() does so once. Not through a pooler that refuses
    /// session options.
    void spare_syncs() {
        ConnectionParameters spared = database_.clone();
        spared.options = "-c synchronous_commit=off";
        const bool accepted = run_boundary(
            [&] {
                [[maybe_unused]] const Connection probe = Connection::open(spared, options_.stop);
            },
            [](const Error&) {}
        );
        if (accepted) {
            database_ = std::move(spared);
        }
    }

    /// A commit that waits for the disk takes all earlier ones with it.
    void make_durable(Connection& maintenance) {
        static_cast<void>(maintenance.execute(
            fmt::format(
                "ALTER DATABASE {} WITH CONNECTION LIMIT {}",
                quote_identifier(options_.target_database),
                plan_.whole_database() ? plan_.settings().connection_limit : -1
            ),
            {.stop = options_.stop}
        ));
    }

    [[nodiscard]] FileDescriptor table_of_contents(ComposeShape shape) const {
        FileDescriptor file = make_memory_file("holdfast-toc", {});
        DescriptorSink sink{file.get()};
        plan_.composer()->compose(plan_.compose_plan(shape), sink);
        return file;
    }

    void restore_pre_data() {
        meter_.begin_step("pre-data");
        const FileDescriptor toc = table_of_contents(ComposeShape::kPreData);
        if (plan_.creates_database()) {
            make_schemas();
            pg_restore_->run({"pre-data"}, toc, options_.stop);
        } else {
            // Others use this database: all of it appears at once or not at all, and from here on
            // it can be told what is ours.
            make_schemas();
            pg_restore_->run({"pre-data", {"--single-transaction"}}, toc, options_.stop);
            remember_objects();
        }
        result_.done.emplace_back("restored definitions");
        result_.done.insert(result_.done.end(), plan_.notes().begin(), plan_.notes().end());
    }

    /// Schemas that items are moved into; the archive's own come with pre-data.
    void make_schemas() {
        if (plan_.new_schemas().empty()) {
            return;
        }
        Connection session = Connection::open(database_, options_.stop);
        for (const std::string& name : plan_.new_schemas()) {
            const PlannedObject schema{"SCHEMA", quote_identifier(name)};
            static_cast<void>(session.execute("CREATE SCHEMA " + schema.reference));
            if (const auto oid = object_oid(session, schema)) {
                made_.push_back({schema, *oid});
            }
            result_.done.push_back("created schema " + schema.reference);
        }
    }

    void remember_objects() {
        Connection session = Connection::open(database_);
        for (const PlannedObject& object : plan_.objects()) {
            if (const auto oid = object_oid(session, object)) {
                made_.push_back({object, *oid});
            }
        }
    }

    void restore_data() {
        meter_.begin_step("data");
        Crew crew{options_.stop};
        for (RestoreShare& share : plan_.shares()) {
            ComposePlan part = plan_.compose_plan(ComposeShape::kPipe);
            part.entries = std::move(share.entries);
            crew.start([this, part = std::move(part)](const std::stop_token& stop) {
                pg_restore_->run_fed(
                    {"data"}, [&](ByteSink& sink) { plan_.composer()->compose(part, sink); }, stop
                );
            });
        }
        crew.join();
        result_.done.push_back(fmt::format("restored the data of {} tables", plan_.table_count()));
    }

    void restore_post_data() {
        meter_.begin_step("post-data");
        const FileDescriptor toc = table_of_contents(ComposeShape::kPostData);
        const std::size_t workers = std::max<std::size_t>(options_.workers, 1);
        pg_restore_->run({"post-data", {fmt::format("--jobs={}", workers)}}, toc, options_.stop);
        result_.done.emplace_back("restored indexes, constraints and triggers");
    }

    void restore_whole_archive() {
        meter_.begin_step("data");
        const std::unique_ptr<StreamReader> reader = source_.open(plan_.archive_stream());
        const auto feed = [&](ByteSink& sink) {
            Bytes buffer(kMiB);
            while (const std::size_t count = reader->read(buffer)) {
                sink.write(ByteSpan{buffer}.first(count));
            }
        };
        pg_restore_->run_fed({""}, feed, options_.stop);
        result_.done.emplace_back("restored the archive");
    }

    void set_properties(Connection& maintenance) {
        meter_.begin_step("properties");
        // A database made for single items is the restorer's own.
        if (!plan_.whole_database()) {
            return;
        }
        for (const std::string& sql :
             database_settings_sql(plan_.settings(), options_.target_database)) {
            // Settings of roles that may not exist go with the grants.
            const bool of_role = sql.starts_with("ALTER ROLE ");
            if (!of_role || options_.ownership == Ownership::kRestore) {
                apply_setting(maintenance, sql);
            }
        }
        if (options_.ownership == Ownership::kRestore) {
            for (const std::string& sql :
                 database_ownership_sql(plan_.settings(), options_.target_database)) {
                static_cast<void>(maintenance.execute(sql, {.stop = options_.stop}));
            }
        }
        result_.done.emplace_back("restored owner, grants and settings of the database");
    }

    /// A setting that this role may not make, or that the target's version no longer knows, is no
    /// reason to drop the data.
    void apply_setting(Connection& maintenance, const std::string& sql) {
        try {
            static_cast<void>(maintenance.execute(sql, {.stop = options_.stop}));
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::kPostgresQuery &&
                error.kind() != ErrorKind::kMissingDatabasePermissions) {
                throw;
            }
            result_.warnings.push_back(fmt::format("Not restored: {} ({})", sql, error.what()));
        }
    }

    void analyze() {
        meter_.begin_step("analyze");
        constexpr std::chrono::hours kPatience{24};
        Connection session = Connection::open(database_, options_.stop);
        static_cast<void>(session.execute("ANALYZE", {.stop = options_.stop, .timeout = kPatience})
        );
        result_.done.emplace_back("gathered statistics");
    }

    void drop_database(std::vector<std::string>& report) {
        Connection maintenance = Connection::open(target_);
        const std::string name = quote_identifier(options_.target_database);
        const auto present = read_database_info(maintenance, options_.target_database);
        if (!present || present->oid != result_.database_oid) {
            report.push_back(
                fmt::format("database {} is no longer the one this restore made: left alone", name)
            );
            return;
        }
        constexpr std::chrono::minutes kPatience{10};
        static_cast<void>(maintenance.execute(
            fmt::format("DROP DATABASE {} WITH (FORCE)", name), {.timeout = kPatience}
        ));
        report.push_back(fmt::format("dropped database {} again", name));
    }

    /// In one transaction and without CASCADE: when somebody has built on it meanwhile, all stays.
    /// What depends on what is the server's to say, so whatever can't go yet is tried again after
    /// the others.
    void drop_objects(std::vector<std::string>& report) {
        Connection session = Connection::open(database_);
        static_cast<void>(session.execute("BEGIN"));
        std::vector<MadeObject> left{made_.rbegin(), made_.rend()};
        const std::size_t total = left.size();
        std::size_t before = 0;
        do {
            before = left.size();
            std::erase_if(left, [&](const MadeObject& made) { return drop_object(session, made); });
        } while (!left.empty() && left.size() < before);
        if (!left.empty()) {
            static_cast<void>(session.execute("ROLLBACK"));
            report.push_back(fmt::format(
                "what was made is left in database {}: something else depends on {} {} by now",
                quote_identifier(options_.target_database),
                left.front().object.desc,
                left.front().object.reference
            ));
            return;
        }
        static_cast<void>(session.execute("COMMIT"));
        report.push_back(fmt::format("dropped {} objects again", total));
    }

    /// True when it is gone.
    static bool drop_object(Connection& session, const MadeObject& made) {
        // A sequence goes with the table that owns it; a name may be another object's by now.
        if (object_oid(session, made.object) != made.oid) {
            return true;
        }
        static_cast<void>(session.execute("SAVEPOINT before_drop"));
        try {
            static_cast<void>(
                session.execute(fmt::format("DROP {} {}", made.object.desc, made.object.reference))
            );
            return true;
        } catch (const Error& error) {
            constexpr std::string_view kDependentObjectsStillExist = "2BP01";
            const auto state = error.text().properties.find("sqlstate");
            if (state == error.text().properties.end() ||
                state->second != kDependentObjectsStillExist) {
                throw;
            }
            static_cast<void>(session.execute("ROLLBACK TO before_drop"));
            return false;
        }
    }

    const ConnectionParameters& target_;
    ConnectionParameters database_;
    const ToolSet& tools_;
    const StreamSource& source_;
    const RestorePlan& plan_;
    const RestoreOptions& options_;
    ProgressMeter meter_;
    std::optional<PgRestore> pg_restore_;
    std::vector<MadeObject> made_;
    LogicalRestore result_;
};

/// The same error, with what had been done and what became of it.
Error with_history(
    const Error& error, const std::vector<std::string>& done, const std::vector<std::string>& undone
) {
    ErrorText text = error.text();
    for (const std::string& step : done) {
        text.details.push_back({.code = "Done", .message = step, .target = {}});
    }
    for (const std::string& step : undone) {
        text.details.push_back({.code = "Undone", .message = step, .target = {}});
    }
    text.message +=
        done.empty() ? " Nothing was changed." : fmt::format(" Done before: {}.", join(done, "; "));
    if (!undone.empty()) {
        text.message += fmt::format(" Then: {}.", join(undone, "; "));
    }
    // Refused statements and lost rights in the middle of a restore are a failed restore to the
    // user.
    const bool precise = error.kind() != ErrorKind::kPostgresQuery;
    return Error{
        precise ? error.kind() : ErrorKind::kRestoreFailed, std::move(text), error.where()
    };
}

}  // namespace

std::vector<std::string> databases_in(const StreamSource& source) {
    constexpr std::string_view kPrefix = "databases/";
    constexpr std::string_view kSuffix = "/settings.json";
    std::vector<std::string> names;
    source.list(kPrefix, [&](const StreamInfo& stream) {
        const std::string& name = stream.spec.name;
        if (name.ends_with(kSuffix) && stream.spec.kind == StreamKind::kSettings) {
            names.push_back(percent_decode(
                name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size())
            ));
        }
    });
    std::sort(names.begin(), names.end());
    return names;
}

RestoreCheck check_restore(
    const ConnectionParameters& target,
    const StreamSource& source,
    const ClientTools& tools,
    const RestoreOptions& options
) {
    Connection maintenance = Connection::open(target, options.stop);
    const RestorePlan plan{
        source, options, read_target(maintenance, target, options.target_database, options.stop)
    };
    RestoreCheck check = check_plan(maintenance, plan, options);
    static_cast<void>(tools.at_least(plan.tool_major()));
    return check;
}

LogicalRestore run_logical_restore(
    const ConnectionParameters& target,
    const StreamSource& source,
    const ClientTools& tools,
    const RestoreOptions& options
) {
    Connection maintenance = Connection::open(target, options.stop);
    const RestorePlan plan{
        source, options, read_target(maintenance, target, options.target_database, options.stop)
    };
    const RestoreCheck check = check_plan(maintenance, plan, options);
    check.throw_if_failed();
    Restore restore{target, source, tools.at_least(plan.tool_major()), plan, options};
    try {
        LogicalRestore result = restore.run(maintenance);
        result.warnings.insert(
            result.warnings.begin(), check.warnings.begin(), check.warnings.end()
        );
        return result;
    } catch (const Error& error) {
        const std::vector<std::string> undone = restore.undo();
        throw with_history(error, restore.done(), undone);
    }
}

}  // namespace holdfast::postgres
