#pragma once

#include "base/secret.h"

#include <iosfwd>
#include <string>
#include <string_view>

namespace holdfast::cli {

/// Where a command reads and writes. Only the result goes to `out`; everything else to `err`.
struct Console {
    std::istream& in;
    std::ostream& out;
    std::ostream& err;
    bool in_is_terminal = false;
    bool out_is_terminal = false;  ///< Colours in `-o jsonc`.
    bool err_is_terminal = false;  ///< Progress bars and colours of messages.
    int columns = 80;              ///< Width of the terminal.
};

/// The console of this process.
[[nodiscard]] Console process_console();

/// Asks on the terminal without echo; reads one line of `in` when that is not a terminal. The text
/// is wiped with the Secret. Throws kUsage when there is nothing to read.
[[nodiscard]] Secret prompt_secret(Console& console, std::string_view prompt);

}  // namespace holdfast::cli
