"""impala-shell as people use it: encrypted, with passwords, at a terminal, for large results."""

from __future__ import annotations

import getpass
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from impala import dbapi

from forebay import PATIENCE_S, Server, environment, make_certificate, wait_until
from terminal import Terminal

SHELL = Path(sys.executable).with_name("impala-shell")
TRANSPORTS = ["hs2", "hs2-http"]
PROMPT = r"\[127\.0\.0\.1:\d+\] \w+> $"


def address(server: Server, protocol: str) -> list[str]:
    """The arguments that lead to a server."""
    port = server.hs2_port if protocol == "hs2" else server.hs2_http_port
    return [f"--protocol={protocol}", "-i", f"{server.host}:{port}"]


def shell(
    server: Server, protocol: str, *arguments: object, text: bool = True
) -> subprocess.CompletedProcess:
    """Runs the shell to its end."""
    return subprocess.run(
        [SHELL, *address(server, protocol), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=text,
        timeout=PATIENCE_S * 5,
        env=environment() | {"PYTHONIOENCODING": "utf-8"},
    )


def table(text: str) -> str:
    """The lines of a text in the source of a test."""
    return "".join(f"{line.strip()}\n" for line in text.strip().splitlines())


@pytest.fixture(params=TRANSPORTS)
def protocol(request: pytest.FixtureRequest) -> str:
    """Each transport."""
    return request.param


@pytest.fixture(scope="module")
def encrypted(
    certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with TLS, and a role with a password."""
    data = tmp_path_factory.mktemp("encrypted") / "data"
    server = Server(data, "--tls-cert", certificate[0], "--tls-key", certificate[1])
    with server.connect() as db:
        db.execute("CREATE ROLE ada LOGIN PASSWORD 's3cret'")
    yield server
    server.stop()


class TestTls:
    """Encrypted from the first byte; passwords with it and without."""

    QUERY = ["-B", "-q", "select user(), 40 + 2"]
    LDAP = ["-l", "-u", "ada", "--ldap_password_cmd=printf s3cret"]

    def test_shell(self, encrypted, certificate, protocol):
        ran = shell(encrypted, protocol, "--ssl", f"--ca_cert={certificate[0]}", *self.QUERY)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout == f"{getpass.getuser()}\t42\n"
        assert "SSL is enabled" in ran.stderr

    def test_a_certificate_of_another(self, encrypted, tmp_path, protocol):
        other, _ = make_certificate(tmp_path / "other", "other")
        options = ["--ssl", f"--ca_cert={other}", "--connect_max_tries=1"]
        ran = shell(encrypted, protocol, *options, *self.QUERY)
        assert ran.returncode != 0
        assert "CERTIFICATE_VERIFY_FAILED" in ran.stderr

    def test_in_the_clear_on_the_same_port(self, encrypted, protocol):
        ran = shell(encrypted, protocol, *self.QUERY)
        assert ran.returncode == 0, ran.stderr

    def test_encryption_that_is_not_there(self, server, certificate, protocol):
        options = ["--ssl", f"--ca_cert={certificate[0]}", "--connect_max_tries=1"]
        ran = shell(server, protocol, *options, *self.QUERY)
        assert ran.returncode != 0
        assert re.search("(?i)ssl|not connected", ran.stderr)

    @pytest.mark.parametrize("encryption", [True, False])
    def test_password(self, encrypted, certificate, protocol, encryption):
        how = ["--ssl", f"--ca_cert={certificate[0]}"] if encryption else ["--auth_creds_ok_in_clear"]
        ran = shell(encrypted, protocol, *how, *self.LDAP, *self.QUERY)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout == "ada\t42\n"

    @pytest.mark.parametrize("encryption", [True, False])
    def test_wrong_password(self, encrypted, certificate, protocol, encryption):
        how = ["--ssl", f"--ca_cert={certificate[0]}"] if encryption else ["--auth_creds_ok_in_clear"]
        wrong = ["-l", "-u", "ada", "--ldap_password_cmd=printf guess", "--connect_max_tries=1"]
        ran = shell(encrypted, protocol, *how, *wrong, *self.QUERY)
        assert ran.returncode != 0
        assert ran.stdout == ""
        said = {
            "hs2": 'password authentication failed for user "ada"',
            "hs2-http": "HTTP code 401: Unauthorized",
        }
        assert said[protocol] in ran.stderr

    def test_passwords_need_encryption_or_consent(self, encrypted, protocol):
        """The shell itself refuses."""
        ran = shell(encrypted, protocol, *self.LDAP, *self.QUERY)
        assert ran.returncode != 0
        assert "may not be sent over insecure" in ran.stderr

    def impyla(self, server: Server, certificate: Path, protocol: str, **options):
        http = protocol == "hs2-http"
        return dbapi.connect(
            host=server.host,
            port=server.hs2_http_port if http else server.hs2_port,
            use_http_transport=http,
            use_ssl=True,
            ca_cert=str(certificate),
            timeout=PATIENCE_S,
            **options,
        )

    def test_impyla(self, encrypted, certificate, protocol):
        with (
            self.impyla(encrypted, certificate[0], protocol, user=getpass.getuser()) as connection,
            connection.cursor(user=getpass.getuser()) as cursor,
        ):
            cursor.execute("select user(), 40 + 2")
            assert cursor.fetchall() == [(getpass.getuser(), 42)]

    @pytest.mark.parametrize("mechanism", ["LDAP", "PLAIN"])
    def test_impyla_with_a_password(self, encrypted, certificate, protocol, mechanism):
        who = {"user": "ada", "auth_mechanism": mechanism}
        with (
            self.impyla(encrypted, certificate[0], protocol, password="s3cret", **who) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("select user()")
            assert cursor.fetchall() == [("ada",)]
        refusal = "401|Unauthorized|password authentication failed"
        with pytest.raises(Exception, match=refusal):
            self.impyla(encrypted, certificate[0], protocol, password="no", **who).cursor()


class TestOutput:
    """What the shell writes to files and pipes, letter by letter."""

    def test_every_type(self, server, protocol):
        query = (
            "select true as b, cast(1 as tinyint) as t, cast(2 as smallint) as s, 3 as i, "
            "4000000000 as l, cast(1.5 as real) as f, cast(0.1 as double precision) as d, "
            "cast(12.30 as decimal(10,2)) as n, 'ä€😀' as u, date '2024-02-29' as day, "
            "timestamp '2024-02-29 12:34:56.789' as at, cast('x' as bytea) as bin, null as nothing"
        )
        ran = shell(server, protocol, "-B", "--output_delimiter=|", "--print_header", "-q", query)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout == table(
            """
            b|t|s|i|l|f|d|n|u|day|at|bin|nothing
            true|1|2|3|4000000000|1.5|0.1|12.30|ä€😀|2024-02-29|2024-02-29 12:34:56.789000000|x|NULL
            """
        )

    def test_nulls_of_every_type(self, server, protocol):
        types = ["boolean", "tinyint", "smallint", "int", "bigint", "real", "double precision"]
        types += ["decimal(10,2)", "string", "date", "timestamp", "bytea"]
        columns = ", ".join(f"cast(null as {kind}) as c{i}" for i, kind in enumerate(types))
        ran = shell(server, protocol, "-B", "-q", f"select {columns}")
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout == "\t".join(["NULL"] * len(types)) + "\n"

    def test_pretty(self, server, protocol):
        query = "select n_nationkey, n_name, null as nothing, 'ä' as uml from nation order by 1 limit 2"
        ran = shell(server, protocol, "-q", query)
        assert ran.stdout == table(
            """
            +-------------+-----------+---------+-----+
            | n_nationkey | n_name    | nothing | uml |
            +-------------+-----------+---------+-----+
            | 0           | ALGERIA   | NULL    | ä   |
            | 1           | ARGENTINA | NULL    | ä   |
            +-------------+-----------+---------+-----+
            """
        )

    def test_vertical(self, server, protocol):
        ran = shell(server, protocol, "-E", "-q", "select 1 as a, 'x' as b")
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.splitlines()[1:] == ["a: 1", "b: x"]

    def test_no_rows(self, server, protocol):
        ran = shell(server, protocol, "-B", "-q", "select n_name from nation where false")
        assert (ran.returncode, ran.stdout) == (0, "")
        assert "Fetched 0 row(s)" in ran.stderr

    def test_numbers_at_their_ends(self, server, protocol):
        query = (
            "select cast(-128 as tinyint), cast(-32768 as smallint), cast(-2147483648 as int), "
            "-9223372036854775807 - 1, cast(99999999999999999999999999999999999999 as decimal(38,0)), "
            "cast('NaN' as double precision), cast('-Infinity' as double precision)"
        )
        ran = shell(server, protocol, "-B", "-q", query)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.split() == [
            "-128",
            "-32768",
            "-2147483648",
            "-9223372036854775808",
            "9" * 38,
            # Python's way of writing them.
            "nan",
            "-inf",
        ]

    def test_bytes_that_are_no_text(self, server, protocol, tmp_path, duck):
        """A BINARY column of a Parquet file, with bytes that are not UTF-8."""
        file = tmp_path / "bytes.parquet"
        made = "SELECT '\\xFF\\xFE'::BLOB AS b UNION ALL SELECT 'plain'::BLOB UNION ALL SELECT NULL"
        duck.execute(f"COPY ({made}) TO '{file}' (FORMAT parquet)")
        name = f"raw_{protocol.replace('-', '_')}"
        with server.connect() as db:
            db.execute(f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{file}'")
        try:
            ran = shell(server, protocol, "-B", "-q", f"select b from {name}", text=False)
            assert ran.returncode == 0, ran.stderr
            # The shell writes what it cannot decode as U+FFFD.
            expected = {"��".encode(), b"plain", b"NULL"}
            assert set(ran.stdout.splitlines()) == expected
        finally:
            with server.connect() as db:
                db.execute(f"DROP TABLE {name}")

    def test_a_million_rows_into_a_file(self, start, protocol, tmp_path):
        """All rows are there, each once, and the server does not keep the result."""
        server = start()
        rows, wide = 1_000_000, "x" * 100
        query = f"select i, concat('{wide}', cast(i as string)) from generate_series(1, {rows}) as g(i)"
        # What the process needs for any query at all is there before it is measured.
        warm = shell(server, protocol, "-B", "-q", query.replace(str(rows), "10000"))
        assert warm.returncode == 0, warm.stderr
        out = tmp_path / "out.csv"
        before = resident_mib(server)
        ran = shell(server, protocol, "-B", "--output_delimiter=,", "-o", out, "-q", query)
        assert ran.returncode == 0, ran.stderr
        assert f"Fetched {rows} row(s)" in ran.stderr
        # Without an order the rows come in any.
        written = sorted(out.read_bytes().splitlines(keepends=True))
        expected = sorted(b"%d,%s%d\n" % (i, wide.encode(), i) for i in range(1, rows + 1))
        assert digest(written) == digest(expected)
        grown, size = peak_mib(server) - before, out.stat().st_size >> 20
        # pytest keeps the folders of several runs.
        out.unlink()
        assert grown < 100, f"{size} MiB of result, {grown} MiB of memory"


def digest(lines: list[bytes]) -> str:
    """A checksum: millions of lines are not to be shown where they differ."""
    return hashlib.sha256(b"".join(lines)).hexdigest()


def status_mib(server: Server, name: str) -> int:
    """A line of the process's status, in MiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)[1]) >> 10


def resident_mib(server: Server) -> int:
    """Memory that the server has now; its peak is counted from here."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    return status_mib(server, "VmRSS")


def peak_mib(server: Server) -> int:
    """The most that it has had since."""
    return status_mib(server, "VmHWM")


class TestTerminal:
    """At a pseudo terminal."""

    @pytest.fixture
    def open_shell(self, tmp_path) -> Iterator[Callable[..., Terminal]]:
        """Starts a shell, and waits for its prompt."""
        terminals: list[Terminal] = []

        def open_shell(server: Server, protocol: str, *arguments: str) -> Terminal:
            terminals.append(Terminal(SHELL, *address(server, protocol), *arguments, home=tmp_path))
            terminals[-1].expect(PROMPT)
            return terminals[-1]

        yield open_shell
        for terminal in terminals:
            terminal.close()

    def test_a_session(self, server, protocol, open_shell):
        """Query, summary, profile, options, another database, the end."""
        terminal = open_shell(server, protocol)
        terminal.send("select count(*) as n from lineitem, orders where l_orderkey = o_orderkey;")
        said = terminal.expect(r"Fetched 1 row\(s\) in [^\n]*\n")
        assert re.search(r"\| n +\|\n\+-+\+\n\| \d+ +\|", said)
        assert re.search(r"Query state can be monitored at: http://\S+query_id=[0-9a-f:]{33}", said)
        terminal.expect(PROMPT)
        terminal.send("summary;")
        said = terminal.expect(PROMPT)
        head = [cell.strip() for cell in said.splitlines()[2].strip("|").split("|")]
        assert head[:4] == ["Operator", "#Hosts", "#Inst", "Avg Time"]
        assert "HASH JOIN" in said and "SCAN" in said
        terminal.send("profile;")
        said = terminal.expect(PROMPT)
        assert "Query Runtime Profile:" in said
        assert "Sql Statement: select count(*) as n from lineitem, orders" in said
        terminal.send("profile all;")
        assert "Query Runtime Profile:" in terminal.expect(PROMPT)
        terminal.send("set mem_limit=64m;")
        assert "MEM_LIMIT set to 64m" in terminal.expect(PROMPT)
        terminal.send("set;")
        assert "MEM_LIMIT: 64m" in terminal.expect(PROMPT)
        terminal.send("unset mem_limit;")
        terminal.expect(PROMPT)
        terminal.send("create database shelf;")
        terminal.expect(PROMPT)
        terminal.send("use shelf;")
        terminal.expect(r"\] shelf> $")
        terminal.send("use default;")
        terminal.expect(r"\] default> $")
        terminal.send("drop database shelf;")
        terminal.expect(PROMPT)
        terminal.send("quit;")
        assert terminal.wait() == 0

    def test_a_statement_without_a_plan_has_no_summary(self, server, protocol, open_shell):
        terminal = open_shell(server, protocol)
        for statement in ["describe nation;", "show tables;", "show databases;", "show roles;"]:
            terminal.send(statement)
            terminal.expect(PROMPT)
            terminal.send("summary;")
            assert "Summary not available" in terminal.expect(PROMPT), statement

    def test_progress(self, server, protocol, open_shell):
        """Both kinds are shown while a query runs."""
        terminal = open_shell(server, protocol, "--live_progress", "--live_summary")
        # Longer than anybody waits.
        terminal.send("select count(*) from lineitem, generate_series(1, 1000000);")
        terminal.expect(r"Scan Progress:\[#* *\] \d+%\n")
        terminal.expect(r"\| Operator ")
        terminal.expect(r"\d\d:SCAN ")
        terminal.interrupt()
        terminal.expect("Cancelling Query")
        terminal.expect(PROMPT)

    def test_interrupt(self, start, protocol, open_shell, sample):
        """Ctrl-C cancels the query on the server, and gives its slot back."""
        server = start()
        with server.connect() as db:
            db.execute("CREATE RESOURCE QUEUE one WITH (ACTIVE_STATEMENTS=1)")
            db.execute("CREATE ROLE ada LOGIN PASSWORD 's3cret' RESOURCE QUEUE one")
        who = ["-l", "-u", "ada", "--ldap_password_cmd=printf s3cret", "--auth_creds_ok_in_clear"]
        terminal = open_shell(server, protocol, *who)
        terminal.send("select sleep(3600000);")
        query = wait_until(lambda: in_flight(server, "select sleep(3600000)"), "it runs")
        # Before the shell has the handle it has nothing to cancel.
        terminal.expect("Query state can be monitored at")
        terminal.interrupt()
        said = terminal.expect(PROMPT)
        assert "Cancelling Query" in said
        wait_until(lambda: ended(server, query), "it has ended")
        assert ended(server, query)["state"] in ("CANCELLED", "EXCEPTION")
        assert not in_flight(server, "select sleep(3600000)")
        # The one slot is free again, and the shell as good as before.
        terminal.send("select 40 + 2 as answer;")
        assert re.search(r"\| 42 +\|", terminal.expect(r"Fetched 1 row"))

    def test_interrupt_while_rows_come(self, server, protocol, open_shell):
        """Ctrl-C in the middle of a result of which most was not fetched."""
        terminal = open_shell(server, protocol, "-B")
        statement = "select l_orderkey, l_comment from lineitem, generate_series(1, 100)"
        terminal.send(f"{statement};")
        terminal.expect(r"\d+\t\w")
        query = in_flight(server, statement)
        assert query
        terminal.interrupt()
        terminal.expect("Cancelling Query")
        wait_until(lambda: ended(server, query), "it has ended")
        terminal.expect(PROMPT)
        terminal.send("select 40 + 2;")
        terminal.expect(r"\n42\n")

    def test_the_server_starts_again(self, start, protocol, open_shell, tmp_path):
        """The shell connects again by itself with the next statement."""
        server = start()
        terminal = open_shell(server, protocol)
        terminal.send("select 1;")
        terminal.expect("Fetched 1 row")
        terminal.expect(PROMPT)
        server.stop()
        ports = {"hs2_listen": server.hs2_port, "hs2_http_listen": server.hs2_http_port}
        start(**{name: f"{server.host}:{port}" for name, port in ports.items()})
        terminal.send("select 40 + 2;")
        said = terminal.expect(r"\| 42 +\|")
        assert "Connection lost, reconnecting" in said
        terminal.expect(PROMPT)


def in_flight(server: Server, statement: str) -> str | None:
    """The id of a query that has not ended."""
    queries = server.page("/queries?json")["in_flight_queries"]
    return next((q["query_id"] for q in queries if q["stmt"] == statement), None)


def ended(server: Server, query: str) -> dict | None:
    """A query that has ended."""
    queries = server.page("/queries?json")["completed_queries"]
    return next((q for q in queries if q["query_id"] == query), None)
