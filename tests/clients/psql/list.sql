-- What there is: without alignment, because owners have names of any length.
\pset format unaligned
\pset footer off
\d
\dt
\dt nat*
\dt public.*
\dt nosuch*
\l
CREATE VIEW some_view AS SELECT 1 AS one;
CREATE SCHEMA other;
CREATE VIEW other.hidden AS SELECT 2 AS two;
CREATE ROLE reader;
CREATE ROLE worker LOGIN;
CREATE ROLE chief SUPERUSER LOGIN;
\dv
\dv other.*
\dn
\du reader
\du worker
\du chief
\dg nosuch
\df pg_backend_pid
\df nosuch
\di
\ds
\dm
\dT nosuch
\z region
\dp other.*
DROP VIEW other.hidden;
DROP SCHEMA other;
DROP VIEW some_view;
DROP ROLE reader, worker;
DROP ROLE chief;
\dv
\dn
