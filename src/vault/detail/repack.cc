#include "vault/detail/repack.h"

#include "base/error.h"
#include "vault/detail/blob_writer.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

/// Entries of one segment: 32 MiB while it is being built.
constexpr std::size_t kSegmentBlobs = 512 * 1024;
/// Segments below half of that are small; so many may stand.
constexpr std::size_t kSmallSegmentsMax = 4;

}  // namespace

BlobCopier::BlobCopier(Engine& engine, std::stop_token stop)
    : engine_{engine},
      stop_{std::move(stop)},
      tools_{engine.keys, engine.compression_level},
      builder_{engine.keys, random_array<32>(), engine.pack_bytes()} {}

const BlobCopier::Source* BlobCopier::source_of(const Sha256& pack) {
    if (source_ && source_->pack == pack) {
        return &*source_;
    }
    source_.reset();
    const auto bytes = engine_.store.get_range(pack_key(pack), 0, ObjectHeader::kBytes, stop_);
    if (!bytes) {
        return nullptr;
    }
    const auto header = decode_object_header(*bytes);
    auto key = header ? engine_.keys.object_key(*header) : std::optional<Secret>{};
    if (!key) {
        return nullptr;
    }
    Source source{.pack = pack, .header = {}, .key = std::move(*key)};
    std::copy(bytes->begin(), bytes->end(), source.header.begin());
    source_ = std::move(source);
    return &*source_;
}

std::optional<ByteSpan> BlobCopier::open(const Source& source, const PackEntry& entry) {
    const auto bytes =
        engine_.store.get_range(pack_key(source.pack), entry.offset, entry.frame_bytes, stop_);
    const auto frame = bytes ? decode_frame_header(*bytes) : std::nullopt;
    if (!frame || frame->id != entry.id || frame->type != entry.type ||
        frame->plain_bytes > kBlobBytesMax) {
        return std::nullopt;
    }
    const MutableByteSpan plain = plain_.reserve(frame->plain_bytes);
    if (!open_frame(
            tools_.aead,
            tools_.decompressor,
            tools_.opened,
            source.key,
            source.header,
            *frame,
            {},
            *bytes,
            plain
        ) ||
        tools_.ids(frame->type, plain) != entry.id) {
        return std::nullopt;
    }
    return frame->codec == Codec::kStored
               ? ByteSpan{plain}
               : ByteSpan{tools_.opened.data(), frame->sealed_bytes - kTagBytes};
}

bool BlobCopier::copy(const Sha256& pack, const PackEntry& entry) {
    if (stop_.stop_requested()) {
        throw_cancelled();
    }
    std::optional<ByteSpan> payload;
    try {
        const Source* const source = source_of(pack);
        payload = source != nullptr ? open(*source, entry) : std::nullopt;
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
    }
    if (!payload) {
        return false;
    }
    const ByteSpan plain{plain_.data(), entry.plain_bytes};
    const Codec codec = payload->data() == plain.data() ? Codec::kStored : Codec::kZstd;
    auto place = builder_.reserve(entry.type, codec, entry.id, payload->size(), plain.size());
    if (!place) {
        publish();
        place = builder_.reserve(entry.type, codec, entry.id, payload->size(), plain.size());
        HOLDFAST_CHECK(place.has_value());
    }
    builder_.seal(tools_.aead, *place, *payload);
    digests_.push_back(
        engine_.options.verification == Verification::kBeforePublish ? tools_.ids.tag(plain)
                                                                     : FastDigest::Value{}
    );
    ++blobs_;
    bytes_ += entry.frame_bytes;
    return true;
}

void BlobCopier::publish() {
    if (builder_.entries().empty()) {
        return;
    }
    const ByteSpan bytes = builder_.finish(tools_.aead);
    const Sha256 name = sha256(bytes);
    if (engine_.options.verification == Verification::kBeforePublish) {
        verify_pack(builder_, digests_, tools_, verified_);
    }
    engine_.store.put_new(pack_key(name), bytes, stop_);
    const auto number = static_cast<std::uint32_t>(unindexed_.packs.size());
    unindexed_.packs.push_back(name);
    for (const PackEntry& entry : builder_.entries()) {
        unindexed_.blobs.push_back({
            .key = chunk_key(entry.id),
            .pack = number,
            .offset = entry.offset,
            .frame_bytes = entry.frame_bytes,
            .plain_bytes = entry.plain_bytes,
        });
    }
    builder_.start_over(engine_.keys, random_array<32>());
    digests_.clear();
    if (unindexed_.blobs.size() >= kSegmentBlobs) {
        engine_.index.add(std::exchange(unindexed_, {}), {}, stop_);
    }
}

void BlobCopier::flush() {
    publish();
    engine_.index.add(std::exchange(unindexed_, {}), {}, stop_);
}

namespace {

struct SegmentChoice {
    SegmentId id;
    std::uint64_t entries = 0;
    bool names_gone = false;
};

std::vector<SegmentChoice> choose_segments(
    Engine& engine,
    const std::function<bool(const Sha256& pack)>& keeps,
    const std::stop_token& stop
) {
    std::vector<SegmentChoice> chosen;
    std::vector<SegmentChoice> small;
    for (const auto& segment : *engine.index.segments()) {
        SegmentChoice choice{.id = segment->id(), .entries = segment->entry_count()};
        try {
            const auto names = segment->read_packs([&](std::size_t number) {
                return std::make_shared<const Bytes>(engine.index.load_block(*segment, number, stop)
                );
            });
            choice.names_gone = !std::all_of(names.begin(), names.end(), keeps);
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::kVaultCorrupt) {
                engine.index.set_aside(segment->id(), error.what());
            } else if (error.kind() != ErrorKind::kObjectNotFound) {
                throw;
            }
            continue;
        }
        if (choice.names_gone) {
            chosen.push_back(choice);
        } else if (choice.entries < kSegmentBlobs / 2) {
            small.push_back(choice);
        }
    }
    if (!chosen.empty() || small.size() > kSmallSegmentsMax) {
        chosen.insert(chosen.end(), small.begin(), small.end());
    }
    return chosen;
}

}  // namespace

IndexRewrite rewrite_index(
    Engine& engine, const std::function<bool(const Sha256& pack)>& keeps, std::stop_token stop
) {
    engine.index.refresh(stop);
    IndexRewrite rewrite;
    SegmentContents contents;
    std::vector<SegmentId> read;
    const auto write = [&] {
        const std::uint64_t bytes = engine.index.add(std::exchange(contents, {}), read, stop);
        rewrite.written += bytes > 0 ? 1 : 0;
        engine.index.remove_segments(read, stop);
        rewrite.removed += read.size();
        read.clear();
    };
    for (const SegmentChoice& segment : choose_segments(engine, keeps, stop)) {
        if (contents.blobs.size() + segment.entries > kSegmentBlobs && !read.empty()) {
            write();
        }
        try {
            append_contents(contents, engine.index.read_segment(segment.id, stop), keeps);
            read.push_back(segment.id);
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::kVaultCorrupt) {
                engine.index.set_aside(segment.id, error.what());
            } else if (error.kind() != ErrorKind::kObjectNotFound) {
                throw;
            }
        }
    }
    if (!read.empty()) {
        write();
    }
    return rewrite;
}

}  // namespace holdfast::vault
