#include "base/file.h"
#include "cli/help.h"
#include "cli/testing/fake_server.h"

#include <cstdio>

#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

/// What bash offers for `words`, the last of which is being typed.
std::string complete(const std::string& words) {
    TemporaryDirectory directory{"holdfast-completion"};
    const auto script = directory.path() / "script";
    std::string text = bash_completion(CommandTable{standard_commands()});
    text += "COMP_WORDS=(" + words + ")\nCOMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))\n";
    text += "set -u\n_holdfast\necho \"${COMPREPLY[*]-}\"\n";
    write_file_durably(script, as_bytes(text), 0600, Overwrite::kYes);
    FILE* pipe = popen(("bash --norc " + script.string() + " 2>&1").c_str(), "r");
    std::string out;
    std::array<char, 4096> buffer{};
    while (const std::size_t size = fread(buffer.data(), 1, buffer.size(), pipe)) {
        out.append(buffer.data(), size);
    }
    EXPECT_EQ(pclose(pipe), 0);
    return out;
}

TEST(Completion, OffersVerbsOptionsAndValues) {
    EXPECT_EQ(complete("holdfast data"), "dataprotection\n");
    EXPECT_EQ(complete("holdfast backup-v"), "backup-vault\n");
    EXPECT_EQ(complete("holdfast dataprotection backup-vault cr"), "create\n");
    EXPECT_EQ(complete("holdfast backup-policy tag create-a"), "create-absolute-criteria\n");
    EXPECT_EQ(complete("holdfast backup-vault show --vault"), "--vault-name\n");
    EXPECT_EQ(complete("holdfast backup-vault show -g rg --id"), "--ids\n");
    EXPECT_EQ(complete("holdfast backup-vault create --soft-delete-state A"), "AlwaysOn\n");
    EXPECT_EQ(complete("holdfast dataprotection job list -o t"), "table tsv\n");
    EXPECT_EQ(complete("holdfast backup-vault list --only"), "--only-show-errors\n");
}

TEST(Completion, IsPrintedAlone) {
    CommandLine line;
    const Outcome outcome = line.run({"completion", "bash"});
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_TRUE(outcome.out.ends_with("complete -o filenames -F _holdfast holdfast\n"));
    EXPECT_TRUE(line.server.requests.empty());
}

}  // namespace
}  // namespace holdfast::cli
