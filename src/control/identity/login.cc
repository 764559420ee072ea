#include "control/identity/login.h"

#include "base/error.h"
#include "base/ids.h"
#include "base/text.h"
#include "control/identity/directory.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::PrincipalRecord;

constexpr std::size_t kAccountMax = 256;

/// What can be wrong with a token request, in the words of OAuth and with the numbers of Azure's
/// directory, which az and the SDKs print.
struct Refusal {
    int status;
    std::string_view error;
    int number;
    std::string_view text;
};
constexpr Refusal kUnsupportedGrant{
    400, "unsupported_grant_type", 70003, "The grant type is not supported."
};
constexpr Refusal kMissingParameter{
    400,
    "invalid_request",
    900144,
    "The request body must contain the parameters of its grant type."
};
constexpr Refusal kWrongResource{
    400, "invalid_resource", 500011, "The scope does not name this server."
};
constexpr Refusal kWrongSecret{
    401,
    "invalid_client",
    7000215,
    "Invalid client secret provided, or there is no such client in this directory."
};
constexpr Refusal kWrongPassword{
    400, "invalid_grant", 50126, "Error validating credentials due to invalid username or password."
};
constexpr Refusal kWrongRefresh{
    400, "invalid_grant", 700082, "The refresh token has expired or is not valid."
};
constexpr Refusal kTooOften{
    429, "temporarily_unavailable", 50196, "Too many failed logins; wait before the next one."
};

LoginOutcome refuse(const Refusal& refusal, const std::string& account, Instant now) {
    LoginOutcome out;
    out.status = refusal.status;
    out.code = refusal.error;
    out.account = account;
    const std::string trace = new_guid();
    out.body = Json{
        {"error", refusal.error},
        {"error_description", fmt::format("AADSTS{}: {}", refusal.number, refusal.text)},
        {"error_codes", Json::array({refusal.number})},
        {"timestamp", format_instant_seconds(now)},
        {"trace_id", trace},
        {"correlation_id", trace},
    };
    return out;
}

std::string host_of(std::string_view url) {
    const auto scheme = url.find("://");
    std::string_view rest = scheme == std::string_view::npos ? url : url.substr(scheme + 3);
    rest = rest.substr(0, rest.find('/'));
    const auto colon = rest.rfind(':');
    if (colon != std::string_view::npos && !rest.ends_with(']')) {
        rest = rest.substr(0, colon);
    }
    return to_lower(rest);
}

/// Every scope that is a resource must be this server, or a key vault below its name; words without
/// a host (openid, offline_access) are no resources.
bool scopes_are_ours(const Query& form, const std::string& origin) {
    const std::string own = host_of(origin);
    const auto ours = [&](std::string_view url) {
        const std::string host = host_of(url);
        return host == own || host.ends_with("." + own) || own.ends_with("." + host);
    };
    for (const std::string& scope : split(form.get_or("scope", ""), ' ')) {
        if (scope.find("://") != std::string::npos && !ours(scope)) {
            return false;
        }
    }
    const std::string resource = form.get_or("resource", "");
    return resource.empty() || ours(resource);
}

Json answer(std::chrono::seconds life, std::string token) {
    return Json{
        {"token_type", "Bearer"},
        {"expires_in", life.count()},
        {"ext_expires_in", life.count()},
        {"access_token", std::move(token)},
    };
}

const Refusal& refusal_of(std::string_view grant) {
    if (grant == "password") {
        return kWrongPassword;
    }
    return grant == "refresh_token" ? kWrongRefresh : kWrongSecret;
}

bool wants_id_token(std::string_view scope) {
    return scope.find("openid") != std::string_view::npos;
}

}  // namespace

LoginOutcome LoginService::login(const LoginRequest& request) {
    const Query& form = request.form;
    const std::string grant = form.get_or("grant_type", "");
    const std::string client_id = form.get_or("client_id", "");
    const bool by_user = grant == "password";
    const std::string account =
        form.get_or(by_user ? "username" : "client_id", "").substr(0, kAccountMax);
    const Instant now = parts_.clock.now();
    if (grant != "client_credentials" && grant != "password" && grant != "refresh_token") {
        return refuse(kUnsupportedGrant, account, now);
    }
    const std::string_view credential =
        by_user ? "password" : (grant == "refresh_token" ? "refresh_token" : "client_secret");
    if (account.empty() || form.get_or(credential, "").empty()) {
        return refuse(kMissingParameter, account, now);
    }
    if (!scopes_are_ours(form, request.origin)) {
        return refuse(kWrongResource, account, now);
    }
    if (const auto wait = limiter_.blocked(account, request.peer)) {
        LoginOutcome out = refuse(kTooOften, account, now);
        out.retry_after = wait;
        return out;
    }
    const auto principal = check(request, grant, account);
    if (!principal) {
        limiter_.failed(account, request.peer);
        return refuse(refusal_of(grant), account, now);
    }
    limiter_.succeeded(account, request.peer);
    LoginOutcome out;
    out.account = account;
    out.principal = *principal;
    out.body = answer(parts_.tokens.life(), parts_.tokens.issue(*principal, request.origin));
    if (grant != "client_credentials") {
        out.body["refresh_token"] = parts_.tokens.issue_refresh(*principal, request.origin);
        out.body["scope"] = form.get_or("scope", "");
    }
    if (grant != "client_credentials" && wants_id_token(form.get_or("scope", ""))) {
        out.body["id_token"] = parts_.tokens.issue_id(*principal, request.origin, client_id);
    }
    return out;
}

std::optional<PrincipalRecord> LoginService::check(
    const LoginRequest& request, const std::string& grant, const std::string& account
) {
    if (grant == "client_credentials") {
        return check_secret(account, Secret{request.form.get_or("client_secret", "")});
    }
    std::optional<PrincipalRecord> principal;
    if (grant == "refresh_token") {
        run_boundary(
            [&] {
                principal = parts_.tokens.open_refresh(request.form.get_or("refresh_token", ""));
            },
            [](const Error&) {}
        );
        return principal;
    }
    parts_.catalog.read([&](const catalog::View& view) {
        principal = find_principal(view, account);
    });
    const bool is_user = principal && principal->kind == "User" && principal->enabled;
    const bool matches = parts_.passwords.matches(
        is_user ? principal->password_hash : "", Secret{request.form.get_or("password", "")}
    );
    return matches ? principal : std::nullopt;
}

std::optional<PrincipalRecord> LoginService::check_secret(
    const std::string& client_id, const Secret& secret
) {
    std::optional<Principal> holder;
    run_boundary(
        [&] { holder = parts_.secrets.authenticate(secret.expose_text()); }, [](const Error&) {}
    );
    if (!holder) {
        return std::nullopt;
    }
    std::optional<PrincipalRecord> principal;
    parts_.catalog.read([&](const catalog::View& view) {
        principal = find_principal(view, client_id);
    });
    return principal && principal->id == holder->object_id ? principal : std::nullopt;
}

}  // namespace holdfast::control
