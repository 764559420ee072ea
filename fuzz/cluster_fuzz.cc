// What a restore reads: descriptions of clusters, names of streams, configuration, manifests.
#include "base/error.h"
#include "base/json.h"
#include "postgres/backup_manifest.h"
#include "postgres/cluster_description.h"
#include "postgres/cluster_settings.h"

using namespace holdfast;
using namespace holdfast::postgres;

namespace {

struct Nothing final : ManifestHandler {
    void file(const std::string&, const ManifestFile&) override {}
};

void read_description(std::string_view text) {
    const Json json = parse_json(text, ErrorKind::kVaultCorrupt, "input");
    const ClusterDescription cluster = cluster_from_json(json);
    HOLDFAST_CHECK(to_json(cluster_from_json(to_json(cluster))) == to_json(cluster));
}

void read_name(std::string_view text) {
    const std::string path = path_of_stream_name(kDataPrefix, text);
    HOLDFAST_CHECK(!path.empty() && path.front() != '/' && path.find("/../") == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const ByteSpan bytes = std::as_bytes(std::span{data, size});
    const std::string_view text = as_text(bytes);
    try {
        read_description(text);
    } catch (const Error&) {
    }
    try {
        read_name(text);
    } catch (const Error&) {
    }
    try {
        Nothing nothing;
        BackupManifestReader reader{nothing};
        reader.write(bytes.first(size / 3));
        reader.write(bytes.subspan(size / 3));
        reader.finish();
    } catch (const Error&) {
    }
    (void)adapt_configuration(text, [](const std::string& path) { return path.size() % 2 == 0; });
    return 0;
}
