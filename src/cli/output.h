#pragma once

#include "base/error.h"
#include "base/json.h"

#include <string>
#include <string_view>

namespace holdfast::cli {

enum class Colour { kNo, kYes };

struct OutputOptions {
    std::string_view form = "json";  ///< A value of --output.
    std::string_view query = {};     ///< JMESPath; empty: none.
    std::string_view table = {};     ///< JMESPath for `table` without a query; empty: as az.
    Colour colour = Colour::kNo;     ///< For jsonc.
};

/// The text for stdout, as az writes it: JSON with sorted keys and two blanks, tables of the
/// top-level scalars (without id, type and etag), tsv with one line for each element. "" for null
/// and for `none`. Throws kUsage or kInvalidParameter from the query, kInvalidInput when a table
/// has nothing to show.
[[nodiscard]] std::string render_result(const Json& result, const OutputOptions& options);

/// The lines for stderr. An error that the server sent keeps az's form: `ERROR: (Code) message`,
/// then Code, Message, Target, details; our own errors are `ERROR: message`. What to do next comes
/// last.
[[nodiscard]] std::string render_error(const Error& error, Colour colour);

/// The server's error with everything it said: kind by its code, else by the status. The property
/// "code" keeps the code as the server spelt it (the table here may not know it), which is how
/// render_error knows where it came from.
[[nodiscard]] Error server_error(int status, std::string_view body);
/// As above, from the `error` object of an operation's status.
[[nodiscard]] Error operation_error(int status, const Json& error);

}  // namespace holdfast::cli
