#include "vault/detail/entry_runs.h"

#include "base/error.h"
#include "base/temporary_file.h"
#include "vault/detail/crypto.h"

#include <algorithm>
#include <queue>

namespace holdfast::vault {

namespace {

constexpr std::string_view kFileName = "the temporary file of a backup";
/// Plaintext of a block: one per run is in memory while the runs are merged.
constexpr std::size_t kBlockBytes = 64 * kKiB;
/// What an entry takes besides its characters: two strings, their allocations.
constexpr std::size_t kEntryOverhead = 96;
constexpr std::size_t kLengthBytes = 4;

void append_field(Bytes& block, std::string_view text) {
    const std::size_t at = block.size();
    block.resize(at + kLengthBytes);
    put_little_endian<std::uint32_t>(&block[at], static_cast<std::uint32_t>(text.size()));
    const ByteSpan bytes = as_bytes(text);
    block.insert(block.end(), bytes.begin(), bytes.end());
}

/// Sealed by this process: sound by construction.
std::string take_field(ByteSpan& rest) {
    HOLDFAST_CHECK(rest.size() >= kLengthBytes);
    const auto length = get_little_endian<std::uint32_t>(rest.data());
    HOLDFAST_CHECK(rest.size() - kLengthBytes >= length);
    std::string text{as_text(rest.subspan(kLengthBytes, length))};
    rest = rest.subspan(kLengthBytes + length);
    return text;
}

}  // namespace

/// One run from its first entry to its last; a block in memory at a time.
class EntryRuns::RunReader {
public:
    RunReader(const EntryRuns& owner, const Run& run) : owner_{owner}, run_{run} { next(); }

    [[nodiscard]] bool done() const noexcept { return done_; }
    [[nodiscard]] Entry& entry() noexcept { return entry_; }
    void next() {
        while (rest_.empty()) {
            if (at_ == run_.size()) {
                done_ = true;
                return;
            }
            block_ = owner_.open_block(run_[at_++]);
            rest_ = block_;
        }
        entry_.first = take_field(rest_);
        entry_.second = take_field(rest_);
    }

private:
    const EntryRuns& owner_;
    const Run& run_;
    std::size_t at_ = 0;
    Bytes block_;
    ByteSpan rest_;
    Entry entry_;
    bool done_ = false;
};

EntryRuns::EntryRuns(std::uint64_t memory_bytes_max)
    : memory_bytes_max_{memory_bytes_max}, key_{Secret::random(kKeyBytes)} {}

void EntryRuns::add(const format::StreamEntry& entry) {
    Entry made{entry.name(), entry.SerializeAsString()};
    std::vector<Entry> full;
    {
        const std::lock_guard lock{mutex_};
        entries_bytes_ += made.first.size() + made.second.size() + kEntryOverhead;
        entries_.push_back(std::move(made));
        if (entries_bytes_ < memory_bytes_max_) {
            return;
        }
        full = std::exchange(entries_, {});
        entries_bytes_ = 0;
        if (!file_.valid()) {
            file_ = make_unnamed_file();
        }
    }
    spill(std::move(full));
}

void EntryRuns::spill(std::vector<Entry> entries) {
    std::sort(entries.begin(), entries.end());
    Run run;
    Aead aead;
    Bytes plain;
    Bytes sealed;
    const auto write = [&] {
        sealed.resize(plain.size() + kTagBytes);
        const Block block{
            .offset = file_bytes_.fetch_add(sealed.size()),
            .sealed_bytes = static_cast<std::uint32_t>(sealed.size()),
            .slot = next_slot_++,
        };
        aead.seal(key_, block.slot, {}, plain, sealed);
        write_all_at(file_.get(), block.offset, sealed, kFileName);
        run.push_back(block);
        plain.clear();
    };
    for (const auto& [name, serialized] : entries) {
        append_field(plain, name);
        append_field(plain, serialized);
        if (plain.size() >= kBlockBytes) {
            write();
        }
    }
    if (!plain.empty()) {
        write();
    }
    const std::lock_guard lock{mutex_};
    runs_.push_back(std::move(run));
}

Bytes EntryRuns::open_block(const Block& block) const {
    Bytes sealed(block.sealed_bytes);
    read_all_at(file_.get(), block.offset, sealed, kFileName);
    Bytes plain(sealed.size() - kTagBytes);
    if (!Aead{}.open(key_, block.slot, {}, sealed, plain)) {
        throw Error{
            ErrorKind::kInternal,
            "What a backup had put aside in a temporary file came back changed: the disk of the "
            "temporary directory is not sound."
        };
    }
    return plain;
}

void EntryRuns::merge(const std::function<void(format::StreamEntry)>& visit) {
    const std::lock_guard lock{mutex_};
    std::sort(entries_.begin(), entries_.end());
    std::vector<RunReader> readers;
    readers.reserve(runs_.size());
    for (const Run& run : runs_) {
        readers.emplace_back(*this, run);
    }
    // The smallest name first; the entries in memory are the last source.
    std::size_t in_memory = 0;
    const auto name_of = [&](std::size_t source) -> const std::string& {
        return source == readers.size() ? entries_[in_memory].first : readers[source].entry().first;
    };
    const auto after = [&](std::size_t a, std::size_t b) { return name_of(b) < name_of(a); };
    std::priority_queue<std::size_t, std::vector<std::size_t>, decltype(after)> sources{after};
    for (std::size_t i = 0; i < readers.size(); ++i) {
        if (!readers[i].done()) {
            sources.push(i);
        }
    }
    if (!entries_.empty()) {
        sources.push(readers.size());
    }
    std::optional<std::string> before;
    while (!sources.empty()) {
        const std::size_t source = sources.top();
        sources.pop();
        const bool memory = source == readers.size();
        Entry entry = std::move(memory ? entries_[in_memory] : readers[source].entry());
        if (before == entry.first) {
            throw Error{
                ErrorKind::kInvalidInput,
                ErrorText{
                    .message = fmt::format(
                        "The recovery point has two streams named '{}'.", entry.first
                    ),
                    .target = entry.first,
                }
            };
        }
        format::StreamEntry parsed;
        HOLDFAST_CHECK(parsed.ParseFromString(entry.second));
        visit(std::move(parsed));
        before = std::move(entry.first);
        bool more = false;
        if (memory) {
            more = ++in_memory < entries_.size();
        } else {
            readers[source].next();
            more = !readers[source].done();
        }
        if (more) {
            sources.push(source);
        }
    }
    entries_ = {};
}

}  // namespace holdfast::vault
