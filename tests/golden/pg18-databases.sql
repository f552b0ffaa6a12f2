--
-- PostgreSQL database dump
--

\restrict hglhESmzbb66Jll4uzTGdj9Qp2d5b5yE5gUU9vlbrHlfYILmeagiddrTsTDrclL

-- Dumped from database version 18.6
-- Dumped by pg_dump version 18.6

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

DROP DATABASE IF EXISTS golden;
--
-- Name: golden; Type: DATABASE; Schema: -; Owner: app
--

CREATE DATABASE golden WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'en_US.utf8';


ALTER DATABASE golden OWNER TO app;

\unrestrict hglhESmzbb66Jll4uzTGdj9Qp2d5b5yE5gUU9vlbrHlfYILmeagiddrTsTDrclL
\connect golden
\restrict hglhESmzbb66Jll4uzTGdj9Qp2d5b5yE5gUU9vlbrHlfYILmeagiddrTsTDrclL

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: Odd "schema".; Type: SCHEMA; Schema: -; Owner: postgres
--

CREATE SCHEMA "Odd ""schema"".";


ALTER SCHEMA "Odd ""schema""." OWNER TO postgres;

--
-- Name: mood; Type: TYPE; Schema: public; Owner: postgres
--

CREATE TYPE public.mood AS ENUM (
    'sad',
    'happy'
);


ALTER TYPE public.mood OWNER TO postgres;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: täble (x) FROM y; Type: TABLE; Schema: Odd "schema".; Owner: postgres
--

CREATE TABLE "Odd ""schema""."."täble (x) FROM
y" (
    "a ""b"" c" text
);


ALTER TABLE "Odd ""schema""."."täble (x) FROM
y" OWNER TO postgres;

--
-- Name: counter; Type: SEQUENCE; Schema: public; Owner: postgres
--

CREATE SEQUENCE public.counter
    START WITH 42
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER SEQUENCE public.counter OWNER TO postgres;

--
-- Name: empty; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.empty (
    id integer
);


ALTER TABLE public.empty OWNER TO postgres;

--
-- Name: moods; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.moods (
    m public.mood,
    n integer
)
PARTITION BY HASH (m);


ALTER TABLE public.moods OWNER TO postgres;

--
-- Name: moods_0; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.moods_0 (
    m public.mood,
    n integer
);


ALTER TABLE public.moods_0 OWNER TO postgres;

--
-- Name: moods_1; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.moods_1 (
    m public.mood,
    n integer
);


ALTER TABLE public.moods_1 OWNER TO postgres;

--
-- Name: no_columns; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.no_columns (
);


ALTER TABLE public.no_columns OWNER TO postgres;

--
-- Name: parts; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.parts (
    id integer,
    kind text
)
PARTITION BY LIST (kind);


ALTER TABLE public.parts OWNER TO postgres;

--
-- Name: parts_a; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.parts_a (
    id integer,
    kind text
);


ALTER TABLE public.parts_a OWNER TO postgres;

--
-- Name: parts_b; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.parts_b (
    id integer,
    kind text
);


ALTER TABLE public.parts_b OWNER TO postgres;

--
-- Name: users; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.users (
    id integer NOT NULL,
    name text,
    note text
);


ALTER TABLE public.users OWNER TO postgres;

--
-- Name: totals; Type: MATERIALIZED VIEW; Schema: public; Owner: postgres
--

CREATE MATERIALIZED VIEW public.totals AS
 SELECT count(*) AS count
   FROM public.users
  WITH NO DATA;


ALTER MATERIALIZED VIEW public.totals OWNER TO postgres;

--
-- Name: user; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public."user" (
    "Name" text,
    "order" integer
);


ALTER TABLE public."user" OWNER TO postgres;

--
-- Name: moods_0; Type: TABLE ATTACH; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.moods ATTACH PARTITION public.moods_0 FOR VALUES WITH (modulus 2, remainder 0);


--
-- Name: moods_1; Type: TABLE ATTACH; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.moods ATTACH PARTITION public.moods_1 FOR VALUES WITH (modulus 2, remainder 1);


--
-- Name: parts_a; Type: TABLE ATTACH; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.parts ATTACH PARTITION public.parts_a FOR VALUES IN ('a');


--
-- Name: parts_b; Type: TABLE ATTACH; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.parts ATTACH PARTITION public.parts_b FOR VALUES IN ('b');


--
-- Data for Name: täble (x) FROM y; Type: TABLE DATA; Schema: Odd "schema".; Owner: postgres
--

COPY "Odd ""schema""."."täble (x) FROM
y" ("a ""b"" c") FROM stdin;
üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü
x
\.


--
-- Data for Name: empty; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.empty (id) FROM stdin;
\.


--
-- Data for Name: moods_0; Type: TABLE DATA; Schema: public; Owner: postgres
--

-- load via partition root public.moods

COPY public.moods (m, n) FROM stdin;
sad	2
sad	4
sad	6
sad	8
sad	10
sad	12
sad	14
sad	16
sad	18
sad	20
\.


--
-- Data for Name: moods_1; Type: TABLE DATA; Schema: public; Owner: postgres
--

-- load via partition root public.moods

COPY public.moods (m, n) FROM stdin;
happy	1
happy	3
happy	5
happy	7
happy	9
happy	11
happy	13
happy	15
happy	17
happy	19
\.


--
-- Data for Name: no_columns; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.no_columns  FROM stdin;







\.


--
-- Data for Name: parts_a; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.parts_a (id, kind) FROM stdin;
3	a
6	a
9	a
12	a
15	a
18	a
21	a
24	a
27	a
30	a
33	a
36	a
39	a
42	a
45	a
48	a
51	a
54	a
57	a
60	a
63	a
66	a
69	a
72	a
75	a
78	a
81	a
84	a
87	a
90	a
93	a
96	a
99	a
\.


--
-- Data for Name: parts_b; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.parts_b (id, kind) FROM stdin;
1	b
2	b
4	b
5	b
7	b
8	b
10	b
11	b
13	b
14	b
16	b
17	b
19	b
20	b
22	b
23	b
25	b
26	b
28	b
29	b
31	b
32	b
34	b
35	b
37	b
38	b
40	b
41	b
43	b
44	b
46	b
47	b
49	b
50	b
52	b
53	b
55	b
56	b
58	b
59	b
61	b
62	b
64	b
65	b
67	b
68	b
70	b
71	b
73	b
74	b
76	b
77	b
79	b
80	b
82	b
83	b
85	b
86	b
88	b
89	b
91	b
92	b
94	b
95	b
97	b
98	b
100	b
\.


--
-- Data for Name: user; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public."user" ("Name", "order") FROM stdin;
\\.	1
	2
\N	3
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.users (id, name, note) FROM stdin;
1	user 1	a\ttab, a \\ and a\nnew line
2	user 2	a\ttab, a \\ and a\nnew line
3	user 3	a\ttab, a \\ and a\nnew line
4	user 4	a\ttab, a \\ and a\nnew line
5	user 5	a\ttab, a \\ and a\nnew line
6	user 6	a\ttab, a \\ and a\nnew line
7	user 7	a\ttab, a \\ and a\nnew line
8	user 8	a\ttab, a \\ and a\nnew line
9	user 9	a\ttab, a \\ and a\nnew line
10	user 10	a\ttab, a \\ and a\nnew line
11	user 11	a\ttab, a \\ and a\nnew line
12	user 12	a\ttab, a \\ and a\nnew line
13	user 13	a\ttab, a \\ and a\nnew line
14	user 14	a\ttab, a \\ and a\nnew line
15	user 15	a\ttab, a \\ and a\nnew line
16	user 16	a\ttab, a \\ and a\nnew line
17	user 17	a\ttab, a \\ and a\nnew line
18	user 18	a\ttab, a \\ and a\nnew line
19	user 19	a\ttab, a \\ and a\nnew line
20	user 20	a\ttab, a \\ and a\nnew line
21	user 21	a\ttab, a \\ and a\nnew line
22	user 22	a\ttab, a \\ and a\nnew line
23	user 23	a\ttab, a \\ and a\nnew line
24	user 24	a\ttab, a \\ and a\nnew line
25	user 25	a\ttab, a \\ and a\nnew line
26	user 26	a\ttab, a \\ and a\nnew line
27	user 27	a\ttab, a \\ and a\nnew line
28	user 28	a\ttab, a \\ and a\nnew line
29	user 29	a\ttab, a \\ and a\nnew line
30	user 30	a\ttab, a \\ and a\nnew line
31	user 31	a\ttab, a \\ and a\nnew line
32	user 32	a\ttab, a \\ and a\nnew line
33	user 33	a\ttab, a \\ and a\nnew line
34	user 34	a\ttab, a \\ and a\nnew line
35	user 35	a\ttab, a \\ and a\nnew line
36	user 36	a\ttab, a \\ and a\nnew line
37	user 37	a\ttab, a \\ and a\nnew line
38	user 38	a\ttab, a \\ and a\nnew line
39	user 39	a\ttab, a \\ and a\nnew line
40	user 40	a\ttab, a \\ and a\nnew line
41	user 41	a\ttab, a \\ and a\nnew line
42	user 42	a\ttab, a \\ and a\nnew line
43	user 43	a\ttab, a \\ and a\nnew line
44	user 44	a\ttab, a \\ and a\nnew line
45	user 45	a\ttab, a \\ and a\nnew line
46	user 46	a\ttab, a \\ and a\nnew line
47	user 47	a\ttab, a \\ and a\nnew line
48	user 48	a\ttab, a \\ and a\nnew line
49	user 49	a\ttab, a \\ and a\nnew line
50	user 50	a\ttab, a \\ and a\nnew line
51	user 51	a\ttab, a \\ and a\nnew line
52	user 52	a\ttab, a \\ and a\nnew line
53	user 53	a\ttab, a \\ and a\nnew line
54	user 54	a\ttab, a \\ and a\nnew line
55	user 55	a\ttab, a \\ and a\nnew line
56	user 56	a\ttab, a \\ and a\nnew line
57	user 57	a\ttab, a \\ and a\nnew line
58	user 58	a\ttab, a \\ and a\nnew line
59	user 59	a\ttab, a \\ and a\nnew line
60	user 60	a\ttab, a \\ and a\nnew line
61	user 61	a\ttab, a \\ and a\nnew line
62	user 62	a\ttab, a \\ and a\nnew line
63	user 63	a\ttab, a \\ and a\nnew line
64	user 64	a\ttab, a \\ and a\nnew line
65	user 65	a\ttab, a \\ and a\nnew line
66	user 66	a\ttab, a \\ and a\nnew line
67	user 67	a\ttab, a \\ and a\nnew line
68	user 68	a\ttab, a \\ and a\nnew line
69	user 69	a\ttab, a \\ and a\nnew line
70	user 70	a\ttab, a \\ and a\nnew line
71	user 71	a\ttab, a \\ and a\nnew line
72	user 72	a\ttab, a \\ and a\nnew line
73	user 73	a\ttab, a \\ and a\nnew line
74	user 74	a\ttab, a \\ and a\nnew line
75	user 75	a\ttab, a \\ and a\nnew line
76	user 76	a\ttab, a \\ and a\nnew line
77	user 77	a\ttab, a \\ and a\nnew line
78	user 78	a\ttab, a \\ and a\nnew line
79	user 79	a\ttab, a \\ and a\nnew line
80	user 80	a\ttab, a \\ and a\nnew line
81	user 81	a\ttab, a \\ and a\nnew line
82	user 82	a\ttab, a \\ and a\nnew line
83	user 83	a\ttab, a \\ and a\nnew line
84	user 84	a\ttab, a \\ and a\nnew line
85	user 85	a\ttab, a \\ and a\nnew line
86	user 86	a\ttab, a \\ and a\nnew line
87	user 87	a\ttab, a \\ and a\nnew line
88	user 88	a\ttab, a \\ and a\nnew line
89	user 89	a\ttab, a \\ and a\nnew line
90	user 90	a\ttab, a \\ and a\nnew line
91	user 91	a\ttab, a \\ and a\nnew line
92	user 92	a\ttab, a \\ and a\nnew line
93	user 93	a\ttab, a \\ and a\nnew line
94	user 94	a\ttab, a \\ and a\nnew line
95	user 95	a\ttab, a \\ and a\nnew line
96	user 96	a\ttab, a \\ and a\nnew line
97	user 97	a\ttab, a \\ and a\nnew line
98	user 98	a\ttab, a \\ and a\nnew line
99	user 99	a\ttab, a \\ and a\nnew line
100	user 100	a\ttab, a \\ and a\nnew line
101	user 101	a\ttab, a \\ and a\nnew line
102	user 102	a\ttab, a \\ and a\nnew line
103	user 103	a\ttab, a \\ and a\nnew line
104	user 104	a\ttab, a \\ and a\nnew line
105	user 105	a\ttab, a \\ and a\nnew line
106	user 106	a\ttab, a \\ and a\nnew line
107	user 107	a\ttab, a \\ and a\nnew line
108	user 108	a\ttab, a \\ and a\nnew line
109	user 109	a\ttab, a \\ and a\nnew line
110	user 110	a\ttab, a \\ and a\nnew line
111	user 111	a\ttab, a \\ and a\nnew line
112	user 112	a\ttab, a \\ and a\nnew line
113	user 113	a\ttab, a \\ and a\nnew line
114	user 114	a\ttab, a \\ and a\nnew line
115	user 115	a\ttab, a \\ and a\nnew line
116	user 116	a\ttab, a \\ and a\nnew line
117	user 117	a\ttab, a \\ and a\nnew line
118	user 118	a\ttab, a \\ and a\nnew line
119	user 119	a\ttab, a \\ and a\nnew line
120	user 120	a\ttab, a \\ and a\nnew line
121	user 121	a\ttab, a \\ and a\nnew line
122	user 122	a\ttab, a \\ and a\nnew line
123	user 123	a\ttab, a \\ and a\nnew line
124	user 124	a\ttab, a \\ and a\nnew line
125	user 125	a\ttab, a \\ and a\nnew line
126	user 126	a\ttab, a \\ and a\nnew line
127	user 127	a\ttab, a \\ and a\nnew line
128	user 128	a\ttab, a \\ and a\nnew line
129	user 129	a\ttab, a \\ and a\nnew line
130	user 130	a\ttab, a \\ and a\nnew line
131	user 131	a\ttab, a \\ and a\nnew line
132	user 132	a\ttab, a \\ and a\nnew line
133	user 133	a\ttab, a \\ and a\nnew line
134	user 134	a\ttab, a \\ and a\nnew line
135	user 135	a\ttab, a \\ and a\nnew line
136	user 136	a\ttab, a \\ and a\nnew line
137	user 137	a\ttab, a \\ and a\nnew line
138	user 138	a\ttab, a \\ and a\nnew line
139	user 139	a\ttab, a \\ and a\nnew line
140	user 140	a\ttab, a \\ and a\nnew line
141	user 141	a\ttab, a \\ and a\nnew line
142	user 142	a\ttab, a \\ and a\nnew line
143	user 143	a\ttab, a \\ and a\nnew line
144	user 144	a\ttab, a \\ and a\nnew line
145	user 145	a\ttab, a \\ and a\nnew line
146	user 146	a\ttab, a \\ and a\nnew line
147	user 147	a\ttab, a \\ and a\nnew line
148	user 148	a\ttab, a \\ and a\nnew line
149	user 149	a\ttab, a \\ and a\nnew line
150	user 150	a\ttab, a \\ and a\nnew line
151	user 151	a\ttab, a \\ and a\nnew line
152	user 152	a\ttab, a \\ and a\nnew line
153	user 153	a\ttab, a \\ and a\nnew line
154	user 154	a\ttab, a \\ and a\nnew line
155	user 155	a\ttab, a \\ and a\nnew line
156	user 156	a\ttab, a \\ and a\nnew line
157	user 157	a\ttab, a \\ and a\nnew line
158	user 158	a\ttab, a \\ and a\nnew line
159	user 159	a\ttab, a \\ and a\nnew line
160	user 160	a\ttab, a \\ and a\nnew line
161	user 161	a\ttab, a \\ and a\nnew line
162	user 162	a\ttab, a \\ and a\nnew line
163	user 163	a\ttab, a \\ and a\nnew line
164	user 164	a\ttab, a \\ and a\nnew line
165	user 165	a\ttab, a \\ and a\nnew line
166	user 166	a\ttab, a \\ and a\nnew line
167	user 167	a\ttab, a \\ and a\nnew line
168	user 168	a\ttab, a \\ and a\nnew line
169	user 169	a\ttab, a \\ and a\nnew line
170	user 170	a\ttab, a \\ and a\nnew line
171	user 171	a\ttab, a \\ and a\nnew line
172	user 172	a\ttab, a \\ and a\nnew line
173	user 173	a\ttab, a \\ and a\nnew line
174	user 174	a\ttab, a \\ and a\nnew line
175	user 175	a\ttab, a \\ and a\nnew line
176	user 176	a\ttab, a \\ and a\nnew line
177	user 177	a\ttab, a \\ and a\nnew line
178	user 178	a\ttab, a \\ and a\nnew line
179	user 179	a\ttab, a \\ and a\nnew line
180	user 180	a\ttab, a \\ and a\nnew line
181	user 181	a\ttab, a \\ and a\nnew line
182	user 182	a\ttab, a \\ and a\nnew line
183	user 183	a\ttab, a \\ and a\nnew line
184	user 184	a\ttab, a \\ and a\nnew line
185	user 185	a\ttab, a \\ and a\nnew line
186	user 186	a\ttab, a \\ and a\nnew line
187	user 187	a\ttab, a \\ and a\nnew line
188	user 188	a\ttab, a \\ and a\nnew line
189	user 189	a\ttab, a \\ and a\nnew line
190	user 190	a\ttab, a \\ and a\nnew line
191	user 191	a\ttab, a \\ and a\nnew line
192	user 192	a\ttab, a \\ and a\nnew line
193	user 193	a\ttab, a \\ and a\nnew line
194	user 194	a\ttab, a \\ and a\nnew line
195	user 195	a\ttab, a \\ and a\nnew line
196	user 196	a\ttab, a \\ and a\nnew line
197	user 197	a\ttab, a \\ and a\nnew line
198	user 198	a\ttab, a \\ and a\nnew line
199	user 199	a\ttab, a \\ and a\nnew line
200	user 200	a\ttab, a \\ and a\nnew line
201	user 201	a\ttab, a \\ and a\nnew line
202	user 202	a\ttab, a \\ and a\nnew line
203	user 203	a\ttab, a \\ and a\nnew line
204	user 204	a\ttab, a \\ and a\nnew line
205	user 205	a\ttab, a \\ and a\nnew line
206	user 206	a\ttab, a \\ and a\nnew line
207	user 207	a\ttab, a \\ and a\nnew line
208	user 208	a\ttab, a \\ and a\nnew line
209	user 209	a\ttab, a \\ and a\nnew line
210	user 210	a\ttab, a \\ and a\nnew line
211	user 211	a\ttab, a \\ and a\nnew line
212	user 212	a\ttab, a \\ and a\nnew line
213	user 213	a\ttab, a \\ and a\nnew line
214	user 214	a\ttab, a \\ and a\nnew line
215	user 215	a\ttab, a \\ and a\nnew line
216	user 216	a\ttab, a \\ and a\nnew line
217	user 217	a\ttab, a \\ and a\nnew line
218	user 218	a\ttab, a \\ and a\nnew line
219	user 219	a\ttab, a \\ and a\nnew line
220	user 220	a\ttab, a \\ and a\nnew line
221	user 221	a\ttab, a \\ and a\nnew line
222	user 222	a\ttab, a \\ and a\nnew line
223	user 223	a\ttab, a \\ and a\nnew line
224	user 224	a\ttab, a \\ and a\nnew line
225	user 225	a\ttab, a \\ and a\nnew line
226	user 226	a\ttab, a \\ and a\nnew line
227	user 227	a\ttab, a \\ and a\nnew line
228	user 228	a\ttab, a \\ and a\nnew line
229	user 229	a\ttab, a \\ and a\nnew line
230	user 230	a\ttab, a \\ and a\nnew line
231	user 231	a\ttab, a \\ and a\nnew line
232	user 232	a\ttab, a \\ and a\nnew line
233	user 233	a\ttab, a \\ and a\nnew line
234	user 234	a\ttab, a \\ and a\nnew line
235	user 235	a\ttab, a \\ and a\nnew line
236	user 236	a\ttab, a \\ and a\nnew line
237	user 237	a\ttab, a \\ and a\nnew line
238	user 238	a\ttab, a \\ and a\nnew line
239	user 239	a\ttab, a \\ and a\nnew line
240	user 240	a\ttab, a \\ and a\nnew line
241	user 241	a\ttab, a \\ and a\nnew line
242	user 242	a\ttab, a \\ and a\nnew line
243	user 243	a\ttab, a \\ and a\nnew line
244	user 244	a\ttab, a \\ and a\nnew line
245	user 245	a\ttab, a \\ and a\nnew line
246	user 246	a\ttab, a \\ and a\nnew line
247	user 247	a\ttab, a \\ and a\nnew line
248	user 248	a\ttab, a \\ and a\nnew line
249	user 249	a\ttab, a \\ and a\nnew line
250	user 250	a\ttab, a \\ and a\nnew line
251	user 251	a\ttab, a \\ and a\nnew line
252	user 252	a\ttab, a \\ and a\nnew line
253	user 253	a\ttab, a \\ and a\nnew line
254	user 254	a\ttab, a \\ and a\nnew line
255	user 255	a\ttab, a \\ and a\nnew line
256	user 256	a\ttab, a \\ and a\nnew line
257	user 257	a\ttab, a \\ and a\nnew line
258	user 258	a\ttab, a \\ and a\nnew line
259	user 259	a\ttab, a \\ and a\nnew line
260	user 260	a\ttab, a \\ and a\nnew line
261	user 261	a\ttab, a \\ and a\nnew line
262	user 262	a\ttab, a \\ and a\nnew line
263	user 263	a\ttab, a \\ and a\nnew line
264	user 264	a\ttab, a \\ and a\nnew line
265	user 265	a\ttab, a \\ and a\nnew line
266	user 266	a\ttab, a \\ and a\nnew line
267	user 267	a\ttab, a \\ and a\nnew line
268	user 268	a\ttab, a \\ and a\nnew line
269	user 269	a\ttab, a \\ and a\nnew line
270	user 270	a\ttab, a \\ and a\nnew line
271	user 271	a\ttab, a \\ and a\nnew line
272	user 272	a\ttab, a \\ and a\nnew line
273	user 273	a\ttab, a \\ and a\nnew line
274	user 274	a\ttab, a \\ and a\nnew line
275	user 275	a\ttab, a \\ and a\nnew line
276	user 276	a\ttab, a \\ and a\nnew line
277	user 277	a\ttab, a \\ and a\nnew line
278	user 278	a\ttab, a \\ and a\nnew line
279	user 279	a\ttab, a \\ and a\nnew line
280	user 280	a\ttab, a \\ and a\nnew line
281	user 281	a\ttab, a \\ and a\nnew line
282	user 282	a\ttab, a \\ and a\nnew line
283	user 283	a\ttab, a \\ and a\nnew line
284	user 284	a\ttab, a \\ and a\nnew line
285	user 285	a\ttab, a \\ and a\nnew line
286	user 286	a\ttab, a \\ and a\nnew line
287	user 287	a\ttab, a \\ and a\nnew line
288	user 288	a\ttab, a \\ and a\nnew line
289	user 289	a\ttab, a \\ and a\nnew line
290	user 290	a\ttab, a \\ and a\nnew line
291	user 291	a\ttab, a \\ and a\nnew line
292	user 292	a\ttab, a \\ and a\nnew line
293	user 293	a\ttab, a \\ and a\nnew line
294	user 294	a\ttab, a \\ and a\nnew line
295	user 295	a\ttab, a \\ and a\nnew line
296	user 296	a\ttab, a \\ and a\nnew line
297	user 297	a\ttab, a \\ and a\nnew line
298	user 298	a\ttab, a \\ and a\nnew line
299	user 299	a\ttab, a \\ and a\nnew line
300	user 300	a\ttab, a \\ and a\nnew line
301	user 301	a\ttab, a \\ and a\nnew line
302	user 302	a\ttab, a \\ and a\nnew line
303	user 303	a\ttab, a \\ and a\nnew line
304	user 304	a\ttab, a \\ and a\nnew line
305	user 305	a\ttab, a \\ and a\nnew line
306	user 306	a\ttab, a \\ and a\nnew line
307	user 307	a\ttab, a \\ and a\nnew line
308	user 308	a\ttab, a \\ and a\nnew line
309	user 309	a\ttab, a \\ and a\nnew line
310	user 310	a\ttab, a \\ and a\nnew line
311	user 311	a\ttab, a \\ and a\nnew line
312	user 312	a\ttab, a \\ and a\nnew line
313	user 313	a\ttab, a \\ and a\nnew line
314	user 314	a\ttab, a \\ and a\nnew line
315	user 315	a\ttab, a \\ and a\nnew line
316	user 316	a\ttab, a \\ and a\nnew line
317	user 317	a\ttab, a \\ and a\nnew line
318	user 318	a\ttab, a \\ and a\nnew line
319	user 319	a\ttab, a \\ and a\nnew line
320	user 320	a\ttab, a \\ and a\nnew line
321	user 321	a\ttab, a \\ and a\nnew line
322	user 322	a\ttab, a \\ and a\nnew line
323	user 323	a\ttab, a \\ and a\nnew line
324	user 324	a\ttab, a \\ and a\nnew line
325	user 325	a\ttab, a \\ and a\nnew line
326	user 326	a\ttab, a \\ and a\nnew line
327	user 327	a\ttab, a \\ and a\nnew line
328	user 328	a\ttab, a \\ and a\nnew line
329	user 329	a\ttab, a \\ and a\nnew line
330	user 330	a\ttab, a \\ and a\nnew line
331	user 331	a\ttab, a \\ and a\nnew line
332	user 332	a\ttab, a \\ and a\nnew line
333	user 333	a\ttab, a \\ and a\nnew line
334	user 334	a\ttab, a \\ and a\nnew line
335	user 335	a\ttab, a \\ and a\nnew line
336	user 336	a\ttab, a \\ and a\nnew line
337	user 337	a\ttab, a \\ and a\nnew line
338	user 338	a\ttab, a \\ and a\nnew line
339	user 339	a\ttab, a \\ and a\nnew line
340	user 340	a\ttab, a \\ and a\nnew line
341	user 341	a\ttab, a \\ and a\nnew line
342	user 342	a\ttab, a \\ and a\nnew line
343	user 343	a\ttab, a \\ and a\nnew line
344	user 344	a\ttab, a \\ and a\nnew line
345	user 345	a\ttab, a \\ and a\nnew line
346	user 346	a\ttab, a \\ and a\nnew line
347	user 347	a\ttab, a \\ and a\nnew line
348	user 348	a\ttab, a \\ and a\nnew line
349	user 349	a\ttab, a \\ and a\nnew line
350	user 350	a\ttab, a \\ and a\nnew line
351	user 351	a\ttab, a \\ and a\nnew line
352	user 352	a\ttab, a \\ and a\nnew line
353	user 353	a\ttab, a \\ and a\nnew line
354	user 354	a\ttab, a \\ and a\nnew line
355	user 355	a\ttab, a \\ and a\nnew line
356	user 356	a\ttab, a \\ and a\nnew line
357	user 357	a\ttab, a \\ and a\nnew line
358	user 358	a\ttab, a \\ and a\nnew line
359	user 359	a\ttab, a \\ and a\nnew line
360	user 360	a\ttab, a \\ and a\nnew line
361	user 361	a\ttab, a \\ and a\nnew line
362	user 362	a\ttab, a \\ and a\nnew line
363	user 363	a\ttab, a \\ and a\nnew line
364	user 364	a\ttab, a \\ and a\nnew line
365	user 365	a\ttab, a \\ and a\nnew line
366	user 366	a\ttab, a \\ and a\nnew line
367	user 367	a\ttab, a \\ and a\nnew line
368	user 368	a\ttab, a \\ and a\nnew line
369	user 369	a\ttab, a \\ and a\nnew line
370	user 370	a\ttab, a \\ and a\nnew line
371	user 371	a\ttab, a \\ and a\nnew line
372	user 372	a\ttab, a \\ and a\nnew line
373	user 373	a\ttab, a \\ and a\nnew line
374	user 374	a\ttab, a \\ and a\nnew line
375	user 375	a\ttab, a \\ and a\nnew line
376	user 376	a\ttab, a \\ and a\nnew line
377	user 377	a\ttab, a \\ and a\nnew line
378	user 378	a\ttab, a \\ and a\nnew line
379	user 379	a\ttab, a \\ and a\nnew line
380	user 380	a\ttab, a \\ and a\nnew line
381	user 381	a\ttab, a \\ and a\nnew line
382	user 382	a\ttab, a \\ and a\nnew line
383	user 383	a\ttab, a \\ and a\nnew line
384	user 384	a\ttab, a \\ and a\nnew line
385	user 385	a\ttab, a \\ and a\nnew line
386	user 386	a\ttab, a \\ and a\nnew line
387	user 387	a\ttab, a \\ and a\nnew line
388	user 388	a\ttab, a \\ and a\nnew line
389	user 389	a\ttab, a \\ and a\nnew line
390	user 390	a\ttab, a \\ and a\nnew line
391	user 391	a\ttab, a \\ and a\nnew line
392	user 392	a\ttab, a \\ and a\nnew line
393	user 393	a\ttab, a \\ and a\nnew line
394	user 394	a\ttab, a \\ and a\nnew line
395	user 395	a\ttab, a \\ and a\nnew line
396	user 396	a\ttab, a \\ and a\nnew line
397	user 397	a\ttab, a \\ and a\nnew line
398	user 398	a\ttab, a \\ and a\nnew line
399	user 399	a\ttab, a \\ and a\nnew line
400	user 400	a\ttab, a \\ and a\nnew line
401	user 401	a\ttab, a \\ and a\nnew line
402	user 402	a\ttab, a \\ and a\nnew line
403	user 403	a\ttab, a \\ and a\nnew line
404	user 404	a\ttab, a \\ and a\nnew line
405	user 405	a\ttab, a \\ and a\nnew line
406	user 406	a\ttab, a \\ and a\nnew line
407	user 407	a\ttab, a \\ and a\nnew line
408	user 408	a\ttab, a \\ and a\nnew line
409	user 409	a\ttab, a \\ and a\nnew line
410	user 410	a\ttab, a \\ and a\nnew line
411	user 411	a\ttab, a \\ and a\nnew line
412	user 412	a\ttab, a \\ and a\nnew line
413	user 413	a\ttab, a \\ and a\nnew line
414	user 414	a\ttab, a \\ and a\nnew line
415	user 415	a\ttab, a \\ and a\nnew line
416	user 416	a\ttab, a \\ and a\nnew line
417	user 417	a\ttab, a \\ and a\nnew line
418	user 418	a\ttab, a \\ and a\nnew line
419	user 419	a\ttab, a \\ and a\nnew line
420	user 420	a\ttab, a \\ and a\nnew line
421	user 421	a\ttab, a \\ and a\nnew line
422	user 422	a\ttab, a \\ and a\nnew line
423	user 423	a\ttab, a \\ and a\nnew line
424	user 424	a\ttab, a \\ and a\nnew line
425	user 425	a\ttab, a \\ and a\nnew line
426	user 426	a\ttab, a \\ and a\nnew line
427	user 427	a\ttab, a \\ and a\nnew line
428	user 428	a\ttab, a \\ and a\nnew line
429	user 429	a\ttab, a \\ and a\nnew line
430	user 430	a\ttab, a \\ and a\nnew line
431	user 431	a\ttab, a \\ and a\nnew line
432	user 432	a\ttab, a \\ and a\nnew line
433	user 433	a\ttab, a \\ and a\nnew line
434	user 434	a\ttab, a \\ and a\nnew line
435	user 435	a\ttab, a \\ and a\nnew line
436	user 436	a\ttab, a \\ and a\nnew line
437	user 437	a\ttab, a \\ and a\nnew line
438	user 438	a\ttab, a \\ and a\nnew line
439	user 439	a\ttab, a \\ and a\nnew line
440	user 440	a\ttab, a \\ and a\nnew line
441	user 441	a\ttab, a \\ and a\nnew line
442	user 442	a\ttab, a \\ and a\nnew line
443	user 443	a\ttab, a \\ and a\nnew line
444	user 444	a\ttab, a \\ and a\nnew line
445	user 445	a\ttab, a \\ and a\nnew line
446	user 446	a\ttab, a \\ and a\nnew line
447	user 447	a\ttab, a \\ and a\nnew line
448	user 448	a\ttab, a \\ and a\nnew line
449	user 449	a\ttab, a \\ and a\nnew line
450	user 450	a\ttab, a \\ and a\nnew line
451	user 451	a\ttab, a \\ and a\nnew line
452	user 452	a\ttab, a \\ and a\nnew line
453	user 453	a\ttab, a \\ and a\nnew line
454	user 454	a\ttab, a \\ and a\nnew line
455	user 455	a\ttab, a \\ and a\nnew line
456	user 456	a\ttab, a \\ and a\nnew line
457	user 457	a\ttab, a \\ and a\nnew line
458	user 458	a\ttab, a \\ and a\nnew line
459	user 459	a\ttab, a \\ and a\nnew line
460	user 460	a\ttab, a \\ and a\nnew line
461	user 461	a\ttab, a \\ and a\nnew line
462	user 462	a\ttab, a \\ and a\nnew line
463	user 463	a\ttab, a \\ and a\nnew line
464	user 464	a\ttab, a \\ and a\nnew line
465	user 465	a\ttab, a \\ and a\nnew line
466	user 466	a\ttab, a \\ and a\nnew line
467	user 467	a\ttab, a \\ and a\nnew line
468	user 468	a\ttab, a \\ and a\nnew line
469	user 469	a\ttab, a \\ and a\nnew line
470	user 470	a\ttab, a \\ and a\nnew line
471	user 471	a\ttab, a \\ and a\nnew line
472	user 472	a\ttab, a \\ and a\nnew line
473	user 473	a\ttab, a \\ and a\nnew line
474	user 474	a\ttab, a \\ and a\nnew line
475	user 475	a\ttab, a \\ and a\nnew line
476	user 476	a\ttab, a \\ and a\nnew line
477	user 477	a\ttab, a \\ and a\nnew line
478	user 478	a\ttab, a \\ and a\nnew line
479	user 479	a\ttab, a \\ and a\nnew line
480	user 480	a\ttab, a \\ and a\nnew line
481	user 481	a\ttab, a \\ and a\nnew line
482	user 482	a\ttab, a \\ and a\nnew line
483	user 483	a\ttab, a \\ and a\nnew line
484	user 484	a\ttab, a \\ and a\nnew line
485	user 485	a\ttab, a \\ and a\nnew line
486	user 486	a\ttab, a \\ and a\nnew line
487	user 487	a\ttab, a \\ and a\nnew line
488	user 488	a\ttab, a \\ and a\nnew line
489	user 489	a\ttab, a \\ and a\nnew line
490	user 490	a\ttab, a \\ and a\nnew line
491	user 491	a\ttab, a \\ and a\nnew line
492	user 492	a\ttab, a \\ and a\nnew line
493	user 493	a\ttab, a \\ and a\nnew line
494	user 494	a\ttab, a \\ and a\nnew line
495	user 495	a\ttab, a \\ and a\nnew line
496	user 496	a\ttab, a \\ and a\nnew line
497	user 497	a\ttab, a \\ and a\nnew line
498	user 498	a\ttab, a \\ and a\nnew line
499	user 499	a\ttab, a \\ and a\nnew line
500	user 500	a\ttab, a \\ and a\nnew line
501	user 501	a\ttab, a \\ and a\nnew line
502	user 502	a\ttab, a \\ and a\nnew line
503	user 503	a\ttab, a \\ and a\nnew line
504	user 504	a\ttab, a \\ and a\nnew line
505	user 505	a\ttab, a \\ and a\nnew line
506	user 506	a\ttab, a \\ and a\nnew line
507	user 507	a\ttab, a \\ and a\nnew line
508	user 508	a\ttab, a \\ and a\nnew line
509	user 509	a\ttab, a \\ and a\nnew line
510	user 510	a\ttab, a \\ and a\nnew line
511	user 511	a\ttab, a \\ and a\nnew line
512	user 512	a\ttab, a \\ and a\nnew line
513	user 513	a\ttab, a \\ and a\nnew line
514	user 514	a\ttab, a \\ and a\nnew line
515	user 515	a\ttab, a \\ and a\nnew line
516	user 516	a\ttab, a \\ and a\nnew line
517	user 517	a\ttab, a \\ and a\nnew line
518	user 518	a\ttab, a \\ and a\nnew line
519	user 519	a\ttab, a \\ and a\nnew line
520	user 520	a\ttab, a \\ and a\nnew line
521	user 521	a\ttab, a \\ and a\nnew line
522	user 522	a\ttab, a \\ and a\nnew line
523	user 523	a\ttab, a \\ and a\nnew line
524	user 524	a\ttab, a \\ and a\nnew line
525	user 525	a\ttab, a \\ and a\nnew line
526	user 526	a\ttab, a \\ and a\nnew line
527	user 527	a\ttab, a \\ and a\nnew line
528	user 528	a\ttab, a \\ and a\nnew line
529	user 529	a\ttab, a \\ and a\nnew line
530	user 530	a\ttab, a \\ and a\nnew line
531	user 531	a\ttab, a \\ and a\nnew line
532	user 532	a\ttab, a \\ and a\nnew line
533	user 533	a\ttab, a \\ and a\nnew line
534	user 534	a\ttab, a \\ and a\nnew line
535	user 535	a\ttab, a \\ and a\nnew line
536	user 536	a\ttab, a \\ and a\nnew line
537	user 537	a\ttab, a \\ and a\nnew line
538	user 538	a\ttab, a \\ and a\nnew line
539	user 539	a\ttab, a \\ and a\nnew line
540	user 540	a\ttab, a \\ and a\nnew line
541	user 541	a\ttab, a \\ and a\nnew line
542	user 542	a\ttab, a \\ and a\nnew line
543	user 543	a\ttab, a \\ and a\nnew line
544	user 544	a\ttab, a \\ and a\nnew line
545	user 545	a\ttab, a \\ and a\nnew line
546	user 546	a\ttab, a \\ and a\nnew line
547	user 547	a\ttab, a \\ and a\nnew line
548	user 548	a\ttab, a \\ and a\nnew line
549	user 549	a\ttab, a \\ and a\nnew line
550	user 550	a\ttab, a \\ and a\nnew line
551	user 551	a\ttab, a \\ and a\nnew line
552	user 552	a\ttab, a \\ and a\nnew line
553	user 553	a\ttab, a \\ and a\nnew line
554	user 554	a\ttab, a \\ and a\nnew line
555	user 555	a\ttab, a \\ and a\nnew line
556	user 556	a\ttab, a \\ and a\nnew line
557	user 557	a\ttab, a \\ and a\nnew line
558	user 558	a\ttab, a \\ and a\nnew line
559	user 559	a\ttab, a \\ and a\nnew line
560	user 560	a\ttab, a \\ and a\nnew line
561	user 561	a\ttab, a \\ and a\nnew line
562	user 562	a\ttab, a \\ and a\nnew line
\.


--
-- Name: counter; Type: SEQUENCE SET; Schema: public; Owner: postgres
--

SELECT pg_catalog.setval('public.counter', 42, false);


--
-- Name: 1001..4000000000; Type: BLOB METADATA; Schema: -; Owner: postgres
--

SELECT pg_catalog.lo_create('1001');
SELECT pg_catalog.lo_create('1002');
SELECT pg_catalog.lo_create('4000000000');

ALTER LARGE OBJECT 1001 OWNER TO postgres;
ALTER LARGE OBJECT 1002 OWNER TO postgres;
ALTER LARGE OBJECT 4000000000 OWNER TO postgres;

--
-- Data for Name: 1001..4000000000; Type: BLOBS; Schema: -; Owner: postgres
--

BEGIN;

SELECT pg_catalog.lo_open('1001', 131072);
SELECT pg_catalog.lowrite(0, '\x68656c6c6f');
SELECT pg_catalog.lo_close(0);

SELECT pg_catalog.lo_open('1002', 131072);
SELECT pg_catalog.lo_close(0);

SELECT pg_catalog.lo_open('4000000000', 131072);
SELECT pg_catalog.lowrite(0, '\xc4ca4238a0b923820dcc509a6f75849bc81e728d9d4c2f636f067f89cc14862ceccbc87e4b5ce2fe28308fd9f2a7baf3a87ff679a2f3e71d9181a67b7542122ce4da3b7fbbce2345d7772b0674a318d51679091c5a880faf6fb5e6087eb1b2dc8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab9159f51fd0297e236d45c48cce2e2d7fbdea1afc51c7c6ad26d3d9446802a44259755d38e6d163e8206512bd43d9caa6e02c990b0a82652dcac20ad4d76fe97759aa27a0c99bff6710c51ce410c124a10e0db5e4b97fc2af39aab3238922bcc25a6f606eb525ffdc569bf31c7ff062936a96d3c8bd1f8f2ff3c74d97b01eae257e44aa9d5bade97baf70efdf2ec9b086079795c442636b55fb6f4922f45568161a8cdf4ad2299f6d231f0e3dad99908345f7439f8ffabdffc498f13708210194c475687be6106a3b843c59dc048e8850243be8079a5c74d079b6d767d2f8ed5d21a44b0e5886680cb937693cfc748049e45d87b8c7d8b9aacd1ff1de774005f8da13f42943881c655f8e296a067a37563370ded05f5a3bf3ec4e732ced3463d06de0ca9a15b615367702e74f10e0327ad868d138f2b4fdd6f033e75ff09dd601bbe69f3510391521896ea9ab1baa0efb9e19094440c317e21b34173cb38f07f89ddbebc2ac9128303fc16a5320fa475530d9583c34fd356ef56364d3f0f495b6ab9dcf8d3b5c6e0b01182be0c5cdcd5072bb1864cdee4d3d6ee369853df766fa44e1ed0ff613f563bd1c383cd30b7c298ab50293adfecb7b1819ca14e7ea6328a42e0eb13d585e4c22a5bfc9e07964f8dddeb95fc584cd965da5771bce93e200c36f7cd9dfd0e5deaad67d8ab4f4c10bf22aa353e27879133cd645920e395fedad7bbbed0eca3fe2e03416a75f4cea9109507cacd8e2f2aefca1d0c6e83f027327d8461063f4ac58a617e62166fc8586dfa4d1bc0e1742c08bf7177163c833dff4b38fc8d2872f1ec66c8349cc7260ae62e3b1396831a8398fd9d4f495e875a2e075a1a4a6e1b9770f67c6a1e7ce56d3d6fa748ab6d9af3fd7642e92efb79421734881b53e1e1b18b6f457c545a9ded88f18ecee47145a72c0c0c7c76d30bd3dcaefc96f40275bdc0a2838023a778dfaecdc212708f721b7889a1158154dfa42caddbd0694a4e9bdc8d82c8d1619ad8176d665453cfb2e55f0a684eceee76fc522773286a895bc8436b53b3a3d6ab90ce0268229151c9bde119f61408e3afb633e50cdf1b20de6f46672b32a1f754ba1c09b3695e0cb6cde7f66f041e16a60928b05a7e228a89c3799093f65e080a295f8076b1c5722a46aa2072b030ba126b2f4b2374f342be9ed447f39f8317fbdb1988ef4c628eba0259144f683a84163b3523afe57c2e008bc8c03afdbd66e7929b125f8597834fa83a4ea5d2f1c4608232e07d3aa3d998e5135fc490ca45c00b1249bbe3554a4fdf6fb3295c76acbf4caaed33c36b1b5fc2cb1735b90b4568125ed6c3f678819b6e058a3f390d88e4c41f2747bfa2f1b5f87db14bfa6bb14875e45bba028a21ed380467cbbc409ec990f19c78c75bd1e06f215e2c420d928d4bf8ce0ff2ec19b37151432bb90e8976aab5298d5da10fe66f21dd2ddea18f00665ce8623e36bd4e3c7c5ad61ab143223efbc24c7d2583be69251d09bf41544a3365a46c9077ebb5e35c3fbd7939d674997cdb4692d34de8633c428dd2c7955ce926456240b2ff0100bde35f4a8d465e6e1edc05f3d8ab658c551d1fe173d08e959397adf34b1d77e88d7f033ab37c30201f73f142449d037028d43ec517d68b6edd3015b3edc9a11367b9778d5d219c5080b9a6a17bef029331cfe9fc289c3ff0af142b6d3bead98a92368d30a9594728bc39aa24be94b319d213ef815416f775098fe977004015c619393db85ed909c13838ff95ccfa94cebd9c7e1249ffc03eb9ded908c236bd1996d2a38a4a9316c49e5a833517c45d310707647966b7343c29048673252e490f7368613985ec49eb8f757ae6439e879bb2a54229abfcfa5649e7003b83dd475529492cc227532d17e56e07902b254dfad1098dce83da57b0395e163467c9dae521bf4b9ec30ad9f68f89b29639786cb62ef812b4ba287f5ee0bc9d43bbf5bbe87fb26657d5ff9020d2abefe558796b99584e2ef524fbf3d9fe611d5a8e90fefdc9ced3d2c21991e3bef5e069713af9fa6caac627ab1ccbdb62ec96e702f07f6425bf899139df5e1059396431415e770c6dd38b3eff8baf56627478ec76a704e9b52ec8956637a99787bd197eacd77acce5e6974ce5ac660610b44d9b9fed0ff9548c9e1074f5b3f9fc8ea15d152add0729465b9eea6e1cc6bb9f0cd2a47751a186ff0935e4cd5920aa6c7c996a5ee53a70fa97da629b098b75c294dffdc3e463904a3c65c2974270fd093ee8a9bf8ae7d0b2723d092b63885e0d7c260cc007e8b9d5f93f983524def3dca464469d2cf9f3e698d51a19d8a121ce581499d7b7016687f6ffaa6bb0b408017b62254211691b573278a4a86960eeb576a8fd4c9ec69975fd0b37cd7dbbb00f97ba6ce92bf5add2b44928ae11fb9384c4cf38708677c48c45147dee729311ef5b5c3003946c48feb160de1de89d9058fcb0b968dbbbd685ef059938ba799aaa845e1c2e8a762bd07e1cd7dca89a1678042477183b7ac3fda4fb5c6e93e74d3df8527599fa626424c56ff4ce4aaf9573aa5dff913df997aa0a080f42e6f13b3a2df133f073095dd202cb962ac59075b964b07152d234b70c8ffe9a587b126f152ed3d89a146b4453def184ad8f4755ff269862ea77393dd069059b7ef840f0c74a814ec9237b6ecec5decca5ed3d6b8079e2e7e7bacc9f276dc611d6ebaafc66cc0879c71b5db5cd1f491a404d6854880943e5c3cd9ca259b8619251a19057cff70779273e95aa61afa34a7f984eeabdbb0a7d494132ee565ded5353c5ee48d0b7d48c591b8f4309fc3d7152ba9336a670e36d0ed79bc4302522a2b2726fb0a03bb19f2d8d9524d7f1de29e6da19d22b51c68001e7e0e5442a0e188f5033bc65bf8d78622277c4e3988c7f88ebcb58c6ce932b957b6f332013d407166ec4fa56eb1e1f8cbe183b9e00da03b685a0dd18fb6a08af0923de01385974ed5904a438616ff7bdb3f74390f28b5d49b3020afeecd95b4009adf4ca8baa56554f96369ab93e4f3bb068c22903ce9225fca3e988c2af215d4e544d30a09c8844ba8f0936c20bd791130d6b62b24d495052a8ce66358eb576b8912c8a5e00132373a7031000fd987a3c9f87b8d5e957f297893487bd98fa830fa641347d1e990583c9c67424d369f3414728ef2217062e9a397a1dca429e7d70bc6ca7ef605fc8dba5425d6965fbd4c8fbe1fa8f15eda80c50adb0e71943adc8015cf37a749d808e46495a8da1e5352d03caeb3e3e393c77e35a4a3f3cbd1e429b5dc1d7f7abc18fcb43975065399b0d1e48e2a79ea27c279e471f4d180b08d62b00a1c9ac0159c94d8d0cbedc973445af2da6c4b761a28b734fe93831e3fb400ce8706409663226af2f3114485aa4e0a23b4140f6969d5213fd0ece03148e62e461eb73ce398c39f506af761d2277d853a92bd4c9ab730f5513206b999ec0d90d1fb82aa4b0af34c2313a562076992e50aa30777d5c17d4066b82ab86dff8a46af6ffa7cdfad1a5aaf8370ebeda47a1ff1c39766527f2b5d3e95d4a733fcfb77bd7e7e7757b1e12abcb736ab9a754ffb617a5878a7ab84fb43402106c575658472fa006f52e9102a8d3be2fe5614f42ba9893636638817772e42b59d74cff571fbb3149e9677a5989fd342ae44213df68868a4a042cf4fd6bfb47701cbc8a1653ada1ff8a7b5dc7a7d1f0ed65aaa29c04b1ef7e6c85504ce6e82442c770f7c8606f0bf8229696f7a3bb4700cfddef19fa23f82161242827b703e6acf9c726942a1e438af86134b65d0f10fe33d30dd76442e96da2f590cd7246bbde0051047b0d6f78f85517967795eeef66c225f7883bdcb8f53295a73878494e9bc8dd6c3c7104f045117b0e0a11a242b9765e79cbf113ffc221309746013ac554571fbd180e1c84c5bde74a8f110656874902f07378009cedebb6e872f539bef8c3f919874e9d76cdd60ea0045eb7a6ec44c54d29ed402eecca5b6365d9607ee5a9d336962c5349872ed9fc22fc182d371c3e9ed31609431fefc0e570cb3860f2a6d4b38c6490d9dcb88e0137649590b755372b040afada2557a7b2e94197ff767970b67041697cfecdb276f634854f3ef915e2e980c310aa1883c6411f7873cb83dacb17b0afc58a2fc6ed39fd083f55d4182bf88826dbd686fd640be98efaae0091fa301e613a597e50502f5ff68e3e25b9114205d4a0336dcbab05b9d5ad24f4333c7658a0e084b6fbb10729ed4da8c3d3f5a3ae7c985d8ce590ad8981ca2c8286f79f599540e65972dce68dad4d52d063967f0a70584d9ee44e457ddef7f2c4f25dc8fa8653644a684f98ea8fe223c713b77189a77757b505cfd34c64c85ca5b5690ee5293854d6fae5ee42911677c739ee1734486e2c0be24560d78c5e599c2a9c9d0bbd2274ad4786c3abca69fa097b85867d9a4eae27d77ca20db309e056e3d2dcd7d697eabe3a1649ffa2b3ff8c02ebfd5659f69adc1e107f7f7d035d7baf04342e1ca091d584fced301b442654dd8c23b3fc9b1d10e7bafa4421218a51b1e1f1b0ba26f3ef77ac0e3619e98159e9b6febf557eb163727917cbba1eea208541a643e741534b76d325a8f591b52d302e7181331979d472a84804b9f647bc185a877a8b5ca46c1b9512a7a8315fa3c5a946e82653b8a614226a953a8cd9526fca6fe9ba545fbc6d3e05ebd93369ce542e8f2322d63dc7ed1010d3c3b8269faf0ba7491d4e96ed478dab8595a7dbda4cbcbee168fc0e190d8267e36708f955d7ab048990dec8ce6abb3e952a85b8551ba726a1227060ad92489947d410d897474079c1477bcbe3365e6ac95ea2c0343a2395834dd115f89503138416a242f40fb7d7f338e13fe9d84310e77f13a6d184dbf1232f3d1c38a09acc34845c6be3a127a5aacaf9cfdf10e8fc047a44b08ed031e1f0ed1705f2172834666788607efbfca35afb374db120f0a8e5646ef5a30154e9f6deb57aeee35c98205091e18d1140e9f38cf6da9003b743b65f4c0ccd295cc484e579b04d152845ec0a378394003c96da594be83ab3ecd0db773eb2dc1b0a17836a1e165421110ba03099a1c0393373c5b43289dff07669d7a23de0ef88d2f7129e7577ef1154f3240ad5b9b413aa7346a1e01161aaa0b6d1345dd8fe4e481144d84539fd53b59e3bb12d203f45a912eeaf2ac1dd209cbcc5e5d1c6e28598e8cbbe8555d6702c950ecb729a966504af0a635335f5352088d7d9bf74191e006d8e24cf340f1b1f65b6df5b5e3f94d95b11dafe4a6222cdb5b34375400904f03d8e6a5cb70ab375662576bd1ac5aaf16b3fca49188905e74c28e489b44e954ec0b9bca0266e33d3f546cb5436a10798e657d9738db3aed920cf82ab059bfccbd02be6a3cec07e9ba5f5bb252d13f5f431e4bbb621bf66ddb7c962aa0d22ac97d69b793077e29b11be80ab57e1a2ecabb7da3306c9882bbac1c7093bd2504188127765819f3cd308f1455b3fa09a282e0d496f403c6b06952c750899bb03d998e631860c24cd76e1ce41366a4bbe8a49b02a028c52f1bd66cc19d05628bd8bf27af3ad6fe131d7f5a6b38b23cc967316c13dae2f718499c1c8cef6730f9fd03c8125cabd96409bf894217686ba124d7356686c9502e4a16930e414107ee22b6198c578fcfa0860e83a4c3a763a7e62d825349f7a4f23670e1833f3fdb077ca70bbd5d66b1a59b315fc9a3002ce38bbe070ec3f536660e59856b4de58a219bcf4e27eba38c19f571e251e61cb8dd3612f26d5ecfd6baf65e0b240ce177cf70da146c8dc8e56954b4f6347e897f954495eab16a88f7664060cc52bc6f3d620bcedc94a4b6eda80a3d5b344bc40f3bc04f65b7a3578f121ce07d74717e0b1f21d122e0452106138bc5af6023646ede0e1f7c1eac7539059724f73a9969845dfe4146c5660e7f100b7b36092fb9b06dfb4fac3609317a614fd06c325499f1680b9896beedeb4734ba6f3de83d861c3176a6273cac6dd947bf06a885db0d477d707121934ff863923f49e5241343aa7acb6a06a751e7db8e1af0cb3aca1ae2d001862420452920f07591c6fcb220ffe637cda29bb3f607cdfd23373b17c6b337251c22b7ea57d395771085aab05244a4fb8fd91bf4ee92c8c96e4c37100777c7190b76d28233e3796ae838835da0b6f6ea37bcf8bcb76a9aeddfc689c1d0e3b9ccc3ab651bc50f49c89d1e7298bb9930789c8ed59d4846ba9f2a6976570b0353203ec44742170e01938fc48a2cfb5f2217fbfb00722d16a5cdae362b8d27a1d8f8c7b78b4330918317b57931b6b7a7d29490fe5ec9f948aedb8880cab8c45637abc7493ecddd839ab46820b524afda05122893c2fe8ef90f2aca5c640289d0a29417bcb63a379c838d2e45b2ad1094d42f4ef36764f61700002963a49da13542e0726b7bb75853c3bce66e43be4f209556518c2fcb546883966fd8f918a4aa29be29d2c386fb49182f81e6a13cf5eaa496d51fea6406d296c101daa88a51f6ca8cfc1ac79b509fd81843ad7f202f26c1a174c735758526e359e83860db1d11b6acca57d8ea88ef0d3930a7b6c95bd2b32ed45989c61f94f6d7e04a4d452035300f18b984988c34ed066df378efacc9b924ec161e7639577bcc914f9e55d5e4e4f82f9f00e7d411b9842e0a271ff252c1903e7132cd6837bc2f75bf1bcfe8450a1a41c200364c496e05e1aea0a9c4655800e8a7b9ea28b2eb7349035754953b57a32e2841bda58e98d81f8217304975ccb23337bb5761a8c88a0055f636e4a163a5e3d16adab7eddea82ad2755b24c4e168c5fc2ebd4006eb61b839a0cefee4967c67ccb099dc9dfcd5e558dfa04aaf37f137a1d9d3e5950a4152c2b4aa3ad78bdd6b366cc179158f3069a435b314a80bdcb024f8e422758874998f5bd0c393da094e1967a72bad13a2a07ca4b7642959dc0c4c740ab63fe94a002317b5f9259f82690aeea4cd5b8add2a5d98b1a652ea7fd72d942dac432aca3a1e345e339f35a30c8f65edce8d3bba7425e7c98c50f52ca1b52d3735320722549d1751cf3f247855f937b982caf1a3dfb505ffed0d024130f58c5cfa5737c6ec2e0716f3d8a7a5c4e0de0d9abc6dc48b743dc5d013b1abaebd2faed2f2fc990265c712c49d51a18a32b39f0c89f0fd5c927d466d6ec9a21b9ac34ffaa666587afda6e89aec274a3657558a27b83aac23b9528732c23cc7352950e880cd00692c3bfe59267d5ecfac5310286c6faa8040da20ef399b63a72d0e4ab575fe73f687e5bc5280214e0486b273a5f96da37dd3139aa4d9aa55b8d237ec5d4ac042f4db68f23406c6cecf84a7ebb0fe310dcbbf4cce62f762a2aaa148d556bd2f2b265625d76a6704b08093c652fd79f9b902fc3289af4dd08de5d1de54f68f6855456e2fe46a9d49d3d3af4f57443d357a6fdf7642bf815a88822c447d9dc4819f46e52c25763a55cc64242264431704025959b191f8f9de3f924f0940515f40008b9a5380fcacce3976bf7c08af5b3dd48ab31d016ffcbf3314df2b3cb9ce58238e9ae2dd305d79c2ebc8c18834223ad7c2ebb96fcba7cda0cf54a2e802f5b3967a0e938dc2a6340e258630febd5ad81f9c1be2e08964bf9f24b15f0e490013f9896df61279c928f19721878fac41c5ff2543b53f4cc0ad3819a36752467b01386bd6d8e091c2ab4c7c7de644d37b0bb4aec1710521c12ee76289d94408179de6d14fff9806d4bcd1ef555be766cdefe937780e95574250dabe07151bdc23371bce7dc83817b7893bcdeed13799b5138bb0696595b338afbab333c555292a8dd48d6a2e2cad213179a3992c0be53c82cec96096d4281b7c95cd7e746234966c524f9d5d7027454a783c841250ba71fb7b9ffa5462084c5f4e7e85a093e6d7aa942ab2bfa6ebda4840e7360ce6e7efc058f544c737782deacefa532d9add4ce7b24b112a44fdd9ee93bdf998c6ca0e52720e003547c70561bf5e03b95aa99fc3e878e27f52e2a57ace4d9a76fd9acf00411460f7c92d2124a67ea0f4cb5f85bac9162b47c56fc8a4d2a519803d51b39be40cee5b0eee1462c82c6964087ff95ef698cd9fe650923ea331c15af3b16005049e90fa4f5039a8cadc6acbb4b2cccf004fdc76fa1a4f25f62e0eb5261ca30c74b7f78409a4022a2c4c5a5ca3ee19d709f38ef758b5066ef31b18039b8ce541f1f19176d383480afa65d325c06ed024b16fede9a67c9251d3e7c7161c83acffd52f3c7e12435a724a8f30fddadd9cad972f10e0800b49d76fed33a21f6698f61d6947467ccd3aa5af24db320235dd142949df56ea8ae0be8b5306971900a4d34ab169b70c9dcd35e62896010cd9ff8bf1211fd4b7b94528899de0a43b9fb3a02ffd91ece5e7efeb46db8f10a74059bca82e41ee7b0833588399b1fcd177c700ec53c4682d36f5c4359f4ae7bd7ba14f6ffe13a5d75b2d6a3923922b3922e5beed13602b9b0e6ecb5b568ff5058f070584ce565c824b7b7f50282d9a19945bdc912a253d1e9ba40e2c597ed237664039461a19e9eddfb385ea76b26521ea488efb100a295c0c690931222ff4467bb8d9fc5b73a8d78fad3d6dffe419384e70c86a7ee3d8ef0b551ed58e354a836f2ba01a0380ca3c61428c26a231f0e49a095a4b25aaed25c2ee1b74de72dc03c14ef73b76ce8949fe29bf2a537cfa420e8f70c639df5e30bdee440e4cdf599fec2b28f0b864598a1291557bed248a998d4e1543843a4723ed2ab08e18053ae6dc5bf8c1f23d6a8d8d7904fc0ea8e066b3bbe46de7e1bcaaced9a54f1e9d0d2f800db7b16ecf8ca53723593894116071700c352fe25daf686bdb4edca223c921acea18d8042386b79e2c279fd162df0205c8816b112c6105b3ebd537828a39af481869cb3ea317a32c4e6143e665fdb20b14bbf94b34eb32268ada57a3be5062fe7d4f4adcbf8c6f66dcfc8a3282ac2bf10abbcbff5c1f1ded46c25d28119a85c6c28cb22bdd0b7ba1ab13d742e22eed8da2f4f6dce2f3a0f9dada0c2b5b664520170d0fd7c6e093f7b804fa0150b875b868a96b65a721e561e1e3de768ac819ffbb1068c6e4c8051cfd4e9ea8072e3189e217d63b1625c816c22647a73e1482372bb9228e0962a78b84f3d5d92f4faa000b0deb1c54814305ca9ad266f53bc8251166808e327dc79d135ba18e051673d90642e7aaa88b48137a16a1acd04ed911258fe0093bb30d6f8c31474bd0764e6ac041ae36ecb9b3eee609d05b90c14222fbd1f255a373a3cef72e03aa9d980c7eca7eacb532570ff6858afd2723755ff790b6f0479ae87d244975439c6124592772e0c641195b27425bb056ac56f8953d24f85454e8279be180185cac7d243c5eb3faa9afea49ef2ff029a833cccc778fd03c7781a36bcd6cf08c11a970fbe0e2a625b2822c2f5a3230abfadd476e8b04c96ecbdd6ec859d284dc13885a37ce8d8118997733ec258a9fcaf239cc55d533638d7d8ee069cb0cbbf816bbb65d56947e75fc093c0ee742f6dddaa13fff98f104f74909ace68e51891440e4da0b65a70c66368270ffd51418ec58bd793f2d9b1b248e844336797ec98478f85e7626de4a019d385eb67632a7e958e23f24bd07d7a49e9411d64ff53eccfdd09ad10a15b3ddb30680a691d157187ee1cf9e896d032421fcb1263b9530df88f7f002e78ea5fccb60fb512d13df5083790d64c4d5dd1651cf0d2f737d7adeab84d339dbabd3eed5af6add95a9a6f1252739b1ad8c24a8abb4bb284b5b27aa7cb790dc20f80b15d4e891d784977cacbfcbb00c48f133c203d8a151612acf12457e4d67635a9513f3cf8c531952d72e5847c4183e6910550a141f12de6341fba65b0ad043350067f7fb873eaf29526a11a9b7ac33bfac1a5b1e4daae265b790965a275b53ae509a96876e2f8f3dc4f3cf45f02c61c0c19b70e8fe62e40c570a322f1b0b659098d61e4bbd6393c9111e6526ea173a7c8bf5f8590cd58a54e94377e6ae2eded4d9941e1aaaba585b952b62c14a3a175a619431c87f273e507e6040fcb07dcb450949ae49a23f67c759bf4fc791ba842aa2e44fea3bec53bcea3b7513ccef5857ac821fa74b50ba3f7cba1e6c53e8fa6845250cf8b51c773f3f8dc8b4be867a9a0242998cf32d552343bc8e460416382dcad07e70efcfab08731a97e7b91be644de7fe1f8abaad094e0b5cb1b01d712f70898b297950041a42470269d56260243a10353ab4cbed5beae847a7ff6e220b5cf51d92be1c60d1db1d2e5e7a07da55b26428fca9bc1921c25c5121f9da7815cdef1b6f2857fb6d44dd73c7041e0aa0f1968ce199ec2c5517597ce0a4d89620f55e836d813fd184325132fca8edcdfb40eab817c9349cf9c4f6877e1894a1faa00877a9ba7a98f75b90a9d49f53f15a858dc6a6489640ca02b0d42dabeb8e46bb726337353b7962f533d78c762373b33188e6b42f1644ecb1327dc03ab345e618bef575e8837d065a1683c022d2077d3422050e03ca119580f74cca14cc6e9746225ddc0f8c9d3e22e03d3076f98d83cb25ef0b4eba35ab2d6180b0bca7e46b6f9598b3e71ec378bd83e0a727608b5db0174071a673307ca7459bcf75fbd024e09cfee398643cbc3dc5eefc89334cacdc1d18f655c3fce66ca401d5f38b48c89af6ea2ef7311b482724a9b7b0bc0dd85c69461cce28ebe3e76fb4b931c35a169b0f770b62bc8f42a0b66751fe636fc6eb0e1e32e235eee1f970470a3a6658dfdd5eba0dc302bcd9a273f8bbb72be3a687b218a0aefd1d1a4be65601cc6ddc1520e7d04bbbe5494ae9d2f5a76aa1c00fa2fa516a87cfcaef229b342c437fe2b95f7c3c59e5f8b3e9753913f4d435b53c308854d9fca60b4bd07f9bb215d59ef5561c410003ef13d451727aeff9082c29a5c559cb990c9dffd8675f6bc2186971dc255a7cf9c71f1c9c495413f934dd1a1582f55707d4193dc27118a0f19a19857161be3bc32e6564055d5ca3e5a354acbef35051070e572e47d2c26c241ab88307fb534ba68236ba543ae44b22bd110a1d67380ad8a673226ae47fce7bff88e9c3305f971b5ec196b8c65b75d2ef82673313cf166c6b73f030b4f67eeaeba301103cee631121c2ec9232f3a2f028ad5c89b5b69b9cb83065d403869739ae7f0995eb5b41fac0361d157d9673ecb926af5ae285e19f20beded7d215102b49d5c09a0b337e84de8752b27eda3a12363109e80e8c0653fea13f91bf3c48159f7c24f78ff4d5fbbafdf976cfdc032e3bde78de52d6cc4b2d139a53512fb8cbb3086ae2e389bc7bb1e1c2a5e7e147703232a88f6e2230b853516e7b05d79744fbd4c9c13087408522c31eeb1f982bc0eaf81d35fa760880003e7ddedfef56acb3b09697f10a7cdd970fe135cf4f7bb55c0e3b59f3dc4876f3f08201c7c76cb71fa1da43959b90e1005a220e2ebc542eb9d950b1e2b8a61594b1f4c4db0902a8a395ced93f3f27a324736617f20abbf2ffd806f6d38913e1d6a7b94cb0f55994f679f5956ebd9629fc3ae5e9f6611e2ee05a31cef63538fe6ef330c13a05a3ed7e599d5f7cf67355a3333e6e143439161adc2d82e07563a3fe3bbe7e3ba84431ad9d055af53fde96fcc4b4ce72d7739202324cd492bb232c0b13c774965ef8558f0fbd615ba2fd310dcaa8781a9a652a31baf3c6869421f032498c97020180038fddb8e2485422afb467e9456013a2a51d4dff70213f320e7b5ead1024ac95c3b208610dbf4be00279ee2e0a53eafdaa94a151e2c37f0e884fbad9667e38940169d0a3c95d64a340bcb633f536d56e518742814540fcbc61acd0479dc77e3cccc0f5ffca7298f95e1bf9136124592c8d4825a06fcdf877f3865752637daa540ea9cbc474fc399862d3b9d6b76c8436e924a68c45b33e8075e9970de0cfea955afd4644bb265658fde58ab3c2b6e5132a39fae7cb95ea1649a31336092c05438df996a3e597bcdf75ad237b8e02e301f4091fb6bc85737034557ef5b8c02c0e46513b98f909b72e31dac81715466cd580a448cf82316c222aa19898e5058938167c8ab6c577dcd340d84f762eba80aa538b0c527f781448138f5f163ccdba4acc69819f28097e8527feaf77a97fc38f34216141515647bba344396e7c8170902bcf2e15551ed265bc903a5a097f61d3ec064d96d2ec75b6f114c23a4d7ea11331e7c00e73c8d34201a5b85900908db6cae92723617ccb1d45fb76f7c5a0bf619f979c6cf3601f78be6f7cad02658508fe4616098a97f24d240521d99071c93af3917215ef794c7bb58efc3b337800875b5d382a072f387624df552cea2f369918c5e1e12bc5e388103a391daabe3de1d76a6739ccd15de21c670ae7c3f6f3f1f37029303c911b921ef080f7736089c757404650e406e2713a6efee97bacb63e52c54f0ada01bb91f73e9d31ea2830a5e73ce3ed3283a0772443a0739141292a5429b952fe6a9a6653e48976138166de32772b1bf4058ae749f25eded36f486bc85feb3f0ab4e4b5fbbbb602b6d35bea8460aa8f8e58eefcfdf5990e441f0fb6f3fad709e211728efbda81692282ba642aafd57be3acbcb58ac2e496207586df2854b17995fdb85e2590b6109813dafa101ceb2faeb99c5e07b4d5de9d18c350cdf64c5aa3ddd458505749b2941217ddd59394240e88b16ebc056e613024c057be590b542eba86c450b76fb8c371afead6410d55534c9892a989183de32e976c6f04e700201e6b4b2a746ed40e1af829d1fa82daa10e5f6ad6ce374177eef023bf5d0c018b6f0e52b27a7a5d6a1a87373dffa53dbe5ffeabd223de0d4eacb9a3e6e53e5448da7aeed74714116f3b292a982238f83d2fde9264cf376fffe2ee4ddf4a988880da8849b052492b5106526b2331e526138258be18e31c8188555c2ff05b4d542c3069d3bb002acd8d7dd095917f9efe4cbc6e19e830859f2cb9f7c8f8cacb8d2a646922a0880a8f11f8f69cbb52b1396be9ad6aaed513b73148b7d49f70afcfb32f5deaeeae1538fb6c45901d524ee2f98a9a1d5317a33ae8cef33961c34144f84605ff764c617d3cd28dbbdd72be8f9a2766ebcd59621e305170616ba3d3dac32daca41214b39c5dc66674d09081940f030bb3825e8f631cc6075c0f87bb4978c08b255a5d42b89b0585260b6f2360bdd3493894fa4ea036cfc6433c3e2ee63b0dbe272bab69f8e13f14b405e038deb64acc3e0404646c57502b480dc052c4fe1076a0c97d09cf1a0ec3e19c7f2529f2b04ecb1fa28506ccb6f72b12c0245ddbcb2eeb7362ef83deff5c7813a67e14f0a08c5433a60135c32e34f46a71175850c6aca97005c68f1206823815f661028633435c378bb76d4357324dd7e69f3cd18d490d7b4576290fa60eb31b5fc917ad1');
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- Name: users_name_idx; Type: INDEX; Schema: public; Owner: postgres
--

CREATE INDEX users_name_idx ON public.users USING btree (name);


--
-- Name: totals; Type: MATERIALIZED VIEW DATA; Schema: public; Owner: postgres
--

REFRESH MATERIALIZED VIEW public.totals;


--
-- PostgreSQL database dump complete
--

\unrestrict hglhESmzbb66Jll4uzTGdj9Qp2d5b5yE5gUU9vlbrHlfYILmeagiddrTsTDrclL

--
-- PostgreSQL database dump
--

\restrict ZnTWZ0MUMpzJewucmctaqPOvtAgOQKkIuP6GBSPFBv5VFRXk08BccgfxnSqtk0k

-- Dumped from database version 18.6
-- Dumped by pg_dump version 18.6

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

DROP DATABASE IF EXISTS "Odd base' x";
--
-- Name: Odd base' x; Type: DATABASE; Schema: -; Owner: postgres
--

CREATE DATABASE "Odd base' x" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'en_US.utf8';


ALTER DATABASE "Odd base' x" OWNER TO postgres;

\unrestrict ZnTWZ0MUMpzJewucmctaqPOvtAgOQKkIuP6GBSPFBv5VFRXk08BccgfxnSqtk0k
\encoding SQL_ASCII
\connect -reuse-previous=on "dbname='Odd base\' x'"
\restrict ZnTWZ0MUMpzJewucmctaqPOvtAgOQKkIuP6GBSPFBv5VFRXk08BccgfxnSqtk0k

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: f(); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.f() RETURNS text
    LANGUAGE plpgsql
    AS $$ BEGIN RETURN 'a;' || E'\\!'; END $$;


ALTER FUNCTION public.f() OWNER TO postgres;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: other; Type: TABLE; Schema: public; Owner: app
--

CREATE TABLE public.other (
    i integer
);


ALTER TABLE public.other OWNER TO app;

--
-- Name: TABLE other; Type: COMMENT; Schema: public; Owner: app
--

COMMENT ON TABLE public.other IS '\! it''s; a';


--
-- Data for Name: other; Type: TABLE DATA; Schema: public; Owner: app
--

COPY public.other (i) FROM stdin;
1
2
3
4
5
\.


--
-- Name: TABLE other; Type: ACL; Schema: public; Owner: app
--

GRANT SELECT ON TABLE public.other TO pg_monitor;


--
-- PostgreSQL database dump complete
--

\unrestrict ZnTWZ0MUMpzJewucmctaqPOvtAgOQKkIuP6GBSPFBv5VFRXk08BccgfxnSqtk0k

