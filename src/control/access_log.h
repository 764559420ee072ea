#pragma once

#include "base/clock.h"
#include "base/file.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>

namespace holdfast::control {

/// What is said of one request. No token, no query, no body.
struct AccessEntry {
    Instant at;  ///< When it was answered.
    std::string method;
    std::string path;   ///< As sent, without the query.
    std::string route;  ///< The pattern it matched; empty for none.
    int status = 0;
    std::string code;         ///< ARM error code.
    std::uint64_t bytes = 0;  ///< Of the reply's body; 0 for one of unknown length.
    std::chrono::microseconds took{0};
    std::string principal;  ///< Object id; empty before authentication.
    std::string address;    ///< The client's address and port.
    std::string request_id;
    std::string correlation_id;
};

/// One line per request: JSON into a file of its own, or a line of the log. Safe from any thread.
class AccessLog {
public:
    /// Empty: the log. Throws kConfigInvalid when the file cannot be opened.
    explicit AccessLog(std::filesystem::path file);

    /// A probe's line is for debugging. Never throws: a full disk must not fail requests.
    enum class Weight { kNormal, kProbe };
    void write(const AccessEntry& entry, Weight weight) noexcept;
    /// Opens the file anew under its name, so that a rotation may have moved it away. Keeps the old
    /// one when that fails, and throws kConfigInvalid.
    void reopen();

private:
    const std::filesystem::path path_;
    std::mutex mutex_;
    FileDescriptor file_;   // Guarded by mutex_.
    bool failing_ = false;  // Guarded by mutex_.
};

}  // namespace holdfast::control
