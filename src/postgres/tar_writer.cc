#include "postgres/tar_writer.h"

#include "base/error.h"
#include "postgres/streams.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

constexpr std::size_t kBlockBytes = 512;
using Block = std::array<std::byte, kBlockBytes>;

// Offsets of a header's fields; their lengths are in what is put there.
constexpr std::size_t kName = 0;
constexpr std::size_t kNameBytes = 100;
constexpr std::size_t kMode = 100;
constexpr std::size_t kUser = 108;
constexpr std::size_t kGroup = 116;
constexpr std::size_t kSize = 124;
constexpr std::size_t kModified = 136;
constexpr std::size_t kChecksum = 148;
constexpr std::size_t kType = 156;
constexpr std::size_t kLinkName = 157;
constexpr std::size_t kMagic = 257;
constexpr std::size_t kUserName = 265;
constexpr std::size_t kGroupName = 297;
constexpr std::size_t kPrefix = 345;
constexpr std::size_t kPrefixBytes = 155;

void put(Block& block, std::size_t at, std::string_view text) {
    const ByteSpan bytes = as_bytes(text);
    std::copy(bytes.begin(), bytes.end(), block.begin() + static_cast<std::ptrdiff_t>(at));
}

/// `digits` octal digits and a NUL; in base 256 when there are too few.
void put_number(Block& block, std::size_t at, std::size_t digits, std::uint64_t value) {
    if (value >> (3 * digits) == 0) {
        put(block, at, fmt::format("{:0{}o}", value, digits));
        return;
    }
    block[at] = std::byte{0x80};
    for (std::size_t i = digits; i > 0; --i, value >>= 8) {
        block[at + i] = static_cast<std::byte>(value & 0xff);
    }
}

void put_name(Block& block, const std::string& name) {
    if (name.size() <= kNameBytes) {
        put(block, kName, name);
        return;
    }
    // Cut at a slash, so that both parts fit.
    for (std::size_t slash = name.find('/'); slash != std::string::npos && slash <= kPrefixBytes;
         slash = name.find('/', slash + 1)) {
        if (slash > 0 && name.size() - slash - 1 <= kNameBytes && slash + 1 < name.size()) {
            put(block, kPrefix, std::string_view{name}.substr(0, slash));
            put(block, kName, std::string_view{name}.substr(slash + 1));
            return;
        }
    }
    throw Error{
        ErrorKind::kUnsupportedOperation,
        {.message = fmt::format("The name \"{}\" is too long for a tar archive.", name),
         .recommended_actions = {"Restore to a directory instead."}}
    };
}

}  // namespace

std::uint64_t TarWriter::bytes_of(const TarEntry& entry) noexcept {
    return kBlockBytes + (entry.size + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}

void TarWriter::begin(const TarEntry& entry) {
    if (entry.link_target.size() > kNameBytes) {
        throw Error{
            ErrorKind::kUnsupportedOperation,
            {.message = fmt::format(
                 "The link \"{}\" leads too far for a tar archive: \"{}\".",
                 entry.name,
                 entry.link_target
             ),
             .recommended_actions = {"Restore to a directory instead."}}
        };
    }
    Block block{};
    const bool directory = entry.type == TarEntryType::kDirectory;
    put_name(block, directory ? entry.name + '/' : entry.name);
    put_number(block, kMode, 7, entry.mode);
    put_number(block, kUser, 7, 0);
    put_number(block, kGroup, 7, 0);
    put_number(block, kSize, 11, entry.size);
    put_number(
        block, kModified, 11, static_cast<std::uint64_t>(std::max<std::int64_t>(entry.modified, 0))
    );
    const bool link = entry.type == TarEntryType::kSymbolicLink;
    block[kType] = static_cast<std::byte>(directory ? '5' : link ? '2' : '0');
    put(block, kLinkName, entry.link_target);
    put(block,
        kMagic,
        std::string_view{
            "ustar\0"
            "00",
            8});
    put(block, kUserName, "postgres");
    put(block, kGroupName, "postgres");
    put(block, kChecksum, "        ");
    unsigned sum = 0;
    for (const std::byte byte : block) {
        sum += std::to_integer<unsigned>(byte);
    }
    put(block, kChecksum, fmt::format("{:06o}", sum));
    block[kChecksum + 6] = std::byte{0};
    sink_.write(block);
    left_ = entry.size;
    padding_ = bytes_of(entry) - kBlockBytes - entry.size;
}

void TarWriter::write(ByteSpan bytes) {
    HOLDFAST_CHECK(bytes.size() <= left_);
    left_ -= bytes.size();
    sink_.write(bytes);
}

void TarWriter::end() {
    HOLDFAST_CHECK(left_ == 0);
    static constexpr Block kZeros{};
    sink_.write(ByteSpan{kZeros}.first(static_cast<std::size_t>(padding_)));
    padding_ = 0;
}

void TarWriter::finish() {
    static constexpr std::array<std::byte, kEndBytes> kZeros{};
    sink_.write(kZeros);
}

}  // namespace holdfast::postgres
