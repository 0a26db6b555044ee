"""What Hue asks: results from their beginning again, profiles after the close, sessions that are gone."""

from __future__ import annotations

import pytest
from impala._thrift_gen.TCLIService import ttypes as cli

from forebay import wait_until
from hs2 import FIRST, NEXT, Client, Refused, client

TRANSPORTS = [False, True]
CACHED = {"impala.resultset.cache.size": "50000"}


@pytest.fixture(params=TRANSPORTS, ids=["tcp", "http"])
def hue(request, server):
    """A connection over each transport, with the configuration that Hue sends."""
    with Client(server, request.param).open(**{"impala.doas.user": "", "use:database": "default"}) as hue:
        yield hue


def integers(response) -> list[int]:
    """The values of the first column, which are integers of some size."""
    column = response.results.columns[0]
    return (column.i32Val or column.i64Val).values


class TestFetchFirst:
    STATEMENT = "select i from generate_series(1, 2000) as g(i) order by i"

    def test_again_and_again(self, hue):
        operation = hue.execute(self.STATEMENT, **CACHED)
        hue.finish(operation)
        for rows in (100, 1000, 5000):
            page = hue.fetch(operation, rows, FIRST)
            assert page.results.startRowOffset == 0
            got = integers(page)
            while page.hasMoreRows:
                page = hue.fetch(operation, rows, NEXT)
                assert page.results.startRowOffset == len(got)
                got = got + integers(page)
            assert got == list(range(1, 2001))
        hue.close_operation(operation)

    def test_from_the_middle(self, hue):
        operation = hue.execute(self.STATEMENT, **CACHED)
        hue.finish(operation)
        first = integers(hue.fetch(operation, 10, FIRST))
        assert integers(hue.fetch(operation, 10, NEXT)) == list(range(11, 21))
        assert integers(hue.fetch(operation, 10, FIRST)) == first == list(range(1, 11))

    def test_without_a_cache(self, hue):
        """Once rows are gone they are gone, and the rest can still be had."""
        operation = hue.execute(self.STATEMENT)
        hue.finish(operation)
        assert integers(hue.fetch(operation, 10, FIRST)) == list(range(1, 11))
        with pytest.raises(Refused, match="Restarting of fetch requires enabling of query result caching"):
            hue.fetch(operation, 10, FIRST)
        assert integers(hue.fetch(operation, 1, NEXT)) == [11]

    def test_more_rows_than_the_cache_holds(self, hue):
        operation = hue.execute(self.STATEMENT, **{"impala.resultset.cache.size": "100"})
        hue.finish(operation)
        hue.fetch_all(operation)
        with pytest.raises(Refused, match="Restarting of fetch"):
            hue.fetch(operation, 10, FIRST)

    def test_no_rows(self, hue):
        operation = hue.execute("select n_name from nation where false", **CACHED)
        hue.finish(operation)
        for _ in range(3):
            page = hue.fetch(operation, 100, FIRST)
            assert not page.hasMoreRows
            assert page.results.columns[0].stringVal.values == []

    def test_other_directions(self, hue):
        operation = hue.execute(self.STATEMENT, **CACHED)
        hue.finish(operation)
        for direction in (cli.TFetchOrientation.FETCH_PRIOR, cli.TFetchOrientation.FETCH_LAST):
            with pytest.raises(Refused, match="Unsupported operation"):
                hue.fetch(operation, 10, direction)


def test_profile_and_summary_after_the_close(hue):
    """Hue closes first, and asks then."""
    operation = hue.execute("select count(*) from orders, lineitem where o_orderkey = l_orderkey", **CACHED)
    hue.finish(operation)
    hue.fetch_all(operation)
    hue.close_operation(operation)
    summary = hue.summary(operation)
    assert any("HASH JOIN" in node.label for node in summary.nodes)
    for form in (0, 1, 3):
        assert hue.profile(operation, form)
    assert "select count(*) from orders, lineitem" in hue.profile(operation)
    with pytest.raises(Refused, match="Invalid or unknown query handle"):
        hue.fetch(operation)


def test_profile_of_another_session(hue, server):
    """Any session of the same user may ask: Hue opens one for each tab."""
    operation = hue.execute("select n_name from nation")
    hue.finish(operation)
    with client(server) as other:
        assert "select n_name from nation" in other.profile(operation)
    hue.close_operation(operation)


def test_a_closed_session(hue, server):
    """Hue opens another when it hears "Invalid session"."""
    lost = Client(server).open()
    operation = lost.execute("select n_name from nation")
    lost.finish(operation)
    assert lost.calls.CloseSession(cli.TCloseSessionReq(lost.session)).status.statusCode == 0
    with pytest.raises(Refused, match="^Invalid session id: "):
        lost.execute("select 1")
    with pytest.raises(Refused, match="Invalid or unknown query handle"):
        lost.fetch(operation)
    lost.open()
    lost.finish(lost.execute("select 1"))
    lost.close()


def test_a_session_that_was_idle_for_too_long(server):
    """It expires, says so, and another can be opened."""
    with Client(server).open(idle_session_timeout="1") as hue:

        def refusal() -> str:
            request = cli.TExecuteStatementReq(hue.session, "select 1", {}, runAsync=True)
            return hue.calls.ExecuteStatement(request).status.errorMessage or ""

        # Asking keeps it alive: another connection watches instead.
        with client(server) as watcher:
            operation = watcher.execute("select pid from pg_stat_activity where pid <> pg_backend_pid()")
            watcher.finish(operation)
            before = set(integers(watcher.fetch(operation)))

            def gone() -> bool:
                operation = watcher.execute("select pid from pg_stat_activity")
                watcher.finish(operation)
                return bool(before - set(integers(watcher.fetch(operation))))

            wait_until(gone, "the session is closed")
        assert refusal().startswith("Client session expired due to more than 1s of inactivity (last activity was at: ")
        hue.open()
        hue.finish(hue.execute("select 1"))


def test_a_session_of_a_server_that_has_started_again(start):
    """Sessions do not outlive the server; Hue hears the words for which it opens another."""
    server = start()
    with client(server) as hue:
        old = hue.session
    server.stop()
    with Client(start()) as hue:
        hue.session = old
        with pytest.raises(Refused, match="^Invalid session id: "):
            hue.execute("select 1")
        hue.open()
        hue.finish(hue.execute("select 1"))
