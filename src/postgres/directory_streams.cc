#include "postgres/directory_streams.h"

#include "base/error.h"
#include "base/file.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>

namespace holdfast::postgres {

namespace fs = std::filesystem;

namespace {

FileDescriptor open_file(const fs::path& path, int flags) {
    FileDescriptor file{::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!file.valid()) {
        throw_errno("open", path.string(), errno);
    }
    return file;
}

}  // namespace

/// Gathers what comes in small pieces.
class DirectoryStreams::FileWriter {
public:
    explicit FileWriter(const fs::path& path)
        : name_{path.string()}, file_{open_file(path, O_WRONLY | O_CREAT | O_EXCL)} {}
    void write(ByteSpan bytes) {
        if (buffer_.size() + bytes.size() > kBufferBytes) {
            flush();
        }
        if (bytes.size() >= kBufferBytes) {
            put(bytes);
        } else {
            buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
        }
    }
    void flush() {
        put(buffer_);
        buffer_.clear();
    }

private:
    static constexpr std::size_t kBufferBytes = 256 * kKiB;

    void put(ByteSpan bytes) {
        try {
            write_all(file_.get(), bytes, name_);
        } catch (const Error& error) {
            // The disk that is full is not the vault's.
            throw Error{
                error.kind() == ErrorKind::kStoreFull ? ErrorKind::kRestoreTargetFull
                                                      : error.kind(),
                error.text()
            };
        }
    }

    std::string name_;
    FileDescriptor file_;
    Bytes buffer_;
};

class DirectoryStreams::FileReader final : public StreamReader {
public:
    explicit FileReader(const Entry& entry)
        : name_{entry.file.string()},
          size_{entry.info.size},
          file_{open_file(entry.file, O_RDONLY)} {}
    [[nodiscard]] std::uint64_t size() const override { return size_; }
    std::size_t read(MutableByteSpan out) override {
        return read_up_to(file_.get(), out, name_);
    }

private:
    std::string name_;
    std::uint64_t size_;
    FileDescriptor file_;
};

DirectoryStreams::DirectoryStreams(fs::path directory) : directory_{std::move(directory)} {}
DirectoryStreams::~DirectoryStreams() = default;

void DirectoryStreams::begin(const StreamSpec& spec) {
    HOLDFAST_CHECK(!current_ && !entries_.contains(spec.name));
    current_ = Entry{{.spec = spec}, directory_ / fmt::format("{:08}", entries_.size())};
    file_ = std::make_unique<FileWriter>(current_->file);
}

void DirectoryStreams::write(ByteSpan bytes) {
    HOLDFAST_CHECK(current_.has_value());
    file_->write(bytes);
    current_->info.size += bytes.size();
}

void DirectoryStreams::end() {
    HOLDFAST_CHECK(current_.has_value());
    file_->flush();
    file_.reset();
    std::string name = current_->info.spec.name;
    entries_.emplace(std::move(name), std::move(*current_));
    current_.reset();
}

void DirectoryStreams::list(
    std::string_view prefix, const std::function<void(const StreamInfo&)>& visit
) const {
    for (auto at = entries_.lower_bound(prefix);
         at != entries_.end() && at->first.starts_with(prefix);
         ++at) {
        visit(at->second.info);
    }
}

std::unique_ptr<StreamReader> DirectoryStreams::open(std::string_view name) const {
    const auto at = entries_.find(name);
    if (at == entries_.end()) {
        throw Error{ErrorKind::kObjectNotFound, fmt::format("There is no stream {}.", name)};
    }
    return std::make_unique<FileReader>(at->second);
}

}  // namespace holdfast::postgres
