"""pgbench with scripts of our own, in every protocol mode, with several clients."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from forebay import Server

LOOK_UP = r"""
\set key random(0, 24)
SELECT n_name FROM nation WHERE n_nationkey = :key;
"""

TRANSACTION = r"""
\set key random(1, 15000)
BEGIN;
SELECT c_name, c_acctbal FROM customer WHERE c_custkey = :key;
SELECT count(*), sum(o_totalprice) FROM orders WHERE o_custkey = :key;
END;
"""

CURSOR = r"""
BEGIN;
DECLARE c CURSOR FOR SELECT r_name FROM region ORDER BY 1;
FETCH 2 FROM c;
FETCH 2 FROM c;
CLOSE c;
COMMIT;
"""

GSET = r"""
SELECT max(n_nationkey) AS last FROM nation \gset
SELECT n_name FROM nation WHERE n_nationkey = :last \gset
"""

SCRIPTS = {"look-up": LOOK_UP, "transaction": TRANSACTION, "cursor": CURSOR, "gset": GSET}


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name: str, mode: str, server: Server, program: Callable, tmp_path: Path):
    """Every transaction of every client is processed, and none fails."""
    clients, transactions = 8, 10
    script = tmp_path / "script.sql"
    script.write_text(SCRIPTS[name])
    ran = program(
        *["pgbench", "-n", "-M", mode, "-f", script],
        *["-c", clients, "-j", 2, "-t", transactions],
        *["-h", server.host, "-p", server.port, "forebay"],
    )
    assert ran.returncode == 0, ran.stderr
    total = clients * transactions
    assert f"number of transactions actually processed: {total}/{total}" in ran.stdout
    assert re.search(r"number of failed transactions: 0 ", ran.stdout)


def test_a_new_connection_for_every_transaction(server: Server, program: Callable, tmp_path: Path):
    """pgbench -C: sessions come and go."""
    script = tmp_path / "script.sql"
    script.write_text(LOOK_UP)
    ran = program(
        *["pgbench", "-n", "-C", "-f", script, "-c", 4, "-t", 10],
        *["-h", server.host, "-p", server.port, "forebay"],
    )
    assert ran.returncode == 0, ran.stderr
    assert "number of transactions actually processed: 40/40" in ran.stdout
