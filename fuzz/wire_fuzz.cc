// The protocol as a server sends it, without libpq between.
#include "base/error.h"
#include "postgres/wire_reader.h"

#include <algorithm>

using namespace holdfast;
using namespace holdfast::postgres;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ByteSpan bytes = std::as_bytes(std::span{data, size});
    try {
        WireReader reader;
        while (!bytes.empty()) {
            const MutableByteSpan room = reader.room();
            const std::size_t count = std::min({std::size_t{97}, bytes.size(), room.size()});
            std::copy_n(bytes.begin(), count, room.begin());
            reader.add(count);
            bytes = bytes.subspan(count);
            while (const auto message = reader.next()) {
                switch (message->type) {
                    case 'E':
                        (void)parse_server_message(message->body);
                        break;
                    case 'T':
                        (void)parse_row_description(message->body);
                        break;
                    case 'D':
                        (void)parse_data_row(message->body);
                        break;
                    default:
                        break;
                }
            }
        }
    } catch (const Error&) {
    }
    return 0;
}
