#include "postgres/tar_reader.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

// Fields of a header: offset and length in bytes (POSIX.1-1988, "ustar").
struct Field {
    std::size_t offset;
    std::size_t size;
};
constexpr Field kName{0, 100};
constexpr Field kMode{100, 8};
constexpr Field kSize{124, 12};
constexpr Field kModified{136, 12};
constexpr Field kChecksum{148, 8};
constexpr std::size_t kType = 156;
constexpr Field kLinkName{157, 100};
constexpr Field kMagic{257, 5};
constexpr Field kPrefix{345, 155};

ByteSpan bytes_of(ByteSpan header, Field field) {
    return header.subspan(field.offset, field.size);
}

/// Up to the first NUL.
std::string text_of(ByteSpan header, Field field) {
    const std::string_view text = as_text(bytes_of(header, field));
    return std::string{text.substr(0, text.find('\0'))};
}

/// Octal digits between blanks, or, with the highest bit set, base 256.
std::optional<std::uint64_t> number_of(ByteSpan header, Field field) {
    const ByteSpan bytes = bytes_of(header, field);
    std::uint64_t value = 0;
    if ((std::to_integer<unsigned>(bytes[0]) & 0x80U) != 0) {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            const unsigned digit = std::to_integer<unsigned>(bytes[i]) & (i == 0 ? 0x7fU : 0xffU);
            if (value >> 55 != 0) {
                return std::nullopt;
            }
            value = value << 8 | digit;
        }
        return value;
    }
    std::string_view text = as_text(bytes);
    text = text.substr(0, text.find('\0'));
    while (text.starts_with(' ')) {
        text.remove_prefix(1);
    }
    while (text.ends_with(' ')) {
        text.remove_suffix(1);
    }
    for (const char digit : text) {
        if (digit < '0' || digit > '7') {
            return std::nullopt;
        }
        value = value << 3 | static_cast<unsigned>(digit - '0');
    }
    return value;
}

/// The sum of the header's bytes, its checksum field taken for blanks.
std::uint64_t sum_of(ByteSpan header) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < header.size(); ++i) {
        const bool in_checksum = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.size;
        sum += in_checksum ? ' ' : std::to_integer<unsigned>(header[i]);
    }
    return sum;
}

bool climbs(std::string_view name) {
    for (const std::string& part : split(name, '/')) {
        if (part.empty() || part == "." || part == "..") {
            return true;
        }
    }
    return false;
}

}  // namespace

void TarReader::fail(const std::string& problem) const {
    throw Error{
        ErrorKind::kBaseBackupFailed,
        {.message = fmt::format(
             "The server's base backup is not usable: at byte {}, {}.", offset_, problem
         ),
         .recommended_actions = {"Back up again; if it happens again, look at the server's log."}}
    };
}

void TarReader::begin_entry(const TarEntry& entry) {
    handler_.begin(entry);
    left_ = entry.size;
    padding_ = (kBlockBytes - entry.size % kBlockBytes) % kBlockBytes;
    step_ = Step::kContents;
    if (left_ == 0) {
        handler_.end();
        step_ = Step::kHeader;
    }
}

void TarReader::take_header() {
    header_bytes_ = 0;
    const ByteSpan header{header_};
    if (std::all_of(header.begin(), header.end(), [](std::byte b) { return b == std::byte{0}; })) {
        step_ = Step::kEnd;
        return;
    }
    if (as_text(bytes_of(header, kMagic)) != "ustar") {
        fail("a header is not that of a tar archive");
    }
    if (number_of(header, kChecksum) != sum_of(header)) {
        fail("a header does not have the sum that it says");
    }
    TarEntry entry;
    const std::string prefix = text_of(header, kPrefix);
    entry.name = prefix.empty() ? text_of(header, kName) : prefix + '/' + text_of(header, kName);
    while (entry.name.size() > 1 && entry.name.ends_with('/')) {
        entry.name.pop_back();
    }
    if (entry.name.starts_with("./")) {  // As the server writes what it makes up itself.
        entry.name.erase(0, 2);
    }
    if (climbs(entry.name)) {
        fail(fmt::format("the name \"{}\" leads out of the data directory", entry.name));
    }
    const auto mode = number_of(header, kMode);
    const auto size = number_of(header, kSize);
    const auto modified = number_of(header, kModified);
    if (!mode || !size || !modified) {
        fail(fmt::format("the header of \"{}\" has a number that is none", entry.name));
    }
    entry.mode = static_cast<std::uint32_t>(*mode & 07777U);
    entry.modified = static_cast<std::int64_t>(*modified);
    switch (std::to_integer<char>(header[kType])) {
        case '0':
        case '\0':
            entry.type = TarEntryType::kFile;
            entry.size = *size;
            break;
        case '5':
            entry.type = TarEntryType::kDirectory;
            break;
        case '2':
            entry.type = TarEntryType::kSymbolicLink;
            entry.link_target = text_of(header, kLinkName);
            break;
        default:
            fail(fmt::format("the entry \"{}\" is of an unknown type", entry.name));
    }
    begin_entry(entry);
}

void TarReader::write(ByteSpan bytes) {
    while (!bytes.empty()) {
        std::size_t taken = bytes.size();
        switch (step_) {
            case Step::kHeader:
                taken = std::min(bytes.size(), kBlockBytes - header_bytes_);
                std::copy_n(bytes.begin(), taken, header_.data() + header_bytes_);
                header_bytes_ += taken;
                if (header_bytes_ == kBlockBytes) {
                    take_header();
                }
                break;
            case Step::kContents:
                taken = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_));
                handler_.write(bytes.first(taken));
                left_ -= taken;
                if (left_ == 0) {
                    handler_.end();
                    left_ = padding_;
                    step_ = padding_ == 0 ? Step::kHeader : Step::kPadding;
                }
                break;
            case Step::kPadding:
                taken = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_));
                left_ -= taken;
                if (left_ == 0) {
                    step_ = Step::kHeader;
                }
                break;
            case Step::kEnd:
                break;  // Zeros, up to whatever size the writer's blocks have.
        }
        offset_ += taken;
        bytes = bytes.subspan(taken);
    }
}

void TarReader::finish() {
    const bool whole = step_ == Step::kEnd || (step_ == Step::kHeader && header_bytes_ == 0);
    if (!whole) {
        fail("it ends in the middle of an entry");
    }
}

}  // namespace holdfast::postgres
