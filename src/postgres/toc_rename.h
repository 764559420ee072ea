#pragma once

#include "postgres/toc_selection.h"

#include <cstddef>
#include <optional>
#include <vector>

namespace holdfast::postgres {

struct ItemEntries {
    std::optional<std::size_t> root;  ///< The relation, when the item is one.
    std::vector<std::size_t> own;     ///< The chosen entries that belong to it.
};

/// The second half of select_item: gives the table of `request` its new name or schema. Fills
/// overrides and renamed; moves what cannot be rewritten from entries to left_out.
///
/// Throws: kUnsupportedOperation, saying what stands in the way.
void rename_item(
    const Toc& toc, const SelectionRequest& request, const ItemEntries& item, Selection& selection
);

}  // namespace holdfast::postgres
