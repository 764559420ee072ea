#include "jobs/detail/instance_health.h"

#include "protection/instance_state.h"

namespace holdfast::jobs {

void put_instance_health(
    catalog::Transaction& transaction, const std::string& instance_id, const Json& problem
) {
    auto instance = transaction.get<catalog::InstanceRecord>(instance_id);
    if (!instance) {
        return;
    }
    const auto state = protection::parse_protection_state(instance->state);
    const auto event = problem.is_null() ? protection::ProtectionEvent::kDatasourceRecovered
                                         : protection::ProtectionEvent::kDatasourceFailed;
    const protection::Transition change = protection::transition(state, event);
    if (const auto* moved = std::get_if<protection::Moved>(&change)) {
        instance->state = std::string{protection::to_string(moved->to)};
        instance->protection_error = problem;
        transaction.put(*instance);
    }
}

}  // namespace holdfast::jobs
