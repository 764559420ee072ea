#include "base/text.h"
#include "postgres/cluster_check.h"
#include "postgres/scratch_fixture.h"

#include <array>
#include <fstream>
#include <iterator>
#include <thread>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

// A restored cluster whose owner means harm: what its configuration and its settings ask for is not
// done, and what its code does when it runs stays inside.

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using testing::PostgresServer;
using ::testing::HasSubstr;
using ::testing::Not;

void write_file(const fs::path& path, std::string_view text) {
    std::ofstream out{path, std::ios::binary | std::ios::trunc};
    out << text;
    ASSERT_TRUE(out.flush().good()) << path;
}

std::string read_text(const fs::path& path) {
    std::ifstream in{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
}

/// Something on this machine that the sandbox must not reach.
class Listener {
public:
    Listener() : tcp_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof(address);
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        EXPECT_EQ(::bind(tcp_.get(), generic, length), 0);
        EXPECT_EQ(::listen(tcp_.get(), 8), 0);
        EXPECT_EQ(::getsockname(tcp_.get(), generic, &length), 0);
        port_ = ntohs(address.sin_port);

        abstract_ = FileDescriptor{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        sockaddr_un name{};
        name.sun_family = AF_UNIX;
        abstract_name_ = fmt::format("holdfast-test-{}", ::getpid());
        std::copy(abstract_name_.begin(), abstract_name_.end(), name.sun_path + 1);
        const auto size =
            static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + abstract_name_.size());
        EXPECT_EQ(::bind(abstract_.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
        EXPECT_EQ(::listen(abstract_.get(), 8), 0);
    }
    [[nodiscard]] int port() const { return port_; }
    [[nodiscard]] const std::string& abstract_name() const { return abstract_name_; }
    [[nodiscard]] bool was_reached() const {
        std::array<pollfd, 2> polled{
            pollfd{tcp_.get(), POLLIN, 0}, pollfd{abstract_.get(), POLLIN, 0}
        };
        return ::poll(polled.data(), polled.size(), 0) > 0;
    }

private:
    FileDescriptor tcp_;
    FileDescriptor abstract_;
    int port_ = 0;
    std::string abstract_name_;
};

class ScratchHostileTest : public ScratchTest {
protected:
    void SetUp() override {
        ScratchTest::SetUp();
        fs::permissions(markers_.path(), fs::perms::all);
    }

    /// A shell script that tries the ways out and says of each that worked: `ESCAPED`. Its output
    /// goes to a file in the data directory.
    [[nodiscard]] std::string ways_out(const Listener& listener, const std::string& name) const {
        return fmt::format(
            "exec >/cluster/data/{name} 2>&1\n"
            "echo uid $(id -u)\n"
            "touch {markers}/escaped && echo ESCAPED markers\n"
            "ls {root} && echo ESCAPED scratch directory\n"
            "cat /etc/shadow && echo ESCAPED shadow\n"
            "for d in /home /root /var /srv /run /sys /proc/1 /opt /mnt; do ls $d && echo ESCAPED "
            "$d; done\n"
            "touch /usr/escaped && echo ESCAPED usr\n"
            "touch /escaped && echo ESCAPED root\n"
            "kill -0 {pid} && echo ESCAPED signal\n"
            "bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}' && echo ESCAPED tcp\n"
            "perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 0) and print \"ESCAPED inet\\n\"'\n"
            "perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, pack(\"S a*\", "
            "AF_UNIX, \"\\0{abstract}\")) and print \"ESCAPED abstract\\n\"'\n"
            "unshare --user true && echo ESCAPED user namespace\n"
            "mount -t tmpfs none /tmp && echo ESCAPED mount\n"
            "mknod /tmp/disk b 8 0 && echo ESCAPED device\n"
            "perl -e '$> = 0; print \"ESCAPED root uid\\n\" if $> == 0'\n"
            "ipcs -m -q -s 2>/dev/null | grep -q {pid} && echo ESCAPED ipc\n"
            "env | grep -v -e ^PWD -e ^PG -e ^LC_ -e ^TZ -e ^PATH -e ^OLDPWD -e ^_= -e ^SHLVL && "
            "echo ESCAPED environment\n"
            "echo tried\n",
            fmt::arg("name", name),
            fmt::arg("markers", markers_.path().string()),
            fmt::arg("root", root_.path().string()),
            fmt::arg("pid", ::getpid()),
            fmt::arg("port", listener.port()),
            fmt::arg("abstract", listener.abstract_name())
        );
    }
    [[nodiscard]] static std::string copy_program(const std::string& script) {
        // One that ends without having read the row would be an error of its own.
        const std::string whole = "cat >/dev/null\n" + script;
        return fmt::format("COPY (SELECT 1) TO PROGRAM {}", quote_literal("sh -c " + shell(whole)));
    }
    [[nodiscard]] static std::string shell(const std::string& text) {
        std::string quoted = "'";
        for (const char c : text) {
            quoted += c == '\'' ? std::string{"'\\''"} : std::string{c};
        }
        return quoted + "'";
    }

    /// A source with code that does harm as soon as it runs on a scratch server (wal_level tells),
    /// from an index's expression, an event trigger and, on 17, a login trigger.
    void poison(PostgresServer& source, const std::string& script) const {
        source.sql(
            "postgres",
            fmt::format(
                "CREATE FUNCTION harm() RETURNS void LANGUAGE plpgsql AS $harm$ BEGIN IF "
                "current_setting('wal_level') = 'minimal' THEN EXECUTE {}; END IF; END $harm$; "
                "CREATE FUNCTION mean(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN "
                "PERFORM public.harm(); RETURN i; END $$; CREATE TABLE bait AS SELECT 1 AS i; "
                "CREATE INDEX bait_mean ON bait (public.mean(i)); "
                "CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF "
                "current_setting('wal_level') = 'minimal' THEN RAISE EXCEPTION 'fired'; END IF; "
                "END $$; CREATE EVENT TRIGGER always ON ddl_command_start EXECUTE FUNCTION "
                "on_ddl(); ALTER EVENT TRIGGER always ENABLE ALWAYS",
                quote_literal(copy_program(script))
            )
        );
        // A session that followed one of these would not come up.
        source.sql(
            "postgres",
            "ALTER ROLE ALL SET search_path TO nowhere; ALTER ROLE ALL SET "
            "default_transaction_read_only TO on; ALTER DATABASE postgres SET "
            "session_preload_libraries TO 'no_such_library'; ALTER DATABASE template1 SET "
            "session_preload_libraries TO 'no_such_library'"
        );
    }

    /// Configuration as an owner may leave it.
    void poison_files(const ScratchDirectory& directory) const {
        const std::string touch = fmt::format("touch {}/", markers_.path().string());
        const std::string conf = fmt::format(
            "archive_mode = always\narchive_command = '{0}archive'\nrestore_command = '{0}restore'\n"
            "archive_cleanup_command = '{0}cleanup'\nrecovery_end_command = '{0}end'\n"
            "shared_preload_libraries = 'no_such_library'\nssl_passphrase_command = '{0}ssl'\n"
            "listen_addresses = '*'\nunix_socket_directories = '{1}'\nlogging_collector = on\n"
            "log_directory = '{1}'\nhba_file = '/etc/hba'\ndata_directory = '/etc'\n"
            "include = '/etc/passwd'\nmax_prepared_transactions = 99999999\n",
            touch,
            markers_.path().string()
        );
        write_file(directory.data() / "postgresql.auto.conf", conf);
        write_file(directory.data() / "recovery.signal", "");
        write_file(directory.data() / "pg_hba.conf", "local all all reject\n");
        fs::create_directories(directory.data() / "pg_replslot" / "logical");
        write_file(directory.data() / "pg_replslot" / "logical" / "state", "nonsense");
        // What we write must not be written through a link.
        fs::remove(directory.data() / "postgresql.conf");
        write_file(markers_.path() / "victim", "untouched");
        fs::create_symlink(markers_.path() / "victim", directory.data() / "postgresql.conf");
        fs::remove(directory.data() / "pg_ident.conf");
        fs::create_directories(directory.data() / "pg_ident.conf" / "is a directory");
    }

    void expect_nothing_outside() const {
        std::vector<std::string> found;
        for (const fs::directory_entry& entry : fs::directory_iterator{markers_.path()}) {
            found.push_back(entry.path().filename().string());
        }
        EXPECT_EQ(found, (std::vector<std::string>{"victim"}));
        EXPECT_EQ(read_text(markers_.path() / "victim"), "untouched");
    }

    TemporaryDirectory markers_{"hf-markers"};
};

TEST_F(ScratchHostileTest, NothingOfItRunsBeforeItIsAskedToAndNothingGetsOut) {
    const Listener listener;
    PostgresServer source{source_options()};
    poison(source, ways_out(listener, "tried-by-amcheck"));
    const auto directory = restore(source);
    poison_files(*directory);
    const auto server = start(*directory);

    EXPECT_EQ(ask(*server, "SELECT pg_catalog.current_setting('session_preload_libraries')"), "");
    EXPECT_EQ(ask(*server, "SELECT pg_catalog.current_setting('listen_addresses')"), "");
    EXPECT_EQ(ask(*server, "SELECT pg_catalog.current_setting('archive_mode')"), "off");
    EXPECT_EQ(
        ask(*server, "SELECT pg_catalog.current_setting('default_transaction_read_only')"), "off"
    );
    EXPECT_TRUE(fs::exists(directory->private_directory() / ".s.PGSQL.5432"));
    EXPECT_FALSE(fs::exists(directory->socket() / ".s.PGSQL.5432"));

    {
        Connection session = Connection::open(server->connection());
        static_cast<void>(session.execute(copy_program(ways_out(listener, "tried"))));
    }
    const std::string tried = read_text(directory->data() / "tried");
    EXPECT_THAT(tried, HasSubstr(fmt::format("uid {}\n", server->sandbox().uid())));
    EXPECT_THAT(tried, HasSubstr("tried\n"));
    EXPECT_THAT(tried, Not(HasSubstr("ESCAPED")));
    if (::geteuid() == 0) {
        EXPECT_NE(server->sandbox().uid(), 0U);
    }

    // amcheck evaluates the index's expression: the owner's code runs, inside.
    ClusterCheckOptions options;
    options.heap_all_indexed = HeapAllIndexed::kYes;
    const ClusterCheck check = check_cluster(*server, options);
    EXPECT_TRUE(check.passed()) << to_json(check).dump(2);
    const std::string by_amcheck = read_text(directory->data() / "tried-by-amcheck");
    EXPECT_THAT(by_amcheck, HasSubstr("tried\n"));
    EXPECT_THAT(by_amcheck, Not(HasSubstr("ESCAPED")));

    EXPECT_FALSE(listener.was_reached());
    expect_nothing_outside();
}

/// Runs a script in the scratch server until a limit ends it.
class ScratchLimitTest : public ScratchHostileTest {
protected:
    [[nodiscard]] Error ended_by(const SandboxLimits& limits, const std::string& script) {
        PostgresServer& source = PostgresServer::shared();
        if (!allowed_) {
            source.set_hba("local all all trust\nlocal replication all trust\n");
            allowed_ = true;
        }
        const auto directory = restore(source);
        ScratchServerOptions options;
        options.sandbox.limits = limits;
        const auto server = start(*directory, options);
        return error_of([&] {
            try {
                Connection session = Connection::open(server->connection());
                static_cast<void>(session.execute(
                    copy_program(script),
                    {.stop = server->stop_token(), .timeout = std::chrono::minutes{2}}
                ));
            } catch (const Error& error) {
                server->throw_cause_of(error);
                throw;
            }
        });
    }
    static inline bool allowed_ = false;
};

TEST_F(ScratchLimitTest, TheDiskIsNotFilled) {
    SandboxLimits limits;
    limits.disk_bytes = 64 * kMiB;
    const Error named = ended_by(limits, "while cat /dev/zero; do :; done >/cluster/data/fill");
    EXPECT_EQ(named.kind(), ErrorKind::kScratchLimitExceeded) << named.what();
    EXPECT_EQ(named.text().target, "disk");
    const Error nameless =
        ended_by(limits, "exec >/cluster/data/fill; rm /cluster/data/fill; cat /dev/zero");
    EXPECT_EQ(nameless.kind(), ErrorKind::kScratchLimitExceeded) << nameless.what();
    EXPECT_EQ(nameless.text().target, "disk");
}

TEST_F(ScratchLimitTest, MemoryAndProcessesAreBounded) {
    SandboxLimits limits;
    limits.memory_bytes = 512 * kMiB;
    // Each stays below the limit of one process.
    const Error memory = ended_by(
        limits,
        "for i in 1 2 3 4; do perl -e '$x = \"x\" x (200 << 20); sleep 100' & done; wait"
    );
    EXPECT_EQ(memory.kind(), ErrorKind::kScratchLimitExceeded) << memory.what();
    EXPECT_EQ(memory.text().target, "memory");

    limits = {};
    limits.processes = 40;
    const Error processes = ended_by(limits, "for i in $(seq 60); do sleep 100 & done; exit 0");
    EXPECT_EQ(processes.kind(), ErrorKind::kPostgresQuery) << processes.what();
}

TEST_F(ScratchLimitTest, TimeIsBounded) {
    SandboxLimits limits;
    limits.time = std::chrono::seconds{8};
    const Error time = ended_by(limits, "sleep 1000");
    EXPECT_EQ(time.kind(), ErrorKind::kScratchLimitExceeded) << time.what();
    EXPECT_EQ(time.text().target, "time");
}

TEST_F(ScratchLimitTest, KillingEverybodyKillsNobodyOutside) {
    const Error error = ended_by({}, "kill -9 -1");
    EXPECT_EQ(error.kind(), ErrorKind::kScratchServerFailed) << error.what();
}

/// A service that is not root: this program again, as another user.
TEST_F(ScratchHostileTest, WithoutRootItHoldsAsWell) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "That is what the others have shown.";
    }
    const passwd* user = ::getpwnam("postgres");
    ASSERT_NE(user, nullptr);
    const TemporaryDirectory home{"hf-other"};
    ASSERT_EQ(::chown(home.path().c_str(), user->pw_uid, user->pw_gid), 0);
    const fs::path program = home.path() / "test";
    fs::copy_file("/proc/self/exe", program);
    fs::permissions(program, fs::perms::owner_all | fs::perms::group_all | fs::perms::others_exec);
    ASSERT_EQ(::chown(program.c_str(), user->pw_uid, user->pw_gid), 0);
    ProcessSpec spec;
    spec.program = "/usr/bin/setpriv";
    spec.arguments = {
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
        program.string(),
        "--gtest_filter=ScratchHostileTest.Nothing*:ScratchLimitTest.Killing*"
    };
    spec.environment = {
        {"TMPDIR", home.path().string()}, {"LC_ALL", "C.UTF-8"}, {"PATH", "/usr/bin:/bin"}
    };
    const RunResult result = run_process(spec, kMiB, {});
    if (result.output.find("SKIPPED") != std::string::npos) {
        GTEST_SKIP() << result.output;
    }
    EXPECT_TRUE(result.status.ok()) << result.output;
    EXPECT_THAT(result.output, HasSubstr("[  PASSED  ] 2 tests."));
}

}  // namespace
}  // namespace holdfast::postgres
