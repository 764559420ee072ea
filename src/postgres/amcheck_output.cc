#include "postgres/amcheck_output.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <utility>

namespace holdfast::postgres {
namespace {

/// Far longer than what pg_amcheck says; a server that was tampered with may say anything.
constexpr std::size_t kLineBytesMax = 4096;
constexpr std::size_t kMessageBytesMax = 2000;

}  // namespace

bool is_lack_of_environment(std::string_view message) noexcept {
    constexpr std::array<std::string_view, 6> kWords{
        "could not access file \"$libdir",
        "could not load library",
        "incompatible library",
        "could not find function",
        "is incompatible with operating system",
        "is not supported by this build",
    };
    return std::ranges::any_of(kWords, [&](std::string_view words) {
        return message.find(words) != std::string_view::npos;
    });
}

void AmcheckOutput::append(std::string_view text) {
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        const std::string_view part = text.substr(0, end);
        line_.append(part.substr(0, kLineBytesMax - std::min(line_.size(), kLineBytesMax)));
        if (end == std::string_view::npos) {
            return;
        }
        take_line(line_);
        line_.clear();
        text.remove_prefix(end + 1);
    }
}

void AmcheckOutput::finish() {
    if (!line_.empty()) {
        take_line(line_);
        line_.clear();
    }
    close_item();
}

void AmcheckOutput::take_line(std::string_view line) {
    const bool is_message = line.starts_with("    ");
    if (!is_message) {
        close_item();
        const std::string_view head = trim(line);
        item_.what = head.ends_with(':') ? head.substr(0, head.size() - 1) : head;
        return;
    }
    if (item_.message.size() < kMessageBytesMax) {
        if (!item_.message.empty()) {
            item_.message += "; ";
        }
        item_.message += trim(line);
    }
}

void AmcheckOutput::close_item() {
    Damage item = std::exchange(item_, {});
    if (item.what.empty() && item.message.empty()) {
        return;
    }
    const bool lack = is_lack_of_environment(item.message);
    ++(lack ? not_checked_count_ : damage_count_);
    std::vector<Damage>& list = lack ? not_checked_ : damages_;
    if (list.size() < damages_max_) {
        list.push_back(std::move(item));
    }
}

}  // namespace holdfast::postgres
