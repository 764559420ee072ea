// Any text as an OData filter, and as the target of a request that holds one.

#include "base/error.h"
#include "control/http/message.h"
#include "control/routes/filter.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast;  // NOLINT(google-build-using-namespace): a program of one function.
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    try {
        for (const auto& clause :
             control::parse_filter(text, {"status", "startTime", "operation"})) {
            HOLDFAST_CHECK(
                clause.name == "status" || clause.name == "startTime" || clause.name == "operation"
            );
        }
    } catch (const Error& error) {
        HOLDFAST_CHECK(error.kind() == ErrorKind::kInvalidQuery);
    }
    try {
        static_cast<void>(control::parse_target("/jobs?$filter=" + std::string{text}));
    } catch (const Error& error) {
        HOLDFAST_CHECK(error.kind() == ErrorKind::kBadRequest);
    }
    return 0;
}
