"""The 22 TPC-H queries give the answers that DuckDB gives on the same files."""

import math
from collections import Counter
from decimal import Decimal

import duckdb
import psycopg
import pytest

from forebay import TPCH_QUERIES, TPCH_TABLES, tpch_query

# The columns that each query sorts by: they must come in the same order. Rows that are equal in
# them may come in any order.
SORT_COLUMNS = {
    "q01": [0, 1],
    "q02": [0, 2, 1, 3],
    "q03": [1, 2],
    "q04": [0],
    "q05": [1],
    "q07": [0, 1, 2],
    "q08": [0],
    "q09": [0, 1],
    "q10": [2],
    "q11": [1],
    "q12": [0],
    "q13": [1, 0],
    "q15": [0],
    "q16": [3, 0, 1, 2],
    "q18": [4, 3],
    "q20": [0],
    "q21": [1, 0],
    "q22": [0],
}


def same(ours, theirs) -> bool:
    """Equal, where both are exact; within rounding, where one is not."""
    if isinstance(ours, float) or isinstance(theirs, float):
        # A decimal next to a float is as near as its last digit.
        digits = [-v.as_tuple().exponent for v in (ours, theirs) if isinstance(v, Decimal)]
        last_digit = 10.0 ** -min(digits) if digits else 0.0
        return math.isclose(float(ours), float(theirs), rel_tol=1e-9, abs_tol=last_digit)
    return ours == theirs


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("name", TPCH_QUERIES)
def test_query(name: str, binary: bool, db: psycopg.Connection, duck: duckdb.DuckDBPyConnection):
    """The same rows, in the order that ORDER BY decides."""
    cursor = db.cursor(binary=binary).execute(tpch_query(name))
    ours = cursor.fetchall()
    reference = duck.execute(tpch_query(name))
    theirs = reference.fetchall()
    assert [c.name for c in cursor.description] == [c[0] for c in reference.description]
    assert len(ours) == len(theirs)

    columns = SORT_COLUMNS.get(name, [])
    for our_row, their_row in zip(ours, theirs, strict=True):
        for column in columns:
            assert same(our_row[column], their_row[column]), (our_row, their_row)

    # As multisets: sorted by what is exact in both, row by row.
    exact = [
        c
        for c in range(len(cursor.description))
        if not any(isinstance(row[c], (float, Decimal)) for row in ours + theirs)
    ]
    ours.sort(key=lambda row: [row[c] for c in exact])
    theirs.sort(key=lambda row: [row[c] for c in exact])
    for our_row, their_row in zip(ours, theirs, strict=True):
        assert all(map(same, our_row, their_row)), (our_row, their_row)


@pytest.mark.parametrize("table", TPCH_TABLES)
def test_every_row_of_every_table(
    table: str, db: psycopg.Connection, duck: duckdb.DuckDBPyConnection
):
    """Nothing is lost or changed on the way, in binary."""
    query = f"SELECT * FROM {table}"
    limit = 50_000
    assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (
        duck.execute(f"SELECT count(*) FROM {table}").fetchone()
    )
    order = {"lineitem": "1, 4", "partsupp": "1, 2"}.get(table, "1")
    query += f" ORDER BY {order} LIMIT {limit}"
    ours = Counter(db.cursor(binary=True).execute(query).fetchall())
    assert ours == Counter(duck.execute(query).fetchall())
