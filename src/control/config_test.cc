#include "control/config.h"

#include "base/error.h"
#include "base/file.h"

#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

Environment with(std::map<std::string, std::string, std::less<>> variables) {
    variables.emplace("STATE_DIRECTORY", "/state");
    return Environment{std::move(variables)};
}

class ConfigTest : public ::testing::Test {
protected:
    std::filesystem::path write(std::string_view text) {
        const auto path = directory.path() / "holdfast.toml";
        write_file_durably(path, as_bytes(text), 0644, Overwrite::kYes);
        return path;
    }
    Config load(std::string_view text) {
        return load_config({.environment = with({}), .file = write(text)});
    }
    std::string refusal(const ConfigSources& sources) {
        try {
            (void)load_config(sources);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kConfigInvalid);
            EXPECT_FALSE(error.text().recommended_actions.empty());
            return error.what();
        }
        ADD_FAILURE() << "accepted";
        return "";
    }
    std::string refusal(std::string_view text) {
        std::string message = refusal(ConfigSources{.environment = with({}), .file = write(text)});
        const std::string path = (directory.path() / "holdfast.toml").string();
        for (auto at = message.find(path); at != std::string::npos; at = message.find(path)) {
            message.replace(at, path.size(), "FILE");
        }
        return message;
    }

    TemporaryDirectory directory{"holdfast-config"};
};

TEST_F(ConfigTest, has_defaults_for_everything) {
    const Config config = load("");
    EXPECT_EQ(config.server.listen_host, "127.0.0.1");
    EXPECT_EQ(config.server.listen_port, 8443);
    EXPECT_EQ(config.server.names, (std::vector<std::string>{"localhost", "127.0.0.1", "::1"}));
    EXPECT_EQ(config.server.body_bytes_max, 4U * 1024 * 1024);
    EXPECT_EQ(config.vaults.directory, "/state/vaults");
    EXPECT_EQ(config.keys.kek_file, "/state/keys/kek.key");
    EXPECT_EQ(config.scratch.directory, "/state/scratch");
    EXPECT_TRUE(config.vaults.verify_writes);
    EXPECT_EQ(config.postgres.lock_wait_timeout, std::chrono::minutes{5});
}

TEST_F(ConfigTest, reads_a_whole_file) {
    const Config config = load(R"(
[server]
listen = "[::]:9443"
names = ["backup.example.org", "192.0.2.7"]
public_url = "https://proxy.example.org/"
idle_timeout = "2m"
[vaults]
directory = "/srv/vaults"
verify_writes = false
compression_level = 3
[[restore.containers]]
name = "files"
directory = "/srv/restore"
[[restore.containers]]
name = "more"
directory = "/srv/more"
[postgres]
bin_directories = ["/opt/pg/bin"]
)");
    EXPECT_EQ(config.server.listen_host, "::");
    EXPECT_EQ(config.server.listen_port, 9443);
    EXPECT_EQ(
        config.server.names,
        (std::vector<std::string>{"backup.example.org", "192.0.2.7", "proxy.example.org"})
    );
    EXPECT_EQ(config.server.public_url, "https://proxy.example.org");
    EXPECT_EQ(config.server.idle_timeout, std::chrono::minutes{2});
    EXPECT_FALSE(config.vaults.verify_writes);
    EXPECT_EQ(config.vaults.compression_level, 3);
    ASSERT_EQ(config.restore.containers.size(), 2U);
    EXPECT_EQ(config.restore.containers[1].name, "more");
    EXPECT_EQ(config.restore.containers[1].directory, "/srv/more");
    EXPECT_EQ(config.postgres.bin_directories, (std::vector<std::filesystem::path>{"/opt/pg/bin"}));
}

TEST_F(ConfigTest, flags_beat_environment_beats_file_beats_default) {
    const auto file =
        write("[server]\nthreads = 5\nconnections_max = 50\nlisten = \"0.0.0.0:50\"\n");
    const Config config = load_config({
        .flags = {{"server.threads", "7"}},
        .environment =
            with({{"HOLDFAST_SERVER_THREADS", "6"}, {"HOLDFAST_SERVER_CONNECTIONS_MAX", "60"}}),
        .file = file,
    });
    EXPECT_EQ(config.server.threads, 7U);
    EXPECT_EQ(config.server.connections_max, 60U);
    EXPECT_EQ(config.server.listen_port, 50);
    EXPECT_EQ(config.server.write_timeout, std::chrono::minutes{1});
    EXPECT_EQ(config.file, file);
}

TEST_F(ConfigTest, takes_lists_from_text) {
    const Config config = load_config({
        .flags = {{"restore.containers", "a=/x, b=/y"}},
        .environment = with({{"HOLDFAST_SERVER_NAMES", "one, two"}}),
    });
    EXPECT_EQ(config.server.names, (std::vector<std::string>{"one", "two", "127.0.0.1"}));
    ASSERT_EQ(config.restore.containers.size(), 2U);
    EXPECT_EQ(config.restore.containers[0].directory, "/x");
}

TEST_F(ConfigTest, keeps_the_bootstrap_token_out_of_the_journal) {
    EXPECT_TRUE(load("").identity.bootstrap_token_file.empty());
    const Config config = load_config({.environment = with({{"JOURNAL_STREAM", "8:1234"}})});
    EXPECT_EQ(config.identity.bootstrap_token_file, "/state/owner-token");
}

TEST_F(ConfigTest, says_where_the_file_is_wrong) {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"[server]\nlisten = 8443\n",
         "FILE:2: server.listen: '8443' is not host:port, like 0.0.0.0:8443 or [::]:8443."},
        {"[server]\n\nlisten = \"::1:8443\"\n",
         "FILE:3: server.listen: '::1:8443' is not host:port, like 0.0.0.0:8443 or [::]:8443."},
        {"[server]\nlisten = \"x:70000\"\n",
         "FILE:2: server.listen: '70000' is not a whole number from 0 to 65535."},
        {"[server]\nlistne = \"x:1\"\n",
         "FILE:2: server.listne: this key is not known. Did you mean server.listen?"},
        {"[nonsense]\nthing = 1\n", "FILE:2: nonsense.thing: this key is not known."},
        {"[server]\nthreads = \"many\"\n",
         "FILE:2: server.threads: 'many' is not a whole number from 1 to 256."},
        {"[server]\nthreads = 1.5\n",
         "FILE:2: server.threads must be a string, a whole number, true or false."},
        {"[server]\nthreads = [1, 2]\n",
         "FILE:2: server.threads: one value is expected, not a list."},
        {"[vaults]\nverify_writes = \"yes\"\n",
         "FILE:2: vaults.verify_writes: 'yes' is neither true nor false."},
        {"[vaults]\ndirectory = \"relative\"\n",
         "FILE:2: vaults.directory: 'relative' is not an absolute path."},
        {"[server]\nbody_bytes_max = \"4MB\"\n",
         "FILE:2: server.body_bytes_max: '4MB' is not a quantity like 4MiB within its bounds. "
         "Units: none, B, KiB, "
         "MiB, GiB."},
        {"[server]\nidle_timeout = 75\n",
         "FILE:2: server.idle_timeout: '75' is not a quantity like 30s within its bounds. Units: "
         "ms, s, m, h."},
        {"[server]\nidle_timeout = \"999999999999999h\"\n",
         "FILE:2: server.idle_timeout: '999999999999999h' is not a quantity like 30s within its "
         "bounds. Units: ms, s, "
         "m, h."},
        {"[service]\ntenant_id = \"x\"\n", "FILE:2: service.tenant_id: 'x' is not a GUID."},
        {"[log]\nlevel = \"loud\"\n",
         "FILE:2: log.level: one of debug, info, warning, error is expected."},
        {"[server]\npublic_url = \"http://x\"\n",
         "FILE:2: server.public_url: an origin like https://backup.example.org:8443 is expected: "
         "https, no path."},
        {"[[restore.containers]]\nname = \"files\"\n",
         "FILE:1: Each [[restore.containers]] needs name and directory."},
        {"[[restore.containers]]\nname = \"files\"\npath = \"/x\"\n",
         "FILE:3: restore.containers.path is not a known key. Allowed: name, directory."},
        {"[server]\ntls_certificate = \"/x.pem\"\n",
         "configuration: server.tls_key: server.tls_certificate and server.tls_key go together."},
        {"[keys]\nkek_file = \"/state/vaults/kek\"\n",
         "configuration: keys.kek_file: the key must not lie inside a vault: whoever copies the "
         "vault would have the "
         "key to it."},
        {"[restore]\nfile_root = \"/state\"\n",
         "configuration: restore.file_root: /state and /state/vaults must not contain each other."},
        {"[jobs]\nmax_jobs = 1\nmax_jobs_per_server = 2\n",
         "configuration: jobs.max_jobs_per_server: it must not be greater than jobs.max_jobs."},
    };
    for (const auto& [text, message] : cases) {
        EXPECT_EQ(refusal(text), message);
    }
    EXPECT_TRUE(refusal("[server\n").starts_with("FILE:1:8: This is not valid TOML: "));
    EXPECT_TRUE(refusal("a = 1\na = 2\n").starts_with("FILE:2:"));
}

TEST_F(ConfigTest, refuses_what_other_sources_get_wrong) {
    EXPECT_EQ(
        refusal({.environment = with({{"HOLDFAST_SERVER_LISTNE", "x"}})}),
        "environment: HOLDFAST_SERVER_LISTNE: this variable names no key."
    );
    // The client's own variables are none of ours.
    (void)load_config(
        {.environment = with({{"HOLDFAST_SERVER", "https://x"}, {"HOLDFAST_TOKEN_FILE", "/x"}})}
    );
    EXPECT_EQ(
        refusal({.environment = with({{"HOLDFAST_SERVER_THREADS", "0"}})}),
        "HOLDFAST_SERVER_THREADS: server.threads: '0' is not a whole number from 1 to 256."
    );
    EXPECT_EQ(
        refusal({.flags = {{"server.thread", "1"}}, .environment = with({})}),
        "command line: server.thread: this key is not known. Did you mean server.threads?"
    );
    EXPECT_EQ(
        refusal({.environment = with({}), .file = "/nonexistent.toml"}),
        "/nonexistent.toml: The configuration file does not exist."
    );
}

TEST_F(ConfigTest, reads_the_channels_of_alerts) {
    const Config config = load(R"(
[alerts]
window = "30m"
no_point_hours = 30
mute = ["JobFailed"]

[[alerts.webhooks]]
name = "chat"
url = "https://chat.example.org/hooks?key=a=b"
secret_file = "/etc/holdfast/hook.key"

[[alerts.emails]]
name = "dba"
host = "smtp.example.org"
from = "backup@example.org"
to = ["a@example.org", "b@example.org"]
)");
    ASSERT_EQ(config.alerts.webhooks.size(), 1U);
    EXPECT_EQ(config.alerts.webhooks[0].url, "https://chat.example.org/hooks?key=a=b");
    ASSERT_EQ(config.alerts.emails.size(), 1U);
    EXPECT_EQ(config.alerts.emails[0].to.size(), 2U);
    EXPECT_EQ(config.alerts.window, std::chrono::minutes{30});
    EXPECT_EQ(config.alerts.no_point_after, std::chrono::hours{30});
}

TEST_F(ConfigTest, refuses_alerts_that_would_go_wrong) {
    EXPECT_NE(refusal("[alerts]\nmute = [\"GuardRemoved\"]\n").find("security"), std::string::npos);
    EXPECT_NE(refusal("[alerts]\nmute = [\"Nothing\"]\n").find("no kind"), std::string::npos);
    EXPECT_NE(
        refusal("[[alerts.webhooks]]\nname = \"a\"\nurl = \"http://example.org/\"\n").find("https"),
        std::string::npos
    );
    EXPECT_NE(
        refusal("[[alerts.webhooks]]\nname = \"a\"\nurl = \"https://h/\"\n"
                "[[alerts.webhooks]]\nname = \"a\"\nurl = \"https://h/\"\n")
            .find("given twice"),
        std::string::npos
    );
}

}  // namespace
}  // namespace holdfast::control
