#include "cli/vault_tool/vault_tool.h"

#include "base/file.h"
#include "cli/command_table.h"
#include "cli/run.h"
#include "jobs/engine_testing.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

using jobs::testing::World;
using jobs::testing::WorldOptions;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Printed {
    int exit_code = 0;
    std::string out;
    std::string err;
    [[nodiscard]] Json json() const { return parse_json(out, ErrorKind::kInternal, "output"); }
};

class VaultToolTest : public ::testing::Test {
protected:
    VaultToolTest() : world_{WorldOptions{.stores = jobs::testing::Stores::kDirectories}} {
        world_.start();
        world_.protect("app");
        (void)world_.backup("app");
        world_.wait_idle();
        const Secret text = vault::format_key(world_.key());
        write_file_durably(key_file(), text.expose(), 0600, Overwrite::kYes);
        vault_ = world_.repositories->directory_of(world_.vault());
        point_ = world_.points("app").at(0).id;
        world_.engine->stop();
    }

    std::filesystem::path home() const { return world_.directory.path(); }
    std::filesystem::path key_file() const { return home() / "kek.key"; }

    Printed run(std::vector<std::string> words) {
        std::istringstream in;
        std::ostringstream out;
        std::ostringstream err;
        Console console{.in = in, .out = out, .err = err};
        const Environment environment{{}};
        const CommandTable table{vault_commands()};
        Printed result;
        result.exit_code = cli::run(
            table,
            words,
            Session::Services{
                .console = console,
                .clock = world_.clock,
                .environment = environment,
                .connect = [](const Profile&) -> std::unique_ptr<Transport> { return nullptr; },
            }
        );
        result.out = out.str();
        result.err = err.str();
        return result;
    }
    Printed run_on_vault(const std::string& verb, std::vector<std::string> more = {}) {
        std::vector<std::string> words{"vault", verb, "--path", vault_.string(), "--key-file"};
        words.push_back(key_file().string());
        words.insert(words.end(), more.begin(), more.end());
        return run(words);
    }

    [[nodiscard]] std::vector<std::filesystem::path> files_below(const char* directory) const {
        std::vector<std::filesystem::path> files;
        const std::filesystem::path root = vault_ / directory;
        for (const auto& entry : std::filesystem::recursive_directory_iterator{root}) {
            if (entry.is_regular_file()) {
                files.push_back(entry.path());
            }
        }
        return files;
    }
    static void flip_byte(const std::filesystem::path& path, std::streamoff at) {
        std::filesystem::permissions(
            path, std::filesystem::perms::owner_write, std::filesystem::perm_options::add
        );
        std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
        file.seekg(at);
        const char byte = static_cast<char>(file.get());
        file.seekp(at);
        file.put(static_cast<char>(byte ^ 1));
    }

    World world_;
    std::filesystem::path vault_;
    std::string point_;
};

TEST_F(VaultToolTest, CheckSaysSoundAndNamesDamageWithTheNeededPoints) {
    const Printed sound = run_on_vault("check", {"--read-data"});
    ASSERT_EQ(sound.exit_code, 0) << sound.err;
    EXPECT_EQ(sound.json().at("sound"), true);
    EXPECT_EQ(sound.json().at("recoveryPoints"), 1);
    EXPECT_EQ(sound.json().at("packsRead"), sound.json().at("packs"));

    const std::filesystem::path pack = files_below("packs").at(0);
    flip_byte(pack, 100);
    const Printed damaged = run_on_vault("check", {"--read-data=100%"});
    EXPECT_EQ(damaged.exit_code, 1);
    EXPECT_EQ(damaged.json().at("sound"), false);
    EXPECT_THAT(damaged.json().at("damaged").dump(), HasSubstr(pack.filename().string()));
    EXPECT_THAT(damaged.json().at("damaged").dump(), HasSubstr(point_));
}

TEST_F(VaultToolTest, CheckWithABudgetGetsThroughAllPacksInTurn) {
    const std::size_t packs = files_below("packs").size();
    ASSERT_GT(packs, 1U);
    for (std::size_t left = packs; left > 0; --left) {
        const Printed part = run_on_vault("check", {"--budget=1%"});
        ASSERT_EQ(part.exit_code, 0) << part.err;
        EXPECT_EQ(part.json().at("packsRead"), 1);
        EXPECT_EQ(part.json().at("packsNeverRead"), left - 1);
        EXPECT_TRUE(part.json().at("oldestReadAt").is_string());
    }
    const Printed both = run_on_vault("check", {"--budget=100%", "--budget=30m"});
    EXPECT_EQ(both.json().at("packsRead"), packs) << both.err;
    for (const char* nonsense : {"--budget=0%", "--budget=101%", "--budget=5", "--budget=5s"}) {
        const Printed refused = run_on_vault("check", {nonsense});
        EXPECT_EQ(refused.exit_code, 2) << nonsense;
        EXPECT_THAT(refused.err, HasSubstr("10%, 50GiB or 30m"));
    }
}

TEST_F(VaultToolTest, CollectShowsItsPlanAndThenGivesSpaceBack) {
    const auto all = files_below("packs");
    const Printed nothing = run_on_vault("collect", {"--dry-run"});
    ASSERT_EQ(nothing.exit_code, 0) << nothing.err;
    EXPECT_EQ(nothing.json().at("recoveryPoints"), 1);
    EXPECT_EQ(nothing.json().at("remove").at("packs"), 0);
    EXPECT_EQ(nothing.json().at("stored").at("packs"), all.size());

    const auto id = vault::PointId::parse(point_);
    ASSERT_TRUE(id.has_value());
    ASSERT_TRUE(world_.repositories->open(world_.vault())->remove_point(*id, "{}", {}));
    const Printed plan = run_on_vault("collect", {"--dry-run"});
    EXPECT_EQ(plan.json().at("remove").at("packs"), all.size());
    EXPECT_EQ(files_below("packs"), all) << "a plan changes nothing";

    for (const char* nonsense : {"--repack-percent=0", "--unused-percent=101"}) {
        EXPECT_EQ(run_on_vault("collect", {nonsense}).exit_code, 2) << nonsense;
    }
    const Printed done = run_on_vault("collect");
    ASSERT_EQ(done.exit_code, 0) << done.err;
    EXPECT_EQ(done.json().at("removed"), plan.json().at("remove"));
    EXPECT_THAT(done.json().at("waitingFor"), IsEmpty());
    EXPECT_THAT(files_below("packs"), IsEmpty());
    EXPECT_EQ(run_on_vault("check").json().at("sound"), true);
}

TEST_F(VaultToolTest, CollectRemovesNothingWhenAnythingIsUnclear) {
    for (const std::filesystem::path& file : files_below("points")) {
        if (file.filename() == "manifest") {
            flip_byte(file, 100);
        }
    }
    const auto all = files_below("packs");
    const Printed plan = run_on_vault("collect", {"--dry-run"});
    EXPECT_EQ(plan.exit_code, 1);
    EXPECT_THAT(plan.json().at("obstacles"), SizeIs(1));
    const Printed refused = run_on_vault("collect");
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.err, HasSubstr("Nothing is removed from the vault"));
    EXPECT_EQ(files_below("packs"), all);
}

TEST_F(VaultToolTest, ALostIndexIsRebuilt) {
    for (const std::filesystem::path& segment : files_below("index")) {
        std::filesystem::remove(segment);
    }
    const Printed rebuilt = run_on_vault("rebuild-index");
    ASSERT_EQ(rebuilt.exit_code, 0) << rebuilt.err;
    EXPECT_EQ(rebuilt.json().at("packs"), files_below("packs").size());
    EXPECT_GT(rebuilt.json().at("indexBytes"), 0);
    EXPECT_THAT(files_below("index"), ::testing::Not(IsEmpty()));
    EXPECT_EQ(run_on_vault("check", {"--read-data"}).json().at("sound"), true);
    const std::string to = (home() / "out").string();
    EXPECT_EQ(run_on_vault("extract", {"--to", to, "--file-prefix", "x"}).exit_code, 0);
}

TEST_F(VaultToolTest, RestoreIntoADirectoryTakesAPhysicalPoint) {
    const std::filesystem::path to = home() / "data";
    const Printed refused = run_on_vault("restore", {"-D", to.string()});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.err, HasSubstr("holdfast vault extract"));
    EXPECT_EQ(run_on_vault("restore", {"-D", to.string(), "--point", "xyz"}).exit_code, 2);
    EXPECT_EQ(
        run_on_vault("restore", {"-D", to.string(), "--point", std::string(32, '0')}).exit_code, 3
    );
    EXPECT_EQ(run_on_vault("restore").exit_code, 2) << "no target";
    EXPECT_FALSE(std::filesystem::exists(to));
}

TEST_F(VaultToolTest, ExtractNeedsNothingButFilesAndAKey) {
    const std::string to = (home() / "out").string();
    const Printed done = run_on_vault("extract", {"--to", to, "--file-prefix", "back"});
    ASSERT_EQ(done.exit_code, 0) << done.err;
    EXPECT_EQ(
        read_file(home() / "out/back_database_app.sql", 1 << 20),
        world_.data_plane.databases.at("app")
    );
    EXPECT_EQ(done.json().at("recoveryPoint").at("recoveryPointId"), point_);
    const Printed again = run_on_vault("extract", {"--to", to, "--file-prefix", "back"});
    EXPECT_EQ(again.exit_code, 1);
    EXPECT_THAT(again.err, HasSubstr("The restore target holds 4 of the files"));
    EXPECT_EQ(run_on_vault("extract", {"--to", to, "--file-prefix", "../x"}).exit_code, 1);
    EXPECT_EQ(run_on_vault("extract", {"--to", to, "--point", "xyz"}).exit_code, 2);
    EXPECT_EQ(run_on_vault("extract", {"--to", to, "--instance", "nonesuch"}).exit_code, 3);
}

TEST_F(VaultToolTest, KeysAndPathsThatDoNotFitAreToldApart) {
    EXPECT_THAT(
        run({"vault", "check", "--path", (home() / "no").string(), "--key-file", key_file().string()
            })
            .err,
        HasSubstr("is not a directory")
    );
    const std::string other = (home() / "other.key").string();
    write_file_durably(other, vault::format_key(vault::new_key()).expose(), 0600, Overwrite::kYes);
    EXPECT_THAT(
        run({"vault", "check", "--path", vault_.string(), "--key-file", other}).err,
        HasSubstr("does not open the repository")
    );
    std::filesystem::permissions(other, std::filesystem::perms{0644});
    EXPECT_THAT(
        run({"vault", "check", "--path", vault_.string(), "--key-file", other}).err,
        HasSubstr("only its owner can read")
    );
    EXPECT_THAT(
        run({"vault", "check", "--path", vault_.string(), "--key-file", (home() / "no").string()})
            .err,
        HasSubstr("does not exist")
    );
}

TEST_F(VaultToolTest, AnEmptyMachineTheKitAndTheRepositoryRestoreEverything) {
    const std::string kit = (home() / "kit.txt").string();
    ASSERT_EQ(run_on_vault("recovery-kit", {"--output-file", kit}).exit_code, 0);
    EXPECT_EQ(run_on_vault("recovery-kit", {"--output-file", kit}).exit_code, 1);

    // The machine is gone: no catalog, no key. What is left: the vault's directory and the kit.
    const std::filesystem::path machine = home() / "new";
    std::filesystem::create_directories(machine / "vaults");
    const std::filesystem::path vault = machine / "vaults" / vault_.filename();
    std::filesystem::rename(vault_, vault);
    std::filesystem::remove(key_file());
    const std::string new_key = (machine / "kek.key").string();
    ASSERT_EQ(
        run({"vault",
             "add-key",
             "--path",
             vault.string(),
             "--key-file",
             kit,
             "--new-key-file",
             new_key})
            .exit_code,
        0
    );
    const std::string catalog_file = (machine / "catalog.db").string();
    const Printed scanned = run(
        {"vault",
         "scan",
         "--path",
         vault.string() + "/",
         "--key-file",
         new_key,
         "--write-catalog",
         catalog_file}
    );
    ASSERT_EQ(scanned.exit_code, 0) << scanned.err;
    EXPECT_EQ(scanned.json().at("vaults").at(0).at("recoveryPoints"), 1);
    EXPECT_EQ(
        scanned.json().at("repositories").at(0).at("recoveryPoints").at(0).at("recoveryPointId"),
        point_
    );

    // A new service on it restores.
    const auto catalog = catalog::open_sqlite_catalog(catalog_file, world_.clock);
    const catalog::SecretStore secrets{Secret::random(32), world_.clock};
    jobs::RepositoryPool repositories{
        {.root = machine / "vaults"}, vault::read_key_file(new_key), world_.clock
    };
    const jobs::CredentialResolver credentials{*catalog, secrets};
    std::filesystem::create_directories(machine / "restore");
    const jobs::RestoreContainers containers{
        {.containers = {{.name = "files", .directory = machine / "restore"}},
         .file_roots = {},
         .origins = {}}
    };
    jobs::Engine engine{
        {*catalog, repositories, credentials, containers, world_.data_plane, world_.clock}, {}
    };
    engine.start();
    const std::string job = engine.submit_restore(jobs::RestoreRequest{
        .instance_id = jobs::testing::kVault + "/backupInstances/app",
        .point_id = point_,
        .target = jobs::FilesTarget{.url = "/restore/files", .file_prefix = "r"},
        .requester = {},
    });
    const jobs::testing::Deadline deadline;
    ASSERT_TRUE(engine.wait_idle(deadline.token()));
    EXPECT_EQ(catalog->get<catalog::JobRecord>(job)->status, "Completed");
    EXPECT_EQ(
        read_file(machine / "restore/r_database_app.sql", 1 << 20),
        world_.data_plane.databases.at("app")
    );
}

}  // namespace
}  // namespace holdfast::cli
