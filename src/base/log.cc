#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace holdfast {
namespace {

spdlog::logger& logger() {
    static const std::shared_ptr<spdlog::logger> instance = [] {
        auto created = spdlog::stderr_logger_mt("holdfast");
        created->set_pattern("%Y-%m-%dT%H:%M:%S.%f%z %l %v");
        created->flush_on(spdlog::level::info);
        return created;
    }();
    return *instance;
}

spdlog::level::level_enum to_spdlog(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug:
            return spdlog::level::debug;
        case LogLevel::kInfo:
            return spdlog::level::info;
        case LogLevel::kWarning:
            return spdlog::level::warn;
        case LogLevel::kError:
            return spdlog::level::err;
    }
    return spdlog::level::err;
}

/// Quotes values with blanks and escapes control characters, so that one event stays one line.
void append_value(std::string& line, std::string_view value) {
    const bool quote =
        value.empty() || value.find_first_of(" =\"\\\n\r\t") != std::string_view::npos;
    if (quote) {
        line.push_back('"');
    }
    for (const char c : value) {
        if (c == '"' || c == '\\') {
            line.push_back('\\');
            line.push_back(c);
        } else if (static_cast<unsigned char>(c) < 0x20) {
            line += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        } else {
            line.push_back(c);
        }
    }
    if (quote) {
        line.push_back('"');
    }
}

}  // namespace

void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
    const auto spd_level = to_spdlog(level);
    if (!logger().should_log(spd_level)) {
        return;
    }
    std::string line;
    for (const char c : message) {
        line.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
    }
    for (const auto& [key, value] : fields) {
        line += fmt::format(" {}=", key);
        append_value(line, value);
    }
    logger().log(spd_level, "{}", line);
}

void set_log_level(LogLevel level) {
    logger().set_level(to_spdlog(level));
}

}  // namespace holdfast
