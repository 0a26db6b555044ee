"""What a profile tells of how its client fetched the rows: a query ends with the fetch of its last one."""

from __future__ import annotations

import re

import pytest
from impala._thrift_gen.TCLIService.ttypes import TOperationState

from forebay import Server, wait_until
from hs2 import FIRST, Client, Refused, client

NATIONS = "select n_name from nation order by n_nationkey"
FIRST_ROW, LAST_ROW, GONE = "First row fetched", "Last row fetched", "Unregister query"
RELEASED = "Released admission control resources"


def events(profile: str) -> list[str]:
    """The events of a query's timeline, in their order."""
    timeline = profile.partition("Query Timeline:")[2].partition("ImpalaServer:")[0]
    return re.findall(r"^ +- ([^:\n]+): ", timeline, re.MULTILINE)


def counter(profile: str, name: str) -> str:
    """A counter of what the client's side has counted."""
    return re.search(rf"^ +- {name}: (.*)$", profile, re.MULTILINE)[1]


def number(profile: str, name: str) -> int:
    """The same, as a number."""
    return int(re.search(r"\((\d+)\)$", counter(profile, name))[1])


@pytest.mark.parametrize("http", [False, True])
def test_rows_and_calls_are_counted_as_they_happen(server, http):
    with client(server, http) as connection:
        operation = connection.execute(NATIONS)
        calls = 2
        while connection.status(operation).operationState != TOperationState.FINISHED_STATE:
            calls += 1
        profile = connection.profile(operation)
        assert "Rows available" in events(profile)
        # That is what Impala calls finished: the rows can be fetched.
        assert "Impala Query State: FINISHED" in profile
        assert not {FIRST_ROW, LAST_ROW, GONE} & set(events(profile))
        assert number(profile, "NumRowsFetched") == 0
        assert number(profile, "RPCCount") == calls
        assert counter(profile, "RowMaterializationTimer") == "0ns"
        assert counter(profile, "RowMaterializationRate") == "0"

        assert connection.fetch(operation, 10).hasMoreRows
        profile = connection.profile(operation)
        assert events(profile)[-1] == FIRST_ROW
        assert number(profile, "NumRowsFetched") == 10
        assert number(profile, "RPCCount") == calls + 1

        more = 1
        while connection.fetch(operation).hasMoreRows:
            more += 1
        profile = connection.profile(operation)
        told = events(profile)
        assert told[told.index(FIRST_ROW) + 1 :] == [LAST_ROW, GONE]
        assert number(profile, "NumRowsFetched") == 25
        assert number(profile, "NumRowsFetchedFromCache") == 0
        assert number(profile, "RPCCount") == calls + 1 + more
        assert counter(profile, "RowMaterializationTimer") != "0ns"
        assert counter(profile, "RowMaterializationRate").endswith("/sec")
        assert counter(profile, "ClientFetchWaitTimer") != "0ns"
        # What comes behind the last row is no part of it.
        connection.close_operation(operation)
        assert connection.profile(operation) == profile


def test_rows_out_of_the_cache_are_counted_apart(server):
    with client(server) as connection:
        operation = connection.execute(NATIONS, **{"impala.resultset.cache.size": "100"})
        connection.finish(operation)
        connection.fetch(operation, 10)
        connection.fetch(operation, 20, FIRST)
        profile = connection.profile(operation)
        assert number(profile, "NumRowsFetched") == 20
        assert number(profile, "NumRowsFetchedFromCache") == 10


@pytest.mark.parametrize("statement", [NATIONS, "select l_comment from lineitem"])
def test_a_client_that_wants_no_more(server, statement):
    """Its query has ended well, be the plan at its end or not, and nobody has had the last row."""
    with client(server) as connection:
        operation = connection.execute(statement)
        connection.finish(operation)
        connection.fetch(operation, 10)
        connection.close_operation(operation)
        profile = connection.profile(operation)
        assert "Impala Query State: FINISHED" in profile
        assert number(profile, "NumRowsFetched") == 10
        assert events(profile)[-2:] == ["Request finished", GONE]


def test_no_rows(server):
    with client(server) as connection:
        operation = connection.execute("select n_name from nation where n_nationkey > 99")
        connection.finish(operation)
        connection.fetch_all(operation)
        profile = connection.profile(operation)
        assert not {FIRST_ROW, LAST_ROW} & set(events(profile))
        assert events(profile)[-1] == GONE
        assert number(profile, "NumRowsFetched") == 0


def is_in_flight(server: Server, text: str) -> bool:
    """Whether a query with this text has not ended."""
    queries = server.page("/queries?json")["in_flight_queries"]
    return any(text in query["stmt"] for query in queries)


def test_rows_that_nobody_fetches_hold_no_slot(start):
    """Nor a lock: the statement holds nothing, but its query can be seen, and be cancelled."""
    server = start()
    with server.connect() as db:
        db.execute("CREATE RESOURCE QUEUE one WITH (ACTIVE_STATEMENTS=1)")
        db.execute("CREATE ROLE ada LOGIN RESOURCE QUEUE one")
    with Client(server).open("ada") as ada:
        operations = [ada.execute(f"select {number} as unfetched") for number in range(3)]
        for operation in operations:
            ada.finish(operation)
            told = events(ada.profile(operation))
            assert RELEASED in told and GONE not in told
        with server.connect() as db:
            held = "SELECT count(*) FROM pg_locks WHERE relation IS NOT NULL AND pid <> pg_backend_pid()"
            assert db.execute(held).fetchone() == (0,)
            # They show as idle, as sessions do that wait for their client.
            states = "SELECT DISTINCT state FROM pg_stat_activity WHERE query LIKE '%unfetched'"
            assert db.execute(states).fetchall() == [("idle",)]
        assert is_in_flight(server, "select 0 as unfetched")

        ada.fetch_all(operations[0])
        told = events(ada.profile(operations[0]))
        assert told[told.index(RELEASED) :] == [RELEASED, FIRST_ROW, LAST_ROW, GONE]
        # It is put into the archive behind the client's back.
        wait_until(lambda: not is_in_flight(server, "select 0 as unfetched"), "it is archived")

        # Somebody else ends the second one, its own client the third.
        name = re.search(r"Query \(id=([0-9a-f:]+)\)", ada.profile(operations[1]))[1]
        with client(server) as boss:
            boss.finish(boss.execute(f"kill query '{name}'"))
        wait_until(lambda: "Query State: EXCEPTION" in ada.profile(operations[1]), "it ends")
        ada.cancel(operations[2])
        wait_until(lambda: "Query State: EXCEPTION" in ada.profile(operations[2]), "it ends")
        for operation in operations[1:]:
            with pytest.raises(Refused, match="cancel|Cancelled"):
                ada.fetch(operation)
        assert "Query State: FINISHED" in ada.profile(operations[0])


def test_rows_that_nobody_fetches_expire(server):
    with client(server) as connection:
        operation = connection.execute("select 1 as expires", QUERY_TIMEOUT_S="1")
        connection.finish(operation)
        expired = "Query Status: .*expired due to client inactivity"
        wait_until(lambda: re.search(expired, connection.profile(operation)), "it expires")


def test_a_session_that_ends_ends_its_queries(server):
    """Also those whose rows nobody has fetched, of which none stays in the registry."""
    with client(server) as connection:
        operation = connection.execute("select 1 as forgotten")
        connection.finish(operation)
        assert is_in_flight(server, "as forgotten")
    wait_until(lambda: not is_in_flight(server, "as forgotten"), "it is archived")
