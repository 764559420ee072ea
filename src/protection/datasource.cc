#include "protection/datasource.h"

#include "base/error.h"
#include "base/text.h"

#include <array>

namespace holdfast::protection {
namespace {

struct Spelling {
    std::string_view text;
    DatasourceKind kind;
};

// The ARM type of each kind comes first. `OssDB` is what the published specification's examples
// say.
constexpr std::array<Spelling, 7> kSpellings{{
    {"Microsoft.DBforPostgreSQL/flexibleServers", DatasourceKind::kFlexibleServer},
    {"Microsoft.DBforPostgreSQL/flexibleServers/databases", DatasourceKind::kFlexibleServerDatabase
    },
    {"Microsoft.DBforPostgreSQL/servers/databases", DatasourceKind::kSingleServerDatabase},
    {"Microsoft.DBforPostgreSQL/servers", DatasourceKind::kSingleServerDatabase},
    {"AzureDatabaseForPostgreSQLFlexibleServer", DatasourceKind::kFlexibleServer},
    {"AzureDatabaseForPostgreSQL", DatasourceKind::kSingleServerDatabase},
    {"OssDB", DatasourceKind::kSingleServerDatabase},
}};

bool is_flexible(DatasourceKind kind) noexcept {
    return kind != DatasourceKind::kSingleServerDatabase;
}

}  // namespace

std::optional<DatasourceKind> parse_datasource_type(std::string_view text) noexcept {
    for (const Spelling& spelling : kSpellings) {
        if (equal_ignoring_case(trim(text), spelling.text)) {
            return spelling.kind;
        }
    }
    return std::nullopt;
}

std::string_view arm_type(DatasourceKind kind) noexcept {
    for (const Spelling& spelling : kSpellings) {
        if (spelling.kind == kind) {
            return spelling.text;
        }
    }
    return {};
}

std::string_view cli_name(DatasourceKind kind) noexcept {
    return is_flexible(kind) ? "AzureDatabaseForPostgreSQLFlexibleServer"
                             : "AzureDatabaseForPostgreSQL";
}

bool covers(DatasourceKind policy_type, DatasourceKind instance_type) noexcept {
    return is_flexible(policy_type) == is_flexible(instance_type);
}

std::string allowed_datasource_types() {
    std::string out;
    for (const Spelling& spelling : kSpellings) {
        out += (out.empty() ? "" : ", ");
        out += spelling.text;
    }
    return out;
}

}  // namespace holdfast::protection
