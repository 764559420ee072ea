// Any bytes as what a client sends over one connection. However they are cut, the same requests
// must come of them. (When a request that never becomes whole is refused may differ.)

#include "base/error.h"
#include "base/text.h"
#include "control/http/request_reader.h"

#include <cstdint>
#include <vector>

namespace {

using namespace holdfast;
using control::Request;
using control::RequestReader;

void look_at_target(const Request& request) {
    try {
        const control::Target target = control::parse_target(request.raw_target);
        for (const std::string& segment : target.path) {
            HOLDFAST_CHECK(
                !segment.empty() && segment != "." && segment != ".." && is_utf8(segment)
            );
        }
        for (const auto& [name, value] : target.query.fields()) {
            HOLDFAST_CHECK(is_utf8(name) && is_utf8(value));
        }
    } catch (const Error&) {
        return;
    }
}

// To the byte, where the limit of a header lies depends on how it comes.
constexpr RequestReader::Limits kWide{.header_bytes_max = 1U << 20U, .body_bytes_max = 1024};

std::vector<Request> read_all(
    std::string_view bytes, std::size_t step, const RequestReader::Limits& limits
) {
    std::vector<Request> out;
    std::optional<RequestReader> reader;
    std::string buffer;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
        buffer += bytes.substr(at, step);
        while (!buffer.empty()) {
            if (!reader) {
                reader.emplace(limits);
            }
            const RequestReader::State state = reader->feed(buffer);
            if (state == RequestReader::State::kMore) {
                break;
            }
            if (state == RequestReader::State::kRefused) {
                HOLDFAST_CHECK(traits(reader->error().kind()).http_status < 500);
                static_cast<void>(reader->take());
                return out;
            }
            if (state == RequestReader::State::kComplete) {
                out.push_back(reader->take());
                HOLDFAST_CHECK(out.back().body.size() <= limits.body_bytes_max);
                reader.reset();
            }
        }
    }
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes{reinterpret_cast<const char*>(data), size};
    const std::vector<Request> whole = read_all(bytes, size + 1, kWide);
    const std::vector<Request> pieces = read_all(bytes, 1, kWide);
    static_cast<void>(read_all(bytes, 7, {.header_bytes_max = 200, .body_bytes_max = 20}));
    HOLDFAST_CHECK(whole.size() == pieces.size());
    for (std::size_t i = 0; i < whole.size(); ++i) {
        const Request& a = whole[i];
        const Request& b = pieces[i];
        HOLDFAST_CHECK(a.method == b.method && a.raw_target == b.raw_target && a.body == b.body);
        HOLDFAST_CHECK(a.headers.fields() == b.headers.fields());
        look_at_target(a);
    }
    return 0;
}
