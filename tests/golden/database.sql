-- The database that the dumps in this folder were made of; see README.md.
CREATE TABLE users (id int PRIMARY KEY, name text, note text);
INSERT INTO users SELECT i, 'user ' || i, E'a\ttab, a \\ and a\nnew line' FROM generate_series(1, 562) i;
CREATE TABLE empty (id int);
CREATE TABLE no_columns ();
INSERT INTO no_columns SELECT FROM generate_series(1, 7);
CREATE TABLE "user" ("Name" text, "order" int);
INSERT INTO "user" VALUES (E'\\.', 1), ('', 2), (NULL, 3);
CREATE SCHEMA "Odd ""schema"".";
CREATE TABLE "Odd ""schema""."."täble (x) FROM
y" ("a ""b"" c" text);
INSERT INTO "Odd ""schema""."."täble (x) FROM
y" VALUES (repeat('ü', 2000)), ('x');
CREATE TABLE parts (id int, kind text) PARTITION BY LIST (kind);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b');
INSERT INTO parts SELECT i, CASE WHEN i % 3 = 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 100) i;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE moods (m mood, n int) PARTITION BY HASH (m);
CREATE TABLE moods_0 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE moods_1 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO moods SELECT CASE WHEN i % 2 = 0 THEN 'sad' ELSE 'happy' END::mood, i FROM generate_series(1, 20) i;
CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM users;
CREATE SEQUENCE counter START 42;
CREATE INDEX ON users (name);
SELECT lo_from_bytea(1001, 'hello'), lo_from_bytea(1002, ''), lo_from_bytea(4000000000, (SELECT string_agg(decode(md5(i::text), 'hex'), '') FROM generate_series(1, 600) i));
