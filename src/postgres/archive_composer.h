#pragma once

#include "base/bytes.h"
#include "postgres/streams.h"
#include "postgres/toc.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

/// New texts for entries whose object is renamed on restore. Absent members stay as they are.
struct TocOverride {
    std::optional<std::string> tag = std::nullopt;
    std::optional<std::string> schema = std::nullopt;
    std::optional<std::string> definition = std::nullopt;
    std::optional<std::string> drop_statement = std::nullopt;
    std::optional<std::string> copy_statement = std::nullopt;
};

/// What kind of archive to compose.
enum class ComposeShape {
    kFile,  ///< With data and its offsets: pg_restore -j and -t seek in the file.
    kPipe,  ///< With data, without offsets: pg_restore reads it from a pipe.
    /// Table of contents only, for `pg_restore --section=pre-data`. Without ACL entries: a table
    /// whose owner may not write must take its data first.
    kPreData,
    /// Table of contents only, for `pg_restore --section=post-data`, with -j too when it lies in a
    /// file. Keeps the pre-data entries, by which pg_restore knows what must not run at once, and
    /// has the ACL entries at its end.
    kPostData,
};

struct ComposePlan {
    /// Positions in Toc::entries(), ascending. Entries that pg_restore needs in any archive
    /// (ENCODING, STDSTRINGS, SEARCHPATH) are added when missing. Nothing: all entries.
    std::optional<std::vector<std::size_t>> entries = std::nullopt;
    ComposeShape shape = ComposeShape::kFile;
    /// By position in Toc::entries().
    std::map<std::size_t, TocOverride> overrides = {};
    /// What the archive says of its creation; nothing: what the `toc` stream's attribute says.
    std::optional<ArchiveTime> created = std::nullopt;
};

/// What one of several pg_restore processes restores of the data section.
struct RestoreShare {
    std::vector<std::size_t> entries;  ///< Positions in Toc::entries(), ascending.
    std::uint64_t bytes = 0;
};

/// Writes pg_dump archives from the streams that ArchiveSplitter made. Reads only the streams that
/// the plan needs.
///
/// Threads: the const members may be called from several threads at once, when the source allows
/// it.
class ArchiveComposer {
public:
    /// Reads the table of contents and the sizes of the data streams below `prefix`
    /// (database_prefix). `source` must outlive this.
    ///
    /// Throws: kObjectNotFound without a `toc` stream, kVaultCorrupt when it is damaged or a data
    /// stream is missing.
    ArchiveComposer(const StreamSource& source, std::string prefix);

    [[nodiscard]] const Toc& toc() const noexcept { return toc_; }
    /// Bytes of data of an entry as stored; 0 for one without data.
    [[nodiscard]] std::uint64_t data_size(std::size_t entry) const;

    /// The exact number of bytes that compose() writes for this plan.
    [[nodiscard]] std::uint64_t composed_size(const ComposePlan& plan) const;
    /// Writes the archive front to back; the sink need not seek.
    void compose(const ComposePlan& plan, ByteSink& sink) const;

    /// Divides the data section among at most `share_count_max` processes, largest table first.
    /// Every entry of the data section among `entries` (nothing: all entries) is in exactly one
    /// share: compose each with kPipe, feed it to `pg_restore --section=data`. Entries without a
    /// data block (SEQUENCE SET...) are in the first share; large objects are together with what
    /// makes them. Shares without any entry are left out.
    ///
    /// A whole restore is kPreData, then the shares in any order or at once, then kPostData.
    [[nodiscard]] std::vector<RestoreShare> plan_shares(
        std::size_t share_count_max,
        const std::optional<std::vector<std::size_t>>& entries = std::nullopt
    ) const;

private:
    struct Layout;
    [[nodiscard]] Layout lay_out(const ComposePlan& plan) const;
    void write_data(std::size_t entry, ByteSink& sink) const;

    const StreamSource& source_;
    std::string prefix_;
    Toc toc_;
    std::optional<ArchiveTime> created_;
    std::vector<std::uint64_t> data_sizes_;  ///< By position in Toc::entries().
};

}  // namespace holdfast::postgres
