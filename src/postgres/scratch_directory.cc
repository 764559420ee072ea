#include "postgres/scratch_directory.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "base/process.h"

#include <cerrno>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "scratch-";
constexpr std::string_view kSocketName = "/private/.s.PGSQL.5432";

/// Nothing here needs to survive.
void make_directory(const fs::path& path) {
    if (::mkdir(path.c_str(), 0700) != 0) {
        throw_errno("mkdir", path.string(), errno);
    }
}

/// What ran in it may have left directories that nobody may read, or trees deeper than a path is
/// long. rm and chmod follow no link and know about depth.
void remove_tree(const fs::path& path) {
    std::error_code error;
    fs::remove_all(path, error);
    if (!error) {
        return;
    }
    run_boundary(
        [&] {
            for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
                     {"/usr/bin/chmod", "-R", "u+rwX", path.string()},
                     {"/usr/bin/rm", "-rf", "--one-file-system", path.string()}
                 }) {
                ProcessSpec spec;
                spec.program = words.front();
                spec.arguments.assign(words.begin() + 1, words.end());
                static_cast<void>(run_process(spec, 64 * kKiB, {}));
            }
        },
        [](const Error&) {}
    );
    if (fs::exists(path, error)) {
        log_warning("a scratch directory could not be removed", {{"directory", path.string()}});
    }
}

}  // namespace

ScratchDirectory::ScratchDirectory(const fs::path& parent)
    : path_{parent / fmt::format("{}{}", kPrefix, to_hex(random_array<6>()))} {
    constexpr std::size_t kSocketPathMax = sizeof(sockaddr_un::sun_path) - 1;
    if (path_.string().size() + kSocketName.size() > kSocketPathMax) {
        throw Error{
            ErrorKind::kInvalidParameter,
            {.message = fmt::format(
                 "The directory for scratch servers, {}, is too long for the name of a socket in "
                 "it.",
                 parent.string()
             ),
             .recommended_actions = {"Configure one with a path of at most 60 characters."}}
        };
    }
    make_directory_durably(parent, 0700);
    make_directory(path_);
    lock_ = try_lock_file(path_ / "lock").value_or(FileDescriptor{});
    for (const fs::path& directory :
         {cluster(), data(), tablespaces(), socket(), dump(), private_directory()}) {
        make_directory(directory);
    }
}

ScratchDirectory::~ScratchDirectory() {
    remove_tree(path_);
}

fs::path ScratchDirectory::tablespace(std::uint32_t oid) const {
    return tablespaces() / fmt::format("{}", oid);
}

std::size_t ScratchDirectory::remove_leftovers(const fs::path& parent) {
    std::size_t removed = 0;
    std::error_code ignored;
    std::vector<fs::path> found;
    for (const fs::directory_entry& entry : fs::directory_iterator{parent, ignored}) {
        if (entry.path().filename().string().starts_with(kPrefix)) {
            found.push_back(entry.path());
        }
    }
    for (const fs::path& path : found) {
        run_boundary(
            [&] {
                if (const auto lock = try_lock_file(path / "lock")) {
                    remove_tree(path);
                    ++removed;
                }
            },
            [](const Error&) {}  // Gone since.
        );
    }
    return removed;
}

}  // namespace holdfast::postgres
