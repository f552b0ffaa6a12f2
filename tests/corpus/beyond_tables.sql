-- What only pg_dump's own stream carries: large objects, and tables of extensions that are dumped with a condition.
-- (The suite has put the files of the extension `corpus` into the container.)

CREATE EXTENSION corpus;
INSERT INTO public.corpus_settings VALUES ('added', 'yes', false), ('also added', E'tab\t', false);
SELECT lo_from_bytea(4711, 'a large object'::bytea), lo_from_bytea(4712, decode(repeat('00ff5c0a', 700000), 'hex')), lo_create(4713);
GRANT SELECT ON LARGE OBJECT 4711 TO corpus_reader;
ALTER LARGE OBJECT 4712 OWNER TO corpus_owner;
COMMENT ON LARGE OBJECT 4713 IS 'empty';
