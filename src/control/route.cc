#include "control/route.h"

#include "base/error.h"
#include "base/text.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

bool is_parameter(std::string_view segment) noexcept {
    return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

bool is_wildcard(std::string_view segment) noexcept {
    return is_parameter(segment) && segment[1] == '*';
}

std::string_view parameter_name(std::string_view segment) noexcept {
    segment = segment.substr(1, segment.size() - 2);
    return segment.front() == '*' ? segment.substr(1) : segment;
}

std::vector<std::string> split_pattern(std::string_view pattern) {
    std::vector<std::string> out;
    for (std::string& segment : split(pattern, '/')) {
        if (!segment.empty()) {
            out.push_back(std::move(segment));
        }
    }
    return out;
}

bool tail_matches(
    std::span<const std::string> pattern, std::span<const std::string> path
) noexcept {
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (!is_parameter(pattern[i]) && !equal_ignoring_case(pattern[i], path[i])) {
            return false;
        }
    }
    return true;
}

bool matches(
    const std::vector<std::string>& pattern, const std::vector<std::string>& path
) noexcept {
    if (!pattern.empty() && is_wildcard(pattern.front())) {
        const std::size_t tail = pattern.size() - 1;
        return path.size() >= tail &&
               tail_matches(
                   std::span{pattern}.subspan(1), std::span{path}.subspan(path.size() - tail)
               );
    }
    return pattern.size() == path.size() && tail_matches(pattern, path);
}

/// True when `a` is the better of two patterns that match one path: the first place where they
/// differ in kind decides for the literal.
bool more_specific(const std::vector<std::string>& a, const std::vector<std::string>& b) noexcept {
    const auto rank = [](const std::string& segment) {
        return is_wildcard(segment) ? 2 : (is_parameter(segment) ? 1 : 0);
    };
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
        if (rank(a[i]) != rank(b[i])) {
            return rank(a[i]) < rank(b[i]);
        }
    }
    return a.size() > b.size();
}

/// A pattern with its parameter names and casing taken out: equal for two rows that match the same
/// paths.
std::string shape_of(const std::vector<std::string>& pattern) {
    std::string out;
    for (const std::string& segment : pattern) {
        out += is_wildcard(segment) ? "/{*}"
                                    : (is_parameter(segment) ? "/{}" : "/" + to_lower(segment));
    }
    return out;
}

void bind(
    const std::vector<std::string>& pattern,
    const std::vector<std::string>& path,
    RoutingTable::Match& match
) {
    std::size_t offset = 0;
    std::size_t scope_length = 0;  // In segments of the path.
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (!is_parameter(pattern[i])) {
            continue;
        }
        if (is_wildcard(pattern[i])) {
            offset = path.size() - pattern.size();
            // `offset` may be -1 in effect: the wildcard took no segment at all.
            std::string taken;
            const std::size_t count = path.size() + 1 - pattern.size();
            for (std::size_t k = 0; k < count; ++k) {
                taken += "/" + path[k];
            }
            match.path.set(parameter_name(pattern[i]), taken.empty() ? "/" : taken);
            scope_length = count;
            continue;
        }
        match.path.set(parameter_name(pattern[i]), path[i + offset]);
        scope_length = i + offset + 1;
    }
    for (std::size_t k = 0; k < scope_length; ++k) {
        match.scope += "/" + path[k];
    }
    if (match.scope.empty()) {
        match.scope = "/";
    }
}

struct Abbreviation {
    std::string_view word;
    std::string_view path;
};
/// Longest first.
constexpr Abbreviation kAbbreviations[] = {
    {"INSTANCE",
     "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/providers/"
     "Microsoft.DataProtection/backupVaults/{vaultName}/backupInstances/{backupInstanceName}"},
    {"VAULT",
     "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/providers/"
     "Microsoft.DataProtection/backupVaults/{vaultName}"},
    {"GROUP", "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}"},
    {"SUBSCRIPTION", "/subscriptions/{subscriptionId}"},
};

std::string abbreviated(std::string_view pattern) {
    for (const auto& [word, path] : kAbbreviations) {
        if (pattern.size() > path.size() && pattern.starts_with(path)) {
            return fmt::format("{}{}", word, pattern.substr(path.size()));
        }
    }
    return std::string{pattern};
}

/// The resource type of an action: what stands before the verb.
std::string type_of(std::string_view action) {
    if (action.ends_with("/action")) {
        action.remove_suffix(std::string_view{"/action"}.size());
    }
    return std::string{action.substr(0, action.rfind('/'))};
}

}  // namespace

const std::string& PathParameters::at(std::string_view name) const {
    const auto found = values_.find(name);
    HOLDFAST_CHECK(found != values_.end());
    return found->second;
}

bool PathParameters::has(std::string_view name) const {
    return values_.contains(name);
}

void PathParameters::set(std::string_view name, std::string value) {
    values_.insert_or_assign(std::string{name}, std::move(value));
}

RoutingTable::RoutingTable(std::vector<Route> routes) : routes_{std::move(routes)} {
    std::set<std::pair<Verb, std::string>> seen;
    patterns_.reserve(routes_.size());
    for (const Route& route : routes_) {
        HOLDFAST_CHECK(!route.action.empty() && route.handler != nullptr);
        patterns_.push_back(split_pattern(route.pattern));
        const auto& pattern = patterns_.back();
        for (std::size_t i = 1; i < pattern.size(); ++i) {
            HOLDFAST_CHECK(!is_wildcard(pattern[i]));
        }
        HOLDFAST_CHECK(seen.emplace(route.verb, shape_of(pattern)).second);
    }
}

RoutingTable::Match RoutingTable::find(Verb verb, const std::vector<std::string>& path) const {
    Match match;
    std::optional<std::size_t> best;
    std::optional<std::size_t> best_get;
    for (std::size_t i = 0; i < routes_.size(); ++i) {
        if (!matches(patterns_[i], path)) {
            continue;
        }
        if (std::find(match.allowed.begin(), match.allowed.end(), routes_[i].verb) ==
            match.allowed.end()) {
            match.allowed.push_back(routes_[i].verb);
        }
        const auto consider = [&](std::optional<std::size_t>& slot) {
            if (!slot || more_specific(patterns_[i], patterns_[*slot])) {
                slot = i;
            }
        };
        if (routes_[i].verb == verb) {
            consider(best);
        }
        if (routes_[i].verb == Verb::kGet) {
            consider(best_get);
        }
    }
    if (!best && verb == Verb::kHead) {
        best = best_get;
    }
    if (!best) {
        return match;
    }
    match.allowed.clear();
    match.route = &routes_[*best];
    bind(patterns_[*best], path, match);
    return match;
}

std::string describe_routes(const std::vector<Route>& routes) {
    std::map<std::string, std::vector<const Route*>> groups;
    for (const Route& route : routes) {
        groups[type_of(route.action)].push_back(&route);
    }
    std::string out =
        "# The REST API\n\n"
        "This page is written by `holdfast docs api` from the server's route table; a test keeps "
        "it "
        "true.\n\n"
        "HEAD is answered where GET is. Unless marked otherwise a request needs `?api-version=` (a "
        "date; for\nMicrosoft.DataProtection any from 2021-01-01 on) and a bearer token whose "
        "roles "
        "allow the action. Long\npaths are abbreviated:\n\n";
    for (const auto& [word, path] : kAbbreviations) {
        out += fmt::format("- {} = `{}`\n", word, path);
    }
    for (const auto& [group, rows] : groups) {
        out += fmt::format(
            "\n## {}\n\n| request | action | what it does |\n| --- | --- | --- |\n", group
        );
        for (const Route* route : rows) {
            std::string note;
            if (route->access == Access::kAnonymous) {
                note = " No token.";
            } else if (route->access == Access::kAuthenticated) {
                note = " Any token; shows what its roles allow.";
            }
            if (route->api_version == ApiVersion::kExempt) {
                note += " No api-version.";
            }
            out += fmt::format(
                "| {} `{}` | `{}` | {}{} |\n",
                to_string(route->verb),
                abbreviated(route->pattern),
                route->action,
                route->summary,
                note
            );
        }
    }
    return out;
}

}  // namespace holdfast::control
