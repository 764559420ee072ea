#pragma once

#include "postgres/toc.h"

#include <set>
#include <string>
#include <string_view>

namespace holdfast::postgres {

/// Roles that a statement of pg_dump names after TO, FROM, FOR ROLE, FOR USER, USER MAPPING FOR or
/// SESSION AUTHORIZATION. PUBLIC and the current-user words are none.
[[nodiscard]] std::set<std::string> roles_named_in(std::string_view statement);

enum class RoleUse {
    kOwner,    ///< ALTER … OWNER TO: the restoring role must be able to become it.
    kMention,  ///< Grants, policies, user mappings, default privileges.
};

/// Adds the roles that restoring `entry` of an archive in this encoding needs; names in UTF-8.
void add_roles_of(
    const TocEntry& entry, RoleUse use, std::string_view encoding, std::set<std::string>& roles
);

}  // namespace holdfast::postgres
