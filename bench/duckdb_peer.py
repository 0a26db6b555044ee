"""DuckDB as a peer of `forebay bench tpch`.

Each line of standard input is a query; each line of standard output says how many seconds it
took to its last row. The tables are views on the Parquet files of the folder named on the
command line.
"""

import pathlib
import sys
import time

import duckdb


def connect(data: pathlib.Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB with views on the tables of a folder."""
    connection = duckdb.connect()
    for table in sorted(p for p in data.iterdir() if p.is_dir() and not p.name.startswith(".")):
        files = str(table / "*.parquet").replace("'", "''")
        connection.execute(f"CREATE VIEW {table.name} AS SELECT * FROM read_parquet('{files}')")
    return connection


def main() -> None:
    connection = connect(pathlib.Path(sys.argv[1]))
    for line in sys.stdin:
        query = line.strip().rstrip(";")
        start = time.perf_counter()
        try:
            connection.execute(query).fetchall()
        except duckdb.Error as error:
            print(f"error: {' '.join(str(error).split())}", flush=True)
            continue
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
