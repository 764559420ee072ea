// Any bytes as the JSON body of a request: policies, instances, restores. What is taken must
// survive being written and read again.

#include "base/error.h"
#include "base/json.h"
#include "control/routes/providers/data_protection/instance_request.h"
#include "control/routes/request_body.h"
#include "jobs/requests.h"
#include "protection/policy.h"

#include <cstdint>

namespace {

using namespace holdfast;

template <typename Function>
void attempt(Function&& function) {
    try {
        function();
    } catch (const Error& error) {
        HOLDFAST_CHECK(error.kind() != ErrorKind::kInternal);
    }
}

void read_policy(const Json& body) {
    protection::PolicyNotes notes;
    const protection::BackupPolicy policy = protection::parse_policy(body, "properties", &notes);
    const Json canonical = protection::to_json(policy);
    HOLDFAST_CHECK(
        protection::to_json(protection::parse_policy(canonical, "properties")) == canonical
    );
    attempt([&] {
        static_cast<void>(
            protection::resolve_adhoc(policy, {.rule_name = policy.backup_rules.front().name})
        );
    });
}

void read_restore(const Json& body) {
    const jobs::RestoreRequest request = jobs::parse_restore_request(body, "", "/instance", {});
    const Json kept = jobs::to_json(request);
    HOLDFAST_CHECK(jobs::to_json(jobs::restore_request_from_json(kept)) == kept);
}

void read_instance(const Json& body) {
    control::IgnoredProperties ignored;
    const JsonReader reader{body, "properties", ErrorKind::kInvalidRequestContent};
    static_cast<void>(control::read_instance(reader, ignored));
}

void read_rest(const Json& body) {
    const JsonReader reader{body, "", ErrorKind::kInvalidRequestContent};
    attempt([&] { static_cast<void>(control::read_tags(reader)); });
    attempt([&] { static_cast<void>(control::read_location(reader, "westus")); });
    attempt([&] { static_cast<void>(jobs::parse_adhoc_backup(body, "/instance", {})); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    attempt([&] {
        const Json body = parse_json(text, ErrorKind::kInvalidRequestContent, "The request body");
        attempt([&] { read_policy(body); });
        attempt([&] { read_restore(body); });
        attempt([&] { read_instance(body); });
        read_rest(body);
    });
    return 0;
}
