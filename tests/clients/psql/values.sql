-- How values look.
SELECT 1 AS int, 1.50 AS numeric, 1.5::float8 AS double, 'text' AS text, true AS yes, false AS no, NULL AS null;
SELECT 1::float8 AS one, 1e15::float8 AS e15, 1e16::float8 AS e16, 1e-5::float8 AS small, 'NaN'::float8 AS nan, '-Infinity'::float8 AS inf, 0.1::float4 AS f4;
SELECT DATE '2024-02-29' AS date, TIME '12:34:56.5' AS time, TIMESTAMP '2024-02-29 12:34:56.789' AS ts, TIMESTAMP '2024-02-29' AS midnight;
SELECT TIMESTAMPTZ '2024-02-29 12:00:00+02' AS utc;
SET TimeZone = 'Europe/Berlin';
SELECT TIMESTAMPTZ '2024-02-29 12:00:00+02' AS berlin;
SELECT INTERVAL '1 year 2 months 3 days' AS a, INTERVAL '04:05:06.789' AS b, INTERVAL '-1 day' AS c, INTERVAL '0' AS d;
SELECT '\x00ff'::bytea AS bytea, ARRAY[1, 2, NULL] AS ints, ARRAY['a b', 'c"d', 'e,f', '', NULL, 'NULL'] AS texts, ARRAY[true] AS bools;
SELECT ARRAY[[1, 2], [3, 4]] AS nested;
SELECT 'a' AS "Quoted Name", 'b' AS unquoted_name, 1, 'x', 1 + 1, upper('x'), count(*), n_name FROM nation GROUP BY n_name ORDER BY n_name LIMIT 1;
SELECT 12345678901234567890::numeric AS big, 0.00001::numeric AS small, -0.5 AS negative, 1.10 + 2.20 AS sum;
SELECT E'two\nlines' AS lines, 'Größe 漢字' AS wide;
\x
SELECT * FROM region ORDER BY r_regionkey LIMIT 2;
\x
\pset null '(null)'
SELECT NULL AS a, '' AS b;
TABLE region;
VALUES (1, 'one'), (2, 'two');
