// Any text as a structured argument of the command line: one word, and the words between its
// blanks.

#include "base/error.h"
#include "base/text.h"
#include "cli/shorthand.h"

#include <cstdint>

namespace {

using namespace holdfast;

void read(const std::vector<std::string>& words) {
    try {
        const Json document = cli::parse_shorthand(words, "--argument");
        const Json body = cli::to_request_body(document, cli::ResourceIdSpelling::kUpper);
        // A body is a body already: names in camelCase stay as they are.
        HOLDFAST_CHECK(cli::to_request_body(body, cli::ResourceIdSpelling::kUpper) == body);
    } catch (const Error& error) {
        HOLDFAST_CHECK(error.kind() == ErrorKind::kUsage);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text{reinterpret_cast<const char*>(data), size};
    read({text});
    read(split(text, ' '));
    return 0;
}
