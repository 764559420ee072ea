#pragma once

#include "cli/command.h"

#include <string>

namespace holdfast::cli {

/// The query texts of the `list-from-resourcegraph` verbs, character by character as the Azure
/// CLI's extension sends them.
[[nodiscard]] std::string vaults_query(const Arguments& arguments);
[[nodiscard]] std::string instances_query(const Arguments& arguments);
[[nodiscard]] std::string jobs_query(const Arguments& arguments);

}  // namespace holdfast::cli
