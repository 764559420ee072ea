#include "postgres/archive_composer.h"

#include "base/error.h"
#include "postgres/archive_format.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

/// Twice what the splitter accepts: the canonical form is a little longer or shorter than the
/// original.
constexpr std::uint64_t kTocStreamBytesMax = 128 * kMiB;

bool is_acl(const TocEntry& entry) {
    return entry.desc == "ACL" || entry.desc == "DEFAULT ACL";
}

/// pg_restore takes from these how to read the others; it does so in any archive.
bool is_special(const TocEntry& entry) {
    return entry.desc == "ENCODING" || entry.desc == "STDSTRINGS" || entry.desc == "SEARCHPATH";
}

/// An ACL for a group of large objects (1.16) is applied to the numbers that its BLOB METADATA
/// entry lists.
bool needs_large_objects(const TocEntry& entry) {
    return entry.desc == "BLOBS" || entry.desc == "BLOB METADATA" ||
           (is_acl(entry) && entry.tag.starts_with("LARGE OBJECTS"));
}

bool belongs_to_data(const Toc& toc, std::size_t i) {
    const TocEntry& entry = toc.entries()[i];
    if (is_special(entry)) {
        return false;
    }
    if (needs_large_objects(entry)) {
        return toc.effective_section(i) == TocSection::kData;
    }
    return toc.effective_section(i) == TocSection::kData && !is_acl(entry);
}

/// The length of a data block as this composer writes it.
std::uint64_t block_size(const TocEntry& entry, std::uint64_t stream_size) {
    if (entry.desc == "BLOBS") {
        return kBlockHeaderBytes + stream_size;
    }
    const std::uint64_t pieces = (stream_size + kPieceBytes - 1) / kPieceBytes;
    return kBlockHeaderBytes + pieces * kArchiveIntBytes + stream_size + kArchiveIntBytes;
}

void apply_override(TocEntry& entry, const TocOverride& change) {
    const auto apply = [](std::string_view& text, const std::optional<std::string>& value) {
        if (value) {
            text = *value;
        }
    };
    apply(entry.tag, change.tag);
    apply(entry.schema, change.schema);
    apply(entry.definition, change.definition);
    apply(entry.drop_statement, change.drop_statement);
    apply(entry.copy_statement, change.copy_statement);
}

}  // namespace

struct ArchiveComposer::Layout {
    struct Block {
        std::size_t entry;
        std::uint64_t size;
    };
    Bytes head;  ///< Header and table of contents.
    std::vector<Block> blocks;
    std::uint64_t size = 0;  ///< Of all.
};

ArchiveComposer::ArchiveComposer(const StreamSource& source, std::string prefix)
    : source_{source},
      prefix_{std::move(prefix)},
      toc_{Toc::parse(read_stream(source, prefix_ + "toc", kTocStreamBytesMax))} {
    std::unordered_map<std::string, std::uint64_t> sizes;
    source_.list(prefix_, [&](const StreamInfo& info) {
        if (info.spec.kind == StreamKind::kToc) {
            const auto& attributes = info.spec.attributes;
            if (const auto it = attributes.find("created"); it != attributes.end()) {
                created_ = ArchiveTime::parse(it->second);
            }
            return;
        }
        sizes.emplace(info.spec.name.substr(prefix_.size()), info.size);
    });
    data_sizes_.resize(toc_.entries().size());
    for (std::size_t i = 0; i < data_sizes_.size(); ++i) {
        if (!toc_.entries()[i].had_data) {
            continue;
        }
        const auto it = sizes.find(toc_.stream_name(i));
        if (it == sizes.end()) {
            throw Error{
                ErrorKind::kVaultCorrupt,
                fmt::format(
                    "The recovery point lacks the stream {}{} with the data of {}.",
                    prefix_,
                    toc_.stream_name(i),
                    describe_entry(toc_.entries()[i])
                )
            };
        }
        data_sizes_[i] = it->second;
    }
}

std::uint64_t ArchiveComposer::data_size(std::size_t entry) const {
    return data_sizes_.at(entry);
}

namespace {

/// The entries of the plan in the order in which they are written.
std::vector<std::size_t> order_entries(const Toc& toc, const ComposePlan& plan) {
    const auto& entries = toc.entries();
    std::vector<bool> wanted(entries.size(), !plan.entries.has_value());
    if (plan.entries) {
        for (const std::size_t i : *plan.entries) {
            wanted.at(i) = true;
        }
    }
    const bool toc_only =
        plan.shape == ComposeShape::kPreData || plan.shape == ComposeShape::kPostData;
    std::vector<std::size_t> order;
    std::vector<std::size_t> at_end;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        if (is_special(entries[i])) {
            order.push_back(i);
        } else if (!wanted[i] || (toc_only && belongs_to_data(toc, i))) {
            continue;
        } else if (toc_only && is_acl(entries[i])) {
            if (plan.shape == ComposeShape::kPostData) {
                at_end.push_back(i);
            }
        } else if (plan.shape != ComposeShape::kPreData ||
                   toc.effective_section(i) == TocSection::kPreData) {
            order.push_back(i);
        }
    }
    order.insert(order.end(), at_end.begin(), at_end.end());
    return order;
}

}  // namespace

ArchiveComposer::Layout ArchiveComposer::lay_out(const ComposePlan& plan) const {
    const std::vector<std::size_t> order = order_entries(toc_, plan);
    ArchiveHeader header = toc_.header();
    header.created = plan.created.value_or(created_.value_or(ArchiveTime{}));

    Layout layout;
    append_archive_header(layout.head, header);
    append_archive_int(layout.head, static_cast<std::int32_t>(order.size()));
    // The offset is the last field of an entry, and its size is fixed: it is filled in when the
    // head's size is known.
    std::vector<std::size_t> offset_positions;
    for (const std::size_t i : order) {
        TocEntry entry = toc_.entries()[i];
        if (const auto it = plan.overrides.find(i); it != plan.overrides.end()) {
            apply_override(entry, it->second);
        }
        if (plan.shape == ComposeShape::kPostData && is_acl(entry)) {
            entry.section = TocSection::kPostData;
        }
        if (entry.had_data && plan.shape == ComposeShape::kFile) {
            entry.data_state = DataState::kOffsetSet;
        }
        append_archive_entry(layout.head, header, entry);
        if (entry.had_data) {
            offset_positions.push_back(layout.head.size() - kArchiveOffsetSize);
            layout.blocks.push_back({i, block_size(entry, data_sizes_[i])});
        }
    }
    layout.size = layout.head.size();
    for (std::size_t k = 0; k < layout.blocks.size(); ++k) {
        if (plan.shape == ComposeShape::kFile) {
            put_little_endian(layout.head.data() + offset_positions[k], layout.size);
        }
        layout.size += layout.blocks[k].size;
    }
    return layout;
}

std::uint64_t ArchiveComposer::composed_size(const ComposePlan& plan) const {
    return lay_out(plan).size;
}

void ArchiveComposer::compose(const ComposePlan& plan, ByteSink& sink) const {
    const Layout layout = lay_out(plan);
    sink.write(layout.head);
    for (const auto& block : layout.blocks) {
        write_data(block.entry, sink);
    }
}

namespace {

/// Fills `out` from the stream, or throws: its size was promised.
void read_exactly(StreamReader& reader, MutableByteSpan out, const std::string& name) {
    while (!out.empty()) {
        const std::size_t count = reader.read(out);
        if (count == 0) {
            throw Error{
                ErrorKind::kVaultCorrupt,
                fmt::format("The stream {} ends {} bytes early.", name, out.size())
            };
        }
        out = out.subspan(count);
    }
}

}  // namespace

void ArchiveComposer::write_data(std::size_t i, ByteSink& sink) const {
    const TocEntry& entry = toc_.entries()[i];
    const bool large_objects = entry.desc == "BLOBS";
    const std::string name = prefix_ + toc_.stream_name(i);
    const auto reader = source_.open(name);
    std::uint64_t left = data_sizes_[i];
    if (reader->size() != left) {
        throw Error{
            ErrorKind::kVaultCorrupt,
            fmt::format("The stream {} has {} bytes instead of {}.", name, reader->size(), left)
        };
    }
    Bytes buffer(kBlockHeaderBytes + kArchiveIntBytes + kPieceBytes + kArchiveIntBytes);
    buffer[0] = std::byte{large_objects ? kBlockLargeObjects : kBlockTableData};
    encode_archive_int(buffer.data() + 1, entry.dump_id);
    std::size_t filled = kBlockHeaderBytes;
    // Block header and end mark travel with a piece, so that a tiny table is one write.
    while (left > 0) {
        const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left, kPieceBytes));
        if (!large_objects) {
            encode_archive_int(buffer.data() + filled, static_cast<std::int32_t>(count));
            filled += kArchiveIntBytes;
        }
        read_exactly(*reader, MutableByteSpan{buffer}.subspan(filled, count), name);
        filled += count;
        left -= count;
        if (left > 0) {
            sink.write(ByteSpan{buffer}.first(filled));
            filled = 0;
        }
    }
    if (!large_objects) {
        encode_archive_int(buffer.data() + filled, 0);
        filled += kArchiveIntBytes;
    }
    sink.write(ByteSpan{buffer}.first(filled));
}

namespace {

/// What a table costs a restore beyond its bytes, a statement and its locks, as bytes of data that
/// take as long. Spreads thousands of empty tables over the shares.
constexpr std::uint64_t kTableOverheadBytes = 4 * kKiB;

/// Something that must be restored by one process: a table's data, or all large objects.
struct ShareUnit {
    std::vector<std::size_t> entries;
    std::uint64_t bytes = 0;
};

std::vector<RestoreShare> distribute(
    std::vector<ShareUnit> units, std::vector<std::size_t> first_share, std::size_t share_count_max
) {
    std::sort(units.begin(), units.end(), [](const ShareUnit& a, const ShareUnit& b) {
        return a.bytes != b.bytes ? a.bytes > b.bytes : a.entries < b.entries;
    });
    std::vector<RestoreShare> shares(std::max<std::size_t>(1, share_count_max));
    shares[0].entries = std::move(first_share);
    for (const ShareUnit& unit : units) {
        RestoreShare& share =
            *std::min_element(shares.begin(), shares.end(), [](const auto& a, const auto& b) {
                return a.bytes < b.bytes;
            });
        share.entries.insert(share.entries.end(), unit.entries.begin(), unit.entries.end());
        share.bytes += unit.bytes;
    }
    std::erase_if(shares, [](const RestoreShare& share) { return share.entries.empty(); });
    for (RestoreShare& share : shares) {
        std::sort(share.entries.begin(), share.entries.end());
    }
    return shares;
}

}  // namespace

std::vector<RestoreShare> ArchiveComposer::plan_shares(
    std::size_t share_count_max, const std::optional<std::vector<std::size_t>>& entries
) const {
    std::vector<std::size_t> chosen(toc_.entries().size());
    std::iota(chosen.begin(), chosen.end(), std::size_t{0});
    if (entries) {
        chosen = *entries;
    }
    ShareUnit large_objects;
    std::vector<ShareUnit> units;
    std::vector<std::size_t> without_block;
    for (const std::size_t i : chosen) {
        if (!belongs_to_data(toc_, i)) {
            continue;
        }
        const TocEntry& entry = toc_.entries()[i];
        if (needs_large_objects(entry) ||
            (!entry.had_data && entry.tag.starts_with("LARGE OBJECT "))) {
            // All in one: an entry that makes them must be restored before the one that fills them.
            large_objects.entries.push_back(i);
            large_objects.bytes += data_sizes_[i] + kTableOverheadBytes;
        } else if (entry.had_data) {
            units.push_back({{i}, data_sizes_[i] + kTableOverheadBytes});
        } else {
            without_block.push_back(i);
        }
    }
    if (!large_objects.entries.empty()) {
        units.push_back(std::move(large_objects));
    }
    return distribute(std::move(units), std::move(without_block), share_count_max);
}

}  // namespace holdfast::postgres
