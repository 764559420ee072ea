#include "control/dispatcher.h"

#include "base/ids.h"
#include "base/log.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/audit.h"
#include "control/identity/authorize.h"
#include "control/key_vault_names.h"
#include "control/metrics.h"
#include "control/operations.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

constexpr std::size_t kClientRequestIdMax = 128;
// Somebody without a credential must not be able to fill the disk with audit records: more than
// these in a second are only logged.
constexpr std::size_t kStrangersPerSecond = 10;

std::string header_guid_or(
    const Request& request, std::string_view name, const std::string& fallback
) {
    const std::string* value = request.headers.find(name);
    return value != nullptr && is_guid(*value) ? to_lower(*value) : fallback;
}

void give_ids(Request& request) {
    request.request_id = new_guid();
    request.correlation_id =
        header_guid_or(request, "x-ms-correlation-request-id", request.request_id);
    request.client_request_id =
        request.headers.get_or("x-ms-client-request-id", "").substr(0, kClientRequestIdMax);
}

/// What `Host` may hold: a name or address and a port, nothing that could end a URL's authority.
bool is_plain_host(std::string_view host) noexcept {
    return !host.empty() && host.size() <= 255 && std::all_of(host.begin(), host.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '-' || c == ':' || c == '[' || c == ']' || c == '_';
    });
}

std::string list_verbs(const std::vector<Verb>& verbs) {
    std::string out;
    for (const Verb verb : verbs) {
        out += fmt::format("{}{}", out.empty() ? "" : ", ", to_string(verb));
        if (verb == Verb::kGet) {
            out += ", HEAD";
        }
    }
    return out;
}

Error no_such_path(const Request& request) {
    return Error{
        ErrorKind::kResourceNotFound,
        ErrorText{
            .message = fmt::format(
                "There is no resource or operation at '/{}'.",
                join(request.path, "/").substr(0, 300)
            ),
            .recommended_actions = {"Check the path against the API reference (docs/api.md)."},
        }
    };
}

Error wrong_verb(const Request& request, const std::vector<Verb>& allowed) {
    return Error{
        ErrorKind::kMethodNotAllowed,
        ErrorText{
            .message = fmt::format(
                "The method {} is not allowed here. Allowed: {}.",
                request.method.substr(0, 32),
                list_verbs(allowed)
            ),
            .recommended_actions = {"Use one of the allowed methods."},
        }
    };
}

void require_json_type(const Request& request) {
    const std::string* type = request.headers.find("Content-Type");
    if (type == nullptr || trim(*type).empty()) {
        return;  // Scripts forget it, and there is only one kind of body.
    }
    const std::string media = to_lower(trim(std::string_view{*type}.substr(0, type->find(';'))));
    if (media == "application/json" || media == "text/json" || media.ends_with("+json")) {
        return;
    }
    throw Error{
        ErrorKind::kUnsupportedMediaType,
        ErrorText{
            .message = fmt::format("The content type '{}' is not supported.", media.substr(0, 100)),
            .target = "Content-Type",
            .recommended_actions = {"Send JSON with Content-Type: application/json."},
        }
    };
}

Json read_body(const Request& request, BodyRule rule) {
    if (rule == BodyRule::kNone || rule == BodyRule::kRaw) {
        return nullptr;
    }
    if (trim(request.body).empty()) {
        if (rule == BodyRule::kOptional) {
            return nullptr;
        }
        throw Error{
            ErrorKind::kInvalidRequestContent,
            ErrorText{
                .message = "The request has no body; a JSON object is expected.",
                .recommended_actions = {"Send the JSON object that the API reference describes."},
            }
        };
    }
    require_json_type(request);
    Json body = parse_json(request.body, ErrorKind::kInvalidRequestContent, "The request body");
    if (!body.is_object()) {
        throw Error{
            ErrorKind::kInvalidRequestContent,
            ErrorText{
                .message = fmt::format(
                    "The request body must be a JSON object, not {}.", body.type_name()
                ),
                .recommended_actions = {"Send the JSON object that the API reference describes."},
            }
        };
    }
    return body;
}

/// What of an error leaves the house: of our own faults only that there was one.
Error presentable(const Error& error) {
    if (error.kind() != ErrorKind::kInternal) {
        return error;
    }
    return Error{
        ErrorKind::kInternal,
        ErrorText{
            .message = "The service hit an internal error.",
            .recommended_actions =
                {"Try again; if it fails again, look for the correlation id in the server's log."},
        }
    };
}

/// What counts as a method of its own: anybody can send any word.
std::string_view metric_method(std::string_view method) {
    for (const std::string_view known : {"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"}) {
        if (method == known) {
            return known;
        }
    }
    return "other";
}

/// The path as it was sent, without the query, fit for a log line and for JSON.
std::string path_only(const Request& request) {
    constexpr std::size_t kLengthMax = 2048;
    std::string path =
        request.raw_target.substr(0, std::min(request.raw_target.find('?'), kLengthMax));
    for (char& c : path) {
        c = static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e ? '?' : c;
    }
    return path;
}

}  // namespace

/// What becomes known of a request while it is processed: for the log and the audit trail.
struct Dispatcher::Trace {
    Request request;
    SteadyInstant started{};
    const Route* route = nullptr;
    Principal principal;
    std::string scope;
    std::string error_code;
    std::string allow;  // For a 405.
};

Dispatcher::Dispatcher(
    Services& services,
    std::vector<Route> routes,
    std::vector<Authenticator*> authenticators,
    DispatcherSettings settings
)
    : services_{services},
      routes_{std::move(routes)},
      authenticators_{std::move(authenticators)},
      settings_{std::move(settings)} {}

Reply Dispatcher::handle(Request request) noexcept {
    Trace trace{.request = std::move(request), .started = services_.clock.steady_now()};
    give_ids(trace.request);
    Reply reply;
    run_boundary(
        [&] {
            reply = process(trace);
            reply.encode();
        },
        [&](const Error& error) {
            if (traits(error.kind()).http_status >= 500) {
                log_error(
                    "request failed",
                    {{"correlation_id", trace.request.correlation_id}, {"error", error.log_line()}}
                );
            }
            trace.error_code = error.code();
            reply = error_reply(presentable(error), trace.request);
            reply.encode();
            if (!trace.allow.empty()) {
                reply.headers.set("Allow", trace.allow);
            }
            if (reply.status == 401) {
                reply.headers.set("WWW-Authenticate", challenge(trace.request));
            }
        }
    );
    run_boundary(
        [&] {
            add_common_headers(trace.request, reply);
            audit(trace, reply);
        },
        [&](const Error& error) {
            // The change itself has been made; losing the reply as well would help nobody.
            log_error(
                "audit record not written",
                {{"correlation_id", trace.request.correlation_id}, {"error", error.log_line()}}
            );
        }
    );
    record(trace, reply);
    return reply;
}

Reply Dispatcher::refuse(Request request, const Error& error) noexcept {
    Reply reply;
    run_boundary(
        [&] {
            give_ids(request);
            reply = error_reply(error, request);
            reply.encode();
            add_common_headers(request, reply);
            record(
                Trace{
                    .request = std::move(request),
                    .started = services_.clock.steady_now(),
                    .error_code = std::string{error.code()}
                },
                reply
            );
        },
        [&](const Error&) { reply = Reply::empty(500); }
    );
    return reply;
}

void Dispatcher::record(const Trace& trace, const Reply& reply) {
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(
        services_.clock.steady_now() - trace.started
    );
    const std::string_view route =
        trace.route != nullptr ? std::string_view{trace.route->pattern} : std::string_view{};
    if (settings_.metrics != nullptr) {
        settings_.metrics->request(
            {.method = metric_method(trace.request.method),
             .route = route,
             .status = reply.status,
             .took = took}
        );
    }
    // Probes come every few seconds and say nothing.
    const bool probe =
        trace.route != nullptr && trace.route->access == Access::kAnonymous && reply.status < 300;
    AccessLog& to = settings_.access_log != nullptr ? *settings_.access_log : stderr_log_;
    to.write(
        {.at = services_.clock.now(),
         .method = trace.request.method.substr(0, 32),
         .path = path_only(trace.request),
         .route = std::string{route},
         .status = reply.status,
         .code = trace.error_code,
         .bytes = reply.body_size(),
         .took = took,
         .principal = trace.principal.object_id,
         .address = trace.request.peer_address,
         .request_id = trace.request.request_id,
         .correlation_id = trace.request.correlation_id},
        probe ? AccessLog::Weight::kProbe : AccessLog::Weight::kNormal
    );
}

Reply Dispatcher::process(Trace& trace) {
    Request& request = trace.request;
    const auto verb = parse_verb(request.method);
    Target target = parse_target(request.raw_target);
    request.path = std::move(target.path);
    request.query = std::move(target.query);
    request.verb = verb.value_or(Verb::kGet);

    RoutingTable::Match match = routes_.find(request.verb, request.path);
    if (!verb) {
        match.route = nullptr;
        for (const Verb each : {Verb::kGet, Verb::kPut, Verb::kPost, Verb::kPatch, Verb::kDelete}) {
            if (routes_.find(each, request.path).route != nullptr) {
                match.allowed.push_back(each);
            }
        }
    }
    trace.route = match.route;
    trace.scope = match.scope;
    // Who has no credential does not even learn which paths exist.
    if (match.route == nullptr || match.route->access != Access::kAnonymous) {
        trace.principal = authenticate(request);
    }
    if (match.route == nullptr) {
        if (match.allowed.empty()) {
            throw no_such_path(request);
        }
        trace.allow = list_verbs(match.allowed);
        throw wrong_verb(request, match.allowed);
    }
    const Route& route = *match.route;
    if (route.scope) {
        match.scope = route.scope(services_, request, match.path);
        trace.scope = match.scope;
    }
    std::string api_version = request.query.get_or("api-version", "");
    if (route.api_version == ApiVersion::kRequired) {
        const bool ours = route.pattern.find("Microsoft.DataProtection") != std::string::npos;
        api_version =
            require_api_version(request, ours ? kDataProtectionVersionMin : std::string_view{});
    }
    if (route.access == Access::kAuthorized) {
        services_.authorizer.authorize(trace.principal, route.action, match.scope);
    }
    RequestContext context{
        .request = request,
        .route = route,
        .path = std::move(match.path),
        .principal = trace.principal,
        .api_version = std::move(api_version),
        .base_url = base_url(request),
        .scope = match.scope,
        .body = read_body(request, route.body),
        .services = services_,
    };
    if (request.verb == Verb::kPost && !request.client_request_id.empty()) {
        std::optional<std::string> first;
        services_.catalog.read([&](const catalog::View& view) {
            first = Operations::find_replay(view, context);
        });
        if (first) {
            return services_.operations.accepted(context, *first);
        }
    }
    return route.handler(context);
}

Principal Dispatcher::authenticate(const Request& request) const {
    const std::string* header = request.headers.find("Authorization");
    constexpr std::string_view kScheme = "Bearer ";
    if (header != nullptr && starts_with_ignoring_case(*header, kScheme)) {
        const std::string_view credential = trim(std::string_view{*header}.substr(kScheme.size()));
        for (Authenticator* authenticator : authenticators_) {
            if (auto principal = authenticator->authenticate(credential)) {
                return std::move(*principal);
            }
        }
    }
    throw Error{
        ErrorKind::kAuthenticationFailed,
        ErrorText{
            .message = header == nullptr
                           ? "Authentication failed. The 'Authorization' header is missing."
                           : "Authentication failed. The 'Authorization' header is not a bearer "
                             "token of this server.",
            .recommended_actions =
                {"Log in (holdfast login) and send the token: Authorization: Bearer <token>."},
        }
    };
}

std::string Dispatcher::base_url(const Request& request) const {
    if (!settings_.public_url.empty()) {
        return settings_.public_url;
    }
    const std::string* host = request.headers.find("Host");
    return host != nullptr && is_plain_host(*host) ? "https://" + *host : settings_.fallback_origin;
}

std::string Dispatcher::challenge(const Request& request) const {
    // Key Vault's clients learn from it where to log in and for what. Behind a vault's own name
    // stands the name of all vaults, as they demand.
    const std::string origin = base_url(request);
    std::string resource = origin;
    if (!vault_of_host(services_.config, origin).empty()) {
        resource = "https://" + origin.substr(origin.find('.') + 1);
    }
    return fmt::format(
        "Bearer authorization=\"{}/adfs\", resource=\"{}\", error=\"invalid_token\"",
        origin,
        resource
    );
}

void Dispatcher::audit(const Trace& trace, const Reply& reply) {
    if (trace.route != nullptr && trace.route->auditing == Auditing::kByHandler) {
        return;
    }
    const bool refused = reply.status == 401 || reply.status == 403;
    bool wanted = refused;
    if (trace.route != nullptr && !wanted) {
        const bool reads = trace.request.verb == Verb::kGet || trace.request.verb == Verb::kHead;
        wanted = trace.route->auditing == Auditing::kAlways ||
                 (trace.route->auditing == Auditing::kByVerb && !reads);
    }
    if (!wanted || (reply.status == 401 && !may_audit_stranger())) {
        return;
    }
    catalog::AuditRecord record;
    record.principal_id = trace.principal.object_id;
    record.principal_name = trace.principal.display_name;
    record.peer = trace.request.peer_address;
    record.method = trace.request.method.substr(0, 32);
    record.path = path_only(trace.request);
    record.action = trace.route != nullptr ? trace.route->action : "";
    record.scope = trace.scope;
    record.status = reply.status;
    record.code = trace.error_code;
    record.correlation_id = trace.request.correlation_id;
    if (!trace.principal.token_id.empty()) {
        record.details["tokenId"] = trace.principal.token_id;
    }
    services_.audit.write(std::move(record));
}

bool Dispatcher::may_audit_stranger() {
    const std::lock_guard lock{mutex_};
    const SteadyInstant now = services_.clock.steady_now();
    if (now - stranger_window_ >= std::chrono::seconds{1}) {
        stranger_window_ = now;
        strangers_in_window_ = 0;
    }
    return ++strangers_in_window_ <= kStrangersPerSecond;
}

}  // namespace holdfast::control
