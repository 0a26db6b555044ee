-- Variables, \gset, \gdesc, \gexec, \if, prepared statements, \copy.
\set key 7
\set name '''FRANCE'''
SELECT n_name FROM nation WHERE n_nationkey = :key;
SELECT n_nationkey FROM nation WHERE n_name = :name;
\set bare GERMANY
SELECT n_nationkey FROM nation WHERE n_name = :'bare';
SELECT count(*) AS nations, max(n_name) AS last FROM nation \gset
\echo :nations :last
SELECT n_nationkey, n_name, n_nationkey * 1.5 AS more, now() AS at, count(*) AS n FROM nation GROUP BY 1, 2 \gdesc
SELECT 1 AS one, 'x' AS two WHERE false \gdesc
SELECT nope \gdesc
SELECT format('SELECT %s AS made', n) FROM generate_series(1, 2) AS t(n) \gexec
SELECT 1 AS one \gx
\set some true
\if :some
\echo 'there are nations'
\endif
PREPARE by_key(bigint) AS SELECT n_name FROM nation WHERE n_nationkey = $1;
EXECUTE by_key(3);
DEALLOCATE by_key;
EXECUTE by_key(3);
\copy (SELECT r_regionkey, r_name FROM region ORDER BY 1) TO STDOUT
\copy (SELECT r_regionkey, r_name FROM region ORDER BY 1) TO STDOUT WITH (FORMAT csv, HEADER)
COPY (SELECT 1, NULL, 'a	b') TO STDOUT;
\echo :LAST_ERROR_SQLSTATE :ROW_COUNT
\encoding
SHOW server_encoding;
SHOW search_path;
SET statement_timeout = '90s';
SHOW statement_timeout;
RESET statement_timeout;
SHOW statement_timeout;
\timing off
