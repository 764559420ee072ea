#include "vault/detail/point_reader.h"

#include "base/error.h"

#include <algorithm>
#include <condition_variable>

namespace holdfast::vault {

namespace {

/// Read ahead of one stream: enough chunks to keep the workers busy, bounded in bytes.
constexpr std::size_t kAheadChunksMax = 8;
constexpr std::uint64_t kAheadBytesMax = 8 * kMiB;

StreamSummary summary_of(const format::StreamEntry& entry) {
    StreamSummary out{
        .info = {.name = entry.name(), .kind = entry.kind(), .attributes = {}},
        .size_bytes = entry.size_bytes(),
    };
    for (const auto& attribute : entry.attributes()) {
        out.info.attributes.emplace_back(attribute.key(), attribute.value());
    }
    return out;
}

/// One chunk on its way. The pool's thread fills it, the reader's thread waits for it.
class Fetch {
public:
    void run(Engine& engine, const ContentTreeWalker::Child& chunk, const std::stop_token& stop) {
        Bytes bytes;
        std::exception_ptr failure;
        try {
            if (stop.stop_requested()) {
                throw_cancelled();
            }
            bytes = engine.blobs.read(BlobType::kDataChunk, chunk.id, stop);
            if (bytes.size() != chunk.plain_bytes) {
                throw Error{
                    ErrorKind::kVaultCorrupt,
                    ErrorText{
                        .message = "A chunk of a recovery point has not the size that its "
                                   "manifest says.",
                        .target = to_hex(chunk.id),
                    }
                };
            }
        } catch (...) {  // lint-allow: thrown again where the chunk is wanted.
            failure = std::current_exception();
        }
        {
            const std::lock_guard lock{mutex_};
            bytes_ = std::move(bytes);
            failure_ = std::move(failure);
            done_ = true;
        }
        changed_.notify_all();
    }

    [[nodiscard]] Bytes wait(const std::stop_token& stop) {
        std::unique_lock lock{mutex_};
        if (!changed_.wait(lock, stop, [this] { return done_; })) {
            throw_cancelled();
        }
        if (failure_) {
            std::rethrow_exception(failure_);
        }
        return std::move(bytes_);
    }

private:
    std::mutex mutex_;
    std::condition_variable_any changed_;
    bool done_ = false;           // Guarded by mutex_.
    Bytes bytes_;                 // Guarded by mutex_.
    std::exception_ptr failure_;  // Guarded by mutex_.
};

class StreamReaderImpl final : public StreamReader {
public:
    StreamReaderImpl(
        Engine& engine,
        ThreadPool& pool,
        const NodeSource& nodes,
        const format::StreamEntry& entry,
        std::stop_token stop
    )
        : engine_{engine},
          pool_{pool},
          size_bytes_{entry.size_bytes()},
          outer_stop_{std::move(stop), [this] { stop_.request_stop(); }},
          walker_{nodes, content_of(entry), entry.size_bytes()},
          current_{to_bytes(entry.inline_content())} {
        next_ = walker_.next();
    }

    /// Fetches still queued see the stop and do nothing; they share what they touch.
    ~StreamReaderImpl() override { stop_.request_stop(); }

    [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return size_bytes_; }

    std::size_t read(MutableByteSpan out) override {
        std::size_t done = 0;
        while (done < out.size()) {
            if (at_ == current_.size() && !next_chunk()) {
                break;
            }
            const std::size_t size = std::min(out.size() - done, current_.size() - at_);
            std::copy_n(current_.data() + at_, size, out.data() + done);
            at_ += size;
            done += size;
        }
        given_bytes_ += done;
        if (done < out.size() && given_bytes_ != size_bytes_) {
            throw Error{
                ErrorKind::kVaultCorrupt,
                "A stream of a recovery point has not the size that its manifest says."
            };
        }
        return done;
    }

private:
    struct Ahead {
        std::shared_ptr<Fetch> fetch;
        std::uint64_t bytes = 0;
    };

    bool next_chunk() {
        if (stop_.stop_requested()) {
            throw_cancelled();
        }
        at_ = 0;
        if (ahead_.empty() && next_) {
            // The first chunk, often the only one: not worth another thread.
            const auto chunk = *next_;
            next_ = walker_.next();
            fill_ahead();
            Fetch here;
            here.run(engine_, chunk, stop_.get_token());
            current_ = here.wait(stop_.get_token());
            return true;
        }
        fill_ahead();
        if (ahead_.empty()) {
            current_.clear();
            return false;
        }
        Ahead front = std::move(ahead_.front());
        ahead_.pop_front();
        ahead_bytes_ -= front.bytes;
        current_ = front.fetch->wait(stop_.get_token());
        fill_ahead();
        return true;
    }

    void fill_ahead() {
        while (next_ && ahead_.size() < kAheadChunksMax &&
               (ahead_.empty() || ahead_bytes_ + next_->plain_bytes <= kAheadBytesMax)) {
            auto fetch = std::make_shared<Fetch>();
            const bool taken = pool_.submit(
                [fetch, &engine = engine_, chunk = *next_, stop = stop_.get_token()] {
                    fetch->run(engine, chunk, stop);
                },
                stop_.get_token()
            );
            if (!taken) {
                throw_cancelled();
            }
            ahead_.push_back({.fetch = std::move(fetch), .bytes = next_->plain_bytes});
            ahead_bytes_ += next_->plain_bytes;
            next_ = walker_.next();
        }
    }

    Engine& engine_;
    ThreadPool& pool_;
    const std::uint64_t size_bytes_;
    std::stop_source stop_;
    std::stop_callback<std::function<void()>> outer_stop_;
    ContentTreeWalker walker_;
    std::optional<ContentTreeWalker::Child> next_;
    std::deque<Ahead> ahead_;
    std::uint64_t ahead_bytes_ = 0;
    Bytes current_;
    std::size_t at_ = 0;
    std::uint64_t given_bytes_ = 0;
};

}  // namespace

PointReaderImpl::PointReaderImpl(
    Engine& engine, ThreadPool& pool, PointSummary summary, std::optional<ContentRef> streams
)
    : engine_{engine}, pool_{pool}, summary_{std::move(summary)}, streams_{streams} {}

NodeSource PointReaderImpl::node_source(std::stop_token stop) const {
    return [&engine = engine_, stop = std::move(stop)](BlobType type, const ChunkId& id) {
        return engine.blobs.read(type, id, stop);
    };
}

void PointReaderImpl::list_streams(
    const std::function<bool(const StreamSummary&)>& visit, std::stop_token stop
) {
    list_streams_below({}, visit, std::move(stop));
}

void PointReaderImpl::list_streams_below(
    std::string_view prefix,
    const std::function<bool(const StreamSummary&)>& visit,
    std::stop_token stop
) {
    walk_directory(
        node_source(std::move(stop)),
        streams_,
        prefix,
        [&](const format::StreamEntry& entry) {
            return entry.name().starts_with(prefix) && visit(summary_of(entry));
        }
    );
}

std::optional<format::StreamEntry> PointReaderImpl::find_entry(
    std::string_view name, std::stop_token stop
) const {
    std::optional<format::StreamEntry> found;
    walk_directory(
        node_source(std::move(stop)),
        streams_,
        name,
        [&](const format::StreamEntry& entry) {
            if (entry.name() == name) {
                found = entry;
            }
            return false;
        }
    );
    return found;
}

std::optional<StreamSummary> PointReaderImpl::find_stream(
    std::string_view name, std::stop_token stop
) {
    const auto entry = find_entry(name, std::move(stop));
    return entry ? std::optional{summary_of(*entry)} : std::nullopt;
}

std::unique_ptr<StreamReader> PointReaderImpl::open_stream(
    std::string_view name, std::stop_token stop
) {
    const auto entry = find_entry(name, stop);
    if (!entry) {
        throw Error{
            ErrorKind::kObjectNotFound,
            ErrorText{
                .message = fmt::format("The recovery point has no stream named '{}'.", name),
                .target = std::string{name},
            }
        };
    }
    return std::make_unique<StreamReaderImpl>(engine_, pool_, node_source(stop), *entry, stop);
}

format::Manifest open_manifest(
    const KeyRing& keys, const ObjectKey& key, const PointId& point, ByteSpan object
) {
    const Bytes plain = open_object(keys, ObjectKind::kManifest, key, object);
    format::Manifest manifest;
    if (!manifest.ParseFromArray(plain.data(), static_cast<int>(plain.size())) ||
        as_bytes(manifest.point_id()).size() != point.bytes().size() ||
        !std::equal(
            point.bytes().begin(), point.bytes().end(), as_bytes(manifest.point_id()).begin()
        ) ||
        (manifest.has_streams() && !parse_node_ref(manifest.streams()))) {
        throw_corrupt(key, "it is not the manifest of its point.");
    }
    return manifest;
}

}  // namespace holdfast::vault
