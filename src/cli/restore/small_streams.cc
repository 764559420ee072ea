#include "cli/restore/small_streams.h"

#include "base/error.h"

#include <algorithm>

namespace holdfast::cli {

void SmallStreams::add(std::string_view name, std::uint32_t size) {
    HOLDFAST_CHECK(name.size() <= kNameBytesMax);
    streams_.push_back({
        .name_at = names_.size(),
        .size = size,
        .name_bytes = static_cast<std::uint16_t>(name.size()),
    });
    names_ += name;
}

void SmallStreams::sort() {
    const auto before = [this](const Stream& a, const Stream& b) {
        return name_of(a) < name_of(b);
    };
    const auto same = [this](const Stream& a, const Stream& b) {
        return name_of(a) == name_of(b);
    };
    // A listing is sorted already.
    if (!std::is_sorted(streams_.begin(), streams_.end(), before)) {
        std::stable_sort(streams_.begin(), streams_.end(), before);
    }
    streams_.erase(std::unique(streams_.begin(), streams_.end(), same), streams_.end());
}

std::optional<std::size_t> SmallStreams::find(std::string_view name) const {
    const auto found = std::lower_bound(
        streams_.begin(),
        streams_.end(),
        name,
        [this](const Stream& stream, std::string_view wanted) { return name_of(stream) < wanted; }
    );
    if (found == streams_.end() || name_of(*found) != name) {
        return std::nullopt;
    }
    return static_cast<std::size_t>(found - streams_.begin());
}

}  // namespace holdfast::cli
