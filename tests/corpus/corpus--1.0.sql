CREATE TABLE corpus_settings (name text PRIMARY KEY, value text, built_in boolean NOT NULL);
INSERT INTO corpus_settings VALUES ('from the extension', 'fixed', true);
SELECT pg_catalog.pg_extension_config_dump('corpus_settings', 'WHERE NOT built_in');
CREATE TABLE corpus_internal (id serial PRIMARY KEY);
INSERT INTO corpus_internal DEFAULT VALUES;
CREATE SEQUENCE corpus_counter START 10;
CREATE SEQUENCE corpus_kept START 10;
SELECT pg_catalog.pg_extension_config_dump('corpus_kept', '');
CREATE FUNCTION corpus_version() RETURNS text LANGUAGE sql RETURN '1.0';
