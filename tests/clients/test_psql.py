"""psql: sessions whose whole output is kept beside them, and TAB completion at a terminal.

`psql/NAME.sql` is what is typed, `psql/NAME.out` is everything psql prints. Where the output depends on
psql's version, `psql/NAME.15.out` is what version 15 prints. With FOREBAY_UPDATE=1 the files are
written instead of compared.
"""

from __future__ import annotations

import getpass
import os
import pty
import re
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forebay import Server, environment, wait_until

SESSIONS = Path(__file__).with_name("psql")
PSQL = shutil.which("psql") or "psql"


def major_version() -> str:
    """The first number of psql's version."""
    text = subprocess.run([PSQL, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"\d+", text)[0]


def expected_path(name: str) -> Path:
    """The file with the output of this version, else the one for all."""
    own = SESSIONS / f"{name}.{major_version()}.out"
    return own if own.exists() else SESSIONS / f"{name}.out"


@pytest.mark.parametrize("name", sorted(path.stem for path in SESSIONS.glob("*.sql")))
def test_session(name: str, server: Server, program: Callable, tmp_path: Path):
    """psql prints exactly what is kept, on both of its outputs."""
    me = getpass.getuser()
    command = [PSQL, "-X", "-a", "-q", "-v", f"me={me}", "-v", f"scratch={tmp_path}"]
    with (SESSIONS / f"{name}.sql").open() as text:
        ran = subprocess.run(
            [*command, server.url],
            stdin=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            env=environment() | {"LC_ALL": "C.UTF-8", "PSQL_PAGER": "cat"},
        )
    # Who runs the tests and where their scratch files are is nobody's business.
    output = re.sub(rf"(?<=[|(]){re.escape(me)}(?=[|)]|$)", "OWNER", ran.stdout, flags=re.MULTILINE)
    output = output.replace(str(tmp_path), "SCRATCH")
    if os.environ.get("FOREBAY_UPDATE"):
        expected_path(name).write_text(output)
    assert output == expected_path(name).read_text()


def test_several_commands(server: Server, program: Callable):
    """One -c is one simple query, in which an error undoes everything; several -c are several."""
    one = program(PSQL, "-X", "-A", "-t", server.url, "-c", "SELECT 1; SELECT 'two', 2")
    assert (one.returncode, one.stdout) == (0, "1\ntwo|2\n")
    wrong = program(PSQL, "-X", "-A", "-t", server.url, "-c", "SELECT 1; SELECT 1/0; SELECT 3")
    assert (wrong.returncode, wrong.stdout) == (1, "1\n")
    assert wrong.stderr == "ERROR:  division by zero\n"
    two = program(PSQL, "-X", "-A", "-t", server.url, "-c", "SELECT 1/0", "-c", "SELECT 3")
    assert (two.returncode, two.stdout) == (0, "3\n")


def test_on_error_stop(server: Server, program: Callable, tmp_path: Path):
    """A script ends with code 3 at its first error."""
    script = tmp_path / "script.sql"
    script.write_text("SELECT 1;\nSELECT nope;\nSELECT 3;\n")
    options = ["-X", "-A", "-t", "-f", script]
    stopped = program(PSQL, *options, "-v", "ON_ERROR_STOP=1", server.url)
    assert (stopped.returncode, stopped.stdout) == (3, "1\n")
    assert (
        f'{script}:2: ERROR:  column "nope" does not exist\nLINE 1: SELECT nope;' in stopped.stderr
    )
    went_on = program(PSQL, *options, server.url)
    assert (went_on.returncode, went_on.stdout) == (0, "1\n3\n")


def test_single_transaction(server: Server, program: Callable, tmp_path: Path):
    """--single-transaction leaves nothing behind after an error."""
    script = tmp_path / "script.sql"
    script.write_text("CREATE VIEW half AS SELECT 1 AS one;\nSELECT 1/0;\n")
    options = ["-X", "-A", "-t", "-1", "-v", "ON_ERROR_STOP=1"]
    assert program(PSQL, *options, "-f", script, server.url).returncode == 3
    look = program(PSQL, "-X", "-A", "-t", server.url, "-c", "SELECT * FROM half")
    assert 'relation "half" does not exist' in look.stderr


def test_list_databases(server: Server, program: Callable):
    """psql -l works without a database."""
    listed = program(PSQL, "-X", "-A", "-t", "-l", "-h", server.host, "-p", server.port)
    assert listed.returncode == 0, listed.stderr
    assert any(line.startswith("forebay|") for line in listed.stdout.splitlines())


def test_default_database_is_the_role(server: Server, program: Callable):
    """`psql -h localhost` needs no further argument."""
    command = [PSQL, "-X", "-A", "-t", "-h", server.host, "-p", server.port]
    asked = program(*command, "-c", "SELECT current_user, count(*) FROM region")
    assert (asked.stdout, asked.stderr) == (f"{getpass.getuser()}|5\n", "")


def test_timing(server: Server, program: Callable):
    """\\timing prints a time."""
    ran = program(PSQL, "-X", "-A", "-t", server.url, "-c", "\\timing on", "-c", "SELECT 1")
    assert re.fullmatch(r"Timing is on\.\n1\nTime: [\d.]+ ms\n", ran.stdout)


def test_copy_status(server: Server, program: Callable):
    """COPY tells how many rows it wrote."""
    ran = program(PSQL, "-X", server.url, "-c", "\\copy (SELECT * FROM region) TO '/dev/null'")
    assert ran.stdout == "COPY 5\n"


def test_a_long_result_through_a_cursor(server: Server, program: Callable):
    """FETCH_COUNT reads by way of a cursor, and misses nothing."""
    command = [PSQL, "-X", "-A", "-t", "-v", "FETCH_COUNT=1000", server.url]
    ran = program(*command, "-c", "SELECT l_orderkey FROM lineitem ORDER BY 1 LIMIT 10500")
    assert ran.stderr == ""
    assert ran.stdout.count("\n") == 10500


class Terminal:
    """psql at a terminal: what it shows, and keys to press."""

    def __init__(self, server: Server):
        pid, self.fd = pty.fork()
        if pid == 0:
            home = {"TERM": "dumb", "INPUTRC": "/dev/null", "PSQL_HISTORY": "/dev/null"}
            os.execve(PSQL, [PSQL, "-X", server.url], environment() | home)
        self.pid = pid
        self.shown = ""
        self.wait_for("=# ")

    def press(self, keys: str) -> None:
        """Sends keys."""
        os.write(self.fd, keys.encode())

    def wait_for(self, text: str) -> str:
        """Waits until `text` is shown; returns what was shown before it, since the last wait."""

        def look() -> bool:
            if select.select([self.fd], [], [], 0)[0]:
                # Without the bells.
                self.shown += os.read(self.fd, 65536).decode(errors="replace").replace("\a", "")
            return text in self.shown

        try:
            wait_until(look, f"psql shows {text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows {self.shown!r}") from None
        before, _, self.shown = self.shown.partition(text)
        return before

    def close(self) -> None:
        """Ends psql."""
        os.close(self.fd)
        os.waitpid(self.pid, 0)


@pytest.fixture(scope="module")
def completable(server: Server) -> Iterator[None]:
    """A role and a view with names to complete."""
    with server.connect() as db:
        db.execute("CREATE ROLE tab_completed")
        db.execute("CREATE VIEW tab_view AS SELECT 1 AS one")
        yield
        db.execute("DROP VIEW tab_view")
        db.execute("DROP ROLE tab_completed")


@pytest.fixture
def terminal(server: Server) -> Iterator[Terminal]:
    terminal = Terminal(server)
    yield terminal
    terminal.close()


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("SELECT * FROM nat\t", "nation "),
        ("SELECT * FROM public.nat\t", "public.nation "),
        ("SELECT * FROM pub\t", "public."),
        ("\\d parts\t", "partsupp "),
        ("\\dt regi\t", "region "),
        ("\\dn publ\t", "public "),
        ("\\dv pg_catalog.pg_us\t", "pg_user"),
        ("\\df pg_catalog.pg_slee\t", "pg_sleep"),
        ("\\c foreb\t", "forebay "),
        ("\\l foreb\t", "forebay "),
        ("\\du tab_compl\t", "tab_completed "),
        ("SET ROLE tab_compl\t", "tab_completed "),
        ("ALTER ROLE tab_compl\t", "tab_completed "),
        ("DROP ROLE tab_compl\t", "tab_completed "),
        ("DROP VIEW tab_v\t", "tab_view "),
        ("DROP TABLE custo\t", "customer "),
        ("SET statement_t\t", "statement_timeout "),
        ("SHOW timez\t", "timezone"),
        ("SET TimeZone TO 'Europe/Berl\t", "Europe/Berlin"),
        ("EXECUTE tab_st\t", "tab_statement "),
        ("UPDATE nation SET n_regi\t", "n_regionkey "),
        ("COPY suppl\t", "supplier "),
        ("TABLE suppl\t", "supplier "),
    ],
    ids=lambda text: text.strip(),
)
def test_completion(typed: str, completed: str, completable: None, terminal: Terminal):
    """TAB completes names from the server's catalog."""
    terminal.press("PREPARE tab_statement AS SELECT 1;\r")
    terminal.wait_for("PREPARE\r\n")
    terminal.wait_for("=# ")
    terminal.press(typed)
    terminal.wait_for(completed)
    terminal.press("\x15")
