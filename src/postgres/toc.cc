#include "postgres/toc.h"

#include "base/error.h"
#include "postgres/archive_format.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

/// The smallest an entry can be: bounds what is reserved for a count that a damaged archive claims.
constexpr std::size_t kEntryBytesMin = 80;

[[noreturn]] void throw_cursor_failure(
    const ArchiveCursor& cursor, std::size_t entry, const TocEntry& partial
) {
    const std::string where = entry == 0
                                  ? std::string{"its header"}
                                  : fmt::format("entry {} ({})", entry, describe_entry(partial));
    switch (cursor.failure()) {
        case ArchiveCursor::Failure::kUnsupported:
            throw Error{
                ErrorKind::kVaultFormatUnsupported,
                {.message = fmt::format("The archive cannot be read: {}.", cursor.problem()),
                 .recommended_actions =
                     {"Restore it as a whole with the pg_restore of its own version."}}
            };
        case ArchiveCursor::Failure::kIncomplete:
            throw Error{
                ErrorKind::kVaultCorrupt,
                fmt::format(
                    "The archive's table of contents is cut off at byte {}, in {}.",
                    cursor.position(),
                    where
                )
            };
        case ArchiveCursor::Failure::kNone:
        case ArchiveCursor::Failure::kDamaged:
            break;
    }
    throw Error{
        ErrorKind::kVaultCorrupt,
        fmt::format(
            "The archive's table of contents is damaged at byte {}, in {}: {}.",
            cursor.position(),
            where,
            cursor.problem()
        )
    };
}

}  // namespace

std::string ArchiveVersion::to_string() const {
    return fmt::format("{}.{}-{}", major, minor, revision);
}

std::string ArchiveTime::to_string() const {
    return fmt::format(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}",
        year + 1900,
        month + 1,
        day,
        hour,
        minute,
        second,
        is_dst > 0 ? "+dst" : ""
    );
}

std::optional<ArchiveTime> ArchiveTime::parse(std::string_view text) {
    ArchiveTime time;
    constexpr std::string_view kDst = "+dst";
    if (text.ends_with(kDst)) {
        time.is_dst = 1;
        text.remove_suffix(kDst.size());
    }
    int used = 0;
    const std::string copy{text};
    const int fields = std::sscanf(
        copy.c_str(),
        "%4d-%2d-%2dT%2d:%2d:%2d%n",
        &time.year,
        &time.month,
        &time.day,
        &time.hour,
        &time.minute,
        &time.second,
        &used
    );
    if (fields != 6 || static_cast<std::size_t>(used) != copy.size()) {
        return std::nullopt;
    }
    time.year -= 1900;
    time.month -= 1;
    const auto within = [](int value, int low, int high) { return value >= low && value <= high; };
    if (!within(time.month, 0, 11) || !within(time.day, 1, 31) || !within(time.hour, 0, 23) ||
        !within(time.minute, 0, 59) || !within(time.second, 0, 60)) {
        return std::nullopt;
    }
    return time;
}

Toc Toc::parse(Bytes bytes) {
    Toc toc;
    toc.bytes_ = std::make_unique<Bytes>(std::move(bytes));
    ArchiveCursor cursor{*toc.bytes_};
    std::size_t count = 0;
    if (!cursor.read_header(toc.header_) || !cursor.read_entry_count(count)) {
        throw_cursor_failure(cursor, 0, {});
    }
    const std::size_t bound = std::min(count, toc.bytes_->size() / kEntryBytesMin);
    toc.entries_.reserve(bound);
    toc.by_dump_id_.reserve(bound);
    StreamNamer namer;
    TocSection section = TocSection::kPreData;
    for (std::size_t i = 0; i < count; ++i) {
        TocEntry entry;
        const std::size_t start = cursor.position();
        if (!cursor.read_entry(toc.header_, entry)) {
            throw_cursor_failure(cursor, i + 1, entry);
        }
        if (!toc.by_dump_id_.emplace(entry.dump_id, i).second) {
            throw Error{
                ErrorKind::kVaultCorrupt,
                fmt::format(
                    "The archive's table of contents is damaged at byte {}: entry {} ({}) repeats "
                    "dump id {}.",
                    start,
                    i + 1,
                    describe_entry(entry),
                    entry.dump_id
                )
            };
        }
        if (entry.had_data) {
            toc.stream_names_.emplace(i, namer.name(entry));
        }
        section = entry.section == TocSection::kNone ? section : entry.section;
        toc.sections_.push_back(section);
        toc.entries_.push_back(std::move(entry));
    }
    return toc;
}

std::optional<std::size_t> Toc::find(std::int32_t dump_id) const {
    const auto it = by_dump_id_.find(dump_id);
    if (it == by_dump_id_.end()) {
        return std::nullopt;
    }
    return it->second;
}

const std::string& Toc::stream_name(std::size_t entry) const {
    const auto it = stream_names_.find(entry);
    HOLDFAST_CHECK(it != stream_names_.end());
    return it->second;
}

}  // namespace holdfast::postgres
