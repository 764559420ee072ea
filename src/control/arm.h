#pragma once

#include "base/error.h"
#include "base/json.h"
#include "catalog/catalog.h"
#include "control/http/message.h"
#include "control/route.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::control {

/// `{"code","message","target"?,"details"?,"additionalInfo"}`: the inside of ARM's `error`.
/// `details` is left out when there are none, never null. `activity_id` may be empty.
[[nodiscard]] Json error_object(const Error& error, std::string_view activity_id);
/// `{"error": error_object}`
[[nodiscard]] Json error_body(const Error& error, std::string_view activity_id);
/// The reply for a failed request: status, envelope, x-ms-error-code, and WWW-Authenticate (401),
/// Retry-After (429, 503) where they belong.
[[nodiscard]] Reply error_reply(const Error& error, const Request& request);
/// A user-facing error as jobs and protectionStatus show it: code, message, recommendedAction,
/// details, isRetryable…
[[nodiscard]] Json user_facing_error(const Error& error, std::string_view activity_id);

/// x-ms-request-id, x-ms-correlation-request-id, x-ms-client-request-id (when sent), Cache-Control,
/// Strict-Transport- Security: on every reply.
void add_common_headers(const Request& request, Reply& reply);

/// The oldest api-version that Microsoft.DataProtection had in public.
inline constexpr std::string_view kDataProtectionVersionMin = "2021-01-01";

/// Missing is kMissingApiVersion; not a `yyyy-mm-dd` date (with or without a `-suffix`) or before
/// `minimum` is kInvalidApiVersion. Returns it as sent. Other providers have versions of their own
/// age, so they have no minimum.
[[nodiscard]] std::string require_api_version(const Request& request, std::string_view minimum);

inline constexpr std::size_t kPageSizeMax = 1000;

/// `{"value":[…],"nextLink"?}` for one page of `items`, which are in a stable order and have an
/// `id`. Honours `$top` and `$skipToken` of the request; nextLink is absolute and carries every
/// other query parameter on. Throws kInvalidParameter for a token or number that is none.
[[nodiscard]] Reply list_reply(
    const RequestContext& context, std::vector<Json> items, std::size_t page_size = kPageSizeMax
);

/// What a listing asks of the catalog for one page: rows behind `after`, one more than `size`, so
/// that it is known whether there is a next page.
struct Page {
    std::size_t size = kPageSizeMax;
    std::optional<catalog::Place> after;
};
/// From `$top` and `$skipToken`. Throws kInvalidParameter.
[[nodiscard]] Page read_page(const Query& query, std::size_t page_size = kPageSizeMax);
/// Puts the page's bounds into a query of the catalog.
void bound(catalog::Query& query, const Page& page);
/// The text of a `$skipToken` that goes on behind `place`, and back; nothing for a text that no
/// server made.
[[nodiscard]] std::string skip_token(const catalog::Place& place);
[[nodiscard]] std::optional<catalog::Place> parse_skip_token(std::string_view token);
/// `{"value":[…],"nextLink"?}`; `next`: where the next page begins, when there is one.
[[nodiscard]] Reply page_reply(
    const RequestContext& context, Json items, const std::optional<catalog::Place>& next
);

/// A stored record's etag as the wire has it, in quotes.
[[nodiscard]] std::string quote_etag(std::string_view etag);
/// Honours If-Match and If-None-Match before a write. `current` is the stored resource's ETag,
/// nothing when there is no such resource. Throws kPreconditionFailed.
void check_preconditions(const Request& request, const std::optional<std::string>& current);

/// `{base}{path}?api-version={version}`: what Azure-AsyncOperation and Location hold. `path` begins
/// with a slash.
[[nodiscard]] std::string absolute_url(const RequestContext& context, std::string_view path);

/// An id's path form: each segment percent-encoded where a URL needs it.
[[nodiscard]] std::string url_path(std::string_view resource_id);

}  // namespace holdfast::control
