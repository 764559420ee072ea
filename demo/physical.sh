# Sourced by demo.sh --physical: a server protected by physical backups, changed, backed up again, both points restored and proven.
in_vault="-g testBkpVaultRG --vault-name TestBkpVault"
serverId=/subscriptions/aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e/resourcegroups/ossrg/providers/Microsoft.DBforPostgreSQL/flexibleServers/archive-postgresql-ccy
vault_bytes() { du -sb "$work/state/vaults" | cut -f1; }
mib() { awk -v b="$1" 'BEGIN { printf "%.1f MiB", b / 1048576 }'; }
fingerprint() { # CLUSTER NAME: of both databases
    for database in empdb11 archiv_latin1; do sql "$1" "$database" -f "$work/fingerprint.sql"; done > "$work/fingerprint-$2"
}
newest_point() { holdfast dataprotection recovery-point list $in_vault --backup-instance-name "$instance" --query '[0].name' -o tsv; }
start_restored() { # NAME: PostgreSQL on $work/NAME/data, reachable like the others
    local port
    port=$(free_port)
    mkdir -p "$work/$1/sockets"
    [ "$(id -u)" != 0 ] || chown postgres "$work/$1" "$work/$1/sockets"
    pg "$pg_bin/pg_ctl" -D "$work/$1/data" -w -s -l "$work/$1/log" start -o "-p $port -k $work/$1/sockets -c listen_addresses= -c fsync=off"
    clusters+=("$work/$1/data")
    printf -v "$1_port" %s "$port"
}
prove_restored() { # CLUSTER FINGERPRINT
    start_restored "$1"
    fingerprint "$1" "$1"
    diff "$work/fingerprint-$2" "$work/fingerprint-$1"
    proof "PostgreSQL started on it; $(wc -l < "$work/fingerprint-$1") counts, checksums, large objects, settings and catalog entries are equal to the source's at that time"
}

title "A vault, a policy, and the whole server as a physical instance"
shown "holdfast dataprotection backup-vault create $in_vault -l westus --type SystemAssigned --storage-settings datastore-type=VaultStore type=LocallyRedundant --query name"
shown 'holdfast dataprotection backup-policy get-default-policy-template --datasource-type AzureDatabaseForPostgreSQLFlexibleServer > policy.json'
shown "holdfast dataprotection backup-policy create $in_vault --backup-policy-name physical --policy policy.json --query id -o tsv | tee policyid"
policyId=$(cat policyid)
say "The login may replicate, so the server is backed up physically without a word; --backup-solution-type says it in words."
shown 'holdfast dataprotection backup-instance initialize --datasource-id $serverId --datasource-type AzureDatabaseForPostgreSQLFlexibleServer -l westus --policy-id $policyId > server.json'
shown "holdfast dataprotection backup-instance create $in_vault --backup-instance server.json --query properties.holdfast"
instance=$(sed -n 's/.*"backup_instance_name": *"\([^"]*\)".*/\1/p' server.json)

title "First backup"
fingerprint source first
shown "holdfast dataprotection backup-instance adhoc-backup $in_vault --name \"$instance\" --rule-name BackupWeekly --wait --query '{status: properties.status, duration: properties.duration, read: properties.extendedInfo.dataTransferredInBytes}'"
first_point=$(newest_point)
first_bytes=$(vault_bytes)

title "The server lives on: pgbench, changed and new rows; second backup"
pg "$pg_bin/pgbench" -h "$work/source/sockets" -p "$source_port" -U postgres -c 2 -t 500 -n empdb11 2>/dev/null | grep 'transactions actually'
sql source empdb11 -c "UPDATE shop.orders SET note = 'changed' WHERE id % 500 = 0" -c "INSERT INTO shop.articles SELECT id + 1000000, body FROM shop.articles WHERE id % 200 = 0"
fingerprint source second
shown "holdfast dataprotection backup-instance adhoc-backup $in_vault --name \"$instance\" --rule-name BackupWeekly --wait --query '{status: properties.status, duration: properties.duration, read: properties.extendedInfo.dataTransferredInBytes}'"
second_point=$(newest_point)
second_bytes=$(($(vault_bytes) - first_bytes))
shown "holdfast dataprotection recovery-point list $in_vault --backup-instance-name \"$instance\" -o table"
proof "two full points: the first stored $(mib "$first_bytes"), the second added $(mib "$second_bytes")"

title "Restore both into directories of this machine, and start PostgreSQL on them"
for point in first second; do
    mkdir -p "$work/restored_$point"
    [ "$(id -u)" != 0 ] || chown postgres "$work/restored_$point"
    point_variable=${point}_point
    shown "holdfast restore $in_vault --name \"$instance\" --recovery-point-id ${!point_variable} --target-directory $work/restored_$point/data --query '{files: files, bytes: bytes}'"
    prove_restored "restored_$point" "$point"
done

title "Turn the second into the first again: a delta restore rewrites what differs"
pg "$pg_bin/pg_ctl" -D "$work/restored_second/data" -w -s -m fast stop
repository=$(dirname "$(ls -d "$work"/state/vaults/*/config | head -n 1)")
shown "holdfast vault restore --path $repository --key-file $work/state/keys/kek.key --point $first_point --target-directory $work/restored_second/data --delta --query '{bytes: bytes, written: bytesWritten}'"
prove_restored restored_second first

title "Test restore: Holdfast proves the newest point by itself"
shown "holdfast dataprotection backup-instance verify $in_vault --name \"$instance\" --wait --query '{status: properties.status, result: properties.extendedInfo.additionalDetails}'"
shown "holdfast dataprotection recovery-point show $in_vault --backup-instance-name \"$instance\" --recovery-point-id $second_point --query 'properties.holdfast.testRestore.{result: result, restoreSeconds: restoreSeconds, startSeconds: startSeconds, checkSeconds: checkSeconds}'"

title "One table out of the first point, into a database of its own"
sql source postgres -c 'CREATE DATABASE extracted'
sql source extracted -c 'CREATE SCHEMA IF NOT EXISTS shop'
shown "holdfast dataprotection backup-instance restore initialize-for-item-recovery --datasource-type AzureDatabaseForPostgreSQLFlexibleServer --restore-location westus --source-datastore VaultStore --recovery-point-id $first_point --target-resource-id $serverId/databases/extracted --items empdb11/public/pgbench_accounts > item.json"
shown "holdfast dataprotection backup-instance restore trigger $in_vault --name \"$instance\" --restore-request-object item.json --wait --query properties.status"
table_sum='SELECT count(*), sum(hashtextextended(t::text, 0)) FROM pgbench_accounts t'
[ "$(sql source extracted -A -t -c "$table_sum")" = "$(sql restored_first empdb11 -A -t -c "$table_sum")" ]
proof "pgbench_accounts is as it was at the first backup: $(sql source extracted -A -t -c 'SELECT count(*) FROM pgbench_accounts') rows"

title "Check the vault"
shown "holdfast vault check --path $repository --key-file $work/state/keys/kek.key --read-data --query '{sound: sound, points: recoveryPoints, storedBytes: storedBytes}'"

title "Summary"
say "build             $build_seconds s"
say "demo              $((SECONDS - demo_started)) s"
say "first backup      $(mib "$first_bytes") in the vault (encrypted, compressed)"
say "second backup     $(mib "$second_bytes") added"
holdfast dataprotection job list $in_vault --query '[].{job: properties.operation, of: properties.dataSourceName, status: properties.status, duration: properties.duration}' -o table
