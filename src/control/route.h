#pragma once

#include "control/http/message.h"
#include "control/identity/principal.h"

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::control {

struct Services;
struct Route;

/// The values of a pattern's `{parameters}`, decoded, in the caller's casing.
class PathParameters {
public:
    /// A parameter of the route's own pattern: an unknown name is a bug (checked).
    [[nodiscard]] const std::string& at(std::string_view name) const;
    [[nodiscard]] bool has(std::string_view name) const;
    void set(std::string_view name, std::string value);

private:
    std::map<std::string, std::string, std::less<>> values_;
};

/// All that a handler gets. Lives for one request; handlers run on the bounded "http" pool, many at
/// a time.
struct RequestContext {
    const Request& request;
    const Route& route;
    PathParameters path;
    Principal principal;      ///< Anonymous for Access::kAnonymous routes.
    std::string api_version;  ///< Checked; empty where the route has none.
    std::string base_url;     ///< `https://host:port`, as the client reached us; no trailing slash.
    std::string
        scope;  ///< The ARM scope that was authorized: the resource, or the parent of a collection.
    Json body;  ///< The parsed request body; null when there was none.
    Services& services;
};

using Handler = std::function<Reply(const RequestContext&)>;

/// Who may call a route.
enum class Access {
    kAuthorized,     ///< `action` on the request's scope is checked before the handler runs.
    kAuthenticated,  ///< Any principal: the handler itself asks authorize(), e.g. for each row of a
                     ///< list.
    kAnonymous,      ///< Nobody is asked: health, discovery.
};

/// Whether the audit trail gets an entry. Refusals (401, 403) always do.
enum class Auditing {
    kByVerb,     ///< For every verb but GET and HEAD.
    kAlways,     ///< Also a read: of a secret, of restored data.
    kNever,      ///< A POST that only asks (queries, validations).
    kByHandler,  ///< The handler writes its own: it alone knows who it was (logins).
};

enum class ApiVersion { kRequired, kExempt };

enum class BodyRule {
    kNone,      ///< A body is ignored.
    kOptional,  ///< Parsed as JSON when there is one.
    kRequired,  ///< 400 InvalidRequestContent without a JSON object.
    kRaw,       ///< Not parsed: the handler reads `request.body`.
};

/// One row of the API: the dispatcher, the authorization and docs/api.md all read it.
struct Route {
    Verb verb = Verb::kGet;
    /// `/subscriptions/{subscriptionId}/…`: literal segments match in any casing, `{name}` matches
    /// one segment,
    /// `{*name}` (first segment only) any number of them. A literal is preferred to a parameter.
    /// Scope: the path up to and including its last parameter.
    std::string pattern;
    /// ARM action, e.g. `Microsoft.DataProtection/backupVaults/read`. Never empty; for the log and
    /// docs even where nobody is asked.
    std::string action;
    std::string summary;  ///< One sentence for docs/api.md.
    Handler handler;
    BodyRule body = BodyRule::kNone;
    Access access = Access::kAuthorized;
    ApiVersion api_version = ApiVersion::kRequired;
    Auditing auditing = Auditing::kByVerb;
    /// The ARM scope of a path that is no ARM id (a key vault's secrets); empty: the path itself.
    std::function<std::string(const Services&, const Request&, const PathParameters&)> scope = {};
};

/// The routes of a server, ready for look-up. Immutable once built; safe from any thread.
class RoutingTable {
public:
    /// Two rows that match the same requests are a bug (checked).
    explicit RoutingTable(std::vector<Route> routes);

    struct Match {
        const Route* route = nullptr;  ///< Null when no row has this verb, or none this path.
        PathParameters path;
        std::string scope;
        std::vector<Verb>
            allowed;  ///< The verbs of this path when `route` is null; empty: no such path.
    };
    /// HEAD finds the GET row when it has none of its own.
    [[nodiscard]] Match find(Verb verb, const std::vector<std::string>& path) const;
    [[nodiscard]] const std::vector<Route>& routes() const noexcept { return routes_; }

private:
    std::vector<Route> routes_;
    std::vector<std::vector<std::string>> patterns_;  // Split, beside routes_.
};

/// docs/api.md: every row, grouped by the resource type.
[[nodiscard]] std::string describe_routes(const std::vector<Route>& routes);

}  // namespace holdfast::control
