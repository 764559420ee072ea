#pragma once

#include "postgres/cluster_layout.h"
#include "postgres/cluster_restore.h"

#include <string>
#include <string_view>

namespace holdfast::postgres {

/// `'it''s'` as configuration files write it: quotes and backslashes doubled.
[[nodiscard]] std::string quote_setting(std::string_view value);

/// The contents of `tablespace_map` for the places where the tablespaces went: the server makes
/// its links anew from it.
[[nodiscard]] std::string tablespace_map(const ClusterLayout& layout);

/// What a restored data directory needs beside its files: the configuration that lay elsewhere,
/// recovery settings. Adds warnings and next steps to `restored`.
void write_settings(
    const StreamSource& source,
    const ClusterLayout& layout,
    const RestoreClusterOptions& options,
    RestoredCluster& restored
);

/// A postgresql.conf as it can be used in the directory that it was brought to: settings that name
/// the old places of files are overridden at its end, includes that lead nowhere commented out.
/// `exists` tells whether a path that an include names, relative to that directory, is there.
[[nodiscard]] std::string adapt_configuration(
    std::string_view text, const std::function<bool(const std::string&)>& exists
);

}  // namespace holdfast::postgres
