#include "jobs/detail/file_set.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr std::size_t kBufferBytes = 1 * kMiB;  // One write call per megabyte, not per COPY row.

}  // namespace

/// Buffers, hashes and counts what goes into one file.
class FileSet::Sink final : public postgres::ByteSink {
public:
    Sink(FileSet& set, ContainerOutput& output) : set_{set}, output_{output} {
        buffer_.reserve(kBufferBytes);
    }
    void write(ByteSpan bytes) override {
        if (buffer_.size() + bytes.size() > kBufferBytes) {
            flush();
        }
        if (bytes.size() >= kBufferBytes) {
            put(bytes);
        } else {
            buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
        }
    }
    [[nodiscard]] std::string finish() {
        flush();
        return to_hex(hash_.finish());
    }

private:
    void flush() {
        put(buffer_);
        buffer_.clear();
    }
    void put(ByteSpan bytes) {
        hash_.update(bytes);
        output_.write(bytes);
        set_.count(bytes.size());
    }

    FileSet& set_;
    ContainerOutput& output_;
    Bytes buffer_;
    Sha256 hash_;
};

FileSet::~FileSet() {
    if (!complete_) {
        for (ContainerOutput& output : outputs_) {
            output.retract();
        }
    }
}

void FileSet::count(std::uint64_t bytes) {
    if (restore_.stop.stop_requested()) {
        throw Error{ErrorKind::kCancelled, "The restore was asked to stop."};
    }
    done_ += bytes;
    if (restore_.progress) {
        restore_.progress(done_, std::max(total_, done_));
    }
}

void FileSet::add(
    const std::string& name, const std::function<void(postgres::ByteSink&)>& content
) {
    outputs_.push_back(restore_.directory.create(name));
    ContainerOutput& output = outputs_.back();
    Sink sink{*this, output};
    content(sink);
    std::string digest = sink.finish();
    output.finish();
    files_.push_back({.name = name, .size_bytes = output.size_bytes(), .sha256 = std::move(digest)}
    );
}

void FileSet::add(const std::string& name, std::string_view text) {
    add(name, [&](postgres::ByteSink& sink) { sink.write(as_bytes(text)); });
}

void FileSet::publish() {
    for (ContainerOutput& output : outputs_) {
        if (!output.publish()) {
            throw Error{
                ErrorKind::kRestoreTargetExists,
                ErrorText{
                    .message = fmt::format(
                        "The file \"{}\" appeared in the restore target meanwhile.", output.name()
                    ),
                    .target = output.name(),
                    .recommended_actions = {"Use another file prefix."},
                }
            };
        }
    }
    restore_.directory.sync();
    complete_ = true;
}

void check_space(const FilesRestore& restore, std::uint64_t total) {
    const std::uint64_t free = restore.directory.free_bytes();
    if (total <= free) {
        return;
    }
    throw Error{
        ErrorKind::kRestoreTargetFull,
        ErrorText{
            .message = fmt::format(
                "The restore needs {} and the target \"{}\" has {} free.",
                format_size(total),
                restore.directory.url(),
                format_size(free)
            ),
            .target = restore.directory.url(),
            .recommended_actions = {"Free space in the target, or restore into another container."},
        }
    };
}

Json to_json(const std::vector<RestoredFile>& files) {
    Json list = Json::array();
    for (const RestoredFile& file : files) {
        list.push_back(
            Json{{"name", file.name}, {"sizeBytes", file.size_bytes}, {"sha256", file.sha256}}
        );
    }
    return list;
}

}  // namespace holdfast::jobs
