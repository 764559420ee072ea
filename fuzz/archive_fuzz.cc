// Any bytes as a pg_dump archive: split, compose, split again, select, rename. Whatever is
// understood must come out the same; whatever is not must be an Error, never anything worse.

#include "base/error.h"
#include "postgres/archive_composer.h"
#include "postgres/archive_splitter.h"
#include "postgres/sql_tokens.h"
#include "postgres/streams.h"
#include "postgres/toc.h"
#include "postgres/toc_selection.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

using namespace holdfast;
using namespace holdfast::postgres;

constexpr std::string_view kPrefix = "databases/d/";

SplitResult split(ByteSpan bytes, std::size_t step, MemoryStreams& streams) {
    ArchiveSplitter splitter{streams, std::string{kPrefix}};
    for (std::size_t i = 0; i < bytes.size(); i += step) {
        splitter.write(bytes.subspan(i, std::min(step, bytes.size() - i)));
    }
    return splitter.finish();
}

void select_all(const Toc& toc) {
    for (const ArchiveItem& item : list_items(toc)) {
        SelectionRequest request{.item = {.schema = item.schema}};
        if (!item.name.empty()) {
            request.item.table = item.name;
        }
        try {
            static_cast<void>(select_item(toc, request));
            request.rename_to = "renamed";
            static_cast<void>(select_item(toc, request));
        } catch (const Error&) {
            continue;  // Refused: fine.
        }
    }
    for (const TocEntry& entry : toc.entries()) {
        static_cast<void>(existence_query(toc, entry));
    }
}

void run(ByteSpan bytes) {
    const std::size_t step = bytes.empty() ? 1 : 1 + std::to_integer<std::size_t>(bytes.back());
    MemoryStreams streams;
    if (!split(bytes, step, streams).understood) {
        return;
    }
    const ArchiveComposer composer{streams, std::string{kPrefix}};
    MemoryBytes composed;
    composer.compose({}, composed);
    MemoryStreams again;
    HOLDFAST_CHECK(split(composed.bytes(), 4096, again).understood);
    HOLDFAST_CHECK(streams.streams().size() == again.streams().size());
    for (const auto& [name, stream] : streams.streams()) {
        HOLDFAST_CHECK(again.streams().at(name).bytes == stream.bytes);
    }
    static_cast<void>(composer.plan_shares(3));
    select_all(composer.toc());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const ByteSpan bytes{reinterpret_cast<const std::byte*>(data), size};
    try {
        run(bytes);
    } catch (const Error&) {
    }
    try {
        static_cast<void>(Toc::parse(Bytes{bytes.begin(), bytes.end()}));
    } catch (const Error&) {
    }
    static_cast<void>(tokenize_sql(as_text(bytes)));
    return 0;
}
