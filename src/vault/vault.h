#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/secret.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The repository engine: the stored form of one backup vault. What is stored, and what must always
// hold of it, is in docs/format.md; this header is all that the rest of the program knows of it.
//
//   write:  Repository::open -> begin_point -> PointWriter: open_stream, write, close, ... commit
//   read:   Repository::open -> open_point  -> PointReader: list_streams, open_stream, read
//
// Stored data is always encrypted, authenticated and deduplicated within the repository. Objects
// are written once and never changed, by any number of processes at a time.

namespace holdfast::vault {

class ObjectStore;
class SessionOwner;
struct CollectOptions;
struct CollectPlan;
struct CollectReport;

using RepositoryId = Id128<struct RepositoryIdTag>;
using PointId = Id128<struct PointIdTag>;

// ---- Recovery points ----

/// Opaque to the vault: names and words of the source, given back as they were. Sorted by key, no
/// key twice.
using Attributes = std::vector<std::pair<std::string, std::string>>;

/// How the bytes of a stream lie, which decides how they are cut and compared.
enum class StreamLayout : std::uint8_t {
    kBytes,  ///< Anything. Cut where the content says so: an insertion moves only the cuts near it.
    /// A relation file: pages of 8 KiB that are changed in place. Cut into extents of a fixed
    /// length; of an extent that differs from an earlier point's little more is stored than what
    /// changed in its pages. Any content and any length is taken.
    kPages,
};

/// One named stream of bytes within a recovery point.
struct StreamInfo {
    std::string
        name;  ///< Unique within the point; 1 to 4096 bytes, no NUL. `databases/app/data/public.t`.
    std::string kind;  ///< A word of the source's: `table-data`, `toc`, `settings`.
    Attributes attributes = {};
    StreamLayout layout = StreamLayout::kBytes;
    /// What the source believes; chooses the length of the extents. May be wrong; 0 when unknown.
    std::uint64_t size_hint_bytes = 0;
};

struct StreamSummary {
    StreamInfo info;
    std::uint64_t size_bytes = 0;
};

struct BeginPoint {
    std::string
        instance_id;  ///< ARM id of the backup instance. Its points are each other's parents.
    std::string datasource_id;  ///< ARM id of what is backed up.
    std::string job_id = {};
    Instant started_at = {};
    /// The point most like this one, tried first when looking for what is stored already. Nothing:
    /// the newest committed point of the instance. Only a hint: the new point never depends on it.
    std::optional<PointId> parent = {};
};

struct PointCommit {
    Instant completed_at = {};
    std::optional<Instant> expires_at = {};  ///< Nothing: kept until a state record says otherwise.
    std::string metadata_json = {};  ///< At most 4 MiB. Shown by scan without reading any stream.
};

/// A committed recovery point.
struct PointSummary {
    PointId id;
    std::optional<PointId> parent;
    std::string instance_id;
    std::string datasource_id;
    std::string job_id;
    Instant started_at = {};
    Instant completed_at = {};
    std::optional<Instant> expires_at;  ///< As committed; later state records may move it.
    std::string metadata_json;
    std::uint64_t stream_count = 0;
    std::uint64_t size_bytes = 0;  ///< Sum of the streams' sizes.
    std::uint64_t stored_bytes =
        0;  ///< What this point added to the repository, all objects counted.
    std::uint64_t chunk_count = 0;
    std::uint64_t reused_chunk_count = 0;  ///< Of chunk_count, those that were stored already.
};

/// Figures of a writer at work; a snapshot.
struct WriteProgress {
    std::uint64_t read_bytes = 0;    ///< Taken by StreamWriter::write.
    std::uint64_t stored_bytes = 0;  ///< Durable in the repository so far.
    std::uint64_t chunk_count = 0;
    std::uint64_t reused_chunk_count = 0;
    std::uint64_t reused_bytes = 0;
};

/// Takes the bytes of one stream, in order. One thread at a time.
class StreamWriter {
public:
    virtual ~StreamWriter() = default;
    /// Returns when the bytes are copied or processed; blocks while the pipeline is full.
    /// Throws: whatever ended the backup (kStoreFull, kStoreUnavailable, kVaultPoisoned,
    /// kCancelled...); afterwards the point can only be abandoned.
    virtual void write(ByteSpan bytes) = 0;
    /// The stream is complete. Without it, the point cannot be committed.
    virtual void close() = 0;
};

/// A recovery point in the making. Destroyed without commit(), nothing of it is ever visible; what
/// was stored stays as unreferenced data for a later backup to use or for the collector to remove.
///
/// Threads: several streams may be written at once, each by one thread; the other methods are safe
/// from any thread. Memory: about 100 MiB, whatever the size of the data and the number of streams.
class PointWriter {
public:
    virtual ~PointWriter() = default;
    [[nodiscard]] virtual PointId id() const noexcept = 0;
    /// REQUIRES: no stream of that name in this point yet. Throws kInvalidInput for a bad or
    /// repeated name (a name that came long before is found by commit() at the latest). The writer
    /// must not outlive the PointWriter.
    [[nodiscard]] virtual std::unique_ptr<StreamWriter> open_stream(StreamInfo info) = 0;
    [[nodiscard]] virtual WriteProgress progress() const = 0;
    /// When this returns, the recovery point exists and survives power loss. REQUIRES: every stream
    /// closed. Throws: kSessionAborted when the collector gave this writer up for dead;
    /// kOutcomeUnknown when the store did not say whether the last write took effect (look with
    /// find_point). After any exception call nothing but the destructor.
    virtual PointSummary commit(const PointCommit& commit, std::stop_token stop) = 0;
};

/// The bytes of one stream, in order; reads ahead with the help of the repository's workers, from
/// the first read() on and not across what skip_if_equal() skips. One thread at a time.
class StreamReader {
public:
    virtual ~StreamReader() = default;
    [[nodiscard]] virtual std::uint64_t size_bytes() const noexcept = 0;
    /// Fills as much of `out` as there is; 0 only at the end (or for an empty `out`). Every byte
    /// given back has been authenticated. Throws kVaultCorrupt naming the object, kCancelled,
    /// kStoreUnavailable, kRecoveryPointNotFound (removed and reclaimed meanwhile, elsewhere).
    virtual std::size_t read(MutableByteSpan out) = 0;

    // For a restore onto files that may be right already: compare piece by piece, read the rest.

    /// Bytes from the position to the end of the stored piece that it lies in (an extent, a chunk,
    /// a small stream as a whole); at most 4 MiB, 0 only at the end. Fetches no data.
    [[nodiscard]] virtual std::size_t next_piece_bytes() = 0;
    /// Whether the next piece is `have`, by its keyed digest: nothing is fetched but the digest
    /// (from the middle of a piece: the bytes are at hand). When it is, the position moves past it.
    /// REQUIRES: have.size() == next_piece_bytes(), not 0.
    [[nodiscard]] virtual bool skip_if_equal(ByteSpan have) = 0;
};

/// A committed recovery point, for reading. Safe from any thread; must outlive its StreamReaders.
class PointReader {
public:
    virtual ~PointReader() = default;
    [[nodiscard]] virtual const PointSummary& summary() const noexcept = 0;
    /// Every stream in the order of the names' bytes. Return false to end the listing.
    virtual void list_streams(
        const std::function<bool(const StreamSummary&)>& visit, std::stop_token stop
    ) = 0;
    /// Only the streams whose names begin with `prefix`.
    virtual void list_streams_below(
        std::string_view prefix,
        const std::function<bool(const StreamSummary&)>& visit,
        std::stop_token stop
    ) = 0;
    [[nodiscard]] virtual std::optional<StreamSummary> find_stream(
        std::string_view name, std::stop_token stop
    ) = 0;
    /// Throws kObjectNotFound when the point has no such stream. `stop` ends the reads of this
    /// stream.
    [[nodiscard]] virtual std::unique_ptr<StreamReader> open_stream(
        std::string_view name, std::stop_token stop
    ) = 0;
};

// ---- State records ----

/// What became of points, instances and the vault after the points were committed. Written before
/// the catalog commits the same change, so that losing the catalog forgets no hold, lock or
/// deletion. Never renumber: stored.
enum class StateKind : std::uint8_t {
    kExpirySet = 1,
    kExpiryExtended = 2,
    kHeld = 3,
    kReleased = 4,
    kSoftDeleted = 5,
    kUndeleted = 6,
    kProtectionStopped = 7,
    kProtectionResumed = 8,
    kImmutabilityRaised = 9,
    kPointDeleted = 10,
    kRecoveryKitWritten = 11,
    kPackDistrusted = 12,  ///< `document_json` names the pack; what it held is stored again.
};

struct StateRecord {
    StateKind kind = StateKind::kExpirySet;
    std::string instance_id = {};       ///< Empty: the whole vault.
    std::optional<PointId> point = {};  ///< Nothing: the whole instance.
    std::optional<Instant> until = {};  ///< Expiry, end of hold, purge time: by kind.
    std::string document_json = {};  ///< At most 1 MiB; who, why, and what the kind needs besides.
};

struct StoredStateRecord {
    std::uint64_t sequence = 0;  ///< From 1, without gaps.
    Instant recorded_at = {};
    StateRecord record;
};

// ---- Check, usage, scan ----

struct DamagedObject {
    std::string object_key;
    std::string problem;          ///< One sentence.
    std::vector<PointId> points;  ///< Recovery points that cannot be restored whole because of it.
};

struct PointList {
    std::vector<PointSummary> points;    ///< By instance, then by completion time.
    std::vector<DamagedObject> damaged;  ///< Commit records that could not be read.
};

struct StateLog {
    std::vector<StoredStateRecord> records;
    std::vector<DamagedObject> damaged;
    /// False when a record is missing or damaged: state is then unknown and nothing may expire.
    bool complete = true;
};

/// How much of the packs a check reads; it takes those first that were verified longest ago, or
/// never, so that one check after the other gets through them all. All bounds hold at once; 0: not
/// bounded. At least one pack is read.
struct ReadBudget {
    int percent = 0;  ///< Of the packs' bytes.
    std::uint64_t bytes = 0;
    std::chrono::seconds time{0};
    [[nodiscard]] bool given() const noexcept {
        return percent > 0 || bytes > 0 || time.count() > 0;
    }
};

struct CheckOptions {
    /// Share of the packs whose every byte is read, decrypted and hashed; 0 reads footers only, 100
    /// reads all.
    int read_data_percent = 0;
    /// Instead of that, when given.
    ReadBudget budget = {};
    /// Chooses which packs a share below 100 covers.
    std::uint64_t seed = 0;
    /// Called now and then with (done, total) packs.
    std::function<void(std::uint64_t, std::uint64_t)> on_progress = {};
};

struct CheckReport {
    std::uint64_t object_count = 0;
    std::uint64_t pack_count = 0;
    std::uint64_t pack_read_count = 0;  ///< Of these, read whole.
    std::uint64_t pack_read_bytes = 0;
    std::uint64_t pack_never_read_count = 0;  ///< Not even by an earlier check.
    /// When the pack was read whole that was so longest ago, of those that ever were. Nothing: none
    /// was.
    std::optional<Instant> oldest_read_at;
    std::uint64_t point_count = 0;
    std::uint64_t stored_bytes = 0;
    std::uint64_t unreferenced_bytes =
        0;  ///< Stored in packs, needed by no point: the collector's share.
    std::vector<DamagedObject> damaged;
    /// Nothing wrong with the data, but worth knowing: dead sessions, leftovers, a stale index.
    std::vector<std::string> notes;
    [[nodiscard]] bool sound() const noexcept { return damaged.empty(); }
};

struct Usage {
    std::uint64_t stored_bytes = 0;  ///< All objects.
    std::uint64_t pack_bytes = 0;
    std::uint64_t index_bytes = 0;
    std::uint64_t other_bytes = 0;
    std::uint64_t object_count = 0;
    std::uint64_t pack_count = 0;
    std::uint64_t point_count = 0;
    std::uint64_t logical_bytes = 0;  ///< Sum of the points' sizes.
};

/// Everything a lost catalog is rebuilt from.
struct ScanReport {
    RepositoryId repository_id;
    std::string label;
    PointList points;
    StateLog states;
    std::optional<Bytes> catalog_snapshot;  ///< The newest readable one.
    std::vector<DamagedObject> damaged;     ///< Besides those of `points` and `states`.
};

// ---- Keys ----

/// A key-encryption key: 32 bytes that open a repository. The recovery key of a repository is one,
/// too. Its text form, one line: `holdfast-key-1:<base64>`. REQUIRES of a file: mode 0600, outside
/// every vault.
[[nodiscard]] Secret new_key();
[[nodiscard]] Secret format_key(const Secret& key);
/// Accepts surrounding white space. Throws kKeyWrong when `text` is not a key; the message does not
/// repeat it.
[[nodiscard]] Secret parse_key(std::string_view text);
/// Throws kKeyMissing, kKeyPermissions or kKeyWrong, naming the file.
[[nodiscard]] Secret read_key_file(const std::string& path);
/// Makes a new key file (0600, durable) unless there is one; returns the key in the file.
[[nodiscard]] Secret read_or_create_key_file(const std::string& path);
/// Tells keys apart without revealing them: 16 hexadecimal digits.
[[nodiscard]] std::string key_fingerprint(const Secret& key);

struct RecoveryKitContext {
    std::string vault_name;
    std::string location;  ///< Where the repository lies, in words its owner can follow.
};

// ---- Repository ----

struct CreateOptions {
    /// Stored with the repository and shown by scan: the vault's ARM id.
    std::string label = {};
    /// zstd level, 1 to 19. Incompressible data is stored as it is at any level.
    int compression_level = 1;
};

enum class Verification {
    kBeforePublish,  ///< Every pack is decrypted, decompressed and compared before it is written.
    kOff,
};

struct OpenOptions {
    Verification verification = Verification::kBeforePublish;
    /// Threads that compress and encrypt, per writer, and those that read ahead, per reader. 0: one
    /// per processor and one more, at most 8.
    std::size_t workers = 0;
    /// 0: what suits the store (16 MiB on a disk).
    std::uint64_t pack_bytes = 0;
    /// Length of the extents of streams of pages that the parent does not have: a power of two from
    /// 64 KiB to 4 MiB. 0: what suits the stream.
    std::uint64_t extent_bytes = 0;
    /// Of an extent's base: when the deltas stored since would add up to more, a new base is.
    unsigned rebase_percent = 200;
    /// Of a point being written: the entries of so much are held in memory, those of more in a
    /// file without a name in the temporary directory, sealed.
    std::uint64_t entry_memory_bytes = 16 * kMiB;
    /// Bound of the memory held for looking up chunks.
    std::uint64_t index_cache_bytes = 24 * kMiB;
    /// Who writes (vault/session_owner.h); must outlive the repository. None: an owner of its own,
    /// which nobody can ever know to be dead.
    SessionOwner* owner = nullptr;
};

/// One repository. Safe from any thread; must outlive its writers and readers. `store` and `clock`
/// must outlive it.
///
/// Throws, from every method that reads or writes: kStoreUnavailable (retry may cure), kStoreFull,
/// kStoreDenied, kVaultCorrupt (names the object), kVaultPoisoned (a sync failed: writes are
/// refused until the repository is opened again), kCancelled when `stop` was requested.
class Repository {
public:
    /// Makes a repository in `store`, opened by `key` (and by the recovery key drawn here). A
    /// creation that was interrupted is completed. Throws kVaultExists when there is one.
    static RepositoryId create(
        ObjectStore& store,
        const Secret& key,
        const CreateOptions& options,
        Clock& clock,
        std::stop_token stop = {}
    );
    [[nodiscard]] static bool exists(ObjectStore& store, std::stop_token stop = {});
    /// Throws kVaultNotFound, kVaultFormatUnsupported (a newer format or an unknown feature),
    /// kKeyWrong. `key`: the key-encryption key or the recovery key.
    [[nodiscard]] static std::unique_ptr<Repository> open(
        ObjectStore& store,
        const Secret& key,
        Clock& clock,
        const OpenOptions& options = {},
        std::stop_token stop = {}
    );

    virtual ~Repository() = default;
    [[nodiscard]] virtual RepositoryId id() const noexcept = 0;
    [[nodiscard]] virtual const std::string& label() const noexcept = 0;

    /// `stop` holds for the whole life of the writer: once requested, its calls throw kCancelled.
    [[nodiscard]] virtual std::unique_ptr<PointWriter> begin_point(
        const BeginPoint& begin, std::stop_token stop
    ) = 0;
    /// Throws kRecoveryPointNotFound.
    [[nodiscard]] virtual std::unique_ptr<PointReader> open_point(
        PointId id, std::stop_token stop
    ) = 0;
    [[nodiscard]] virtual std::optional<PointSummary> find_point(
        PointId id, std::stop_token stop
    ) = 0;
    [[nodiscard]] virtual PointList list_points(std::stop_token stop) = 0;
    /// Expiry or deletion: appends kPointDeleted with `document_json`, then removes the commit
    /// record, then the manifest; the data is the collector's. Done again after an interruption, it
    /// completes. Returns false when there was nothing to remove. Whether the point may go is the
    /// caller's to know; a point that the state records say is held is refused with kImmutableData.
    virtual bool remove_point(PointId id, std::string_view document_json, std::stop_token stop) = 0;

    /// When this returns, the record survives power loss. Returns its sequence number.
    virtual std::uint64_t append_state(const StateRecord& record, std::stop_token stop) = 0;
    /// The records after `after_sequence`, in order.
    [[nodiscard]] virtual StateLog read_states(
        std::uint64_t after_sequence, std::stop_token stop
    ) = 0;

    /// Seals and stores `snapshot` (at most 1 GiB); keeps the newest few and removes older ones.
    virtual void put_catalog_snapshot(ByteSpan snapshot, std::stop_token stop) = 0;
    [[nodiscard]] virtual std::optional<Bytes> latest_catalog_snapshot(std::stop_token stop) = 0;

    [[nodiscard]] virtual CheckReport check(const CheckOptions& options, std::stop_token stop) = 0;
    [[nodiscard]] virtual Usage usage(std::stop_token stop) = 0;
    [[nodiscard]] virtual ScanReport scan(std::stop_token stop) = 0;
    /// Writes the index anew from the packs' footers; the index is only a cache of them.
    virtual void rebuild_index(std::stop_token stop) = 0;

    /// Finds what could be removed (vault/collect.h); changes nothing.
    [[nodiscard]] virtual CollectPlan plan_collection(
        const CollectOptions& options, std::stop_token stop
    ) = 0;
    /// Removes it. REQUIRES: a plan of this repository; it may be old. Throws kVaultCorrupt naming
    /// the plan's first obstacle, kConflict while another collection is at work on the vault. May
    /// be interrupted anywhere; the next one goes on.
    virtual CollectReport collect(const CollectPlan& plan, std::stop_token stop) = 0;

    /// The kit as text: what it is, location, ids, the recovery key, the steps. Contains a secret:
    /// show it once, to its owner. Writing it down is recorded with mark_recovery_kit_written().
    [[nodiscard]] virtual Secret recovery_kit(const RecoveryKitContext& context) const = 0;
    virtual void mark_recovery_kit_written(std::stop_token stop) = 0;
    [[nodiscard]] virtual bool recovery_kit_written(std::stop_token stop) = 0;

    /// Adds a wrapping of the keys by `new_key`; the present ones stay valid until removed from the
    /// store by hand.
    virtual void add_key(const Secret& new_key, std::stop_token stop) = 0;
};

}  // namespace holdfast::vault
