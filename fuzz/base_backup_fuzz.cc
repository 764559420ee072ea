// The tar stream and the manifest of a base backup: bytes that come from a server.
#include "base/error.h"
#include "postgres/backup_manifest.h"
#include "postgres/tar_reader.h"

using namespace holdfast;
using namespace holdfast::postgres;

namespace {

struct Nowhere final : TarHandler {
    void begin(const TarEntry& entry) override { HOLDFAST_CHECK(!entry.name.starts_with('/')); }
    void write(ByteSpan) override {}
    void end() override {}
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const ByteSpan bytes = std::as_bytes(std::span{data, size});
    try {
        Nowhere nowhere;
        TarReader reader{nowhere};
        reader.write(bytes.first(size / 2));
        reader.write(bytes.subspan(size / 2));
        reader.finish();
    } catch (const Error&) {
    }
    try {
        (void)parse_backup_manifest(bytes);
    } catch (const Error&) {
    }
    return 0;
}
