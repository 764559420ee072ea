#!/usr/bin/env bash
# ./demo.sh [--keep | --physical]: on a bare Debian 12, as root or with sudo: installs the packages, builds holdfast, starts a throwaway
# PostgreSQL 15 with real data and a Holdfast server, and does what the Azure how-to for PostgreSQL flexible server does: every
# command of it, with `holdfast` in the place of `az`. Then it restores, and proves that source and restored are equal.
# --keep leaves both servers running and says how to stop them. --physical shows physical backups instead (demo/physical.sh).
set -euo pipefail
project=$(dirname "$(realpath "$0")")
cd "$project"
keep=no
physical=no
case "${1:-}" in
    '') ;;
    --keep) keep=yes ;;
    --physical) physical=yes ;;
    *) echo "usage: $0 [--keep | --physical]" >&2; exit 2 ;;
esac

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' plain=$'\e[0m'; else bold='' dim='' green='' plain=''; fi
title() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$*"; }
proof() { printf '%s  ✓ %s%s\n' "$green" "$*" "$plain"; }

# ---- packages and program ---------------------------------------------------------------------------------------------
tools/install-packages.sh demo
build_started=$SECONDS
title "Building holdfast (release, $(nproc) cores)"
cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)" --target holdfast | tail -n 1
build_seconds=$((SECONDS - build_started))
say "Build: $build_seconds s"
holdfast_program=$project/build/release/src/holdfast

# ---- a throwaway PostgreSQL -------------------------------------------------------------------------------------------
demo_started=$SECONDS
work=$(mktemp -d /tmp/holdfast-demo-XXXXXX)
chmod 755 "$work"
pg_bin=/usr/lib/postgresql/15/bin
as_postgres=()
[ "$(id -u)" != 0 ] || as_postgres=(runuser -u postgres --)
pg() { (cd "$work" && "${as_postgres[@]}" env LC_ALL=C.UTF-8 "$@"); }
server_pid=''
clusters=()
stop_all() {
    [ -z "$server_pid" ] || kill "$server_pid" 2>/dev/null || true
    [ -z "$server_pid" ] || wait "$server_pid" 2>/dev/null || true
    for cluster in "${clusters[@]}"; do pg "$pg_bin/pg_ctl" -D "$cluster" -w -s -m fast stop 2>/dev/null || true; done
    rm -rf "$work"
}
trap 'status=$?; [ $status = 0 ] || { echo "The demo failed (exit $status). Server log:" >&2; tail -n 20 "$work/server.log" >&2 || true; }; stop_all' EXIT

free_port() { perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1:0")->sockport'; }
new_cluster() { # NAME: initialises and starts a cluster; sets ${NAME}_port
    local directory=$work/$1 port
    port=$(free_port)
    mkdir -p "$directory/sockets"
    [ "$(id -u)" != 0 ] || chown -R postgres "$directory"
    pg "$pg_bin/initdb" -D "$directory/data" -U postgres --auth-local=trust --auth-host=scram-sha-256 -E UTF8 --locale=C.UTF-8 >/dev/null
    pg "$pg_bin/pg_ctl" -D "$directory/data" -w -s -l "$directory/log" start \
        -o "-p $port -k $directory/sockets -c listen_addresses=127.0.0.1 -c fsync=off"
    clusters+=("$directory/data")
    printf -v "$1_port" %s "$port"
}
sql() { # CLUSTER DATABASE [psql arguments…]
    local cluster=$1 database=$2 port_variable=$1_port
    shift 2
    pg "$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$work/$cluster/sockets" -p "${!port_variable}" -U postgres -d "$database" "$@"
}

title "Starting a throwaway PostgreSQL 15 with data"
cp "$project"/demo/*.sql "$work/"
chmod 644 "$work"/*.sql
new_cluster source
password=$(head -c 18 /dev/urandom | base64)
(umask 077; printf %s "$password" > "$work/password")
sql source postgres <<SQL
CREATE ROLE holdfast LOGIN SUPERUSER PASSWORD '$password';
CREATE DATABASE empdb11;
CREATE DATABASE archiv_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
SQL
pg "$pg_bin/pgbench" -h "$work/source/sockets" -p "$source_port" -U postgres -i -q -s 5 empdb11 2>/dev/null
sql source empdb11 -f "$work/sample-data.sql" >/dev/null
sql source archiv_latin1 -f "$work/second-database.sql" >/dev/null
say "empdb11: $(sql source empdb11 -A -t -c "SELECT count(*) || ' tables, ' || pg_size_pretty(pg_database_size('empdb11')) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"), 20 large objects; archiv_latin1: LATIN1, settings of its own"

# ---- Holdfast on its embedded defaults --------------------------------------------------------------------------------
title "Starting holdfast serve"
mkdir -p "$work/restore"
cat > "$work/holdfast.toml" <<TOML
[server]
listen = "127.0.0.1:0"
[state]
directory = "$work/state"
[service]
# The subscription that the how-to's resource ids name; without this line the first start makes one up.
subscription_id = "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e"
location = "westus"
[[restore.containers]]
name = "files"
directory = "$work/restore"
TOML
"$holdfast_program" serve --config "$work/holdfast.toml" > "$work/banner" 2> "$work/server.log" &
server_pid=$!
for _ in $(seq 300); do
    grep -q 'listens on' "$work/banner" && break
    kill -0 "$server_pid" 2>/dev/null || { cat "$work/server.log" >&2; exit 1; }
    read -r -t 0.1 <> <(:) || true
done
sed 's/hf_[A-Za-z0-9_-]*/hf_…/' "$work/banner"
url=$(sed -n 's/.*"url": *"\([^"]*\)".*/\1/p' "$work/state/server.json")
(umask 077; grep -o 'hf_[A-Za-z0-9_-]*' "$work/banner" | head -n 1 > "$work/token"; : > "$work/banner")
export HOLDFAST_CONFIG_DIR=$work/client
holdfast() { "$holdfast_program" "$@"; }
mkdir -p "$work/typed"
cd "$work/typed"
shown() { # Types a command: prints it, runs it.
    printf '%s$ %s%s\n' "$dim" "$*" "$plain"
    eval "$*"
}
guide() { # The how-to's line; what is typed instead follows with `typed`.
    printf '\n%sguide: %s%s\n' "$bold" "$*" "$plain"
}

title "Logging in; registering the server, so that its resource id means a real one"
shown "holdfast login --server $url --ca $work/state/tls/ca.pem --token-file $work/token"
rm -f "$work/token"
shown "holdfast group create --name ossrg --location westus -o table"
shown "holdfast postgres flexible-server register -g ossrg --name archive-postgresql-ccy -l westus --host 127.0.0.1 --port $source_port --login holdfast --password-file $work/password -o table"
shown "holdfast keyvault secret set --vault-name demo-kv --name empdb11 --file $work/password --query id -o tsv | tee keyuri"
keyURI=$(cat keyuri)

if [ "$physical" = yes ]; then
    . "$project/demo/physical.sh"
    exit 0
fi

# ---- the how-to, command by command -----------------------------------------------------------------------------------
title "The how-to: create a Backup vault"
guide 'az dataprotection backup-vault create -g testBkpVaultRG --vault-name TestBkpVault -l westus --type SystemAssigned --storage-settings datastore-type="VaultStore" type="LocallyRedundant"'
shown 'holdfast dataprotection backup-vault create -g testBkpVaultRG --vault-name TestBkpVault -l westus --type SystemAssigned --storage-settings datastore-type="VaultStore" type="LocallyRedundant"'

title "The how-to: create a Backup policy"
guide 'az dataprotection backup-policy get-default-policy-template --datasource-type AzureDatabaseForPostgreSQLFlexibleServer'
shown 'holdfast dataprotection backup-policy get-default-policy-template --datasource-type AzureDatabaseForPostgreSQLFlexibleServer > OSSPolicy.json'
guide 'az dataprotection backup-policy trigger create-schedule --interval-type Weekly --interval-count 1 --schedule-days 2021-08-15T22:00:00 2021-08-18T22:00:00 2021-08-20T22:00:00'
shown 'holdfast dataprotection backup-policy trigger create-schedule --interval-type Weekly --interval-count 1 --schedule-days 2021-08-15T22:00:00 2021-08-18T22:00:00 2021-08-20T22:00:00'
guide 'az dataprotection backup-policy trigger set --policy .\OSSPolicy.json  --schedule R/2021-08-15T22:00:00+00:00/P1W R/2021-08-18T22:00:00+00:00/P1W R/2021-08-20T22:00:00+00:00/P1W > EditedOSSPolicy.json'
shown 'holdfast dataprotection backup-policy trigger set --policy .\OSSPolicy.json  --schedule R/2021-08-15T22:00:00+00:00/P1W R/2021-08-18T22:00:00+00:00/P1W R/2021-08-20T22:00:00+00:00/P1W > EditedOSSPolicy.json'
guide 'az dataprotection backup-policy retention-rule create-lifecycle --retention-duration-count 6 --retention-duration-type Months --source-datastore VaultStore > VaultLifeCycle.JSON'
shown 'holdfast dataprotection backup-policy retention-rule create-lifecycle --retention-duration-count 6 --retention-duration-type Months --source-datastore VaultStore > VaultLifeCycle.JSON'
guide 'az dataprotection backup-policy retention-rule set --lifecycles .\VaultLifeCycle.JSON --name Monthly --policy .\EditedOSSPolicy.json > AddedRetentionRulePolicy.JSON'
shown 'holdfast dataprotection backup-policy retention-rule set --lifecycles .\VaultLifeCycle.JSON --name Monthly --policy .\EditedOSSPolicy.json > AddedRetentionRulePolicy.JSON'
guide 'az dataprotection backup-policy tag create-absolute-criteria --absolute-criteria FirstOfMonth > tagCriteria.JSON'
shown 'holdfast dataprotection backup-policy tag create-absolute-criteria --absolute-criteria FirstOfMonth > tagCriteria.JSON'
guide 'az dataprotection backup-policy tag set --criteria .\tagCriteria.JSON --name Monthly --policy .\AddedRetentionRulePolicy.JSON > AddedRetentionRuleAndTag.JSON'
shown 'holdfast dataprotection backup-policy tag set --criteria .\tagCriteria.JSON --name Monthly --policy .\AddedRetentionRulePolicy.JSON > AddedRetentionRuleAndTag.JSON'
guide 'az dataprotection backup-policy tag create-generic-criteria --days-of-week Sunday Friday > tagCriteria.JSON'
shown 'holdfast dataprotection backup-policy tag create-generic-criteria --days-of-week Sunday Friday > tagCriteria.JSON'
guide 'az dataprotection backup-policy tag set --criteria .\tagCriteria.JSON --name Monthly --policy .\AddedRetentionRulePolicy.JSON > AddedRetentionRuleAndTag.JSON'
shown 'holdfast dataprotection backup-policy tag set --criteria .\tagCriteria.JSON --name Monthly --policy .\AddedRetentionRulePolicy.JSON > AddedRetentionRuleAndTag.JSON'
guide 'az dataprotection backup-policy create --backup-policy-name FinalOSSPolicy --policy AddedRetentionRuleAndTag.JSON --resource-group testBkpVaultRG --vault-name TestBkpVault'
shown 'holdfast dataprotection backup-policy create --backup-policy-name FinalOSSPolicy --policy AddedRetentionRuleAndTag.JSON --resource-group testBkpVaultRG --vault-name TestBkpVault --query id -o tsv | tee policyid'
policyId=$(cat policyid)
say "What Azure lacks: what this policy will do."
shown 'holdfast dataprotection backup-policy simulate -g testBkpVaultRG --vault-name TestBkpVault --backup-policy-name FinalOSSPolicy --count 4'

title "The how-to: configure backup"
guide 'ossId="/subscriptions/aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e/resourcegroups/ossrg/providers/Microsoft.DBforPostgreSQL/flexibleServers/archive-postgresql-ccy/databases/empdb11"'
ossId="/subscriptions/aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e/resourcegroups/ossrg/providers/Microsoft.DBforPostgreSQL/flexibleServers/archive-postgresql-ccy/databases/empdb11"
say "$dim\$ ossId=\"$ossId\"$plain"
guide 'az dataprotection backup-instance initialize --datasource-id $ossId --datasource-type AzureDatabaseForPostgreSQLFlexibleServer -l <vault-location> --policy-id <policy_arm_id>  --secret-store-type AzureKeyVault --secret-store-uri $keyURI > OSSBkpInstance.JSON'
shown 'holdfast dataprotection backup-instance initialize --datasource-id $ossId --datasource-type AzureDatabaseForPostgreSQLFlexibleServer -l westus --policy-id $policyId  --secret-store-type AzureKeyVault --secret-store-uri $keyURI > OSSBkpInstance.JSON'
guide 'az dataprotection backup-instance create --resource-group testBkpVaultRG --vault-name TestBkpVault TestBkpvault --backup-instance .\OSSBkpInstance.JSON'
say "(The stray word TestBkpvault is left out: az refuses it, and so does holdfast.)"
shown 'holdfast dataprotection backup-instance create --resource-group testBkpVaultRG --vault-name TestBkpVault --backup-instance .\OSSBkpInstance.JSON -o table'
instance=$(sed -n 's/.*"backup_instance_name": *"\([^"]*\)".*/\1/p' OSSBkpInstance.JSON)

title "The how-to: run an on-demand backup"
guide 'az dataprotection backup-policy show  -g ossdemorg --vault-name ossdemovault-1 --subscription e3d2d341-4ddb-4c5d-9121-69b7e719485e --name osspol5'
shown "holdfast dataprotection backup-policy show  -g testBkpVaultRG --vault-name TestBkpVault --name FinalOSSPolicy --query 'properties.policyRules[?objectType==\`AzureRetentionRule\`].name' -o json"
guide 'az dataprotection backup-instance adhoc-backup --name "ossrg-empdb11" --rule-name "Monthly" --resource-group testBkpVaultRG --vault-name TestBkpVault'
say "(The name is the one that initialize made.)"
shown "holdfast dataprotection backup-instance adhoc-backup --name \"$instance\" --rule-name \"Monthly\" --resource-group testBkpVaultRG --vault-name TestBkpVault --query jobId -o tsv | tee jobid"
shown "holdfast dataprotection job wait --ids $(cat jobid) --query '{status: properties.status, duration: properties.duration, bytes: properties.extendedInfo.dataTransferredInBytes}'"

title "The how-to: track jobs"
guide 'az dataprotection job list'
shown "holdfast dataprotection job list -g testBkpVaultRG --vault-name TestBkpVault --query '[].{operation: properties.operation, status: properties.status, started: properties.startTime}' -o table"
guide 'az dataprotection job list-from-resourcegraph --datasource-type AzureDatabaseForPostgreSQLFlexibleServer --status Completed'
shown "holdfast dataprotection job list-from-resourcegraph --datasource-type AzureDatabaseForPostgreSQLFlexibleServer --status Completed --query '[].{operation: operation, status: status, vault: vaultName}' -o table"

# ---- beyond the how-to ------------------------------------------------------------------------------------------------
vault_bytes() { du -sb "$work/state/vaults" | cut -f1; }
mib() { awk -v b="$1" 'BEGIN { printf "%.1f MiB", b / 1048576 }'; }
in_vault="-g testBkpVaultRG --vault-name TestBkpVault"
newest_point() { holdfast dataprotection recovery-point list $in_vault --backup-instance-name "$1" --query '[0].name' -o tsv; }
fingerprint() { sql "$1" "$2" -f "$work/fingerprint.sql" > "$work/fingerprint-$1-$2"; }
schema() { # pg_dump draws a new \restrict key for each run; all else must be equal.
    pg "$pg_bin/pg_dump" -s -h "$work/$1/sockets" -p "$2" -U postgres "$3" | grep -Ev '^.(un)?restrict ' > "$work/schema-$1-$3"
}
prove_equal() { # CLUSTER_A DATABASE_A CLUSTER_B DATABASE_B
    local port_a=$1_port port_b=$3_port
    fingerprint "$1" "$2"; fingerprint "$3" "$4"
    diff "$work/fingerprint-$1-$2" "$work/fingerprint-$3-$4"
    proof "$(wc -l < "$work/fingerprint-$1-$2") counts, checksums, large objects, settings and catalog entries are equal: $2 and $4"
    schema "$1" "${!port_a}" "$2"; schema "$3" "${!port_b}" "$4"
    diff "$work/schema-$1-$2" "$work/schema-$3-$4"
    proof "pg_dump of both schemas is equal, $(wc -l < "$work/schema-$1-$2") lines"
}
first_bytes=$(vault_bytes)

title "Recovery points; restore into a new database"
shown "holdfast dataprotection recovery-point list $in_vault --backup-instance-name \"$instance\" --query '[].{point: name, time: properties.recoveryPointTime, tag: properties.retentionTagName, expires: properties.expiryTime}' -o table"
shown "holdfast dataprotection backup-instance restore initialize-for-data-recovery --datasource-type AzureDatabaseForPostgreSQLFlexibleServer --restore-location westus --source-datastore VaultStore --recovery-point-id $(newest_point "$instance") --target-resource-id ${ossId}_restored > restore.json"
shown "holdfast dataprotection backup-instance restore trigger $in_vault --name \"$instance\" --restore-request-object restore.json --wait --query properties.status"
prove_equal source empdb11 source empdb11_restored

title "Change some rows, back up again: only what changed is stored"
sql source empdb11 -c "UPDATE shop.orders SET note = 'changed' WHERE id % 500 = 0" -c "INSERT INTO shop.articles SELECT id + 1000000, body FROM shop.articles WHERE id % 200 = 0"
shown "holdfast dataprotection backup-instance adhoc-backup $in_vault --name \"$instance\" --rule-name BackupWeekly --wait --query properties.status"
second_bytes=$(($(vault_bytes) - first_bytes))
proof "the first backup stored $(mib "$first_bytes"), the second added $(mib "$second_bytes")"

title "Protect the whole server: every database and the globals, in the same vault"
serverId=${ossId%/databases/*}
shown 'holdfast dataprotection backup-instance initialize --datasource-id $serverId --datasource-type AzureDatabaseForPostgreSQLFlexibleServer -l westus --policy-id $policyId --backup-solution-type LogicalBackup > server.json'
shown "holdfast dataprotection backup-instance create $in_vault --backup-instance server.json -o table"
whole=$(sed -n 's/.*"backup_instance_name": *"\([^"]*\)".*/\1/p' server.json)
sql source postgres -c 'DROP DATABASE empdb11_restored'
before=$(vault_bytes)
shown "holdfast dataprotection backup-instance adhoc-backup $in_vault --name \"$whole\" --rule-name BackupWeekly --wait --query properties.status"
proof "all databases and globals: $(mib $(($(vault_bytes) - before))) added, because empdb11 was known already"

title "Restore as files, and from the files into an empty cluster"
shown "holdfast dataprotection backup-instance restore initialize-for-data-recovery-as-files --datasource-type AzureDatabaseForPostgreSQLFlexibleServer --restore-location westus --source-datastore VaultStore --recovery-point-id $(newest_point "$whole") --target-blob-container-url $url/restore/files --target-file-name demo > files.json"
shown "holdfast dataprotection backup-instance restore trigger $in_vault --name \"$whole\" --restore-request-object files.json --wait --query properties.status"
(cd "$work/restore" && ls -l | awk 'NR > 1 { printf "  %10d  %s\n", $5, $9 }')
new_cluster target
[ "$(id -u)" != 0 ] || chown -R postgres "$work/restore"
pg env PATH="$pg_bin:$PATH" PGHOST="$work/target/sockets" PGPORT="$target_port" PGUSER=postgres sh "$work/restore/demo_restore.sh" > "$work/restore.log" 2>&1 || { tail -n 20 "$work/restore.log" >&2; exit 1; }
prove_equal source empdb11 target empdb11
prove_equal source archiv_latin1 target archiv_latin1

title "Check the vault, save the recovery kit, look at the state of things"
repository=$(dirname "$(ls -d "$work"/state/vaults/*/config | head -n 1)")
shown "holdfast vault check --path $repository --key-file $work/state/keys/kek.key --read-data"
shown "holdfast vault recovery-kit --path $repository --key-file $work/state/keys/kek.key --output-file $work/recovery-kit.txt"
shown "holdfast status" || true

demo_seconds=$((SECONDS - demo_started))
title "Summary"
say "build             $build_seconds s"
say "demo              $demo_seconds s"
say "database          $(sql source empdb11 -A -t -c "SELECT pg_size_pretty(pg_database_size('empdb11'))")"
say "first backup      $(mib "$first_bytes") in the vault (encrypted, compressed)"
say "second backup     $(mib "$second_bytes") added"
holdfast dataprotection job list $in_vault --query '[].{job: properties.operation, of: properties.dataSourceName, status: properties.status, duration: properties.duration}' -o table
say "API               $url (CA: $work/state/tls/ca.pem)"
if [ "$keep" = yes ]; then
    trap - EXIT
    say "Kept running: holdfast (process $server_pid), PostgreSQL on port $source_port, everything below $work."
    say "  export HOLDFAST_CONFIG_DIR=$HOLDFAST_CONFIG_DIR; $holdfast_program dataprotection backup-vault list -o table"
    say "  to stop: kill $server_pid; $pg_bin/pg_ctl -D $work/source/data stop; $pg_bin/pg_ctl -D $work/target/data stop; rm -r $work"
fi
