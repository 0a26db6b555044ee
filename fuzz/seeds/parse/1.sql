SELECT a, count(*) FROM t WHERE b > $1 GROUP BY a HAVING count(*) > 1 ORDER BY 1 LIMIT 5
