-- The database of pg15-latin1.dump: CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C';
SET client_encoding = 'UTF8';
CREATE TABLE "café" AS SELECT 'é' AS "où" FROM generate_series(1, 3);
