"""Impala's clients: impyla and impala-shell, over TCP and over HTTP."""

from __future__ import annotations

import base64
import datetime
import decimal
import getpass
import json
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from impala import dbapi
from impala._thrift_gen.RuntimeProfile.ttypes import TRuntimeProfileFormat
from impala.error import HiveServer2Error, OperationalError

from forebay import PATIENCE_S, TPCH_TABLES, Server, wait_until

SHELL = Path(sys.executable).with_name("impala-shell")
TRANSPORTS = ["binary", "http"]


def connect(server: Server, transport: str = "binary", **options) -> dbapi.HiveServer2Connection:
    """A connection of impyla."""
    options = {"user": getpass.getuser(), "timeout": PATIENCE_S} | options
    if transport == "http":
        options |= {"port": server.hs2_http_port, "use_http_transport": True}
        options.setdefault("auth_mechanism", "NOSASL")
    else:
        options |= {"port": server.hs2_port}
        options.setdefault("auth_mechanism", "NOSASL")
    return dbapi.connect(host=server.host, **options)


@pytest.fixture(params=TRANSPORTS)
def impyla(request: pytest.FixtureRequest, server: Server) -> Iterator[dbapi.HiveServer2Connection]:
    """A connection over each transport."""
    with connect(server, request.param) as connection:
        yield connection


def rows(connection: dbapi.HiveServer2Connection, sql: str, **options) -> list[tuple]:
    """All rows of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, **options)
        return cursor.fetchall()


class TestImpyla:
    def test_values(self, impyla):
        with impyla.cursor() as cursor:
            cursor.execute(
                "SELECT 1, cast(2 as smallint), 3000000000, 1.5, cast(0.25 as double precision), "
                "'ä', true, NULL, date '2024-02-29', timestamp '2024-02-29 12:34:56.789'"
            )
            assert cursor.fetchall() == [
                (
                    1,
                    2,
                    3_000_000_000,
                    decimal.Decimal("1.5"),
                    0.25,
                    "ä",
                    True,
                    None,
                    datetime.date(2024, 2, 29),
                    datetime.datetime(2024, 2, 29, 12, 34, 56, 789000),
                )
            ]
            kinds = [column[1] for column in cursor.description]
            assert kinds[:7] == ["INT", "SMALLINT", "BIGINT", "DECIMAL", "DOUBLE", "STRING", "BOOLEAN"]

    def test_columns_are_named_after_their_expressions(self, impyla):
        with impyla.cursor() as cursor:
            cursor.execute("select count(*), n_name from nation group by n_name")
            assert [column[0] for column in cursor.description] == ["count(*)", "n_name"]

    def test_no_rows(self, impyla):
        with impyla.cursor() as cursor:
            cursor.execute("select n_name from nation where false")
            assert cursor.description[0][0] == "n_name"
            assert cursor.fetchall() == []

    def test_many_rows(self, impyla):
        with impyla.cursor() as cursor:
            cursor.execute("select l_orderkey, l_comment from lineitem")
            keys = [row[0] for row in cursor]
        assert len(keys) == rows(impyla, "select count(*) from lineitem")[0][0]
        assert sum(keys) == rows(impyla, "select sum(l_orderkey) from lineitem")[0][0]

    def test_part_of_a_result(self, impyla):
        with impyla.cursor() as cursor:
            cursor.execute("select l_orderkey from lineitem")
            assert len(cursor.fetchmany(10)) == 10
        assert rows(impyla, "select 1") == [(1,)]

    def test_errors(self, impyla):
        with impyla.cursor() as cursor:
            with pytest.raises((HiveServer2Error, OperationalError), match="AnalysisException"):
                cursor.execute("select nothing from nation")
            with pytest.raises((HiveServer2Error, OperationalError), match="ParseException"):
                cursor.execute("selec 1")
            with pytest.raises((HiveServer2Error, OperationalError), match="decimal by zero"):
                cursor.execute("select 1.5 / (n_nationkey - n_nationkey) from nation")
                cursor.fetchall()
            cursor.execute("select 1")
            assert cursor.fetchall() == [(1,)]

    def test_metadata(self, impyla):
        with impyla.cursor() as cursor:
            assert "default" in [row[0] for row in cursor_rows(cursor, cursor.get_databases)]
            cursor.get_tables()
            assert set(TPCH_TABLES) <= {row[2] for row in cursor.fetchall()}
            schema = dict(cursor.get_table_schema("nation", "default"))
            assert schema["n_nationkey"] in ("INT", "BIGINT")
            assert schema["n_name"] == "STRING"
            assert cursor.table_exists("region", "default")
            assert not cursor.table_exists("nowhere", "default")
            assert cursor.database_exists("default")
            cursor.get_functions("_impala_builtins")
            assert "abs" in {row[2] for row in cursor.fetchall()}

    def test_profile_and_summary(self, impyla):
        with impyla.cursor() as cursor:
            cursor.execute("select count(*) from lineitem, orders where l_orderkey = o_orderkey")
            cursor.fetchall()
            profile = cursor.get_profile()
            assert "select count(*) from lineitem" in profile
            encoded = cursor.get_profile(profile_format=TRuntimeProfileFormat.BASE64)
            assert b"select count(*) from lineitem" in zlib.decompress(base64.b64decode(encoded))
            tree = cursor.get_profile(profile_format=TRuntimeProfileFormat.THRIFT)
            assert [node.name for node in tree.nodes[:3]] == [
                profile.partition(":\n")[0], "Summary", "ImpalaServer"
            ]
            infos = tree.nodes[1].info_strings
            assert infos["Sql Statement"] in profile
            assert (infos["Session Type"], infos["Default Db"]) == ("HIVESERVER2", "default")
            assert tree.nodes[0].num_children == 4
            contents = json.loads(cursor.get_profile(profile_format=TRuntimeProfileFormat.JSON))["contents"]
            assert contents["profile_name"] == tree.nodes[0].name
            summary = cursor.get_summary()
            assert summary is not None
            log = cursor.get_log()
            assert "WARNING" not in log
            assert re.search(r"^Query [0-9a-f:]+: 100% Complete \((\d+) out of \1\)\n", log)

    def test_options(self, impyla):
        settings = {"MEM_LIMIT": "64m", "request_pool": ""}
        assert rows(impyla, "select 1", configuration=settings) == [(1,)]
        with pytest.raises((HiveServer2Error, OperationalError), match="Invalid query option: nonsense"):
            rows(impyla, "select 1", configuration={"nonsense": "1"})
        with pytest.raises((HiveServer2Error, OperationalError), match="REQUEST_POOL|pool 'elsewhere'"):
            rows(impyla, "select 1", configuration={"REQUEST_POOL": "elsewhere"})

    def test_cancel(self, impyla, db):
        with impyla.cursor() as cursor:
            cursor.execute_async("select sleep(60000)")
            active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'select sleep%'"
            wait_until(lambda: db.execute(active).fetchone()[0] == 1, "it runs")
            cursor.cancel_operation(reset_state=False)
            wait_until(lambda: db.execute(active).fetchone()[0] == 0, "it has ended")

    def test_a_pool_that_waits_says_so(self, start):
        server = start()
        with server.connect() as db:
            db.execute("CREATE RESOURCE QUEUE one WITH (ACTIVE_STATEMENTS=1)")
            db.execute("CREATE ROLE ada LOGIN RESOURCE QUEUE one")
        with connect(server, user="ada", password="none", auth_mechanism="PLAIN") as connection:
            first, second = connection.cursor(), connection.cursor()
            first.execute_async("select sleep(60000)", configuration={"REQUEST_POOL": "one"})
            wait_until(lambda: first.status() == "RUNNING_STATE", "the first runs")
            second.execute_async("select 1")
            wait_until(lambda: second.status() == "PENDING_STATE", "the second waits")
            assert "slot" in second.get_log()
            first.cancel_operation()
            wait_until(lambda: second.status() == "FINISHED_STATE", "the second has run")
            assert second.fetchall() == [(1,)]


def cursor_rows(cursor, ask: Callable[[], None]) -> list[tuple]:
    """The rows of a metadata call."""
    ask()
    return cursor.fetchall()


class TestPasswords:
    @pytest.fixture(scope="class")
    def guarded(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        """A server with a role that has a password."""
        server = Server(tmp_path_factory.mktemp("guarded") / "data")
        with server.connect() as db:
            db.execute("CREATE ROLE ada LOGIN PASSWORD 's3cret'")
        yield server
        server.stop()

    @pytest.mark.parametrize("mechanism", ["PLAIN", "LDAP"])
    def test_over_tcp(self, guarded, mechanism):
        options = {"user": "ada", "auth_mechanism": mechanism}
        with connect(guarded, password="s3cret", **options) as connection:
            assert rows(connection, "select user()") == [("ada",)]
        with pytest.raises(Exception, match="password authentication failed"):
            connect(guarded, password="wrong", **options).cursor()

    def test_over_http(self, guarded):
        options = {"user": "ada", "auth_mechanism": "LDAP"}
        with connect(guarded, "http", password="s3cret", **options) as connection:
            assert rows(connection, "select user()") == [("ada",)]
        with pytest.raises(Exception, match="401|Unauthorized"):
            connect(guarded, "http", password="wrong", **options).cursor()

    @pytest.mark.parametrize(
        ("user", "why"), [("ada", "must log in with a password"), ("nobody_at_all", "does not exist")]
    )
    def test_without(self, guarded, user, why):
        where = f"{guarded.host}:{guarded.hs2_port}"
        ran = subprocess.run(
            [SHELL, "-i", where, "-u", user, "-q", "select 1"],
            capture_output=True,
            check=False,
            text=True,
            timeout=PATIENCE_S,
        )
        assert ran.returncode != 0
        assert why in ran.stderr


class TestShell:
    @pytest.fixture(params=TRANSPORTS)
    def shell(self, request, server) -> Callable[..., subprocess.CompletedProcess[str]]:
        """Runs impala-shell over each transport."""
        binary = request.param == "binary"
        port = server.hs2_port if binary else server.hs2_http_port
        protocol = "hs2" if binary else "hs2-http"

        def shell(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
            command = [SHELL, f"--protocol={protocol}", "-i", f"{server.host}:{port}", *arguments]
            return subprocess.run(
                command, input=stdin, capture_output=True, check=False, text=True, timeout=PATIENCE_S
            )

        return shell

    def test_query(self, shell):
        ran = shell("-B", "--output_delimiter=|", "-q", "select n_nationkey, n_name from nation order by 1 limit 2")
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout == "0|ALGERIA\n1|ARGENTINA\n"
        assert "Fetched 2 row(s)" in ran.stderr

    def test_table(self, shell):
        ran = shell("-q", "select n_name, NULL as nothing from nation order by 1 limit 1")
        assert ran.returncode == 0, ran.stderr
        lines = [
            "+---------+---------+",
            "| n_name  | nothing |",
            "+---------+---------+",
            "| ALGERIA | NULL    |",
            "+---------+---------+",
        ]
        assert ran.stdout.splitlines() == lines

    def test_file(self, shell, tmp_path):
        script = tmp_path / "script.sql"
        script.write_text("use default;\nshow tables like 'n*|r*';\n-- a comment\nselect version();\n")
        ran = shell("-B", "-f", str(script))
        assert ran.returncode == 0, ran.stderr
        first, second, version = ran.stdout.splitlines()
        assert (first, second) == ("nation", "region")
        assert "Forebay" in version

    def test_errors(self, shell):
        ran = shell("-q", "select nothing from nation")
        assert ran.returncode == 1
        assert "AnalysisException" in ran.stderr
        assert re.search(r"Query [0-9a-f]{16}:[0-9a-f]{16} failed", ran.stderr)

    def test_statements(self, shell):
        ran = shell("-B", "-q", "describe nation; show databases; invalidate metadata; explain select 1; compute stats nation")
        assert ran.returncode == 0, ran.stderr
        assert "n_name\tstring" in ran.stdout
        assert "default" in ran.stdout
        assert "Updated 1 partition(s) and 4 column(s)." in ran.stdout

    def test_profile_and_summary(self, shell):
        ran = shell(stdin="select count(*) from region;\nsummary;\nprofile;\nset mem_limit=64m;\nset;\nquit;\n")
        assert ran.returncode == 0, ran.stderr
        assert "Operator" in ran.stdout
        assert "select count(*) from region" in ran.stdout
        assert "MEM_LIMIT: 64m" in ran.stdout

    def test_many_rows(self, shell):
        ran = shell("-B", "-q", "select l_orderkey from lineitem")
        assert ran.returncode == 0, ran.stderr
        assert len(ran.stdout.splitlines()) > 500_000


class TestClosing:
    def test_one_of_many_closes(self, server):
        with connect(server) as connection:
            cursor = connection.cursor()
            cursor.execute("select n_name from nation")
            handle = cursor._last_operation.handle
            rpcs = [connect(server) for _ in range(10)]
            outcomes: list[str] = []
            barrier = threading.Barrier(len(rpcs))

            def close(other) -> None:
                from impala._thrift_gen.TCLIService.ttypes import TCloseOperationReq

                request = TCloseOperationReq(operationHandle=handle)
                barrier.wait()
                status = other.service.client.CloseOperation(request).status
                outcomes.append(status.errorMessage or "closed")

            threads = [threading.Thread(target=close, args=[other]) for other in rpcs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for other in rpcs:
                other.close()
            outcomes.sort()
            assert outcomes[-1] == "closed"
            assert len(outcomes) == 10
            assert all("Invalid or unknown query handle" in outcome for outcome in outcomes[:9])


class TestMalformed:
    @pytest.mark.parametrize(
        "sent",
        [
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x80\x01\x00\x01\x7f\xff\xff\xff",
            b"\x80\x01\x00\x01\x00\x00\x00\x01M\x00\x00\x00\x00\x0f\x00\x01\x0c\x7f\xff\xff\xff",
            b"\x80\x01\x00\x01\x00\x00\x00\x01M\x00\x00\x00\x00\x0b\x00\x01\xff\xff\xff\xff",
            b"\x01\x00\x00\x00\x06GSSAPI",
            b"\x02\x00\x00\x00\x00",
        ],
    )
    def test_the_connection_is_cut_off_and_the_server_goes_on(self, server, sent):
        import socket

        with socket.create_connection((server.host, server.hs2_port), timeout=PATIENCE_S) as wire:
            wire.sendall(sent)
            while wire.recv(4096):
                pass
        with connect(server) as connection:
            assert rows(connection, "select 1") == [(1,)]

    def test_an_unknown_method_is_refused(self, server):
        import socket

        call = b"\x80\x01\x00\x01\x00\x00\x00\x07Nothing\x00\x00\x00\x05\x00"
        with socket.create_connection((server.host, server.hs2_port), timeout=PATIENCE_S) as wire:
            wire.sendall(call)
            answer = wire.recv(4096)
        assert answer.startswith(b"\x80\x01\x00\x03\x00\x00\x00\x07Nothing\x00\x00\x00\x05")
        assert b"Invalid method name: 'Nothing'" in answer
