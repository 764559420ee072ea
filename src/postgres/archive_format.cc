#include "postgres/archive_format.h"

#include "postgres/streams.h"
#include "postgres/toc_encoding.h"

#include <charconv>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

bool ArchiveCursor::need(std::size_t count) {
    if (bytes_.size() - position_ >= count) {
        return true;
    }
    failure_ = Failure::kIncomplete;
    needed_ = position_ + count;
    return false;
}

bool ArchiveCursor::damaged(std::string problem) {
    failure_ = Failure::kDamaged;
    problem_ = std::move(problem);
    return false;
}

bool ArchiveCursor::unsupported(std::string problem) {
    failure_ = Failure::kUnsupported;
    problem_ = std::move(problem);
    return false;
}

bool ArchiveCursor::read_byte(int& out) {
    if (!need(1)) {
        return false;
    }
    out = std::to_integer<int>(bytes_[position_]);
    ++position_;
    return true;
}

bool ArchiveCursor::read_int(std::int32_t& out) {
    if (!need(kArchiveIntBytes)) {
        return false;
    }
    const std::byte* in = bytes_.data() + position_;
    if (std::to_integer<int>(in[0]) > 1) {
        return damaged(fmt::format("{} is no sign of an integer", std::to_integer<int>(in[0])));
    }
    out = decode_archive_int(in);
    position_ += kArchiveIntBytes;
    return true;
}

bool ArchiveCursor::read_text(std::string_view& out) {
    const std::size_t start = position_;
    std::int32_t length = 0;
    if (!read_int(length)) {
        return false;
    }
    if (length < 0) {
        out = {};
        return true;
    }
    const auto count = static_cast<std::size_t>(length);
    if (!need(count)) {
        position_ = start;
        return false;
    }
    // An empty text at the very end would have a null data() only if the whole span were empty.
    out = as_text(bytes_.subspan(position_, count));
    position_ += count;
    return true;
}

bool ArchiveCursor::read_number_text(std::uint32_t& out) {
    std::string_view text;
    if (!read_text(text)) {
        return false;
    }
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return damaged(fmt::format("a number is expected, not {} bytes of other text", text.size())
        );
    }
    return true;
}

bool ArchiveCursor::read_version(ArchiveHeader& out) {
    if (!need(kArchiveMagic.size())) {
        return false;
    }
    if (as_text(bytes_.subspan(position_, kArchiveMagic.size())) != kArchiveMagic) {
        return damaged("this is no pg_dump archive in custom format");
    }
    position_ += kArchiveMagic.size();
    ArchiveVersion& version = out.version;
    if (!read_byte(version.major) || !read_byte(version.minor) || !read_byte(version.revision)) {
        return false;
    }
    if (version < kArchiveVersionMin || version > kArchiveVersionMax) {
        return unsupported(fmt::format("archive version {} is not known", version.to_string()));
    }
    return true;
}

bool ArchiveCursor::read_compression(ArchiveHeader& out) {
    if (out.version >= kArchiveCompressionAlgorithm ? !read_byte(out.compression)
                                                    : !read_int(out.compression)) {
        return false;
    }
    if (out.compression != 0) {
        return unsupported(fmt::format("the archive is compressed (method {})", out.compression));
    }
    return true;
}

bool ArchiveCursor::read_time(ArchiveTime& out) {
    return read_int(out.second) && read_int(out.minute) && read_int(out.hour) &&
           read_int(out.day) && read_int(out.month) && read_int(out.year) && read_int(out.is_dst);
}

bool ArchiveCursor::read_header(ArchiveHeader& out) {
    int format = 0;
    if (!read_version(out) || !read_byte(out.int_size) || !read_byte(out.offset_size) ||
        !read_byte(format)) {
        return false;
    }
    if (format != kArchiveFormatCustom) {
        return unsupported(fmt::format("archive format {} is not the custom format", format));
    }
    if (out.int_size != kArchiveIntSize || out.offset_size != kArchiveOffsetSize) {
        return unsupported(fmt::format(
            "integers of {} and offsets of {} bytes are not known", out.int_size, out.offset_size
        ));
    }
    std::string_view database;
    std::string_view server_version;
    std::string_view dump_version;
    if (!read_compression(out) || !read_time(out.created) || !read_text(database) ||
        !read_text(server_version) || !read_text(dump_version)) {
        return false;
    }
    out.database = database;
    out.server_version = server_version;
    out.dump_version = dump_version;
    return true;
}

bool ArchiveCursor::read_entry_count(std::size_t& out) {
    std::int32_t count = 0;
    if (!read_int(count)) {
        return false;
    }
    if (count < 0) {
        return damaged(fmt::format("{} is no number of entries", count));
    }
    out = static_cast<std::size_t>(count);
    return true;
}

bool ArchiveCursor::read_section(TocEntry& out) {
    std::int32_t section = 0;
    if (!read_int(section)) {
        return false;
    }
    if (section < static_cast<int>(TocSection::kNone) ||
        section > static_cast<int>(TocSection::kPostData)) {
        return damaged(fmt::format("{} is no section", section));
    }
    out.section = static_cast<TocSection>(section);
    return true;
}

bool ArchiveCursor::read_dependencies(TocEntry& out) {
    out.dependencies.clear();
    while (true) {
        std::string_view text;
        if (!read_text(text)) {
            return false;
        }
        if (text.data() == nullptr) {
            return true;
        }
        std::int32_t id = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
        if (error != std::errc{} || end != text.data() + text.size()) {
            return damaged("a dependency is not a number");
        }
        out.dependencies.push_back(id);
    }
}

bool ArchiveCursor::read_data_state(TocEntry& out) {
    int state = 0;
    if (!need(1 + kArchiveOffsetSize) || !read_byte(state)) {
        return false;
    }
    if (state < static_cast<int>(DataState::kOffsetNotSet) ||
        state > static_cast<int>(DataState::kNoData)) {
        return damaged(fmt::format("{} is no state of data", state));
    }
    out.data_state = static_cast<DataState>(state);
    out.data_offset = get_little_endian<std::uint64_t>(bytes_.data() + position_);
    position_ += kArchiveOffsetSize;
    return true;
}

bool ArchiveCursor::read_entry(const ArchiveHeader& header, TocEntry& out) {
    std::int32_t had_data = 0;
    if (!read_int(out.dump_id)) {
        return false;
    }
    if (out.dump_id <= 0) {
        return damaged(fmt::format("{} is no dump id", out.dump_id));
    }
    if (!read_int(had_data) || !read_number_text(out.catalog_table_oid) ||
        !read_number_text(out.catalog_oid) || !read_text(out.tag) || !read_text(out.desc) ||
        !read_section(out) || !read_text(out.definition) || !read_text(out.drop_statement) ||
        !read_text(out.copy_statement) || !read_text(out.schema) || !read_text(out.tablespace)) {
        return false;
    }
    out.had_data = had_data != 0;
    out.table_access_method = {};
    if (header.version >= kArchiveTableAccessMethod && !read_text(out.table_access_method)) {
        return false;
    }
    std::int32_t relation_kind = 0;
    if (header.version >= kArchiveRelationKind && !read_int(relation_kind)) {
        return false;
    }
    out.relation_kind = static_cast<char>(relation_kind);
    return read_text(out.owner) && read_text(out.with_oids) && read_dependencies(out) &&
           read_data_state(out);
}

void append_archive_int(Bytes& out, std::int32_t value) {
    const std::size_t start = out.size();
    out.resize(start + kArchiveIntBytes);
    encode_archive_int(out.data() + start, value);
}

void append_archive_text(Bytes& out, std::string_view text) {
    if (text.data() == nullptr) {
        append_archive_int(out, -1);
        return;
    }
    append_archive_int(out, static_cast<std::int32_t>(text.size()));
    const ByteSpan bytes = as_bytes(text);
    out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_archive_header(Bytes& out, const ArchiveHeader& header) {
    const auto append_byte = [&out](int value) {
        out.push_back(std::byte{static_cast<unsigned char>(value)});
    };
    const ByteSpan magic = as_bytes(kArchiveMagic);
    out.insert(out.end(), magic.begin(), magic.end());
    append_byte(header.version.major);
    append_byte(header.version.minor);
    append_byte(header.version.revision);
    append_byte(header.int_size);
    append_byte(header.offset_size);
    append_byte(kArchiveFormatCustom);
    if (header.version >= kArchiveCompressionAlgorithm) {
        append_byte(header.compression);
    } else {
        append_archive_int(out, header.compression);
    }
    const ArchiveTime& time = header.created;
    for (const int part :
         {time.second, time.minute, time.hour, time.day, time.month, time.year, time.is_dst}) {
        append_archive_int(out, part);
    }
    append_archive_text(out, header.database);
    append_archive_text(out, header.server_version);
    append_archive_text(out, header.dump_version);
}

void append_archive_entry(Bytes& out, const ArchiveHeader& header, const TocEntry& entry) {
    append_archive_int(out, entry.dump_id);
    append_archive_int(out, entry.had_data ? 1 : 0);
    append_archive_text(out, fmt::format_int{entry.catalog_table_oid}.c_str());
    append_archive_text(out, fmt::format_int{entry.catalog_oid}.c_str());
    append_archive_text(out, entry.tag);
    append_archive_text(out, entry.desc);
    append_archive_int(out, static_cast<int>(entry.section));
    append_archive_text(out, entry.definition);
    append_archive_text(out, entry.drop_statement);
    append_archive_text(out, entry.copy_statement);
    append_archive_text(out, entry.schema);
    append_archive_text(out, entry.tablespace);
    if (header.version >= kArchiveTableAccessMethod) {
        append_archive_text(out, entry.table_access_method);
    }
    if (header.version >= kArchiveRelationKind) {
        append_archive_int(out, entry.relation_kind);
    }
    append_archive_text(out, entry.owner);
    append_archive_text(out, entry.with_oids);
    for (const std::int32_t id : entry.dependencies) {
        append_archive_text(out, fmt::format_int{id}.c_str());
    }
    append_archive_text(out, {});
    out.push_back(std::byte{static_cast<unsigned char>(entry.data_state)});
    const std::size_t start = out.size();
    out.resize(start + kArchiveOffsetSize);
    put_little_endian(out.data() + start, entry.data_offset);
}

std::string StreamNamer::name(const TocEntry& entry) {
    std::string name;
    if (entry.desc == "BLOBS") {
        // One entry, tagged BLOBS, up to 1.15; from 1.16 on one for each group, tagged with its
        // first and last number.
        name = entry.tag == "BLOBS" ? "blobs" : "blobs/" + stream_name_part(entry.tag);
    } else if (entry.desc == "TABLE DATA") {
        name = "data/" + stream_name_part(entry.schema) + "/" + stream_name_part(entry.tag);
    } else {
        name = "other/" + stream_name_part(entry.desc) + "/" + stream_name_part(entry.schema) +
               "/" + stream_name_part(entry.tag);
    }
    const int times = ++used_[name];
    // '+' never comes out of percent-encoding, so this cannot meet another name.
    return times == 1 ? name : fmt::format("{}+{}", name, times);
}

std::string describe_entry(const TocEntry& entry, std::string_view encoding) {
    const std::string tag = to_utf8(entry.tag, encoding);
    if (entry.schema.empty()) {
        return fmt::format("{} {}", repair_utf8(entry.desc), tag);
    }
    return fmt::format("{} {}.{}", repair_utf8(entry.desc), to_utf8(entry.schema, encoding), tag);
}

}  // namespace holdfast::postgres
