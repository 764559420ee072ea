#pragma once

#include "base/error.h"

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

// Instantiated once, in json.cc: the library's templates are a good part of what a file costs to
// compile.
extern template class nlohmann::basic_json<>;

namespace holdfast {

/// Objects keep their keys sorted, which is also how az prints them.
using Json = nlohmann::json;

/// Parses `text`; throws `kind` with line and column of the fault, or with the path of a name that
/// an object has twice. Refuses nesting deeper than 64 levels, and numbers beyond a double.
[[nodiscard]] Json parse_json(std::string_view text, ErrorKind kind, std::string_view what);

/// Parses what this program wrote itself (catalog rows): a fault is kInternal.
[[nodiscard]] Json parse_own_json(std::string_view text);

/// A member of `object` whose name equals `name` without regard to case and underscores
/// (`resourceID`, `resourceId` and `resource_id` are one name), or null. An exact match wins. A
/// null member counts as absent.
[[nodiscard]] const Json* find_member(const Json& object, std::string_view name);

/// Reads a client's JSON strictly and says where it is wrong: every error carries the JSON path
/// ("properties. policyRules[0].name"), what was found and what is allowed. Property names match as
/// in find_member; null means absent. A view: the document must outlive it.
class JsonReader {
public:
    /// `kind` is the kind of every error thrown.
    JsonReader(const Json& value, std::string path, ErrorKind kind)
        : value_{&value}, path_{std::move(path)}, kind_{kind} {}

    [[nodiscard]] const Json& value() const noexcept { return *value_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] bool has(std::string_view name) const;

    /// The member, or an error that says it is missing.
    [[nodiscard]] JsonReader member(std::string_view name) const;
    [[nodiscard]] std::optional<JsonReader> optional_member(std::string_view name) const;

    /// The elements; throws unless this is an array.
    [[nodiscard]] std::vector<JsonReader> elements() const;

    [[nodiscard]] const std::string& as_string() const;
    [[nodiscard]] bool as_bool() const;
    [[nodiscard]] std::int64_t as_integer() const;
    [[nodiscard]] double as_number() const;
    void require_object() const;

    [[nodiscard]] std::string string(std::string_view name) const {
        return member(name).as_string();
    }
    [[nodiscard]] std::string string_or(std::string_view name, std::string_view fallback) const;
    [[nodiscard]] std::optional<std::string> optional_string(std::string_view name) const;
    [[nodiscard]] std::optional<bool> optional_bool(std::string_view name) const;
    [[nodiscard]] std::optional<std::int64_t> optional_integer(std::string_view name) const;

    /// The canonical spelling of this string among `allowed` (matched without case), or an error
    /// listing them.
    [[nodiscard]] std::string as_one_of(std::initializer_list<std::string_view> allowed) const;

    /// Throws for the first member that is not in `known`, naming its path and the nearest known
    /// name.
    void refuse_unknown(std::initializer_list<std::string_view> known) const;

    [[noreturn]] void fail(std::string_view problem, std::string_view allowed = {}) const;

private:
    [[nodiscard]] std::string child_path(std::string_view name) const;

    const Json* value_;
    std::string path_;
    ErrorKind kind_;
};

}  // namespace holdfast
