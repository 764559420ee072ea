#include "vault/object_store/object_store.h"

#include "base/error.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::vault {
namespace {

constexpr std::size_t kKeySizeMax = 512;

bool is_key_character(char c) noexcept {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool is_key(std::string_view text) noexcept {
    if (text.empty() || text.size() > kKeySizeMax) {
        return false;
    }
    while (true) {
        const auto end = text.find('/');
        const std::string_view segment = text.substr(0, end);
        if (segment.empty() || segment == "." || segment == ".." ||
            !std::all_of(segment.begin(), segment.end(), is_key_character)) {
            return false;
        }
        if (end == std::string_view::npos) {
            return true;
        }
        text.remove_prefix(end + 1);
    }
}

}  // namespace

ObjectKey::ObjectKey(std::string text) : text_{std::move(text)} {
    if (!is_key(text_)) {
        throw Error{ErrorKind::kInternal, fmt::format("\"{}\" is not an object key.", text_)};
    }
}

std::optional<ObjectKey> ObjectKey::parse(std::string_view text) {
    if (!is_key(text)) {
        return std::nullopt;
    }
    return ObjectKey{std::string{text}};
}

}  // namespace holdfast::vault
