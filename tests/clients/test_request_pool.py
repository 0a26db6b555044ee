"""`REQUEST_POOL`, and what a client is told of a statement that waits in its resource queue."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from impala._thrift_gen.TCLIService.ttypes import TOperationState

from forebay import Server, wait_until
from hs2 import Client, Refused
from terminal import Terminal

SHELL = Path(sys.executable).with_name("impala-shell")
PENDING = TOperationState.PENDING_STATE


@pytest.fixture
def queued(start: Callable[..., Server]) -> Iterator[Server]:
    """A server with a queue of one slot, and two roles: one is governed by it."""
    server = start()
    with server.connect() as db:
        db.execute("CREATE RESOURCE QUEUE one WITH (ACTIVE_STATEMENTS=1)")
        db.execute("CREATE ROLE ada LOGIN RESOURCE QUEUE one")
        db.execute("CREATE RESOURCE QUEUE two WITH (ACTIVE_STATEMENTS=2)")
    yield server
    server.stop()


@pytest.mark.parametrize("http", [False, True])
def test_raw_calls(queued, http):
    """Log, summary, state and profile say why it waits, and its place."""
    with Client(queued, http).open("ada") as ada:
        first = ada.execute("select sleep(3600000)", REQUEST_POOL="one")
        ada_runs = TOperationState.RUNNING_STATE
        wait_until(lambda: ada.status(first).operationState == ada_runs, "the first runs")
        waiting = [ada.execute(f"select {number}", REQUEST_POOL="one") for number in range(3)]
        for place, operation in enumerate(waiting, 1):
            wait_until(lambda: ada.status(operation).operationState == PENDING, "it waits")
            summary = ada.summary(operation)
            assert summary.is_queued
            assert summary.nodes is None and summary.progress is None
            for reason in (summary.queued_reason, ada.log(operation)):
                assert f'resource queue "one": place {place}; ' in reason, reason
            profile = ada.profile(operation)
            assert "Request Pool: one" in profile
            assert "Initial admission queue reason:" in profile
        # The first of them goes, and the others move up.
        ada.cancel(waiting[0])
        wait_until(lambda: ada.status(waiting[0]).operationState != PENDING, "it is gone")
        wait_until(lambda: "place 1; " in ada.summary(waiting[1]).queued_reason, "moved up")
        ada.cancel(first)
        for number, operation in enumerate(waiting[1:], 1):
            ada.finish(operation)
            ada.fetch_all(operation)
            summary = ada.summary(operation)
            assert not summary.is_queued
            assert "Admission result: Admitted (queued)" in ada.profile(operation)
            assert "Waits" not in ada.log(operation)


@pytest.mark.parametrize(
    ("user", "pool", "refusal"),
    [
        ("ada", "two", r"pool 'two' is denied to user 'ada', whose resource queue is 'one'"),
        ("ada", "nowhere", r"pool 'nowhere' is denied to user 'ada', whose resource queue is 'one'"),
        ("", "one", r"pool 'one' is denied to user '\w+', whom no resource queue governs"),
    ],
)
def test_another_pool(queued, user, pool, refusal):
    with Client(queued).open(user) as someone:
        with pytest.raises(Refused, match=refusal):
            someone.execute("select 1", REQUEST_POOL=pool)
        someone.finish(someone.execute("select 1"))


@pytest.mark.parametrize("http", [False, True])
def test_the_shell_shows_it(queued, tmp_path, http):
    """`--live_progress` prints the reason while a statement waits; Ctrl-C ends the wait."""
    port = queued.hs2_http_port if http else queued.hs2_port
    protocol = "hs2-http" if http else "hs2"
    with Client(queued).open("ada") as ada:
        first = ada.execute("select sleep(3600000)")
        wait_until(lambda: ada.status(first).operationState != PENDING, "the first runs")
        command = [SHELL, f"--protocol={protocol}", "-i", f"{queued.host}:{port}", "-u", "ada"]
        terminal = Terminal(*command, "--live_progress", home=tmp_path)
        try:
            # It asks for the options as it connects, which takes no slot.
            terminal.expect(r"default> $")
            terminal.send("set request_pool=one;")
            terminal.expect(r"default> $")
            terminal.send("select 40 + 2;")
            said = terminal.expect(r"Query queued. Latest queuing reason: [^\n]+\n")
            assert '"one"' in said and "slot" in said
            terminal.interrupt()
            terminal.expect("Cancelling Query")
            terminal.expect(r"default> $")
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'ResourceQueue'"
            with queued.connect() as db:
                wait_until(lambda: db.execute(waits).fetchone()[0] == 0, "nobody waits")
            # And one that waits until its turn comes.
            terminal.send("select 40 + 2;")
            terminal.expect("Query queued. ")
            ada.cancel(first)
            terminal.expect(r"\| 42 +\|")
            terminal.expect(r"default> $")
        finally:
            terminal.close()
