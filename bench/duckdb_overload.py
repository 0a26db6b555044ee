"""DuckDB as the peer of `forebay bench overload`: dashboards and loops in one process.

Arguments: the data's folder, the dashboards' query and the loops' query as files, how many
dashboards, their pause in milliseconds, how many loops, seconds. The first line of standard
output is how many statements the loops got done, each other line the seconds that an answer took
to a dashboard.
"""

import pathlib
import sys
import threading
import time

import duckdb

from duckdb_peer import connect


def ask_until(
    end: float, connection: duckdb.DuckDBPyConnection, query: str, pause: float, late: bool
) -> list[float]:
    """Asks again and again; `late` also counts what is answered after the end."""
    answers = []
    while time.perf_counter() < end:
        start = time.perf_counter()
        connection.execute(query).fetchall()
        done = time.perf_counter()
        if late or done < end:
            answers.append(done - start)
        time.sleep(pause)
    return answers


def main() -> None:
    data, short, heavy = map(pathlib.Path, sys.argv[1:4])
    dashboards, pause_ms, loops, seconds = map(int, sys.argv[4:8])
    connection = connect(data)
    queries = [short.read_text(), heavy.read_text()]
    for query in queries:
        connection.execute(query).fetchall()
    end = time.perf_counter() + seconds
    results: list[list[list[float]]] = [[], []]

    def run(which: int, pause: float) -> None:
        cursor = connection.cursor()
        results[which].append(ask_until(end, cursor, queries[which], pause, late=which == 0))

    threads = [threading.Thread(target=run, args=(1, 0)) for _ in range(loops)]
    threads += [threading.Thread(target=run, args=(0, pause_ms / 1000)) for _ in range(dashboards)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sum(map(len, results[1])))
    for answer in sum(results[0], []):
        print(answer)


if __name__ == "__main__":
    main()
