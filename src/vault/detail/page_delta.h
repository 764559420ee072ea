#pragma once

#include "base/bytes.h"
#include "base/zeros.h"
#include "vault/detail/compression.h"

#include <optional>

// What changed in the pages of an extent, against the extent's base: docs/format.md section 8.
//
// XOR, not the pages themselves: an update touches tens of bytes of a page, and all others become
// zeros, which cost nothing (docs/decisions/0015).

namespace holdfast::vault {

/// The delta that makes `extent` of `base`, in `out`. A base of another length counts as if it were
/// cut or filled up with zeros.
[[nodiscard]] ByteSpan make_page_delta(ByteSpan base, ByteSpan extent, Buffer& out);

/// Turns a base into the extent, in place; `extent` holds the base, cut or filled up with zeros to
/// the extent's length. Parser of stored bytes: false when `delta` is not a delta of an extent of
/// that length; `extent` is then worthless.
[[nodiscard]] bool apply_page_delta(ByteSpan delta, MutableByteSpan extent) noexcept;

}  // namespace holdfast::vault
