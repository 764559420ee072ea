#!/usr/bin/env bash
# bench/make-data.sh SOCKET_DIRECTORY PORT DATABASE SCALE: fills an empty database with the benchmark's data, deterministic in
# SCALE (100 is about 3 GiB). pgbench rows alone compress 84:1 and hide everything, so beside them:
#   events     SCALE * 9000 rows   JSON and prose of a Zipf-like vocabulary, compressible
#   blobs      SCALE * 640 rows    8 KiB of incompressible bytea, stored out of line
#   small.*    SCALE * 20 tables   5 to 20 rows and a primary key each
#   300 large objects at SCALE 100, half of them text
set -euo pipefail
[ $# = 4 ] || { sed -n 2,7p "$0" >&2; exit 2; }
socket=$1 port=$2 database=$3 scale=$4
bin=${PGBIN:-/usr/lib/postgresql/15/bin}
psql=("$bin/psql" -X -q -h "$socket" -p "$port" -U postgres -d "$database" -v ON_ERROR_STOP=1)

"$bin/pgbench" -h "$socket" -p "$port" -U postgres -i -q -s "$scale" "$database" >/dev/null 2>&1
"${psql[@]}" <<'SQL'
CREATE SCHEMA small;
CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz NOT NULL, kind text NOT NULL, payload jsonb NOT NULL, body text NOT NULL);
CREATE TABLE blobs (id int PRIMARY KEY, name text NOT NULL, data bytea NOT NULL);
ALTER TABLE blobs ALTER COLUMN data SET STORAGE EXTERNAL;
SQL
# Prose: words made of syllables, drawn with a probability that falls with their rank.
perl -e '
    my ($rows) = @ARGV; srand(4711);
    my @on = qw(b br d f g k kl l m n p pr r s st t v z); my @nu = qw(a e i o u au ei); my @co = ("", "", "l", "n", "r", "s", "t");
    my (%seen, @words);
    while (@words < 5000) {
        my $w = join "", map { $on[rand @on] . $nu[rand @nu] . $co[rand @co] } 1 .. 1 + int rand 3;
        push @words, $w unless $seen{$w}++;
    }
    my @draw; my $sum = 0; $sum += 1 / ($_ + 2) for 1 .. @words;
    for my $rank (1 .. @words) { push @draw, ($words[$rank - 1]) x (1 + int(60000 / ($rank + 2) / $sum)); }
    my $time = 1_700_000_000; my @kinds = qw(view click order login refund search upload);
    for my $id (1 .. $rows) {
        $time += int rand 9; my @t = gmtime $time;
        my $at = sprintf "%04d-%02d-%02d %02d:%02d:%02d+00", $t[5] + 1900, $t[4] + 1, @t[3, 2, 1, 0];
        my $body = join " ", map { $draw[rand @draw] } 1 .. ($id % 50 ? 20 + int rand 70 : 500 + int rand 500);
        my $json = sprintf q({"ip": "10.%d.%d.%d", "path": "/%s/%s", "ms": %d, "tags": ["%s", "%s"], "cart": {"sku": "%s-%05d", "qty": %d}}),
            rand 256, rand 256, rand 256, $draw[rand @draw], $draw[rand @draw], rand 900, $draw[rand @draw], $draw[rand @draw],
            $draw[rand @draw], rand 100000, 1 + rand 5;
        print "$id\t$at\t$kinds[rand @kinds]\t$json\t$body\n";
    }' $((scale * 9000)) | "${psql[@]}" -c "COPY events FROM STDIN"
"${psql[@]}" <<SQL
INSERT INTO blobs SELECT i, 'blob ' || i,
    (SELECT string_agg(sha512(convert_to(i || ':' || j, 'UTF8')), ''::bytea ORDER BY j) FROM generate_series(1, 128) j)
FROM generate_series(1, $((scale * 640))) i;
SELECT format('CREATE TABLE small.t%s (id int PRIMARY KEY, name text, amount numeric(12,2))', i),
       format('INSERT INTO small.t%s SELECT j, ''item '' || j || '' of %s'', j * 7.25 FROM generate_series(1, %s) j', i, i, 5 + i % 16)
FROM generate_series(1, $((scale * 20))) i \gexec
SELECT count(lo_from_bytea(500000 + i, CASE WHEN i % 2 = 0
    THEN (SELECT string_agg(sha512(convert_to('lo' || i || ':' || j, 'UTF8')), ''::bytea ORDER BY j) FROM generate_series(1, 4096) j)
    ELSE convert_to((SELECT string_agg('line ' || j || ' of object ' || i || E' status=ok\n', '' ORDER BY j) FROM generate_series(1, 8000) j), 'UTF8') END))
FROM generate_series(1, $((scale * 3))) i;
VACUUM ANALYZE;
CHECKPOINT;
SQL
