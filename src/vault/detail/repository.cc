#include "vault/detail/repository.h"

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "vault/detail/point_reader.h"
#include "vault/detail/point_writer.h"
#include "vault/detail/sealed.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

constexpr std::size_t kReadQueueMax = 256;
/// Enough to go back past a snapshot that turns out to be damaged or wrong.
constexpr std::size_t kSnapshotsKept = 8;

Error no_such_point(PointId id) {
    return Error{
        ErrorKind::kRecoveryPointNotFound,
        ErrorText{
            .message = fmt::format("The vault has no recovery point {}.", id.to_string()),
            .target = id.to_string(),
        }
    };
}

std::string distrusted_pack_document(const Sha256& pack) {
    return Json{{"pack", to_hex(pack)}}.dump();
}

/// Nothing when `document` names none; records are sealed, so that is a later version's.
std::optional<Sha256> parse_distrusted_pack(const std::string& document) {
    const Json json = Json::parse(document, nullptr, false);
    if (!json.is_object() || !json.contains("pack") || !json["pack"].is_string()) {
        return std::nullopt;
    }
    const auto bytes = from_hex(json["pack"].get<std::string>());
    Sha256 pack{};
    if (!bytes || bytes->size() != pack.size()) {
        return std::nullopt;
    }
    std::copy(bytes->begin(), bytes->end(), pack.begin());
    return pack;
}

}  // namespace

RepositoryImpl::RepositoryImpl(
    ObjectStore& store,
    Clock& clock,
    KeyRing keys,
    RepositoryConfig config,
    const OpenOptions& options
)
    : config_{std::move(config)},
      store_{store},
      engine_{store_, clock, std::move(keys), config_.compression_level, options},
      states_{engine_},
      features_{config_.features.begin(), config_.features.end()},
      read_pool_{"vault-read", engine_.worker_count(), kReadQueueMax} {}

void RepositoryImpl::load_index(std::stop_token stop) {
    engine_.index.refresh(std::move(stop));
}

// ---- Points ----

RepositoryImpl::KnownPoint RepositoryImpl::read_commit(const PointKey& key, ByteSpan object) const {
    const format::Commit commit =
        open_commit(engine_.keys, commit_key(key.group, key.point), key.point, object);
    KnownPoint point{
        .group = key.group,
        .summary = to_summary(commit),
        .aborted = commit.outcome() == format::Commit::ABORTED,
    };
    if (const auto hash = parse_chunk_id(commit.manifest_sha256())) {
        point.manifest_sha256 = *hash;
    }
    return point;
}

RepositoryImpl::Listing RepositoryImpl::list_known(std::string_view prefix, std::stop_token stop) {
    std::vector<PointKey> commits;
    store_.list(
        prefix,
        [&](const ObjectInfo& info) {
            const auto key = parse_point_key(info.key);
            if (key && key->object == PointObject::kCommit) {
                commits.push_back(*key);
            }
            return true;
        },
        stop
    );
    Listing listing;
    for (const PointKey& key : commits) {
        {
            const std::lock_guard lock{mutex_};
            if (const auto found = known_.find(key.point); found != known_.end()) {
                if (!found->second.aborted) {
                    listing.points.push_back(found->second);
                }
                continue;
            }
        }
        const ObjectKey object_key = commit_key(key.group, key.point);
        const auto object = store_.get(object_key, stop);
        if (!object) {
            continue;  // Removed meanwhile.
        }
        try {
            KnownPoint point = read_commit(key, *object);
            if (!point.aborted) {
                listing.points.push_back(point);
            }
            const std::lock_guard lock{mutex_};
            known_.insert_or_assign(key.point, std::move(point));
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::kVaultCorrupt) {
                throw;
            }
            listing.damaged.push_back(
                {.object_key = object_key.text(), .problem = error.what(), .points = {key.point}}
            );
        }
    }
    return listing;
}

std::optional<RepositoryImpl::KnownPoint> RepositoryImpl::find_known(
    PointId id, std::stop_token stop
) {
    std::optional<PointKey> key;
    {
        const std::lock_guard lock{mutex_};
        if (const auto found = known_.find(id); found != known_.end()) {
            key = PointKey{.group = found->second.group, .point = id};
        }
    }
    if (!key) {
        store_.list(
            kPointsPrefix,
            [&](const ObjectInfo& info) {
                const auto parsed = parse_point_key(info.key);
                if (parsed && parsed->point == id && parsed->object == PointObject::kCommit) {
                    key = parsed;
                }
                return !key.has_value();
            },
            stop
        );
    }
    // Always asked of the store: another process may have removed the point.
    const auto object = key ? store_.get(commit_key(key->group, id), stop) : std::optional<Bytes>{};
    if (!object) {
        const std::lock_guard lock{mutex_};
        known_.erase(id);
        return std::nullopt;
    }
    KnownPoint point = read_commit(*key, *object);
    {
        const std::lock_guard lock{mutex_};
        known_.insert_or_assign(id, point);
    }
    return point.aborted ? std::nullopt : std::optional{std::move(point)};
}

std::optional<ContentRef> RepositoryImpl::read_streams_root(
    const KnownPoint& point, std::stop_token stop
) {
    const ObjectKey key = manifest_key(point.group, point.summary.id);
    const auto object = store_.get(key, std::move(stop));
    if (!object) {
        throw_corrupt(key, "it is missing.");
    }
    if (sha256(*object) != point.manifest_sha256) {
        throw_corrupt(key, "it is not the manifest that was committed.");
    }
    const format::Manifest manifest = open_manifest(engine_.keys, key, point.summary.id, *object);
    return manifest.has_streams() ? parse_node_ref(manifest.streams()) : std::nullopt;
}

std::unique_ptr<PointWriter> RepositoryImpl::begin_point(
    const BeginPoint& begin, std::stop_token stop
) {
    const PointGroup group = engine_.keys.point_group(begin.instance_id);
    SessionSetup setup{
        .begin = begin, .session = {}, .parent = {}, .require_extents = {}, .on_committed = {}
    };
    // First of all: what the session looks at from here on stays until it has ended.
    setup.session = std::make_unique<Session>(
        engine_, SessionPoint{.group = group, .id = PointId::random()}, stop
    );
    setup.require_extents = [this, stop] {
        require_feature(kFeatureExtents, stop);
        require_feature(kFeatureLayers, stop);
        require_feature(kFeatureTags, stop);
        require_feature(kFeatureExtentIds, stop);
    };
    engine_.index.refresh(stop);
    engine_.index.distrust_missing_packs(stop);
    share_distrust(stop);
    std::optional<KnownPoint> parent;
    try {
        if (begin.parent) {
            parent = find_known(*begin.parent, stop);
        } else {
            const std::string prefix = fmt::format("{}{}/", kPointsPrefix, group.to_string());
            for (KnownPoint& point : list_known(prefix, stop).points) {
                if (!parent || parent->summary.completed_at < point.summary.completed_at) {
                    parent = std::move(point);
                }
            }
            // Asked of the store once more: the listing may answer from memory.
            parent = parent ? find_known(parent->summary.id, stop) : std::nullopt;
        }
        if (parent) {
            setup.parent =
                ParentPoint{.id = parent->summary.id, .streams = read_streams_root(*parent, stop)};
        }
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
        log_warning(
            "The parent of a new recovery point is damaged; it is not used as one.",
            {{"problem", error.what()}}
        );
    }
    setup.on_committed = [this, &session = *setup.session](const PointSummary&) {
        try {
            engine_.index.merge_small_segments(session.view(), {});
        } catch (const Error& error) {
            log_warning("The index was not merged.", {{"problem", error.what()}});
        }
    };
    return std::make_unique<PointWriterImpl>(engine_, std::move(setup), std::move(stop));
}

std::unique_ptr<PointReader> RepositoryImpl::open_point(PointId id, std::stop_token stop) {
    auto guard = std::make_unique<OpenReads::Guard>(reads_);
    auto point = find_known(id, stop);
    if (!point) {
        throw no_such_point(id);
    }
    const PointInVault in_vault{engine_, point->group, id};
    const auto streams = in_vault.while_there([&] { return read_streams_root(*point, stop); });
    guard->found(streams, commit_key(point->group, id));
    return std::make_unique<PointReaderImpl>(
        engine_, read_pool_, in_vault, std::move(point->summary), streams, std::move(guard)
    );
}

std::optional<PointSummary> RepositoryImpl::find_point(PointId id, std::stop_token stop) {
    auto point = find_known(id, std::move(stop));
    return point ? std::optional{std::move(point->summary)} : std::nullopt;
}

PointList RepositoryImpl::list_points(std::stop_token stop) {
    Listing listing = list_known(kPointsPrefix, std::move(stop));
    PointList out{.points = {}, .damaged = std::move(listing.damaged)};
    for (KnownPoint& point : listing.points) {
        out.points.push_back(std::move(point.summary));
    }
    std::sort(out.points.begin(), out.points.end(), [](const auto& a, const auto& b) {
        return std::tie(a.instance_id, a.completed_at, a.id) <
               std::tie(b.instance_id, b.completed_at, b.id);
    });
    return out;
}

// ---- Damaged packs ----

void RepositoryImpl::share_distrust(std::stop_token stop) {
    std::uint64_t read_to = 0;
    {
        const std::lock_guard lock{mutex_};
        read_to = distrust_read_to_;
    }
    const StateLog log = states_.read(read_to, stop);
    std::vector<Sha256> unrecorded;
    {
        const std::lock_guard lock{mutex_};
        for (const StoredStateRecord& stored : log.records) {
            if (stored.record.kind == StateKind::kPackDistrusted) {
                if (const auto pack = parse_distrusted_pack(stored.record.document_json)) {
                    engine_.index.distrust(*pack);
                    distrust_recorded_.insert(*pack);
                }
            }
            if (log.complete) {
                distrust_read_to_ = std::max(distrust_read_to_, stored.sequence);
            }
        }
        for (const Sha256& pack : engine_.index.damaged_packs()) {
            if (distrust_recorded_.insert(pack).second) {
                unrecorded.push_back(pack);
            }
        }
    }
    for (const Sha256& pack : unrecorded) {
        StateRecord record;
        record.kind = StateKind::kPackDistrusted;
        record.document_json = distrusted_pack_document(pack);
        append_state(record, stop);
    }
}

// ---- Removal ----

void RepositoryImpl::update_holds(std::stop_token stop) {
    std::uint64_t read_to = 0;
    {
        const std::lock_guard lock{mutex_};
        read_to = holds_.read_to;
    }
    const StateLog log = states_.read(read_to, std::move(stop));
    if (!log.complete) {
        throw Error{
            ErrorKind::kVaultCorrupt,
            ErrorText{
                .message = fmt::format(
                    "The state records of the vault are not whole ('{}'): holds and deletions may "
                    "be unknown, so nothing is removed.",
                    log.damaged.front().object_key
                ),
                .target = log.damaged.front().object_key,
                .recommended_actions = {"Put the object back from a copy of the vault's storage."},
            }
        };
    }
    const std::lock_guard lock{mutex_};
    for (const StoredStateRecord& stored : log.records) {
        if (stored.sequence <= holds_.read_to) {
            continue;  // Another thread read it.
        }
        holds_.read_to = stored.sequence;
        const StateRecord& record = stored.record;
        const std::string instance = to_lower(record.instance_id);
        if (record.kind == StateKind::kHeld && record.point) {
            holds_.points.insert_or_assign(*record.point, record.until);
        } else if (record.kind == StateKind::kHeld) {
            holds_.instances.insert_or_assign(instance, record.until);
        } else if (record.kind == StateKind::kReleased && record.point) {
            holds_.points.erase(*record.point);
        } else if (record.kind == StateKind::kReleased) {
            holds_.instances.erase(instance);
        } else if (record.kind == StateKind::kPointDeleted && record.point) {
            holds_.deleted.insert(*record.point);
        } else if (record.kind == StateKind::kRecoveryKitWritten) {
            holds_.recovery_kit_written = true;
        }
    }
}

void RepositoryImpl::require_not_held(const KnownPoint& point, std::stop_token stop) {
    update_holds(std::move(stop));
    const Instant now = engine_.clock.now();
    const std::lock_guard lock{mutex_};
    const auto holds = [now](const auto& map, const auto& subject) {
        const auto found = map.find(subject);
        return found != map.end() && (!found->second || *found->second > now);
    };
    if (holds(holds_.points, point.summary.id) ||
        holds(holds_.instances, to_lower(point.summary.instance_id)) ||
        holds(holds_.instances, std::string{})) {
        throw Error{
            ErrorKind::kImmutableData,
            ErrorText{
                .message = fmt::format(
                    "The recovery point {} is held and cannot be removed.",
                    point.summary.id.to_string()
                ),
                .target = point.summary.id.to_string(),
                .recommended_actions = {"Release the hold first."},
            }
        };
    }
}

bool RepositoryImpl::remove_point(
    PointId id, std::string_view document_json, std::stop_token stop
) {
    const auto point = find_known(id, stop);
    if (!point) {
        return finish_removal(id, stop);
    }
    require_not_held(*point, stop);
    append_state(
        {.kind = StateKind::kPointDeleted,
         .instance_id = point->summary.instance_id,
         .point = id,
         .until = {},
         .document_json = std::string{document_json}},
        stop
    );
    // In the reverse order of writing: no commit record without its manifest at any moment.
    store_.remove(commit_key(point->group, id), stop);
    store_.remove(manifest_key(point->group, id), stop);
    const std::lock_guard lock{mutex_};
    known_.erase(id);
    return true;
}

/// A manifest without commit record is either a backup at work or a removal that was interrupted;
/// only the state records tell.
bool RepositoryImpl::finish_removal(PointId id, std::stop_token stop) {
    update_holds(stop);
    {
        const std::lock_guard lock{mutex_};
        if (!holds_.deleted.contains(id)) {
            return false;
        }
    }
    std::optional<PointKey> left;
    store_.list(
        kPointsPrefix,
        [&](const ObjectInfo& info) {
            const auto key = parse_point_key(info.key);
            if (key && key->point == id && key->object == PointObject::kManifest) {
                left = key;
            }
            return !left.has_value();
        },
        stop
    );
    return left && store_.remove(manifest_key(left->group, id), stop);
}

// ---- State and snapshots ----

std::uint64_t RepositoryImpl::append_state(const StateRecord& record, std::stop_token stop) {
    return states_.append(record, std::move(stop));
}

StateLog RepositoryImpl::read_states(std::uint64_t after_sequence, std::stop_token stop) {
    return states_.read(after_sequence, std::move(stop));
}

std::vector<std::uint64_t> RepositoryImpl::snapshot_numbers(std::stop_token stop) {
    std::vector<std::uint64_t> numbers;
    store_.list(
        kCatalogPrefix,
        [&](const ObjectInfo& info) {
            if (const auto number = parse_numbered_key(info.key, kCatalogPrefix)) {
                numbers.push_back(*number);
            }
            return true;
        },
        std::move(stop)
    );
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

void RepositoryImpl::put_catalog_snapshot(ByteSpan snapshot, std::stop_token stop) {
    if (snapshot.size() > kSealedBytesMax) {
        throw Error{ErrorKind::kPayloadTooLarge, "A catalog snapshot may have at most 1 GiB."};
    }
    for (;;) {
        const auto numbers = snapshot_numbers(stop);
        const ObjectKey key = catalog_key(numbers.empty() ? 1 : numbers.back() + 1);
        const Bytes object =
            seal_object(engine_.keys, ObjectKind::kCatalog, key, random_array<32>(), snapshot);
        if (store_.put_new(key, object, stop) != PutOutcome::kCreated) {
            continue;  // Another process took the number.
        }
        for (std::size_t i = 0; i + kSnapshotsKept < numbers.size() + 1; ++i) {
            store_.remove(catalog_key(numbers[i]), stop);
        }
        return;
    }
}

std::optional<Bytes> RepositoryImpl::latest_catalog_snapshot(std::stop_token stop) {
    std::optional<Error> damage;
    const auto numbers = snapshot_numbers(stop);
    for (auto number = numbers.rbegin(); number != numbers.rend(); ++number) {
        const ObjectKey key = catalog_key(*number);
        const auto object = store_.get(key, stop);
        if (!object) {
            continue;
        }
        try {
            return open_object(engine_.keys, ObjectKind::kCatalog, key, *object);
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::kVaultCorrupt) {
                throw;
            }
            log_warning("A catalog snapshot is damaged.", {{"object", key.text()}});
            damage = damage.value_or(error);
        }
    }
    if (damage) {
        throw Error{*damage};
    }
    return std::nullopt;
}

// ---- The whole ----

Usage RepositoryImpl::usage(std::stop_token stop) {
    Usage usage;
    store_.list(
        "",
        [&usage](const ObjectInfo& info) {
            ++usage.object_count;
            usage.stored_bytes += info.size_bytes;
            if (parse_pack_key(info.key)) {
                ++usage.pack_count;
                usage.pack_bytes += info.size_bytes;
            } else if (parse_index_key(info.key)) {
                usage.index_bytes += info.size_bytes;
            } else {
                usage.other_bytes += info.size_bytes;
            }
            return true;
        },
        stop
    );
    for (const KnownPoint& point : list_known(kPointsPrefix, stop).points) {
        ++usage.point_count;
        usage.logical_bytes += point.summary.size_bytes;
    }
    return usage;
}

ScanReport RepositoryImpl::scan(std::stop_token stop) {
    ScanReport report;
    report.repository_id = config_.id;
    report.label = config_.label;
    report.points = list_points(stop);
    report.states = read_states(0, stop);
    try {
        report.catalog_snapshot = latest_catalog_snapshot(stop);
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
        report.damaged.push_back(
            {.object_key = error.text().target, .problem = error.what(), .points = {}}
        );
    }
    return report;
}

void RepositoryImpl::mark_recovery_kit_written(std::stop_token stop) {
    append_state({.kind = StateKind::kRecoveryKitWritten}, std::move(stop));
}

bool RepositoryImpl::recovery_kit_written(std::stop_token stop) {
    {
        const std::lock_guard lock{mutex_};
        if (holds_.recovery_kit_written) {
            return true;
        }
    }
    update_holds(std::move(stop));
    const std::lock_guard lock{mutex_};
    return holds_.recovery_kit_written;
}

}  // namespace holdfast::vault
