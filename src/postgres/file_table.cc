#include "postgres/file_table.h"

#include <algorithm>
#include <functional>

namespace holdfast::postgres {

namespace {

std::uint64_t hash_of(std::string_view path) {
    static_assert(sizeof(std::size_t) == sizeof(std::uint64_t));
    return std::hash<std::string_view>{}(path);
}

}  // namespace

void FileTable::add(std::string_view path, std::uint64_t size, std::uint32_t crc32c) {
    entries_.push_back({hash_of(path), static_cast<std::uint32_t>(size), crc32c});
}

bool FileTable::seal() {
    std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
        return a.path_hash < b.path_hash;
    });
    taken_.assign(entries_.size(), false);
    return std::adjacent_find(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
               return a.path_hash == b.path_hash;
           }) == entries_.end();
}

std::optional<std::size_t> FileTable::index_of(std::string_view path) const {
    const std::uint64_t hash = hash_of(path);
    const auto found = std::lower_bound(
        entries_.begin(),
        entries_.end(),
        hash,
        [](const Entry& a, std::uint64_t b) { return a.path_hash < b; }
    );
    if (found == entries_.end() || found->path_hash != hash) {
        return std::nullopt;
    }
    return static_cast<std::size_t>(found - entries_.begin());
}

std::optional<FileTable::Entry> FileTable::find(std::string_view path) const {
    const auto index = index_of(path);
    return index ? std::optional{entries_[*index]} : std::nullopt;
}

std::optional<FileTable::Entry> FileTable::take(std::string_view path) {
    const auto index = index_of(path);
    if (!index || taken_[*index]) {
        return std::nullopt;
    }
    taken_[*index] = true;
    ++taken_count_;
    return entries_[*index];
}

}  // namespace holdfast::postgres
