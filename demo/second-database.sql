-- Run in the second database: LATIN1, locale C, settings of its own.
\set ON_ERROR_STOP on
CREATE TABLE kunden (nr int PRIMARY KEY, name text NOT NULL, ort text);
INSERT INTO kunden SELECT i, 'Müller ' || i, (ARRAY['Köln', 'Zürich', 'Århus', 'Málaga'])[1 + i % 4] FROM generate_series(1, 2000) i;
CREATE INDEX kunden_ort ON kunden (ort);
COMMENT ON TABLE kunden IS 'Größere und kleinere';
ALTER DATABASE archiv_latin1 SET DateStyle = 'German, DMY';
ALTER DATABASE archiv_latin1 SET timezone = 'Europe/Berlin';
ALTER DATABASE archiv_latin1 CONNECTION LIMIT 17;
