#include "control/server.h"

#include "base/log.h"
#include "control/testing/https_client.h"
#include "jobs/rebuild.h"
#include "vault/object_store/local_store.h"
#include "vault/vault.h"

#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace holdfast::control {
namespace {

using testing::ClientReply;
using testing::HttpsClient;

const std::string kSubscriptions = "/subscriptions?api-version=2022-12-01";

class ServerTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() { set_log_level(LogLevel::kError); }

    ServerTest() {
        config = load_config({
            .flags =
                {{"state.directory", (directory.path() / "state").string()},
                 {"server.listen", "127.0.0.1:0"},
                 {"log.level", "error"}},
            .environment = {},
            .file = empty_file(),
        });
    }
    std::filesystem::path empty_file() {
        std::ofstream{directory.path() / "empty.toml"};
        return directory.path() / "empty.toml";
    }
    ClientReply get(
        const Server& server, const std::string& target, const std::string& token = ""
    ) {
        HttpsClient client{server.port(), *read_file(server.ca_file(), 100000)};
        EXPECT_TRUE(client.connected());
        return client.request("GET", target, {.token = token});
    }
    void make_vault(const Server& server, const std::string& token) {
        HttpsClient client{server.port(), *read_file(server.ca_file(), 100000)};
        const std::string subscription =
            get(server, kSubscriptions, token).json()["value"][0]["subscriptionId"];
        const ClientReply made = client.request(
            "PUT",
            "/subscriptions/" + subscription +
                "/resourceGroups/g/providers/Microsoft.DataProtection/backupVaults/kept"
                "?api-version=2024-04-01",
            {.token = token,
             .body = R"({"location":"l","properties":{"storageSettings":[)"
                     R"({"datastoreType":"VaultStore","type":"LocallyRedundant"}]}})"}
        );
        EXPECT_EQ(made.status, 201) << made.body;
    }
    ErrorKind refusal() {
        try {
            const Server server{config, clock};
        } catch (const Error& error) {
            EXPECT_FALSE(error.text().recommended_actions.empty()) << error.what();
            return error.kind();
        }
        ADD_FAILURE() << "started";
        return ErrorKind::kInternal;
    }

    SystemClock clock;
    TemporaryDirectory directory{"holdfast-server"};
    Config config;
};

TEST_F(ServerTest, first_start_makes_what_later_ones_find) {
    std::string token;
    std::string subscription;
    {
        Server server{config, clock};
        token = server.take_owner_credential()->token.text.expose_text();
        EXPECT_FALSE(server.take_owner_credential());
        const Json file = Json::parse(*read_file(config.state.directory / "server.json", 10000));
        EXPECT_EQ(file["port"], server.port());
        EXPECT_EQ(file["url"], server.url());
        EXPECT_EQ(file["caFile"], server.ca_file().string());
        const ClientReply reply = get(server, kSubscriptions, token);
        ASSERT_EQ(reply.status, 200) << reply.body;
        subscription = reply.json()["value"][0]["subscriptionId"];
        const ClientReply groups =
            get(server,
                "/subscriptions/" + subscription + "/resourcegroups?api-version=2021-04-01",
                token);
        EXPECT_EQ(groups.json()["value"][0]["name"], "default");
    }
    EXPECT_FALSE(std::filesystem::exists(config.state.directory / "server.json"));
    Server again{config, clock};
    EXPECT_FALSE(again.take_owner_credential());
    EXPECT_EQ(get(again, kSubscriptions, token).json()["value"][0]["subscriptionId"], subscription);
    EXPECT_EQ(get(again, kSubscriptions).status, 401);
}

/// Nobody has logged in yet, and nobody who does waits for a key to be made.
TEST_F(ServerTest, the_key_that_signs_tokens_is_made_at_the_first_start) {
    const auto keys = [&] {
        std::vector<std::string> ids;
        const auto catalog =
            catalog::open_sqlite_catalog(config.state.directory / "catalog.db", clock);
        for (const auto& record : catalog->list<catalog::SigningKeyRecord>()) {
            ids.push_back(record.id);
        }
        return ids;
    };
    {
        const Server server{config, clock};
    }
    const std::vector<std::string> made = keys();
    EXPECT_EQ(made.size(), 1U);
    {
        const Server again{config, clock};
        HttpsClient client{again.port(), *read_file(again.ca_file(), 100000)};
        const Json published = client.request("GET", "/adfs/keys").json();
        ASSERT_EQ(published["keys"].size(), 1U);
        EXPECT_EQ(published["keys"][0]["kid"], made.at(0));
    }
    EXPECT_EQ(keys(), made);
}

TEST_F(ServerTest, keeps_the_token_nowhere) {
    std::string token;
    {
        Server server{config, clock};
        token = server.take_owner_credential()->token.text.expose_text();
        EXPECT_EQ(get(server, kSubscriptions, token).status, 200);
    }
    const std::string secret = token.substr(3 + 16 + 1);  // It may hold a `_` itself.
    for (const auto& entry : std::filesystem::recursive_directory_iterator{directory.path()}) {
        if (entry.is_regular_file()) {
            EXPECT_EQ(read_file(entry.path(), 1U << 30U)->find(secret), std::string::npos)
                << entry.path();
        }
    }
}

TEST_F(ServerTest, one_server_per_state_directory) {
    {
        Server server{config, clock};
        EXPECT_EQ(refusal(), ErrorKind::kStateDirectoryLocked);
        EXPECT_EQ(get(server, "/healthz").status, 200);
    }
    const Server next{config, clock};
}

TEST_F(ServerTest, never_replaces_a_key) {
    {
        const Server server{config, clock};
    }
    const auto key = config.keys.kek_file;
    const std::string content = *read_file(key, 1000);

    std::filesystem::permissions(key, std::filesystem::perms{0644});
    EXPECT_EQ(refusal(), ErrorKind::kKeyPermissions);
    std::filesystem::remove(key);
    EXPECT_EQ(refusal(), ErrorKind::kKeyMissing);
    EXPECT_FALSE(std::filesystem::exists(key));
    write_file_durably(key, as_bytes("holdfast-key-1:garbage\n"), 0600, Overwrite::kYes);
    EXPECT_EQ(refusal(), ErrorKind::kKeyWrong);
    {
        // Another key of the right form.
        Config other = config;
        other.state.directory = directory.path() / "other";
        other.keys.kek_file = directory.path() / "other/kek.key";
        {
            const Server server{other, clock};
        }
        std::filesystem::copy_file(
            other.keys.kek_file, key, std::filesystem::copy_options::overwrite_existing
        );
    }
    EXPECT_EQ(refusal(), ErrorKind::kKeyWrong);
    write_file_durably(key, as_bytes(content), 0600, Overwrite::kYes);
    const Server server{config, clock};
}

TEST_F(ServerTest, never_begins_anew_beside_vaults_of_an_earlier_server) {
    std::string token;
    {
        Server server{config, clock};
        token = server.take_owner_credential()->token.text.expose_text();
        make_vault(server, token);
        ASSERT_FALSE(std::filesystem::is_empty(config.vaults.directory));
    }
    const std::filesystem::path state = config.state.directory;
    for (const char* name : {"catalog.db", "catalog.db-wal", "catalog.db-shm"}) {
        std::filesystem::remove(state / name);
    }
    // The catalog alone, then the key too: neither is made anew, whatever the number of tries.
    EXPECT_EQ(refusal(), ErrorKind::kCatalogUnavailable);
    std::filesystem::rename(config.keys.kek_file, directory.path() / "copy");
    EXPECT_EQ(refusal(), ErrorKind::kKeyMissing);
    EXPECT_EQ(refusal(), ErrorKind::kKeyMissing);
    EXPECT_FALSE(std::filesystem::exists(config.keys.kek_file));
    EXPECT_FALSE(std::filesystem::exists(state / "catalog.db"));

    std::filesystem::rename(directory.path() / "copy", config.keys.kek_file);
    config.state.directory = directory.path() / "new";
    config.keys.kek_file = directory.path() / "new/kek.key";
    EXPECT_EQ(refusal(), ErrorKind::kKeyMissing) << "another state directory, the same vaults";
    config.vaults.directory = directory.path() / "new/vaults";
    const Server server{config, clock};
    EXPECT_TRUE(std::filesystem::exists(config.keys.kek_file));
}

TEST_F(ServerTest, comes_back_under_another_key_from_its_vaults) {
    {
        Server server{config, clock};
        make_vault(server, std::string{server.take_owner_credential()->token.text.expose_text()});
    }
    const auto vault_directory = std::filesystem::directory_iterator {
        config.vaults.directory
    } -> path();
    Secret old_key = vault::read_key_file(config.keys.kek_file.string());
    std::filesystem::rename(vault_directory, directory.path() / "kept");
    std::filesystem::remove_all(config.state.directory);
    std::filesystem::create_directories(config.vaults.directory);
    std::filesystem::create_directories(config.keys.kek_file.parent_path());
    std::filesystem::rename(directory.path() / "kept", vault_directory);
    // What `vault add-key` and `vault scan --write-catalog` do.
    {
        vault::LocalStore store{vault_directory};
        const auto repository = vault::Repository::open(store, old_key, clock);
        repository->add_key(vault::read_or_create_key_file(config.keys.kek_file.string()), {});
        const auto catalog =
            catalog::open_sqlite_catalog(config.state.directory / "catalog.db", clock);
        (void)jobs::rebuild_catalog(*catalog, {{*repository, vault_directory.filename().string()}});
    }
    const Server server{config, clock};
    const Secret token = make_owner_token(config, clock);
    const std::string bearer{token.expose_text()};
    const std::string subscription =
        get(server, kSubscriptions, bearer).json()["value"][0]["subscriptionId"];
    const Json vaults = get(server,
                            "/subscriptions/" + subscription +
                                "/providers/Microsoft.DataProtection/backupVaults"
                                "?api-version=2024-04-01",
                            bearer)
                            .json()["value"];
    ASSERT_EQ(vaults.size(), 1U);
    EXPECT_EQ(vaults[0]["name"], "kept");
    const Json shown =
        get(server, vaults[0]["id"].get<std::string>() + "?api-version=2024-04-01", bearer).json();
    EXPECT_EQ(shown.at("properties").at("holdfast").at("usable"), true) << shown;
}

TEST_F(ServerTest, health_needs_no_token_and_says_little) {
    Server server{config, clock};
    EXPECT_EQ(get(server, "/healthz").json(), (Json{{"status", "ok"}}));
    EXPECT_EQ(get(server, "/readyz").json(), (Json{{"status", "ready"}}));
    EXPECT_FALSE(server.not_ready());
    server.tick();
    server.reload();
    EXPECT_EQ(get(server, "/healthz").status, 200);
}

TEST_F(ServerTest, the_owner_can_get_another_token_on_the_machine) {
    EXPECT_THROW((void)make_owner_token(config, clock), Error);
    Server server{config, clock};
    const Secret token = make_owner_token(config, clock);
    EXPECT_EQ(get(server, kSubscriptions, std::string{token.expose_text()}).status, 200);
}

/// systemd's end of the notification socket.
class NotifySocket {
public:
    explicit NotifySocket(const std::filesystem::path& path)
        : fd_{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)} {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.string().copy(address.sun_path, sizeof address.sun_path - 1);
        EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        const timeval deadline{.tv_sec = 20, .tv_usec = 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
        ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
        ::setenv("WATCHDOG_USEC", "300000", 1);
    }
    ~NotifySocket() {
        ::unsetenv("NOTIFY_SOCKET");
        ::unsetenv("WATCHDOG_USEC");
    }
    std::string next() {
        std::array<char, 4096> block{};
        const ssize_t got = ::recv(fd_.get(), block.data(), block.size(), 0);
        return got > 0 ? std::string{block.data(), static_cast<std::size_t>(got)} : std::string{};
    }

private:
    FileDescriptor fd_;
};

TEST_F(ServerTest, serve_tells_systemd_and_hands_the_token_over_in_a_file) {
    config.identity.bootstrap_token_file = directory.path() / "token";
    NotifySocket systemd{directory.path() / "notify"};
    std::stop_source stop;
    int code = -1;
    std::jthread thread{[&] { code = serve(config, clock, stop.get_token()); }};
    EXPECT_TRUE(systemd.next().starts_with("READY=1\n"));
    struct stat status{};
    ASSERT_EQ(::stat(config.identity.bootstrap_token_file.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    EXPECT_EQ(systemd.next(), "WATCHDOG=1");
    stop.request_stop();
    thread.join();
    EXPECT_EQ(code, 0);
    std::string last = systemd.next();
    while (last == "WATCHDOG=1") {
        last = systemd.next();
    }
    EXPECT_EQ(last, "STOPPING=1");
}

TEST_F(ServerTest, check_config_names_everything_that_is_wrong) {
    check_config(config);
    EXPECT_FALSE(std::filesystem::exists(config.state.directory));
    config.server.names.push_back("not a name");
    config.restore.containers.push_back({"files", "/nonexistent/files"});
    config.restore.file_root = "/nonexistent/root";
    config.server.tls_certificate = "/nonexistent.pem";
    config.server.tls_key = "/nonexistent.key";
    try {
        check_config(config);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kConfigInvalid);
        std::vector<std::string> targets;
        for (const ErrorDetail& detail : error.text().details) {
            targets.push_back(detail.target);
        }
        EXPECT_EQ(
            targets,
            (std::vector<std::string>{
                "server.names", "server.tls_certificate", "restore.containers", "restore.file_root"
            })
        );
    }
}

}  // namespace
}  // namespace holdfast::control
