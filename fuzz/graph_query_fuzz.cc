// Any text as a query of the resource graph, over rows of every kind. The rows that pass must lie
// within what the catalog is asked for on the query's behalf.

#include "base/error.h"
#include "base/text.h"
#include "control/routes/providers/resource_graph/query.h"

#include <algorithm>
#include <cstdint>

namespace {

using namespace holdfast;
using namespace holdfast::control;

const std::vector<std::string_view> kColumns{
    "id",
    "name",
    "type",
    "tenantId",
    "location",
    "resourceGroup",
    "subscriptionId",
    "tags",
    "properties",
    "zones",
    "identity"
};

std::vector<Json> sample_rows() {
    const Json job = {
        {"status", "Completed"},
        {"operationCategory", "Backup"},
        {"isUserTriggered", "true"},
        {"vaultName", "V1"},
        {"startTime", "2026-05-01T12:00:00Z"},
        {"duration", 12.5},
        {"flags", Json::array({1, "two", nullptr})}
    };
    std::vector<Json> rows;
    for (const char* type :
         {"microsoft.dataprotection/backupvaults",
          "microsoft.dataprotection/backupvaults/backupjobs",
          "other"}) {
        rows.push_back(Json{
            {"id", "/subscriptions/s/x"},
            {"name", "x"},
            {"type", type},
            {"location", "westus"},
            {"tags", Json{{"a", "b"}}},
            {"properties", job}
        });
    }
    rows.push_back(Json{{"id", nullptr}, {"type", 7}, {"properties", nullptr}});
    return rows;
}

std::string text_at(const Json& row, std::string_view path) {
    const Json* value = &row;
    for (const std::string& name : split(path, '.')) {
        const auto found = value->is_object() ? value->find(name) : value->end();
        if (!value->is_object() || found == value->end()) {
            return {};
        }
        value = &*found;
    }
    return value->is_string() ? to_lower(value->get<std::string>()) : std::string{};
}

void check_within(const GraphQuery& query, const Json& row, const std::string& path) {
    const auto allowed = allowed_values(query, path);
    const std::string text = text_at(row, path);
    if (!allowed || text.empty()) {
        return;
    }
    HOLDFAST_CHECK(std::any_of(allowed->begin(), allowed->end(), [&](const std::string& one) {
        return to_lower(one) == text;
    }));
}

void run(std::string_view text) {
    const GraphQuery query = parse_graph_query(text);
    try {
        check_columns(query, kColumns);
    } catch (const Error&) {
        // Evaluation must bear a query that names what there is not.
    }
    std::vector<Json> passed;
    GraphBudget budget;
    for (const Json& original : sample_rows()) {
        Json row = original;
        if (evaluate(query, row, budget)) {
            check_within(query, original, "type");
            check_within(query, original, "properties.status");
            check_within(query, original, "properties.vaultName");
            passed.push_back(std::move(row));
        }
    }
    for_each_condition(query, [](const std::string&, const GraphExpression&) {});
    finish(query, passed, budget);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        run({reinterpret_cast<const char*>(data), size});
    } catch (const Error& error) {
        HOLDFAST_CHECK(error.kind() == ErrorKind::kBadRequest);
    }
    return 0;
}
