#pragma once

#include "base/json.h"
#include "control/http/message.h"
#include "control/route.h"

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::control {

/// What a request's body held that means nothing to this server: accepted, as clients of every
/// api-version must be, but said in the reply's `x-holdfast-ignored` header and in the log.
class IgnoredProperties {
public:
    /// Notes every member of `object` that is none of `known` (in any case, with or without
    /// underscores) and is not null. Throws unless it is an object.
    void note_unknown(const JsonReader& object, std::initializer_list<std::string_view> known);
    void note(std::string path);
    [[nodiscard]] const std::vector<std::string>& paths() const noexcept { return paths_; }
    /// Adds the header and writes the log line, when there is something to say.
    void report(const RequestContext& context, Reply& reply) const;

private:
    std::vector<std::string> paths_;
};

/// The request body as a reader; faults are kInvalidRequestContent with the JSON path.
[[nodiscard]] JsonReader body_reader(const RequestContext& context);

/// `tags` of a resource: an object of at most 50 texts. Nothing when absent.
[[nodiscard]] std::optional<Json> read_tags(const JsonReader& body);

/// Where a resource lies: ARM's spelling (`West US` is `westus`); `fallback` when absent or empty.
[[nodiscard]] std::string read_location(const JsonReader& body, const std::string& fallback);
[[nodiscard]] std::string canonical_location(std::string_view text);

}  // namespace holdfast::control
