-- What \d tells of tables, and how names are found.
\d nation
\d+ region
\d public.customer
\d lineitem
\d nosuch
\d "Nation"
SELECT n_name FROM "nation" WHERE N_NATIONKEY = 3;
CREATE VIEW europeans AS SELECT n_nationkey AS key, n_name AS name FROM nation WHERE n_regionkey = 3;
\d europeans
SELECT * FROM europeans ORDER BY key;
DROP VIEW europeans;
\d europeans
