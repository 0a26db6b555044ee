"""PostgreSQL's JDBC driver: the checks of `jdbc/Checks.java`, one by one."""

import getpass
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from forebay import JDBC_CHECKS, JDBC_DRIVER, QUERIES, TPCH_QUERIES, Server, tpch_query

CHECKS = re.findall(r'case "(\w+)" ->', JDBC_CHECKS.read_text())


@pytest.fixture
def check(classes: Path, server: Server, program: Callable) -> Callable[..., str]:
    """Runs one check; returns what it prints."""

    def check(name: str, *arguments: object, options: str = "") -> str:
        url = f"jdbc:postgresql://{server.host}:{server.port}/forebay?user={getpass.getuser()}{options}"
        java = shutil.which("java") or "java"
        command = [java, "-ea", "-cp", f"{classes}:{JDBC_DRIVER}", "Checks", name, url, *arguments]
        ran = program(*command)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return check


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "tpch"])
def test_check(name: str, check: Callable):
    """The check finds what it expects; it says so itself."""
    assert check(name) == f"{name}: as expected\n"


@pytest.mark.parametrize("name", ["numbers", "dates", "texts", "unknowns"])
def test_check_in_binary(name: str, check: Callable):
    """The same with values in binary from the first execution on."""
    options = "&prepareThreshold=-1&binaryTransfer=true"
    assert check(name, options=options) == f"{name}: as expected\n"


@pytest.mark.parametrize("name", ["numbers", "dates", "metadata"])
def test_check_in_the_simple_protocol(name: str, check: Callable):
    """The same with preferQueryMode=simple."""
    assert check(name, options="&preferQueryMode=simple") == f"{name}: as expected\n"


def test_tpch(check: Callable, server: Server):
    """The first row of each of the 22 queries is the one that psycopg gets, value by value."""
    printed = check("tpch", QUERIES).splitlines()
    with server.connect() as db:
        for name, line in zip(TPCH_QUERIES, printed, strict=True):
            row = db.pgconn.exec_(tpch_query(name).encode())
            values = [row.get_value(0, column).decode() for column in range(row.nfields)]
            assert line.split("\t") == [name, *values]
