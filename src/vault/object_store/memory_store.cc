#include "vault/object_store/memory_store.h"

#include "vault/object_store/checks.h"

namespace holdfast::vault {

StoreFeatures MemoryStore::features() const noexcept {
    return {.object_size_best_bytes = 16 * kMiB, .survives_process = false, .is_near = true};
}

PutOutcome MemoryStore::put_new(const ObjectKey& key, ByteSpan data, std::stop_token stop) {
    throw_if_stopped(stop);
    const std::lock_guard lock{mutex_};
    const bool created = objects_.try_emplace(key, data.begin(), data.end()).second;
    return created ? PutOutcome::kCreated : PutOutcome::kAlreadyExists;
}

std::optional<Bytes> MemoryStore::get(const ObjectKey& key, std::stop_token stop) {
    throw_if_stopped(stop);
    const std::lock_guard lock{mutex_};
    const auto found = objects_.find(key);
    return found == objects_.end() ? std::nullopt : std::optional{found->second};
}

std::optional<Bytes> MemoryStore::get_range(
    const ObjectKey& key, std::uint64_t offset, std::uint64_t length, std::stop_token stop
) {
    throw_if_stopped(stop);
    const std::lock_guard lock{mutex_};
    const auto found = objects_.find(key);
    if (found == objects_.end()) {
        return std::nullopt;
    }
    const Bytes& object = found->second;
    if (offset > object.size() || length > object.size() - offset) {
        throw_short_object(key, offset + length, object.size());
    }
    const ByteSpan range = ByteSpan{object}.subspan(offset, length);
    return Bytes{range.begin(), range.end()};
}

std::optional<std::uint64_t> MemoryStore::size(const ObjectKey& key, std::stop_token stop) {
    throw_if_stopped(stop);
    const std::lock_guard lock{mutex_};
    const auto found = objects_.find(key);
    return found == objects_.end() ? std::nullopt
                                   : std::optional<std::uint64_t>{found->second.size()};
}

void MemoryStore::list(std::string_view prefix, const ListVisitor& visitor, std::stop_token stop) {
    std::vector<ObjectInfo> found;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& [key, object] : objects_) {
            if (key.text().starts_with(prefix)) {
                found.push_back({key, object.size()});
            }
        }
    }
    for (const ObjectInfo& info : found) {
        throw_if_stopped(stop);
        if (!visitor(info)) {
            return;
        }
    }
}

bool MemoryStore::remove(const ObjectKey& key, std::stop_token stop) {
    throw_if_stopped(stop);
    const std::lock_guard lock{mutex_};
    return objects_.erase(key) == 1;
}

bool MemoryStore::flip_byte(const ObjectKey& key, std::uint64_t offset) {
    const std::lock_guard lock{mutex_};
    const auto found = objects_.find(key);
    if (found == objects_.end() || offset >= found->second.size()) {
        return false;
    }
    found->second[offset] ^= std::byte{0x01};
    return true;
}

std::map<ObjectKey, Bytes> MemoryStore::contents() const {
    const std::lock_guard lock{mutex_};
    return objects_;
}

void MemoryStore::replace_contents(std::map<ObjectKey, Bytes> contents) {
    const std::lock_guard lock{mutex_};
    objects_ = std::move(contents);
}

}  // namespace holdfast::vault
