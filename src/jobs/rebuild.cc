#include "jobs/rebuild.h"

#include "base/error.h"
#include "base/text.h"
#include "jobs/detail/settle.h"
#include "jobs/point_metadata.h"
#include "jobs/vault_settings.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

struct Snapshot {
    Instant written_at{};
    Json resources;
};

struct Scanned {
    const RebuildSource* source = nullptr;
    vault::ScanReport report;
    std::optional<Snapshot> snapshot;
};

std::optional<Snapshot> read_snapshot(
    const vault::ScanReport& report, std::vector<std::string>& warnings
) {
    if (!report.catalog_snapshot) {
        return std::nullopt;
    }
    std::optional<Snapshot> snapshot;
    run_boundary(
        [&] {
            const Json json = parse_json(
                as_text(*report.catalog_snapshot), ErrorKind::kVaultCorrupt, "catalog snapshot"
            );
            const JsonReader reader{json, "snapshot", ErrorKind::kVaultCorrupt};
            if (reader.member("format").as_integer() != 1) {
                reader.member("format").fail("is not a known version", "1");
            }
            const auto written = parse_instant(reader.string("writtenAt"));
            snapshot = Snapshot{
                .written_at = written.value_or(Instant{}),
                .resources = reader.member("resources").value(),
            };
        },
        [&](const Error& error) {
            warnings.push_back(fmt::format(
                "The catalog snapshot of repository {} is not used: {}",
                report.repository_id.to_string(),
                error.text().message
            ));
        }
    );
    return snapshot;
}

std::string segment_after(std::string_view id, std::string_view name) {
    const std::vector<std::string> parts = split(id, '/');
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
        if (equal_ignoring_case(parts[i], name)) {
            return parts[i + 1];
        }
    }
    return {};
}

void put_parents(catalog::Transaction& transaction, const catalog::VaultRecord& vault) {
    if (!transaction.get<catalog::SubscriptionRecord>(vault.subscription_id)) {
        catalog::SubscriptionRecord subscription;
        subscription.id = vault.subscription_id;
        subscription.display_name = "Recovered";
        subscription.created_at = transaction.now();
        transaction.put(subscription);
    }
    const std::string group_id = fmt::format(
        "/subscriptions/{}/resourceGroups/{}", vault.subscription_id, vault.resource_group
    );
    if (!transaction.get<catalog::ResourceGroupRecord>(group_id)) {
        catalog::ResourceGroupRecord group;
        group.id = group_id;
        group.subscription_id = vault.subscription_id;
        group.name = vault.resource_group;
        group.location = vault.location;
        group.created_at = transaction.now();
        transaction.put(group);
    }
}

/// The vault of a repository: the snapshot's, or one made of the repository's label.
catalog::VaultRecord put_vault(catalog::Transaction& transaction, const Scanned& scanned) {
    const std::string repository_id = scanned.report.repository_id.to_string();
    const auto known =
        transaction.list<catalog::VaultRecord>(catalog::Query{.subject = repository_id});
    catalog::VaultRecord vault;
    if (!known.empty()) {
        vault = known.front();
    } else {
        vault.id = scanned.report.label;
        vault.subscription_id = segment_after(vault.id, "subscriptions");
        vault.resource_group = segment_after(vault.id, "resourceGroups");
        vault.name = segment_after(vault.id, "backupVaults");
        vault.location = "local";
        vault.created_at = transaction.now();
        vault.properties["storageSettings"] =
            Json::array({Json{{"datastoreType", "VaultStore"}, {"type", "LocallyRedundant"}}});
    }
    vault.repository_id = repository_id;
    vault.repository_directory = scanned.source->directory;
    for (const vault::StoredStateRecord& stored : scanned.report.states.records) {
        if (stored.record.kind == vault::StateKind::kImmutabilityRaised &&
            immutability_of(vault) != protection::Immutability::kLocked) {
            const bool locked = stored.record.document_json.find("\"Locked\"") != std::string::npos;
            set_immutability(
                vault,
                locked ? protection::Immutability::kLocked : protection::Immutability::kUnlocked
            );
        }
    }
    put_parents(transaction, vault);
    transaction.put(vault);
    return vault;
}

/// Returns whether the instance had to be made.
bool put_missing_owners(catalog::Transaction& transaction, const vault::PointSummary& point) {
    if (transaction.get<catalog::InstanceRecord>(point.instance_id)) {
        return false;
    }
    const PointMetadata metadata = point_metadata_from_json(
        parse_json(point.metadata_json, ErrorKind::kVaultCorrupt, "recovery point metadata")
    );
    catalog::InstanceRecord instance = instance_from_metadata(metadata, point.started_at);
    instance.id = point.instance_id;
    if (auto policy = policy_from_metadata(metadata, transaction.now());
        policy && !transaction.get<catalog::PolicyRecord>(policy->id)) {
        transaction.put(*policy);
    }
    transaction.put(instance);
    return true;
}

void put_points(
    catalog::Transaction& transaction,
    const catalog::VaultRecord& vault,
    const Scanned& scanned,
    RebuildReport& report
) {
    std::set<std::string> stored;
    for (const vault::PointSummary& summary : scanned.report.points.points) {
        stored.insert(summary.id.to_string());
        run_boundary(
            [&] {
                report.instances_from_points += put_missing_owners(transaction, summary) ? 1U : 0U;
                catalog::PointRecord point = point_record(summary, vault.id);
                transaction.put(point);
            },
            [&](const Error& error) {
                report.warnings.push_back(fmt::format(
                    "Recovery point {} is left out: {}",
                    summary.id.to_string(),
                    error.text().message
                ));
            }
        );
    }
    for (const auto& point :
         transaction.list<catalog::PointRecord>(catalog::Query{.subject = vault.id})) {
        if (!stored.contains(point.id)) {
            transaction.remove<catalog::PointRecord>(point.id);
        }
    }
}

/// Where state is unknown, nothing expires.
void freeze(catalog::Transaction& transaction, const catalog::VaultRecord& vault) {
    for (auto& point :
         transaction.list<catalog::PointRecord>(catalog::Query{.subject = vault.id})) {
        point.expires_at.reset();
        transaction.put(point);
    }
    for (auto& instance :
         transaction.list<catalog::InstanceRecord>(catalog::Query{.parent = vault.id})) {
        if (!instance.soft_deleted) {
            instance.state = "ProtectionStopped";
            transaction.put(instance);
        }
    }
}

RebuiltVault rebuild_vault(
    catalog::Catalog& catalog, const Scanned& scanned, RebuildReport& report
) {
    RebuiltVault rebuilt;
    catalog.write([&](catalog::Transaction& transaction) {
        const catalog::VaultRecord vault = put_vault(transaction, scanned);
        put_points(transaction, vault, scanned, report);
        apply_states(transaction, vault.id, scanned.report.states);
        rebuilt.states_complete =
            scanned.report.states.complete && scanned.report.states.damaged.empty();
        if (!rebuilt.states_complete) {
            freeze(transaction, vault);
        }
        rebuilt.vault_id = vault.id;
        rebuilt.points = static_cast<std::size_t>(
            transaction.count<catalog::PointRecord>(catalog::Query{.subject = vault.id})
        );
    });
    rebuilt.repository_id = scanned.report.repository_id.to_string();
    rebuilt.directory = scanned.source->directory;
    if (scanned.snapshot) {
        rebuilt.snapshot_at = scanned.snapshot->written_at;
    }
    for (const auto* list :
         {&scanned.report.damaged, &scanned.report.points.damaged, &scanned.report.states.damaged
         }) {
        rebuilt.damaged.insert(rebuilt.damaged.end(), list->begin(), list->end());
    }
    return rebuilt;
}

}  // namespace

RebuildReport rebuild_catalog(
    catalog::Catalog& catalog, const std::vector<RebuildSource>& sources, std::stop_token stop
) {
    RebuildReport report;
    std::vector<Scanned> scanned;
    for (const RebuildSource& source : sources) {
        Scanned one{.source = &source, .report = source.repository.scan(stop), .snapshot = {}};
        one.snapshot = read_snapshot(one.report, report.warnings);
        scanned.push_back(std::move(one));
    }
    // Each snapshot holds all resources of the service: the newest one counts.
    const Snapshot* newest = nullptr;
    for (const Scanned& one : scanned) {
        if (one.snapshot && (newest == nullptr || newest->written_at < one.snapshot->written_at)) {
            newest = &*one.snapshot;
        }
    }
    if (newest != nullptr) {
        catalog.import_resources(newest->resources);
        // The old key may be lost, and another one have been added to the repositories since.
        catalog.write([&](catalog::Transaction& transaction) {
            report.sealed_under = transaction.setting(kKeyFingerprintSetting).value_or("");
            transaction.set_setting(kKeyFingerprintSetting, "");
        });
    } else {
        report.warnings.push_back(
            "No catalog snapshot was found: vaults and instances are made of what the recovery "
            "points say; "
            "servers, secrets, users and roles have to be entered again."
        );
    }
    for (const Scanned& one : scanned) {
        report.vaults.push_back(rebuild_vault(catalog, one, report));
    }
    return report;
}

}  // namespace holdfast::jobs
