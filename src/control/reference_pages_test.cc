#include "control/reference_pages.h"

#include "control/config.h"
#include "control/testing/committed_page.h"

#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

using testing::expect_committed;

TEST(ReferencePages, are_up_to_date) {
    expect_committed("docs/api.md", describe_api());
    expect_committed("docs/errors.md", describe_errors());
    expect_committed("docs/operating/configuration.md", describe_config());
}

}  // namespace
}  // namespace holdfast::control
