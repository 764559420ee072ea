#include "vault/detail/open_reads.h"

#include <algorithm>

namespace holdfast::vault {

OpenReads::Guard::Guard(OpenReads& reads) : reads_{reads}, number_{[&reads] {
    const std::lock_guard lock{reads.mutex_};
    reads.open_.emplace(reads.next_, Read{});
    return reads.next_++;
}()} {}

OpenReads::Guard::~Guard() {
    {
        const std::lock_guard lock{reads_.mutex_};
        reads_.open_.erase(number_);
    }
    reads_.changed_.notify_all();
}

void OpenReads::Guard::found(const std::optional<ContentRef>& root) {
    {
        const std::lock_guard lock{reads_.mutex_};
        reads_.open_.at(number_) = {.found = true, .root = root};
    }
    reads_.changed_.notify_all();
}

std::vector<ContentRef> OpenReads::roots(const std::stop_token& stop) {
    std::unique_lock lock{mutex_};
    const std::uint64_t before = next_;
    // A read that begins later finds its point committed, so the collector finds it, too.
    changed_.wait(lock, stop, [&] {
        return std::all_of(open_.begin(), open_.end(), [before](const auto& one) {
            return one.second.found || one.first >= before;
        });
    });
    std::vector<ContentRef> roots;
    for (const auto& [number, read] : open_) {
        if (read.root) {
            roots.push_back(*read.root);
        }
    }
    return roots;
}

}  // namespace holdfast::vault
