#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

using LogField = std::pair<std::string_view, std::string>;

/// One structured line on standard error: time, level, message, key=value fields (values quoted
/// where needed). Safe from any thread. Never pass a secret.
void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});

inline void log_info(std::string_view message, std::initializer_list<LogField> fields = {}) {
    log(LogLevel::kInfo, message, fields);
}
inline void log_warning(std::string_view message, std::initializer_list<LogField> fields = {}) {
    log(LogLevel::kWarning, message, fields);
}
inline void log_error(std::string_view message, std::initializer_list<LogField> fields = {}) {
    log(LogLevel::kError, message, fields);
}

/// Lines below `level` are dropped. The default is kInfo.
void set_log_level(LogLevel level);

}  // namespace holdfast
