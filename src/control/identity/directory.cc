#include "control/identity/directory.h"

#include "base/error.h"
#include "base/ids.h"
#include "base/text.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::PrincipalRecord;
using catalog::RoleAssignmentRecord;
using catalog::TokenRecord;

constexpr std::size_t kNameBytesMax = 256;

void check_display_name(const std::string& name) {
    const bool printable = std::none_of(name.begin(), name.end(), [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    });
    if (trim(name).empty() || name.size() > kNameBytesMax || !printable || !is_utf8(name)) {
        throw Error{
            ErrorKind::kInvalidParameter,
            ErrorText{
                .message = fmt::format(
                    "A display name has 1 to {} bytes of printable text.", kNameBytesMax
                ),
                .target = "displayName",
                .recommended_actions = {"Choose another name."},
            }
        };
    }
}

void check_user_name(const std::string& name) {
    const auto at = name.find('@');
    const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '-' || c == '_' || c == '+' || c == '@';
    });
    if (at == 0 || at == std::string::npos || at + 1 == name.size() ||
        name.find('@', at + 1) != std::string::npos || !plain || name.size() > kNameBytesMax) {
        throw Error{
            ErrorKind::kInvalidParameter,
            ErrorText{
                .message = fmt::format("'{}' is not a user name.", name.substr(0, 100)),
                .target = "userPrincipalName",
                .recommended_actions = {"Give it as NAME@DOMAIN, like alice@example.org."},
            }
        };
    }
}

}  // namespace

std::optional<PrincipalRecord> find_principal(
    const catalog::View& view, std::string_view login_name_or_id
) {
    if (login_name_or_id.empty()) {
        return std::nullopt;
    }
    auto found = view.list<PrincipalRecord>({.parent = std::string{login_name_or_id}, .limit = 1});
    if (!found.empty()) {
        return std::move(found.front());
    }
    return view.get<PrincipalRecord>(login_name_or_id);
}

PrincipalRecord require_principal(const catalog::View& view, std::string_view login_name_or_id) {
    auto principal = find_principal(view, login_name_or_id);
    if (!principal) {
        throw Error{
            ErrorKind::kPrincipalNotFound,
            ErrorText{
                .message = fmt::format(
                    "There is no principal '{}' in the directory.", login_name_or_id.substr(0, 200)
                ),
                .target = std::string{login_name_or_id.substr(0, 200)},
                .recommended_actions =
                    {"Give a client id, a user name or an object id; see: holdfast ad sp list"},
            }
        };
    }
    return std::move(*principal);
}

PrincipalRecord add_service_principal(
    catalog::Transaction& transaction, const std::string& display_name, Json tags
) {
    check_display_name(display_name);
    PrincipalRecord principal;
    principal.id = new_guid();
    principal.kind = "ServicePrincipal";
    principal.display_name = display_name;
    principal.login_name = new_guid();
    principal.tags = std::move(tags);
    principal.created_at = transaction.now();
    transaction.put(principal);
    return principal;
}

PrincipalRecord add_user(
    catalog::Transaction& transaction,
    const std::string& user_name,
    const std::string& display_name,
    std::string password_hash
) {
    check_user_name(user_name);
    check_display_name(display_name);
    if (find_principal(transaction, user_name)) {
        throw Error{
            ErrorKind::kConflict,
            ErrorText{
                .message = fmt::format("There is already a user '{}'.", user_name),
                .target = "userPrincipalName",
                .recommended_actions = {"Choose another name, or delete that user first."},
            }
        };
    }
    PrincipalRecord principal;
    principal.id = new_guid();
    principal.kind = "User";
    principal.display_name = display_name;
    principal.login_name = user_name;
    principal.password_hash = std::move(password_hash);
    principal.created_at = transaction.now();
    transaction.put(principal);
    return principal;
}

void remove_principal(catalog::Transaction& transaction, const PrincipalRecord& principal) {
    if (principal.kind == "ManagedIdentity") {
        throw Error{
            ErrorKind::kConflict,
            ErrorText{
                .message = fmt::format(
                    "'{}' is the identity of a backup vault and goes with it.",
                    principal.display_name
                ),
                .target = principal.id,
                .recommended_actions = {"Remove its role assignments, or delete the vault."},
            }
        };
    }
    for (const auto& token : transaction.list<TokenRecord>({.parent = principal.id})) {
        transaction.remove<TokenRecord>(token.id);
    }
    for (const auto& each : transaction.list<RoleAssignmentRecord>({.subject = principal.id})) {
        transaction.remove<RoleAssignmentRecord>(each.id);
    }
    transaction.remove<PrincipalRecord>(principal.id);
}

void revoke_credentials(catalog::Transaction& transaction, PrincipalRecord& principal) {
    for (TokenRecord& token : transaction.list<TokenRecord>({.parent = principal.id})) {
        token.revoked = true;
        transaction.put(token);
    }
    principal.tokens_valid_from = transaction.now();
    transaction.put(principal);
}

}  // namespace holdfast::control
