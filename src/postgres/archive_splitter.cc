// Taking a pg_dump archive apart while it streams by.
//
// The table of contents is buffered until it is whole; it is then written as the `toc` stream in a
// canonical form, so that two dumps of an unchanged database give the same bytes:
//
//   - the time of creation is ArchiveTime{} (the real one is the stream's attribute `created`);
//   - dump ids are the positions in the archive, from 1. pg_dump numbers all objects that it looks
//   at, also temporary
//     tables of other sessions, so that its numbers shift though nothing was changed;
//   - dependencies on what is not in the archive are dropped (pg_restore skips them), the rest are
//   sorted;
//   - data offsets are unset.
//
// The result is itself an archive's head: `pg_restore --list` reads it.
//
// Table data becomes a stream without the headers of its pieces. pg_dump writes a piece for each
// row: small pieces are gathered in one buffer, so that the sink sees some tens of KiB at a time;
// large ones are handed on where they lie. A table with few rows is a stream of a few bytes: what a
// stream costs is the sink's concern (the vault packs small ones together).
//
// A stream of large objects is the body of its block with the pieces cut anew to kPieceBytes,
// whatever pg_dump's were:
//   (oid piece* 0)* 0, integers as in the archive. So it composes to an archive unchanged.

#include "postgres/archive_splitter.h"

#include "base/error.h"
#include "postgres/archive_format.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

/// Pieces of at least this size go to the sink without being copied.
constexpr std::size_t kDirectBytes = 8 * kKiB;
/// The canonical table of contents is handed on in parts of about this size.
constexpr std::size_t kTocPartBytes = 256 * kKiB;

}  // namespace

class ArchiveSplitter::State {
public:
    State(StreamSink& sink, std::string prefix) : sink_{sink}, prefix_{std::move(prefix)} {
        gathered_.resize(kArchiveIntBytes + kPieceBytes);
    }

    void write(ByteSpan bytes);
    SplitResult finish();

private:
    enum class Step {
        kHeader,     ///< Of the archive.
        kCount,      ///< The number of entries.
        kEntries,    ///< Of the table of contents.
        kBlockType,  ///< Between two blocks: the only place where the input may end.
        kBlockId,
        kTableLength,
        kTablePiece,
        kObjectId,
        kObjectLength,
        kObjectPiece,
        kOpaque,
    };

    struct DataEntry {
        std::string stream;
        std::string description;
        bool large_objects = false;
        bool seen = false;
    };

    // The table of contents.
    [[nodiscard]] bool in_toc() const {
        return step_ == Step::kHeader || step_ == Step::kCount || step_ == Step::kEntries;
    }
    void buffer_toc(ByteSpan bytes);
    bool advance_toc();
    void note_entry(const TocEntry& entry);
    void end_toc(std::size_t toc_bytes);
    void write_canonical_toc(std::size_t toc_bytes);
    void become_opaque(std::string reason);
    void toc_failed(const ArchiveCursor& cursor);

    // The data.
    void consume(ByteSpan bytes);
    bool take_int(ByteSpan bytes, std::size_t& position, std::int32_t& out);
    void begin_block(std::int32_t dump_id, std::uint64_t offset);
    void end_block();
    void on_table_length(std::int32_t length);
    void on_object_id(std::int32_t oid);
    void on_object_length(std::int32_t length);
    std::size_t table_piece(ByteSpan bytes);
    std::size_t object_piece(ByteSpan bytes);
    void flush_table();
    void flush_object_piece();
    void write_framing_int(std::int32_t value);

    [[nodiscard]] std::string place() const;
    [[noreturn]] void fail(std::uint64_t offset, const std::string& problem) const;

    StreamSink& sink_;
    const std::string prefix_;
    SplitResult result_;
    Step step_ = Step::kHeader;
    bool finished_ = false;

    Bytes toc_;                     ///< What has come before the first block.
    std::size_t toc_position_ = 0;  ///< Parsed up to here.
    std::size_t toc_needed_ = 0;    ///< Not worth another try with fewer bytes.
    std::size_t entry_count_ = 0;
    std::vector<std::int32_t> dump_ids_;  ///< By position.
    std::unordered_map<std::int32_t, std::int32_t> canonical_ids_;
    std::unordered_map<std::int32_t, DataEntry> data_;  ///< By pg_dump's dump id.
    StreamNamer namer_;

    std::uint64_t offset_ = 0;  ///< In the archive, of the first byte of the current write().
    std::array<std::byte, kArchiveIntBytes> partial_int_{};
    std::size_t partial_int_bytes_ = 0;
    int block_type_ = 0;
    DataEntry* current_ = nullptr;
    std::size_t piece_left_ = 0;
    std::uint64_t blocks_seen_ = 0;

    /// Room for a piece and, before it, its length (used for large objects only).
    Bytes gathered_;
    std::size_t gathered_bytes_ = 0;
};

void ArchiveSplitter::State::fail(std::uint64_t offset, const std::string& problem) const {
    throw Error{
        ErrorKind::kDumpFailed,
        {.message = fmt::format(
             "pg_dump's output is not usable: at byte {}, {}, {}.", offset, place(), problem
         ),
         .recommended_actions =
             {
                 "See pg_dump's own message for why it ended, and back up again.",
                 "If it happens again, check that pg_dump is the one of the server's PostgreSQL "
                 "version.",
             }}
    };
}

std::string ArchiveSplitter::State::place() const {
    switch (step_) {
        case Step::kHeader:
        case Step::kCount:
            return "in its header";
        case Step::kEntries:
            return fmt::format(
                "in entry {} of {} of the table of contents", dump_ids_.size() + 1, entry_count_
            );
        case Step::kBlockType:
        case Step::kBlockId:
            return blocks_seen_ == 0 ? std::string{"before the first data"}
                                     : fmt::format("after the data of {} entries", blocks_seen_);
        case Step::kTableLength:
        case Step::kTablePiece:
        case Step::kObjectId:
        case Step::kObjectLength:
        case Step::kObjectPiece:
            return "in the data of " + current_->description;
        case Step::kOpaque:
            return "in an archive of unknown form";
    }
    return "somewhere";
}

// ---- Table of contents

void ArchiveSplitter::State::write(ByteSpan bytes) {
    HOLDFAST_CHECK(!finished_);
    result_.bytes_in += bytes.size();
    while (in_toc() && !bytes.empty()) {
        // In slices: what lies behind the table of contents is not worth copying.
        const ByteSpan slice = bytes.first(std::min(bytes.size(), kTocPartBytes));
        buffer_toc(slice);
        bytes = bytes.subspan(slice.size());
    }
    if (step_ == Step::kOpaque) {
        sink_.write(bytes);
    } else {
        consume(bytes);
    }
    offset_ += bytes.size();
}

void ArchiveSplitter::State::buffer_toc(ByteSpan bytes) {
    toc_.insert(toc_.end(), bytes.begin(), bytes.end());
    if (toc_.size() >= toc_needed_) {
        while (advance_toc()) {
        }
    }
    if (step_ == Step::kBlockType) {
        end_toc(toc_position_);
    } else if (in_toc() && toc_.size() > kTocBytesMax) {
        become_opaque(
            fmt::format("its table of contents is larger than {} MiB", kTocBytesMax / kMiB)
        );
    }
}

/// Parses one more part of the table of contents; false when that needs more bytes or when it is
/// done.
bool ArchiveSplitter::State::advance_toc() {
    ArchiveCursor cursor{toc_, toc_position_};
    bool done = false;
    if (step_ == Step::kHeader) {
        ArchiveHeader header;
        done = cursor.read_header(header);
        if (done || cursor.failure() == ArchiveCursor::Failure::kUnsupported) {
            result_.header = header;
        }
        if (done) {
            step_ = Step::kCount;
        }
    } else if (step_ == Step::kCount) {
        done = cursor.read_entry_count(entry_count_);
        if (done) {
            step_ = entry_count_ == 0 ? Step::kBlockType : Step::kEntries;
        }
    } else if (step_ == Step::kEntries) {
        TocEntry entry;
        done = cursor.read_entry(result_.header, entry);
        if (done) {
            note_entry(entry);
            if (step_ == Step::kEntries && dump_ids_.size() == entry_count_) {
                step_ = Step::kBlockType;
            }
        }
    }
    if (!done) {
        toc_failed(cursor);
        return false;
    }
    toc_position_ = cursor.position();
    return step_ == Step::kCount || step_ == Step::kEntries;
}

void ArchiveSplitter::State::toc_failed(const ArchiveCursor& cursor) {
    switch (cursor.failure()) {
        case ArchiveCursor::Failure::kNone:
            break;
        case ArchiveCursor::Failure::kIncomplete:
            toc_needed_ = cursor.needed();
            break;
        case ArchiveCursor::Failure::kUnsupported:
            become_opaque(cursor.problem());
            break;
        case ArchiveCursor::Failure::kDamaged:
            if (step_ == Step::kHeader && result_.header.version == ArchiveVersion{}) {
                if (!as_text(toc_).starts_with(kArchiveMagic)) {
                    fail(0, cursor.problem());
                }
            }
            become_opaque(
                fmt::format("at byte {}, {}, {}", cursor.position(), place(), cursor.problem())
            );
            break;
    }
}

void ArchiveSplitter::State::note_entry(const TocEntry& entry) {
    const auto position = static_cast<std::int32_t>(dump_ids_.size() + 1);
    dump_ids_.push_back(entry.dump_id);
    if (!canonical_ids_.emplace(entry.dump_id, position).second) {
        become_opaque(fmt::format("dump id {} occurs twice in its table of contents", entry.dump_id)
        );
        return;
    }
    if (entry.had_data) {
        data_.emplace(
            entry.dump_id,
            DataEntry{
                .stream = prefix_ + namer_.name(entry),
                .description = describe_entry(entry),
                .large_objects = entry.desc == "BLOBS",
            }
        );
    }
}

void ArchiveSplitter::State::become_opaque(std::string reason) {
    step_ = Step::kOpaque;
    result_.understood = false;
    result_.opaque_reason = std::move(reason);
    sink_.begin(StreamSpec{
        .name = prefix_ + "archive",
        .kind = StreamKind::kArchive,
        .attributes = {{"reason", result_.opaque_reason}},
    });
    sink_.write(toc_);
    offset_ = toc_.size();
    toc_ = {};
    data_.clear();
}

void ArchiveSplitter::State::end_toc(std::size_t toc_bytes) {
    result_.entries = entry_count_;
    write_canonical_toc(toc_bytes);
    const Bytes rest = std::exchange(toc_, {});
    canonical_ids_ = {};
    dump_ids_ = {};
    offset_ = toc_bytes;
    const ByteSpan data = ByteSpan{rest}.subspan(toc_bytes);
    consume(data);
    offset_ += data.size();
}

void ArchiveSplitter::State::write_canonical_toc(std::size_t toc_bytes) {
    sink_.begin(StreamSpec{
        .name = prefix_ + "toc",
        .kind = StreamKind::kToc,
        .attributes = {{"created", result_.header.created.to_string()}},
    });
    ArchiveHeader header;
    std::size_t count = 0;
    ArchiveCursor cursor{ByteSpan{toc_}.first(toc_bytes)};
    HOLDFAST_CHECK(cursor.read_header(header) && cursor.read_entry_count(count));
    header.created = ArchiveTime{};
    Bytes part;
    part.reserve(kTocPartBytes + kTocPartBytes / 4);
    append_archive_header(part, header);
    append_archive_int(part, static_cast<std::int32_t>(count));
    TocEntry entry;
    for (std::size_t i = 0; i < count; ++i) {
        HOLDFAST_CHECK(cursor.read_entry(header, entry));
        entry.dump_id = static_cast<std::int32_t>(i + 1);
        std::size_t kept = 0;
        for (const std::int32_t id : entry.dependencies) {
            if (const auto it = canonical_ids_.find(id); it != canonical_ids_.end()) {
                entry.dependencies[kept++] = it->second;
            }
        }
        entry.dependencies.resize(kept);
        std::sort(entry.dependencies.begin(), entry.dependencies.end());
        const auto last = std::unique(entry.dependencies.begin(), entry.dependencies.end());
        entry.dependencies.erase(last, entry.dependencies.end());
        entry.data_state = entry.had_data ? DataState::kOffsetNotSet : DataState::kNoData;
        entry.data_offset = 0;
        append_archive_entry(part, header, entry);
        if (part.size() >= kTocPartBytes) {
            sink_.write(part);
            part.clear();
        }
    }
    sink_.write(part);
    sink_.end();
}

// ---- Data

/// Takes an integer that may lie across two writes. False when its end has not come yet.
bool ArchiveSplitter::State::take_int(ByteSpan bytes, std::size_t& position, std::int32_t& out) {
    if (partial_int_bytes_ == 0 && bytes.size() - position >= kArchiveIntBytes) {
        if (std::to_integer<int>(bytes[position]) > 1) {
            fail(offset_ + position, "an integer has no valid sign");
        }
        out = decode_archive_int(bytes.data() + position);
        position += kArchiveIntBytes;
        return true;
    }
    const std::size_t count =
        std::min(bytes.size() - position, kArchiveIntBytes - partial_int_bytes_);
    std::memcpy(partial_int_.data() + partial_int_bytes_, bytes.data() + position, count);
    partial_int_bytes_ += count;
    position += count;
    if (partial_int_bytes_ < kArchiveIntBytes) {
        return false;
    }
    partial_int_bytes_ = 0;
    if (std::to_integer<int>(partial_int_[0]) > 1) {
        fail(offset_ + position, "an integer has no valid sign");
    }
    out = decode_archive_int(partial_int_.data());
    return true;
}

void ArchiveSplitter::State::consume(ByteSpan bytes) {
    std::size_t position = 0;
    std::int32_t value = 0;
    while (position < bytes.size()) {
        switch (step_) {
            case Step::kTablePiece:
                position += table_piece(bytes.subspan(position));
                break;
            case Step::kTableLength:
                if (take_int(bytes, position, value)) {
                    if (value < 0) {
                        fail(offset_ + position, fmt::format("{} is no length", value));
                    }
                    on_table_length(value);
                }
                break;
            case Step::kObjectPiece:
                position += object_piece(bytes.subspan(position));
                break;
            case Step::kObjectLength:
                if (take_int(bytes, position, value)) {
                    if (value < 0) {
                        fail(offset_ + position, fmt::format("{} is no length", value));
                    }
                    on_object_length(value);
                }
                break;
            case Step::kObjectId:
                if (take_int(bytes, position, value)) {
                    on_object_id(value);
                }
                break;
            case Step::kBlockType:
                block_type_ = std::to_integer<int>(bytes[position]);
                if (block_type_ != kBlockTableData && block_type_ != kBlockLargeObjects) {
                    fail(
                        offset_ + position,
                        fmt::format("{} is no type of a data block", block_type_)
                    );
                }
                ++position;
                step_ = Step::kBlockId;
                break;
            case Step::kBlockId:
                if (take_int(bytes, position, value)) {
                    begin_block(value, offset_ + position);
                }
                break;
            case Step::kHeader:
            case Step::kCount:
            case Step::kEntries:
            case Step::kOpaque:
                HOLDFAST_CHECK(false);
        }
    }
}

void ArchiveSplitter::State::begin_block(std::int32_t dump_id, std::uint64_t offset) {
    const auto it = data_.find(dump_id);
    if (it == data_.end()) {
        fail(offset, fmt::format("a data block belongs to entry {}, which has no data", dump_id));
    }
    DataEntry& entry = it->second;
    if (entry.seen) {
        fail(offset, fmt::format("the data of {} comes twice", entry.description));
    }
    if (entry.large_objects != (block_type_ == kBlockLargeObjects)) {
        fail(
            offset,
            fmt::format("the data block of {} is of type {}", entry.description, block_type_)
        );
    }
    entry.seen = true;
    current_ = &entry;
    gathered_bytes_ = 0;
    sink_.begin(StreamSpec{
        .name = entry.stream,
        .kind = entry.large_objects ? StreamKind::kLargeObjects : StreamKind::kTableData,
        .attributes = {},
    });
    step_ = entry.large_objects ? Step::kObjectId : Step::kTableLength;
    result_.tables += entry.large_objects ? 0U : 1U;
}

void ArchiveSplitter::State::end_block() {
    flush_table();
    sink_.end();
    ++blocks_seen_;
    current_ = nullptr;
    step_ = Step::kBlockType;
}

void ArchiveSplitter::State::on_table_length(std::int32_t length) {
    if (length == 0) {
        end_block();
        return;
    }
    piece_left_ = static_cast<std::size_t>(length);
    result_.table_bytes += piece_left_;
    step_ = Step::kTablePiece;
}

std::size_t ArchiveSplitter::State::table_piece(ByteSpan bytes) {
    const std::size_t count = std::min(bytes.size(), piece_left_);
    const ByteSpan part = bytes.first(count);
    if (count >= kDirectBytes) {
        flush_table();
        sink_.write(part);
    } else {
        if (gathered_bytes_ + count > gathered_.size()) {
            flush_table();
        }
        std::memcpy(gathered_.data() + gathered_bytes_, part.data(), count);
        gathered_bytes_ += count;
    }
    piece_left_ -= count;
    if (piece_left_ == 0) {
        step_ = Step::kTableLength;
    }
    return count;
}

void ArchiveSplitter::State::flush_table() {
    if (gathered_bytes_ > 0) {
        sink_.write(ByteSpan{gathered_}.first(gathered_bytes_));
        gathered_bytes_ = 0;
    }
}

void ArchiveSplitter::State::write_framing_int(std::int32_t value) {
    std::array<std::byte, kArchiveIntBytes> bytes{};
    encode_archive_int(bytes.data(), value);
    sink_.write(bytes);
}

void ArchiveSplitter::State::on_object_id(std::int32_t oid) {
    write_framing_int(oid);
    if (oid == 0) {
        end_block();
        return;
    }
    ++result_.large_objects;
    step_ = Step::kObjectLength;
}

void ArchiveSplitter::State::on_object_length(std::int32_t length) {
    if (length == 0) {
        flush_object_piece();
        write_framing_int(0);
        step_ = Step::kObjectId;
        return;
    }
    piece_left_ = static_cast<std::size_t>(length);
    result_.large_object_bytes += piece_left_;
    step_ = Step::kObjectPiece;
}

std::size_t ArchiveSplitter::State::object_piece(ByteSpan bytes) {
    const std::size_t count = std::min({bytes.size(), piece_left_, kPieceBytes - gathered_bytes_});
    std::memcpy(gathered_.data() + kArchiveIntBytes + gathered_bytes_, bytes.data(), count);
    gathered_bytes_ += count;
    piece_left_ -= count;
    if (gathered_bytes_ == kPieceBytes) {
        flush_object_piece();
    }
    if (piece_left_ == 0) {
        step_ = Step::kObjectLength;
    }
    return count;
}

void ArchiveSplitter::State::flush_object_piece() {
    if (gathered_bytes_ > 0) {
        encode_archive_int(gathered_.data(), static_cast<std::int32_t>(gathered_bytes_));
        sink_.write(ByteSpan{gathered_}.first(kArchiveIntBytes + gathered_bytes_));
        gathered_bytes_ = 0;
    }
}

SplitResult ArchiveSplitter::State::finish() {
    HOLDFAST_CHECK(!finished_);
    finished_ = true;
    if (step_ == Step::kOpaque) {
        sink_.end();
        return result_;
    }
    if (result_.bytes_in == 0) {
        fail(0, "there is nothing");
    }
    if (step_ != Step::kBlockType) {
        fail(result_.bytes_in, "it is cut off");
    }
    for (const auto& [dump_id, entry] : data_) {
        if (!entry.seen) {
            fail(
                result_.bytes_in,
                fmt::format("it is cut off: the data of {} is missing", entry.description)
            );
        }
    }
    return result_;
}

// ---- The public face

ArchiveSplitter::ArchiveSplitter(StreamSink& sink, std::string prefix)
    : state_{std::make_unique<State>(sink, std::move(prefix))} {}

ArchiveSplitter::~ArchiveSplitter() = default;

void ArchiveSplitter::write(ByteSpan bytes) {
    state_->write(bytes);
}

SplitResult ArchiveSplitter::finish() {
    return state_->finish();
}

}  // namespace holdfast::postgres
