-- Errors as psql shows them, and transactions that have failed.
SELECT nope FROM nation;
SELECT n_nam FROM nation;
SELECT * FROM nowhere;
SELECT 1 +
  nope
  + 2;
SELEC 1;
SELECT 1/0;
SELECT 'abc'::int;
SELECT nofunc(1, 'x');
\set VERBOSITY sqlstate
SELECT * FROM nowhere;
\set VERBOSITY default
BEGIN;
SELECT 1 AS before;
SELECT 1/0;
SELECT 2 AS after;
SAVEPOINT s;
COMMIT;
BEGIN;
SAVEPOINT s;
SELECT 1/0;
ROLLBACK TO SAVEPOINT s;
SELECT 3 AS saved;
RELEASE SAVEPOINT s;
COMMIT;
COMMIT;
BEGIN;
BEGIN;
END;
DROP TABLE IF EXISTS nowhere;
DROP TABLE nowhere;
DROP VIEW nation;
CREATE ROLE twice;
CREATE ROLE twice;
DROP ROLE twice;
DROP ROLE twice;
SET nosuch = 1;
SHOW nosuch;
SET statement_timeout = 'soon';
