-- One line per thing that must be equal before and after: row counts and checksums of every table, sequences, large
-- objects, and the catalog entries that a schema dump does not show as rows. Order and OIDs do not matter.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET search_path = pg_catalog;
SET client_encoding = 'UTF8';
SELECT format('SELECT %L, count(*), sum(hashtextextended(t::text, 0)) FROM %I.%I t', n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname \gexec
SELECT format('SELECT %L, last_value, is_called FROM %I.%I', 'sequence ' || n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' ORDER BY n.nspname, c.relname \gexec
SELECT 'large object', m.oid, m.lomowner::regrole, m.lomacl, md5(lo_get(m.oid)), obj_description(m.oid, 'pg_largeobject')
FROM pg_largeobject_metadata m ORDER BY m.oid;
SELECT 'database', pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, datdba::regrole, datacl,
       shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database();
SELECT 'settings', coalesce(s.setrole::regrole::text, '-'), unnest(s.setconfig)
FROM pg_db_role_setting s WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 2, 3;
SELECT 'policy', schemaname, tablename, policyname, roles, cmd, qual FROM pg_policies ORDER BY 2, 3, 4;
SELECT 'extension', extname, extversion FROM pg_extension ORDER BY 2;
SELECT 'comments', count(*), sum(hashtextextended(description, 0)) FROM pg_description
WHERE objoid >= 16384 AND classoid NOT IN ('pg_largeobject'::regclass);
