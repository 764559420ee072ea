// Any text as an ARM resource id, and as a datasource's id. What is taken must be the same when it
// is read again.

#include "base/error.h"
#include "base/text.h"
#include "control/resource_id.h"
#include "jobs/credentials.h"

#include <cstdint>

namespace {

using namespace holdfast;
using control::ResourceId;

void check(const ResourceId& id) {
    const auto again = ResourceId::try_parse(id.text());
    HOLDFAST_CHECK(again && again->text() == id.text() && again->key() == id.key());
    HOLDFAST_CHECK(id.key() == to_lower(id.text()) && is_utf8(id.text()));
    HOLDFAST_CHECK(id.is_type(to_lower(id.type())));
    const auto by_key = ResourceId::try_parse(id.key());
    HOLDFAST_CHECK(
        by_key && by_key->key() == id.key() && by_key->segments().size() == id.segments().size()
    );
    std::size_t depth = id.segments().size() + 3;
    for (auto parent = id.parent(); parent; parent = parent->parent()) {
        HOLDFAST_CHECK(id.key().starts_with(parent->key()) && depth-- > 0);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    const auto id = ResourceId::try_parse(text);
    if (id) {
        check(*id);
    }
    bool threw = false;
    try {
        static_cast<void>(ResourceId::parse(text, "id"));
    } catch (const Error&) {
        threw = true;
    }
    HOLDFAST_CHECK(threw != id.has_value());
    try {
        static_cast<void>(jobs::parse_datasource_id(text, "id"));
    } catch (const Error&) {
        return 0;
    }
    return 0;
}
