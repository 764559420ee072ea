#pragma once

#include "postgres/client_tools.h"

#include <filesystem>
#include <vector>

namespace holdfast::postgres {

/// Finds the programs that run a cluster: postgres, pg_controldata, pg_checksums and, from
/// PostgreSQL 14 on, pg_amcheck. Immutable after construction, safe from any thread.
class ServerPrograms {
public:
    /// As ClientTools: `directories`, or the usual places when there are none. Runs
    /// `postgres --version` once in each.
    explicit ServerPrograms(const std::vector<std::filesystem::path>& directories = {});

    /// Ascending by major.
    [[nodiscard]] const std::vector<ToolSet>& found() const noexcept { return found_; }
    /// A data directory is of one major version, and only its own programs run it. Throws
    /// kServerProgramsMissing, naming the package to install.
    [[nodiscard]] const ToolSet& of_major(int major) const;

private:
    std::vector<ToolSet> found_;
};

}  // namespace holdfast::postgres
