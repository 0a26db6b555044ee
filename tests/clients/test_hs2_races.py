"""What others see of a query while it is closed: the same as before and after, for everybody."""

from __future__ import annotations

import threading
from collections.abc import Callable

from forebay import Server, wait_until
from hs2 import Client, Refused, check, client, query_id

# Queries in all; each is looked at while it is in flight, archived by the pool, and archived.
ROUNDS, THREADS = 1200, 4
LOOKS = 8


def together(*tasks: Callable[[], None]) -> None:
    """Does several things at the same time, and fails as the first of them that fails."""
    failures: list[BaseException] = []

    def guarded(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=[task]) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def listed(server: Server, query: str) -> list[dict]:
    """The entries of a query in `/queries?json`."""
    page = server.page("/queries?json")
    entries = page["in_flight_queries"] + page["completed_queries"]
    return [entry for entry in entries if entry["query_id"] == query]


class TestRightAfterTheEnd:
    """IMPALA-9729: a summary asked for while its query was archived was an error."""

    def test_profile_and_summary(self, server):
        """Thousands of times: from its end on, a query reads the same."""

        def rounds(http: bool) -> None:
            with client(server, http) as connection:
                for number in range(ROUNDS // THREADS):
                    statement = f"select count(*), {number} from nation where n_nationkey > {number % 25}"
                    operation = connection.execute(statement)
                    connection.finish(operation)
                    connection.fetch_all(operation)
                    seen = [self.look(connection, operation)]
                    connection.close_operation(operation)
                    seen += [self.look(connection, operation) for _ in range(LOOKS)]
                    assert statement in seen[0][0]
                    assert len({profile for profile, _ in seen}) == 1
                    assert len({summary for _, summary in seen}) == 1
                    assert "SCAN" in seen[0][1]

        together(*[lambda http=i % 2 == 1: rounds(http) for i in range(THREADS)])

    def look(self, connection: Client, operation) -> tuple[str, str]:
        """Profile and summary as they are now."""
        return connection.profile(operation), repr(connection.summary(operation))

    def test_without_a_plan(self, server):
        """The summary is blank, at every moment, and never an error."""

        def rounds() -> None:
            with client(server) as connection:
                for number in range(ROUNDS // THREADS):
                    statement = ["describe nation", "show tables", "show databases"][number % 3]
                    operation = connection.execute(statement)
                    blank = [connection.summary(operation).nodes]
                    connection.finish(operation)
                    connection.close_operation(operation)
                    blank += [connection.summary(operation).nodes for _ in range(LOOKS)]
                    assert blank == [None] * len(blank)

        together(*[rounds] * THREADS)

    def test_of_a_query_that_fails(self, server):
        """It reads the same too, while nobody has closed it and afterwards."""
        with client(server) as connection:
            for _ in range(100):
                operation = connection.execute(
                    "select (select n.n_nationkey from nation n) from nation"
                )
                try:
                    connection.finish(operation)
                    connection.fetch_all(operation)
                    raise AssertionError("it must fail")
                except Refused as refusal:
                    assert "more than one row" in str(refusal)
                seen = [self.look(connection, operation) for _ in range(2)]
                connection.close_operation(operation)
                seen += [self.look(connection, operation) for _ in range(LOOKS)]
                assert len(set(seen)) == 1

    def test_in_the_query_log(self, start, sample):
        """The same long after, and of a query whose client never closed it."""
        server = start()
        with client(server) as connection:
            operation = connection.execute("select count(*) from generate_series(1, 10)")
            connection.finish(operation)
            connection.fetch_all(operation)
            query = query_id(operation)
            wait_until(
                lambda: query in [q["query_id"] for q in server.page("/queries?json")["completed_queries"]],
                "it is archived",
            )
            first = self.look(connection, operation)
            connection.close_operation(operation)
            for number in range(50):
                connection.close_operation(connection.execute(f"select {number}"))
            assert self.look(connection, operation) == first


class TestClosing:
    def test_one_of_many_closes_and_readers_see_it_once(self, server):
        """Ten close, others read the profile and the web page: one close succeeds each time."""
        with client(server) as owner:
            others = [Client(server) for _ in range(10)]
            for _ in range(30):
                operation = owner.execute("select n_name from nation")
                owner.finish(operation)
                self.close_at_once(server, owner, others, operation)
            for other in others:
                other.close()

    def close_at_once(self, server: Server, owner: Client, others: list[Client], operation) -> None:
        """One round."""
        barrier = threading.Barrier(len(others) + 2)
        closed = threading.Event()
        outcomes: list[str] = []

        def close(other: Client) -> None:
            barrier.wait()
            try:
                other.close_operation(operation)
                outcomes.append("closed")
            except Refused as refusal:
                outcomes.append(str(refusal))
            if len(outcomes) == len(others):
                closed.set()

        def read_profile() -> None:
            barrier.wait()
            while not closed.is_set():
                assert "select n_name from nation" in owner.profile(operation)
            assert "select n_name from nation" in owner.profile(operation)

        def read_page() -> None:
            barrier.wait()
            while True:
                last = closed.is_set()
                entries = listed(server, query_id(operation))
                assert len(entries) == 1, entries
                assert entries[0]["stmt"] == "select n_name from nation"
                assert entries[0]["state"] in ("RUNNING", "FINISHED", "CANCELLED")
                if last:
                    return

        together(*[lambda o=other: close(o) for other in others], read_profile, read_page)
        outcomes.sort()
        assert outcomes[-1] == "closed"
        query = query_id(operation)
        unknown = f"Query {query} failed:\nInvalid or unknown query handle: {query}.\n"
        assert outcomes[:-1] == [unknown] * (len(others) - 1)

    def test_a_session_ends_while_its_queries_run(self, server):
        """Whatever was open ends with it, and each query is found in one place."""
        with client(server) as other:
            for _ in range(20):
                connection = Client(server).open()
                operations = [connection.execute("select sleep(3600000)") for _ in range(5)]
                connection.close()
                for operation in operations:
                    query = query_id(operation)
                    wait_until(lambda: listed(server, query)[0]["state"] == "CANCELLED", "it ends")
                    assert len(listed(server, query)) == 1
                    try:
                        check(other.status(operation))
                        raise AssertionError("a closed operation is known")
                    except Refused as refusal:
                        assert "Invalid or unknown query handle" in str(refusal)
