-- The data of the demo: a bit of everything that a backup must bring back. Run with psql in database empdb11 as a
-- superuser, after pgbench -i. Deterministic.
\set ON_ERROR_STOP on
SELECT setseed(0.42);

CREATE ROLE demo_owner LOGIN PASSWORD 'owner-password';
CREATE ROLE demo_reader NOLOGIN;
CREATE ROLE demo_auditor NOLOGIN NOINHERIT;
GRANT demo_reader TO demo_owner WITH ADMIN OPTION;
ALTER ROLE demo_owner SET work_mem = '8MB';
COMMENT ON ROLE demo_reader IS 'May read the shop';

CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE SCHEMA shop AUTHORIZATION demo_owner;
CREATE SCHEMA "Odd Names" AUTHORIZATION demo_owner;
COMMENT ON SCHEMA shop IS 'What is sold';
GRANT USAGE ON SCHEMA shop TO demo_reader;

CREATE TYPE shop.order_state AS ENUM ('new', 'paid', 'shipped', 'returned');
CREATE DOMAIN shop.sku AS text CHECK (VALUE ~ '^[A-Z]{3}-[0-9]{5}$');

-- Identity and generated columns, a check, a comment, an index on an expression, an index of an extension.
CREATE TABLE shop.products (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku shop.sku NOT NULL UNIQUE,
    name text NOT NULL,
    net numeric(10, 2) NOT NULL CHECK (net > 0),
    gross numeric(12, 2) GENERATED ALWAYS AS (net * 1.19) STORED
);
COMMENT ON COLUMN shop.products.gross IS 'With tax';
CREATE INDEX products_name_trgm ON shop.products USING gin (name gin_trgm_ops);
CREATE INDEX products_lower_name ON shop.products (lower(name));
INSERT INTO shop.products (sku, name, net)
SELECT 'ABC-' || lpad(i::text, 5, '0'), 'Product ' || md5(i::text), 1 + i % 90
FROM generate_series(1, 5000) i;

-- A partitioned table with a default partition, a foreign key, a trigger, a policy.
CREATE TABLE shop.orders (
    id bigint NOT NULL,
    product_id bigint NOT NULL REFERENCES shop.products (id),
    ordered_at timestamptz NOT NULL,
    state shop.order_state NOT NULL DEFAULT 'new',
    note text,
    PRIMARY KEY (id, ordered_at)
) PARTITION BY RANGE (ordered_at);
CREATE TABLE shop.orders_2025 PARTITION OF shop.orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE shop.orders_2026 PARTITION OF shop.orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE shop.orders_other PARTITION OF shop.orders DEFAULT;
INSERT INTO shop.orders
SELECT i, 1 + i % 5000, timestamptz '2024-11-01 00:00:00+00' + i * interval '13 minutes',
       (ARRAY['new', 'paid', 'shipped', 'returned']::shop.order_state[])[1 + i % 4],
       CASE WHEN i % 7 = 0 THEN repeat('note ', 1 + i % 9) END
FROM generate_series(1, 60000) i;

CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.note := coalesce(NEW.note, '') || '';
    RETURN NEW;
END $$;
CREATE TRIGGER orders_touch BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.touch();
CREATE VIEW shop.turnover AS
    SELECT p.sku, count(*) AS orders, sum(p.gross) AS gross
    FROM shop.orders o JOIN shop.products p ON p.id = o.product_id GROUP BY p.sku;
CREATE MATERIALIZED VIEW shop.best AS SELECT * FROM shop.turnover ORDER BY orders DESC, sku LIMIT 100;
CREATE STATISTICS shop.orders_stats (dependencies) ON product_id, state FROM shop.orders;
ALTER TABLE shop.products ENABLE ROW LEVEL SECURITY;
CREATE POLICY reader_sees_cheap ON shop.products FOR SELECT TO demo_reader USING (net < 50);
GRANT SELECT ON ALL TABLES IN SCHEMA shop TO demo_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO demo_reader;
ALTER TABLE shop.products OWNER TO demo_owner;

-- Text that compresses, bytes that do not.
CREATE TABLE shop.articles (id int PRIMARY KEY, body text NOT NULL);
INSERT INTO shop.articles
SELECT i, (SELECT string_agg((ARRAY['backup', 'vault', 'policy', 'restore', 'point', 'tag', 'week', 'the', 'of', 'and',
                                    'server', 'page', 'chunk', 'key', 'seal', 'proof'])[1 + (random() * 15)::int], ' ')
           FROM generate_series(1, 120 + i % 80))
FROM generate_series(1, 30000) i;
CREATE TABLE shop.images (id int PRIMARY KEY, data bytea NOT NULL);
ALTER TABLE shop.images ALTER COLUMN data SET STORAGE EXTERNAL;
INSERT INTO shop.images
SELECT i, (SELECT string_agg(sha512(convert_to(i || ':' || j, 'UTF8')), ''::bytea ORDER BY j) FROM generate_series(1, 128) j)
FROM generate_series(1, 3000) i;

-- 200 small tables, and names that need quoting.
SELECT format('CREATE TABLE shop.small_%s (id int PRIMARY KEY, name text, amount numeric)', to_char(i, 'FM000')),
       format('INSERT INTO shop.small_%s SELECT j, %L || j, j * 1.5 FROM generate_series(1, %s) j',
              to_char(i, 'FM000'), 'item ', 5 + i % 16)
FROM generate_series(1, 200) i \gexec
CREATE TABLE "Odd Names"."a ""quoted"" table" ("weird; column" int, "ünïcode" text);
INSERT INTO "Odd Names"."a ""quoted"" table" VALUES (1, E'tab\there'), (2, NULL), (3, E'line\nbreak \\ backslash');

-- Large objects with an owner and a comment.
SELECT count(lo_from_bytea(900000 + i, convert_to(repeat('large object ' || i || ' ', 4000), 'UTF8'))) FROM generate_series(1, 20) i;
ALTER LARGE OBJECT 900001 OWNER TO demo_owner;
COMMENT ON LARGE OBJECT 900002 IS 'The second one';
GRANT SELECT ON LARGE OBJECT 900003 TO demo_reader;

ALTER DATABASE empdb11 SET default_statistics_target = 150;
ALTER ROLE demo_owner IN DATABASE empdb11 SET search_path = shop, public;
COMMENT ON DATABASE empdb11 IS 'Employees and their shop';
GRANT CONNECT ON DATABASE empdb11 TO demo_reader;
ANALYZE;
