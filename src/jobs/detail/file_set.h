#pragma once

#include "base/bytes.h"
#include "base/sha256.h"
#include "jobs/containers.h"
#include "jobs/files_restore.h"
#include "postgres/streams.h"

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::jobs {

/// The files of one restore: written nameless, named all together, unnamed again on failure. One
/// thread.
class FileSet {
public:
    /// `restore` outlives this; its progress is told of `total` bytes. Once its stop is requested,
    /// writes throw kCancelled.
    FileSet(const FilesRestore& restore, std::uint64_t total) : restore_{restore}, total_{total} {}
    FileSet(const FileSet&) = delete;
    FileSet& operator=(const FileSet&) = delete;
    ~FileSet();

    void add(const std::string& name, const std::function<void(postgres::ByteSink&)>& content);
    void add(const std::string& name, std::string_view text);

    /// All of them get their names; when this returns, they survive power loss. Throws
    /// kRestoreTargetExists when one is taken.
    void publish();

    [[nodiscard]] const std::vector<RestoredFile>& files() const noexcept { return files_; }

private:
    class Sink;
    void count(std::uint64_t bytes);

    const FilesRestore& restore_;
    const std::uint64_t total_;
    std::uint64_t done_ = 0;
    std::list<ContainerOutput> outputs_;
    std::vector<RestoredFile> files_;
    bool complete_ = false;
};

/// Throws kRestoreTargetFull when the target has less than `total` bytes free.
void check_space(const FilesRestore& restore, std::uint64_t total);

/// `{"name","sizeBytes","sha256"}` of each, for the restore's manifest.
[[nodiscard]] Json to_json(const std::vector<RestoredFile>& files);

}  // namespace holdfast::jobs
