#include "cli/restore/listing_file.h"

#include "base/temporary_file.h"

#include <algorithm>

namespace holdfast::cli {
namespace {

constexpr std::size_t kBlockBytes = kMiB;
constexpr std::string_view kFileName = "the temporary file of a listing";

}  // namespace

void ListingFile::add(const jobs::Frame& frame) {
    jobs::append_frame(rest_, frame.kind, frame.payload);
    ++count_;
    if (rest_.size() < kBlockBytes) {
        return;
    }
    if (!file_.valid()) {
        file_ = make_unnamed_file();
    }
    write_all_at(file_.get(), file_bytes_, as_bytes(rest_), kFileName);
    file_bytes_ += rest_.size();
    rest_.clear();
}

void ListingFile::read(const std::function<void(const jobs::Frame&)>& visit) const {
    Bytes block;
    std::size_t at = 0;
    std::uint64_t next = 0;
    bool ended = false;
    const auto load = [&] {
        at = 0;
        if (next < file_bytes_) {
            block.resize(std::min<std::uint64_t>(kBlockBytes, file_bytes_ - next));
            read_all_at(file_.get(), next, block, kFileName);
            next += block.size();
        } else {
            block = to_bytes(rest_);
            ended = true;
        }
    };
    jobs::FrameReader frames{[&](MutableByteSpan out) {
        while (at == block.size() && !ended) {
            load();
        }
        const std::size_t got = std::min(out.size(), block.size() - at);
        std::copy_n(block.begin() + static_cast<std::ptrdiff_t>(at), got, out.begin());
        at += got;
        return got;
    }};
    for (std::uint64_t i = 0; i < count_; ++i) {
        visit(frames.next());
    }
}

}  // namespace holdfast::cli
