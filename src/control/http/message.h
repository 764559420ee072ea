#pragma once

#include "base/file.h"
#include "base/json.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace holdfast::control {

/// The HTTP methods that the API knows.
enum class Verb { kGet, kHead, kPut, kPost, kPatch, kDelete };

[[nodiscard]] std::string_view to_string(Verb verb) noexcept;
/// Methods are case-sensitive (RFC 9110); nothing for an unknown one.
[[nodiscard]] std::optional<Verb> parse_verb(std::string_view method) noexcept;

/// Header fields in the order given; names compare without case. Small, so a list.
class Headers {
public:
    using Field = std::pair<std::string, std::string>;

    /// The first field of that name, or nullptr.
    [[nodiscard]] const std::string* find(std::string_view name) const noexcept;
    [[nodiscard]] std::string get_or(std::string_view name, std::string_view fallback) const;
    [[nodiscard]] bool has(std::string_view name) const noexcept { return find(name) != nullptr; }
    /// Replaces every field of that name.
    void set(std::string_view name, std::string value);
    void add(std::string_view name, std::string value);
    [[nodiscard]] const std::vector<Field>& fields() const noexcept { return fields_; }

private:
    std::vector<Field> fields_;
};

/// Query parameters, decoded (`+` is a blank, as the clients send it); names compare without case,
/// as ARM does.
class Query {
public:
    [[nodiscard]] const std::string* find(std::string_view name) const noexcept;
    [[nodiscard]] std::string get_or(std::string_view name, std::string_view fallback) const;
    [[nodiscard]] bool has(std::string_view name) const noexcept { return find(name) != nullptr; }
    void add(std::string name, std::string value);
    [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& fields() const noexcept {
        return fields_;
    }

private:
    std::vector<std::pair<std::string, std::string>> fields_;
};

/// A request target taken apart. The path is split at `/` before it is percent-decoded, so an
/// encoded slash stays inside its segment; empty segments (repeated slashes) are dropped.
struct Target {
    std::vector<std::string> path;
    Query query;
};

/// Throws kBadRequest for a broken escape, text that is not UTF-8, control characters, `.` and `..`
/// segments (encoded or not) and an absolute form whose path is missing.
[[nodiscard]] Target parse_target(std::string_view raw);

/// One complete request. A value: it owns all that it names.
struct Request {
    Verb verb = Verb::kGet;
    std::string method = "GET";     ///< As sent; the dispatcher sets `verb` from it.
    std::string raw_target;         ///< As it stood in the request line. For the log.
    std::vector<std::string> path;  ///< Decoded segments, in the caller's casing.
    Query query;
    Headers headers;
    std::string body;            ///< As received; at most the configured limit.
    std::string peer_address;    ///< `192.0.2.1:50000`, `[2001:db8::1]:50000`
    std::string request_id;      ///< x-ms-request-id: a GUID of ours, one per request.
    std::string correlation_id;  ///< x-ms-correlation-request-id: the client's when it is a GUID,
                                 ///< else request_id.
    std::string
        client_request_id;  ///< x-ms-client-request-id as sent (at most 128 characters), or empty.
};

/// A file, or a part of it, sent without being read into memory. `offset + size` lies within the
/// file.
struct FileBody {
    FileDescriptor file;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
};

/// A body that is made while it is sent: never whole in memory, and made no faster than the client
/// takes it. One thread at a time.
class BodySource {
public:
    virtual ~BodySource() = default;
    /// The next block, at most about 1 MiB; empty at the end. May block on storage. What it throws
    /// cuts the connection: that is how the client learns that what it has is not all.
    [[nodiscard]] virtual std::string next() = 0;
};

/// What a handler answers. A HEAD request gets the same reply without the body.
struct Reply {
    int status = 200;
    Headers headers;
    std::variant<std::monostate, Json, std::string, FileBody, std::unique_ptr<BodySource>> body;
    std::string json_text;  ///< What a JSON body is sent as; made by encode().

    /// Makes the text of a JSON body, once: the body does not change any more then. What is not
    /// UTF-8 in it (names that came from PostgreSQL or a client's bytes) is replaced.
    void encode();
    /// In bytes; 0 for one that is made while it is sent. Of a JSON body: once it is encoded.
    [[nodiscard]] std::uint64_t body_size() const noexcept;

    /// No body, Content-Length: 0 (absent with 204).
    [[nodiscard]] static Reply empty(int status);
    [[nodiscard]] static Reply json(int status, Json body);
    [[nodiscard]] static Reply ok(Json body) { return json(200, std::move(body)); }
    [[nodiscard]] static Reply text(int status, std::string body, std::string_view content_type);
    /// Sent in chunks; to a client of HTTP/1.0 until the connection ends.
    [[nodiscard]] static Reply stream(
        std::unique_ptr<BodySource> body, std::string_view content_type
    );
};

/// Answers a download of `file` (`size` bytes in all): 200, 206 for one satisfiable byte range, 416
/// else. `etag` is quoted already; an `If-Range` with another one gets the whole file.
[[nodiscard]] Reply file_reply(
    const Request& request, FileDescriptor file, std::uint64_t size, const std::string& etag
);

}  // namespace holdfast::control
