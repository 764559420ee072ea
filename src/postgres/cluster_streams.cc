#include "postgres/cluster_streams.h"

#include "base/error.h"
#include "postgres/cluster_description.h"
#include "postgres/streams.h"

#include <charconv>
#include <string>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

[[noreturn]] void fail(const StreamInfo& stream, std::string_view problem) {
    throw Error{
        ErrorKind::kVaultCorrupt,
        fmt::format("The stream {} of the recovery point {}.", stream.spec.name, problem)
    };
}

std::uint32_t mode_of(const StreamInfo& stream) {
    constexpr int kOctal = 8;
    constexpr std::uint32_t kModeBits = 07777;
    const auto found = stream.spec.attributes.find("mode");
    if (found == stream.spec.attributes.end()) {
        fail(stream, "does not say its mode");
    }
    const std::string& text = found->second;
    std::uint32_t mode = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, kOctal);
    if (error != std::errc{} || end != text.data() + text.size() || mode > kModeBits) {
        fail(stream, "has a mode that is none");
    }
    return mode;
}

}  // namespace

TarEntry entry_of_stream(const StreamInfo& stream) {
    TarEntry entry;
    entry.name = path_of_stream_name(kDataPrefix, stream.spec.name);
    entry.mode = mode_of(stream);
    if (stream.spec.kind == StreamKind::kFile) {
        entry.type = TarEntryType::kFile;
        entry.size = stream.size;
    } else if (stream.spec.kind == StreamKind::kDirectory) {
        entry.type = TarEntryType::kDirectory;
    } else if (stream.spec.kind == StreamKind::kSymbolicLink) {
        entry.type = TarEntryType::kSymbolicLink;
        const auto target = stream.spec.attributes.find("target");
        if (target == stream.spec.attributes.end()) {
            fail(stream, "is a link that leads nowhere");
        }
        entry.link_target = target->second;
    } else {
        fail(stream, "is no file of a data directory");
    }
    return entry;
}

}  // namespace holdfast::postgres
