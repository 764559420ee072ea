#include "vault/detail/open_reads.h"

#include <algorithm>

namespace holdfast::vault {

OpenReads::Guard::Guard(OpenReads& reads) : reads_{reads}, number_{[&reads] {
    const std::lock_guard lock{reads.mutex_};
    reads.open_.emplace(reads.next_, Open{});
    return reads.next_++;
}()} {}

OpenReads::Guard::~Guard() {
    {
        const std::lock_guard lock{reads_.mutex_};
        reads_.open_.erase(number_);
    }
    reads_.changed_.notify_all();
}

void OpenReads::Guard::found(const std::optional<ContentRef>& root, const ObjectKey& commit) {
    {
        const std::lock_guard lock{reads_.mutex_};
        Open& open = reads_.open_.at(number_);
        open.found = true;
        if (root) {
            open.read = Read{.root = *root, .commit = commit};
        }
    }
    reads_.changed_.notify_all();
}

std::vector<OpenReads::Read> OpenReads::list(const std::stop_token& stop) {
    std::unique_lock lock{mutex_};
    const std::uint64_t before = next_;
    // A read that begins later finds its point committed, so the collector finds it, too.
    changed_.wait(lock, stop, [&] {
        return std::all_of(open_.begin(), open_.end(), [before](const auto& one) {
            return one.second.found || one.first >= before;
        });
    });
    std::vector<Read> reads;
    for (const auto& [number, open] : open_) {
        if (open.read) {
            reads.push_back(*open.read);
        }
    }
    return reads;
}

}  // namespace holdfast::vault
