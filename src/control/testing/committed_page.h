#pragma once

#include "base/file.h"

#include <cstdlib>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

namespace holdfast::control::testing {

/// Compares a generated page with the committed one; with HOLDFAST_UPDATE_PAGES=1 writes it
/// instead.
inline void expect_committed(const std::string& path, const std::string& generated) {
    const auto full = std::filesystem::path{HOLDFAST_SOURCE_DIR} / path;
    if (std::getenv("HOLDFAST_UPDATE_PAGES") != nullptr) {
        std::filesystem::create_directories(full.parent_path());
        write_file_durably(full, as_bytes(generated), 0644, Overwrite::kYes);
    }
    EXPECT_TRUE(read_file(full, 1U << 22U).value_or("") == generated)
        << path << " is out of date; run this test with HOLDFAST_UPDATE_PAGES=1";
}

}  // namespace holdfast::control::testing
