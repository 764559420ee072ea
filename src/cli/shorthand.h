#pragma once

#include "base/json.h"

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

/// The words of one structured argument, in az's spellings: `key=value other=value` is an object, a
/// single word is JSON or az's shorthand (`{datastore-type:VaultStore}`, `[{…},{…}]`). Names become
/// camelCase. Throws kUsage naming `option`.
[[nodiscard]] Json parse_shorthand(const std::vector<std::string>& words, std::string_view option);

/// "datastore-type" and "datastore_type" are "datastoreType".
[[nodiscard]] std::string to_camel_case(std::string_view name);

/// What a document's snake_case `resource_id` becomes: requests that make an instance spell it
/// resourceID.
enum class ResourceIdSpelling { kUpper, kLower };
/// A document of the client-side commands as a request body: member names in camelCase, nulls
/// dropped. What lies under `tags` is left alone.
[[nodiscard]] Json to_request_body(const Json& document, ResourceIdSpelling spelling);

}  // namespace holdfast::cli
