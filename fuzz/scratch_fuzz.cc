// What the programs of a scratch server print: they work on files that are somebody else's.
#include "base/error.h"
#include "postgres/amcheck_output.h"
#include "postgres/cluster_hardening.h"

#include <cstdint>
#include <span>

using namespace holdfast;
using namespace holdfast::postgres;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t kKept = 3;
    const std::string_view text = as_text(std::as_bytes(std::span{data, size}));
    AmcheckOutput pieces{kKept};
    pieces.append(text.substr(0, size / 2));
    pieces.append(text.substr(size / 2));
    pieces.finish();
    AmcheckOutput whole{kKept};
    whole.append(text);
    whole.finish();
    HOLDFAST_CHECK(pieces.damage_count() == whole.damage_count());
    HOLDFAST_CHECK(pieces.not_checked_count() == whole.not_checked_count());
    HOLDFAST_CHECK(whole.damages().size() <= kKept);
    try {
        (void)parse_control_data(text);
    } catch (const Error&) {
    }
    return 0;
}
