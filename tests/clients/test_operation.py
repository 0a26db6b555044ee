"""Running a server: start, stop, files good and bad, crashes, logins, limits, other sessions."""

from __future__ import annotations

import contextlib
import getpass
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg
import pytest

from forebay import BINARY, Server, environment, run, wait_until

BIG = "SELECT count(*) FROM lineitem a, lineitem b, lineitem c WHERE a.l_comment < b.l_comment || c.l_comment"


class Statement(threading.Thread):
    """A statement that runs in a session of its own, in the background."""

    def __init__(self, server: Server, text: str, **options):
        super().__init__(daemon=True)
        self.db = server.connect(**options)
        self.pid = self.db.info.backend_pid
        self.text = text
        self.rows: list[tuple] | None = None
        self.error: psycopg.Error | None = None
        self.start()
        with server.connect() as watcher:
            active = (
                "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND query = %s"
            )
            wait_until(lambda: watcher.execute(active, [self.pid, text]).fetchone(), f"{text} runs")

    def run(self) -> None:
        try:
            self.rows = self.db.execute(self.text).fetchall()
        except psycopg.Error as error:
            self.error = error
        finally:
            self.db.close()


def serve(data_dir: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A server that is expected not to start."""
    listeners = ["--web-listen", "off", "--hs2-listen", "off", "--hs2-http-listen", "off"]
    return run("serve", *listeners, "--data-dir", data_dir, *arguments)


def write_parquet(path: Path, query: str) -> Path:
    """Writes the rows of a query to a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.sql(query).write_parquet(str(path))
    return path


class TestStart:
    def test_two_servers_on_one_data_directory(self, start: Callable[..., Server]):
        """The second says why it cannot, and the first does not notice."""
        first = start()
        second = serve(first.data_dir, "--pg-listen", "127.0.0.1:0")
        assert second.returncode == 1
        assert str(first.data_dir) in second.stderr
        assert "another" in second.stderr
        assert "panicked" not in second.stderr
        with first.connect() as db:
            assert db.execute("SELECT 1").fetchone() == (1,)

    def test_data_directory_is_free_again_after_kill(self, start: Callable[..., Server]):
        """A lock does not outlive its process."""
        first = start()
        first.kill()
        with start().connect() as db:
            assert db.execute("SELECT 1").fetchone() == (1,)

    def test_port_taken(self, tmp_path: Path):
        """The message names the address and the flag."""
        with closing(socket.create_server(("127.0.0.1", 0))) as other:
            address = f"127.0.0.1:{other.getsockname()[1]}"
            refused = serve(tmp_path / "data", "--pg-listen", address)
        assert refused.returncode == 1
        assert address in refused.stderr
        assert "--pg-listen" in refused.stderr

    def test_data_directory_that_is_a_file(self, tmp_path: Path):
        (tmp_path / "data").write_text("not a folder")
        refused = serve(tmp_path / "data", "--pg-listen", "127.0.0.1:0")
        assert refused.returncode == 1
        assert str(tmp_path / "data") in refused.stderr

    def test_sample_is_made_at_first_start_and_kept(self, start: Callable[..., Server]):
        first = start("--sample", "tpch")
        files = sorted(first.data_dir.glob("sample/tpch/*/*.parquet"))
        assert len(files) == 8
        made = [file.stat().st_mtime_ns for file in files]
        first.stop()
        with start("--sample", "tpch").connect() as db:
            assert db.execute("SELECT count(*) FROM lineitem").fetchone() == (600572,)
        assert [file.stat().st_mtime_ns for file in files] == made


class TestConfig:
    def test_where_each_value_came_from(self, tmp_path: Path):
        """The command line wins over the environment, the environment over the file."""
        file = tmp_path / "forebay.toml"
        file.write_text('pg_listen = "127.0.0.1:1111"\nmax_connections = 11\nbatch-size = 1024\n')
        effective = run(
            *["config", "--config", file, "--pg-listen", "127.0.0.1:3333"],
            env={"FOREBAY_PG_LISTEN": "127.0.0.1:2222", "FOREBAY_MAX_CONNECTIONS": "22"},
        )
        assert effective.returncode == 0, effective.stderr
        lines = {line.split(" = ")[0]: line for line in effective.stdout.splitlines()}
        assert '"127.0.0.1:3333"' in lines["pg_listen"]
        assert "--pg-listen" in lines["pg_listen"]
        assert "22" in lines["max_connections"]
        assert "FOREBAY_MAX_CONNECTIONS" in lines["max_connections"]
        assert "1024" in lines["batch_size"]
        assert str(file) in lines["batch_size"]
        assert "default" in lines["shutdown_grace"]

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("max_conections = 5", "max_conections"),
            ('max_connections = "many"', "max_connections"),
            ('shutdown_grace = "soon"', "shutdown_grace"),
            ("pg_listen = ", "forebay.toml"),
        ],
    )
    def test_bad_file(self, text: str, complaint: str, tmp_path: Path):
        file = tmp_path / "forebay.toml"
        file.write_text(text)
        refused = run("config", "--config", file)
        assert refused.returncode != 0
        assert complaint in refused.stderr
        assert str(file) in refused.stderr

    def test_missing_file(self, tmp_path: Path):
        refused = run("serve", "--config", tmp_path / "absent.toml")
        assert refused.returncode != 0
        assert "absent.toml" in refused.stderr

    def test_bad_flag_value(self):
        refused = run("serve", "--pg-listen", "nowhere")
        assert refused.returncode != 0
        assert "pg-listen" in refused.stderr

    @pytest.mark.parametrize(
        "command", [[], ["serve"], ["config"], ["tpch", "generate"], ["bench", "tpch"]]
    )
    def test_help(self, command: list[str]):
        shown = run(*command, "--help")
        assert shown.returncode == 0
        assert f"Usage: {BINARY.name}" in shown.stdout


class TestStop:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_nothing_runs(self, number: int, start: Callable[..., Server]):
        """Idle sessions are told 57P01, and the exit code is 0."""
        server = start()
        with server.connect() as db:
            server.signal(number)
            assert server.wait() == 0
            with pytest.raises(psycopg.OperationalError) as caught:
                db.execute("SELECT 1")
        assert caught.value.sqlstate in ("57P01", None)

    def test_a_running_statement_finishes(self, start: Callable[..., Server]):
        server = start("--shutdown-grace", "1h")
        running = Statement(server, "SELECT pg_sleep(2), 'finished'")
        server.signal(signal.SIGTERM)
        running.join()
        assert running.error is None
        assert running.rows[0][1] == "finished"
        assert server.wait() == 0

    def test_nobody_new_while_it_stops(self, start: Callable[..., Server]):
        server = start("--shutdown-grace", "1h")
        running = Statement(server, "SELECT pg_sleep(3600)")
        server.signal(signal.SIGTERM)

        def refused() -> bool:
            try:
                server.connect().close()
            except psycopg.OperationalError:
                return True
            return False

        wait_until(refused, "new connections are refused")
        assert not server.ended
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        running.join()
        assert running.error.sqlstate in ("57P01", "57014")

    @pytest.mark.parametrize("text", ["SELECT pg_sleep(3600)", BIG], ids=["asleep", "busy"])
    def test_grace_ends(self, text: str, start: Callable[..., Server], sample: Path):
        """What still runs then is cancelled."""
        server = start(sample, "--shutdown-grace", "100ms")
        running = Statement(server, text)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        running.join()
        assert running.error.sqlstate in ("57P01", "57014")

    def test_a_second_signal_stops_at_once(self, start: Callable[..., Server], sample: Path):
        server = start(sample, "--shutdown-grace", "1h")
        running = Statement(server, BIG)
        server.signal(signal.SIGTERM)
        wait_until(lambda: "Stopping" in server.log, "the first signal is seen")
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        running.join()
        assert running.error is not None


class TestFiles:
    def test_every_format(self, start: Callable[..., Server], tmp_path: Path):
        """Parquet, CSV, TSV and newline-delimited JSON, plain and compressed."""
        files = tmp_path / "files"
        write_parquet(
            files / "Some Things.parquet", "SELECT 1 AS id, 'one' AS name UNION ALL SELECT 2, 'two'"
        )
        (files / "people.csv").write_text(
            'id,name,born\n1,"Ada, Countess",1815-12-10\n2,Grace,1906-12-09\n'
        )
        (files / "tabs.tsv").write_text("a\tb\n1\tx y\n")
        (files / "events.ndjson").write_text(
            '{"at": "2024-01-01", "n": 1}\n{"at": "2024-01-02", "n": 2.5}\n'
        )
        (files / "more.jsonl").write_text('{"ok": true}\n')
        subprocess.run(["gzip", "-k", files / "people.csv"], check=True)
        (files / "people.csv.gz").rename(files / "zipped.csv.gz")
        server = start(*sorted(files.iterdir()))
        with server.connect() as db:

            def ask(query: str) -> list[tuple]:
                return db.execute(query).fetchall()

            assert ask("SELECT * FROM some_things ORDER BY id") == [(1, "one"), (2, "two")]
            names = [("Ada, Countess", 1815), ("Grace", 1906)]
            for table in ("people", "zipped"):
                assert (
                    ask(f"SELECT name, extract(year FROM born)::int FROM {table} ORDER BY id")
                    == names
                )
            assert ask("SELECT a, b FROM tabs") == [(1, "x y")]
            assert ask("SELECT sum(n) FROM events") == [(3.5,)]
            assert ask("SELECT ok FROM more") == [(True,)]

    def test_partitioned_folder(self, start: Callable[..., Server], tmp_path: Path):
        """key=value/ becomes a column, also two of them, and files below are all read."""
        for year in (2023, 2024):
            for month in (1, 2):
                write_parquet(
                    tmp_path / f"sales/year={year}/month={month}/part-0.parquet",
                    f"SELECT {year * 100 + month} AS amount",
                )
        with start(tmp_path / "sales").connect() as db:
            rows = db.execute(
                "SELECT year::int, sum(amount) FROM sales GROUP BY 1 ORDER BY 1"
            ).fetchall()
            assert rows == [(2023, 202301 + 202302), (2024, 202401 + 202402)]
            query = "SELECT amount FROM sales WHERE year = '2024' AND month = '2'"
            assert db.execute(query).fetchall() == [(202402,)]
            assert len(db.execute("SELECT * FROM sales LIMIT 1").description) == 3

    def test_bad_files_are_named_and_the_others_served(
        self, start: Callable[..., Server], tmp_path: Path
    ):
        good = write_parquet(tmp_path / "good.parquet", "SELECT 42 AS answer")
        bad = tmp_path / "bad.parquet"
        bad.write_bytes(b"this is no Parquet file" * 10)
        empty = tmp_path / "empty.parquet"
        empty.touch()
        odd = tmp_path / "notes.txt"
        odd.write_text("notes")
        absent = tmp_path / "absent.csv"
        server = start(bad, good, empty, odd, absent)
        for path in (bad, empty, odd, absent):
            complaint = [
                line
                for line in server.log.splitlines()
                if "not served" in line and str(path) in line
            ]
            assert len(complaint) == 1, (path, server.log)
        with server.connect() as db:
            assert db.execute("SELECT answer FROM good").fetchone() == (42,)
            with pytest.raises(psycopg.errors.UndefinedTable):
                db.execute("SELECT * FROM bad")

    @pytest.mark.parametrize("damage", ["data", "tail", "gone"])
    def test_file_that_goes_bad(self, damage: str, start: Callable[..., Server], tmp_path: Path):
        """The error names the file, and the server goes on."""
        folder = tmp_path / "table"
        write_parquet(
            folder / "a.parquet", "SELECT range AS n, md5(range::text) AS t FROM range(200000)"
        )
        victim = write_parquet(
            folder / "b.parquet", "SELECT range AS n, md5(range::text) AS t FROM range(200000)"
        )
        server = start(folder)
        content = bytearray(victim.read_bytes())
        if damage == "data":
            middle = len(content) // 2
            content[100:middle] = bytes(middle - 100)
            victim.write_bytes(content)
        elif damage == "tail":
            victim.write_bytes(content[: len(content) // 2])
        else:
            victim.unlink()
        with server.connect() as db:
            if damage != "gone":
                with pytest.raises(psycopg.Error) as caught:
                    db.execute(
                        "SELECT count(*), max(t), sum(n) FROM table".replace("table", '"table"')
                    )
                diag = caught.value.diag
                said = f"{diag.message_primary} {diag.message_detail} {diag.context}"
                assert "b.parquet" in said, said
                assert caught.value.sqlstate != "XX000", said
            assert db.execute("SELECT 1").fetchone() == (1,)
        server.stop()
        assert "panicked" not in server.log


class TestDurability:
    def test_after_kill(self, start: Callable[..., Server], tmp_path: Path):
        """Views, roles, schemas, settings of roles and external tables are there again."""
        file = write_parquet(tmp_path / "numbers.parquet", "SELECT range AS n FROM range(10)")
        server = start()
        with closing(server.connect()) as db:
            db.execute(f"CREATE EXTERNAL TABLE numbers STORED AS PARQUET LOCATION '{file}'")
            db.execute("CREATE SCHEMA kept")
            db.execute("CREATE VIEW kept.evens AS SELECT n FROM numbers WHERE n % 2 = 0")
            db.execute("CREATE ROLE reader LOGIN PASSWORD 'secret'")
            db.execute("ALTER ROLE reader SET statement_timeout = '5s'")
            db.execute("CREATE VIEW dropped AS SELECT 1 AS one")
            db.execute("DROP VIEW dropped")
            db.execute("BEGIN")
            db.execute("CREATE VIEW uncommitted AS SELECT 1 AS one")
            server.kill()
        server = start()
        with server.connect() as db:
            assert db.execute("SELECT count(*), sum(n) FROM kept.evens").fetchone() == (5, 20)
            for name in ("dropped", "uncommitted"):
                with pytest.raises(psycopg.errors.UndefinedTable):
                    db.execute(f"SELECT * FROM {name}")
        with server.connect(user="reader", password="secret") as db:
            assert db.execute("SHOW statement_timeout").fetchone() == ("5s",)

    def test_killed_while_it_writes(self, start: Callable[..., Server]):
        """What was answered is there; what was not is there whole, or not at all."""
        answered = 0
        for round_ in range(5):
            server = start()
            with server.connect() as db:
                rows = db.execute(
                    "SELECT table_name FROM information_schema.views WHERE table_schema = 'public'"
                ).fetchall()
                assert len(rows) >= answered
                for (name,) in rows:
                    assert db.execute(f"SELECT n FROM {name}").fetchone() == (1,)
                answered = len(rows)
                killer = threading.Timer(0.3 + round_ * 0.05, server.process.kill)
                killer.start()
                with pytest.raises(psycopg.OperationalError):
                    for number in range(100_000):
                        db.execute(f"CREATE VIEW v_{round_}_{number} AS SELECT 1 AS n")
                        answered += 1
                server.wait()
        server = start()
        with server.connect() as db:
            (count,) = db.execute(
                "SELECT count(*) FROM information_schema.views WHERE table_schema = 'public'"
            ).fetchone()
            assert answered <= count <= answered + 1


class TestLogin:
    @pytest.fixture
    def roles(self, server: Server):
        """Roles with and without a password, and one that may not log in."""
        with server.connect() as db:
            db.execute("CREATE ROLE guarded LOGIN PASSWORD 'open sesame'")
            db.execute("CREATE USER plain PASSWORD 'pässwörd'")
            db.execute("CREATE ROLE nologin_role")
            yield db
            db.execute("DROP ROLE guarded, plain, nologin_role")

    def test_right_password(self, server: Server, roles):
        for user, password in (("guarded", "open sesame"), ("plain", "pässwörd")):
            with server.connect(user=user, password=password) as db:
                assert db.execute("SELECT current_user, session_user").fetchone() == (user, user)
                assert db.execute("SELECT count(*) FROM region").fetchone() == (5,)

    @pytest.mark.parametrize("password", ["wrong", "open sesame ", "OPEN SESAME"])
    def test_wrong_password(self, password: str, server: Server, roles):
        with pytest.raises(
            psycopg.OperationalError, match='password authentication failed for user "guarded"'
        ):
            server.connect(user="guarded", password=password)

    def test_sqlstates(self, server: Server, roles):
        """28P01 for a wrong password, 28000 for who may not, 3D000 for no such database."""
        assert self.refusal(server, user="guarded", password="wrong") == "28P01"
        assert self.refusal(server, user="nobody_at_all") in ("28000", "28P01")
        assert self.refusal(server, user="nologin_role") in ("28000", "28P01")
        assert self.refusal(server, dbname="no_such_database") == "3D000"

    def refusal(self, server: Server, **options: str) -> str:
        """Why a connection is refused."""
        options = {"host": server.host, "port": str(server.port), "dbname": "forebay"} | options
        info = psycopg.conninfo.make_conninfo(**options)
        with pytest.raises(psycopg.OperationalError) as caught:
            psycopg.connect(info)
        # psycopg keeps the message only; psql's verbose one has the state in front.
        ran = subprocess.run(
            ["psql", "-X", "-w", info, "-c", "SELECT 1"],
            env=environment() | {"PGOPTIONS": ""},
            capture_output=True,
            check=False,
            text=True,
        )
        assert ran.returncode == 2
        assert str(caught.value).splitlines()[0].split("FATAL:")[-1].strip() in ran.stderr
        return state_of_refusal(server, options)

    def test_names_of_the_database(self, server: Server):
        for name in ("forebay", "postgres", getpass.getuser()):
            with server.connect(dbname=name) as db:
                assert db.execute("SELECT count(*) FROM region").fetchone() == (5,)

    def test_changed_password(self, server: Server, roles):
        roles.execute("ALTER ROLE guarded PASSWORD 'new'")
        server.connect(user="guarded", password="new").close()
        with pytest.raises(psycopg.OperationalError):
            server.connect(user="guarded", password="open sesame")

    def test_no_secret_is_shown(self, server: Server, roles):
        """Neither in the log nor to others."""
        roles.execute("ALTER ROLE guarded PASSWORD 'top-secret-word'")
        assert "top-secret-word" not in server.log
        with server.connect(user="plain", password="pässwörd") as db:
            query = "SELECT count(*) FROM pg_roles WHERE rolpassword <> '********'"
            assert db.execute(query).fetchone() == (0,)

    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE ROLE another",
            "DROP ROLE guarded",
            "ALTER ROLE guarded SUPERUSER",
            "COPY (SELECT 1) TO '/tmp/never-written.parquet'",
            "SET SESSION AUTHORIZATION guarded",
            "SET ROLE guarded",
        ],
    )
    def test_what_only_superusers_may(self, statement: str, server: Server, roles):
        with (
            server.connect(user="plain", password="pässwörd") as db,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            db.execute(statement)

    def test_set_role(self, server: Server, roles):
        me = getpass.getuser()
        roles.execute("SET ROLE plain")
        assert roles.execute("SELECT current_user, session_user").fetchone() == ("plain", me)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            roles.execute("CREATE ROLE another")
        roles.execute("RESET ROLE")
        roles.execute("SET SESSION AUTHORIZATION plain")
        assert roles.execute("SELECT current_user, session_user").fetchone() == ("plain", "plain")
        roles.execute("RESET SESSION AUTHORIZATION")
        assert roles.execute("SELECT current_user, session_user").fetchone() == (me, me)


def state_of_refusal(server: Server, options: dict[str, str]) -> str:
    """The SQLSTATE with which the server refuses, read from asyncpg's error."""
    import asyncio

    import asyncpg

    async def connect() -> None:
        await asyncpg.connect(
            host=server.host,
            port=server.port,
            user=options.get("user", getpass.getuser()),
            password=options.get("password", ""),
            database=options["dbname"],
            ssl=False,
        )

    with pytest.raises(asyncpg.PostgresError) as caught:
        asyncio.run(connect())
    return caught.value.sqlstate


class TestActivity:
    def test_states(self, server: Server):
        """pg_stat_activity follows a session through its states."""
        me = getpass.getuser()
        with server.connect(application_name="watched") as db, server.connect() as watcher:

            def look() -> tuple:
                return watcher.execute(
                    "SELECT state, query, usename, application_name, datname, client_addr IS NOT NULL,"
                    " xact_start IS NOT NULL, backend_type FROM pg_stat_activity WHERE pid = %s",
                    [db.info.backend_pid],
                ).fetchone()

            def state(name: str, query: str, in_transaction: bool) -> tuple:
                return (
                    name,
                    query,
                    me,
                    "watched",
                    "forebay",
                    True,
                    in_transaction,
                    "client backend",
                )

            db.execute("SELECT 1 AS one")
            assert look() == state("idle", "SELECT 1 AS one", False)
            db.execute("BEGIN")
            assert look() == state("idle in transaction", "BEGIN", True)
            with pytest.raises(psycopg.errors.DivisionByZero):
                db.execute("SELECT 1/0")
            assert look() == state("idle in transaction (aborted)", "SELECT 1/0", True)
            db.execute("ROLLBACK")
            assert look() == state("idle", "ROLLBACK", False)
        with server.connect() as watcher:
            gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watched'"
            wait_until(lambda: watcher.execute(gone).fetchone() == (0,), "the session is gone")

    def test_running(self, server: Server, db: psycopg.Connection):
        running = Statement(server, "SELECT pg_sleep(3601)")
        row = db.execute(
            "SELECT state, query_start <= now(), state_change <= now(), query_id IS NOT NULL"
            " FROM pg_stat_activity WHERE pid = %s",
            [running.pid],
        ).fetchone()
        assert row == ("active", True, True, True)
        assert db.execute("SELECT pg_cancel_backend(%s)", [running.pid]).fetchone() == (True,)
        running.join()
        assert running.error.sqlstate == "57014"

    def test_terminate(self, server: Server, db: psycopg.Connection):
        running = Statement(server, "SELECT pg_sleep(3602)")
        assert db.execute("SELECT pg_terminate_backend(%s)", [running.pid]).fetchone() == (True,)
        running.join()
        assert running.error.sqlstate == "57P01"

    def test_terminate_idle(self, server: Server, db: psycopg.Connection):
        with server.connect() as idle:
            pid = idle.info.backend_pid
            assert db.execute("SELECT pg_terminate_backend(%s)", [pid]).fetchone() == (True,)
            gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
            wait_until(lambda: db.execute(gone, [pid]).fetchone() == (0,), "the session is gone")
            with pytest.raises(psycopg.OperationalError):
                idle.execute("SELECT 1")

    def test_nobody_to_cancel(self, db: psycopg.Connection):
        """A warning, and false."""
        notices = []
        db.add_notice_handler(lambda notice: notices.append(notice.severity))
        assert db.execute("SELECT pg_cancel_backend(999999)").fetchone() == (False,)
        assert notices == ["WARNING"]

    def test_others_may_not_cancel_a_superuser(self, server: Server, db: psycopg.Connection):
        db.execute("CREATE ROLE meddler LOGIN PASSWORD 'x'")
        try:
            with server.connect(user="meddler", password="x") as other:
                pid = db.info.backend_pid
                for function in ("pg_cancel_backend", "pg_terminate_backend"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        other.execute(f"SELECT {function}({pid})")
                hidden = "SELECT query FROM pg_stat_activity WHERE pid = %s"
                assert other.execute(hidden, [pid]).fetchone() == ("<insufficient privilege>",)
        finally:
            db.execute("DROP ROLE meddler")


class TestLimits:
    @pytest.mark.parametrize("text", ["SELECT pg_sleep(3600)", BIG], ids=["asleep", "busy"])
    def test_statement_timeout(self, text: str, db: psycopg.Connection):
        db.execute("SET statement_timeout = '200ms'")
        with pytest.raises(psycopg.errors.QueryCanceled, match="due to statement timeout"):
            db.execute(text)
        assert db.execute("SELECT 1").fetchone() == (1,)

    def test_idle_in_transaction(self, server: Server, db: psycopg.Connection):
        with server.connect() as idle:
            idle.execute("SET idle_in_transaction_session_timeout = '200ms'")
            idle.execute("BEGIN")
            gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
            pid = idle.info.backend_pid
            wait_until(lambda: db.execute(gone, [pid]).fetchone() == (0,), "the session is gone")
            with pytest.raises(psycopg.Error) as caught:
                idle.execute("SELECT 1")
        assert caught.value.sqlstate in ("25P03", None)

    def test_idle_outside_of_a_transaction_is_no_matter(
        self, server: Server, db: psycopg.Connection
    ):
        with server.connect() as idle:
            idle.execute("SET idle_in_transaction_session_timeout = '1ms'")
            db.execute("SELECT pg_sleep(0.3)")
            assert idle.execute("SELECT 1").fetchone() == (1,)

    def test_max_connections(self, start: Callable[..., Server]):
        """One more is refused with 53300; a place that is given back is taken again."""
        server = start("--max-connections", "2")
        with server.connect() as db:
            db.execute("CREATE ROLE guest LOGIN PASSWORD 'x'")
        guest = {"user": "guest", "password": "x"}
        options = {"dbname": "forebay"} | guest
        with server.connect(**guest) as first, server.connect(**guest) as second:
            assert state_of_refusal(server, options) == "53300"
            assert first.execute("SELECT 1").fetchone() == (1,)
            assert second.execute("SELECT 1").fetchone() == (1,)

        def again() -> bool:
            try:
                with server.connect(**guest) as db:
                    return db.execute("SELECT 1").fetchone() == (1,)
            except psycopg.OperationalError:
                return False

        wait_until(again, "a place is free again")

    def test_message_that_is_too_long(self, start: Callable[..., Server]):
        """Its connection ends; the server and the others go on."""
        server = start("--max-message-size", "1MB")
        with server.connect() as bystander:
            with server.connect() as db:
                with pytest.raises(psycopg.Error):
                    db.execute("SELECT '" + "x" * 2_000_000 + "'")
                    db.execute("SELECT 1")
            assert bystander.execute("SELECT 1").fetchone() == (1,)

    @pytest.mark.parametrize(
        "garbage",
        [
            b"",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            bytes(8),
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            b"\xff\xff\xff\xff\x00\x03\x00\x00",
            b"\x00\x00\x00\x09\x00\x03\x00\x00\x00",
            b"\x00\x00\x00\x04",
            bytes(range(256)) * 40,
        ],
        ids=["nothing", "http", "zeros", "ssl", "huge", "no-user", "short", "noise"],
    )
    def test_garbage_at_start_up(self, garbage: bytes, server: Server, db: psycopg.Connection):
        """A client that does not speak the protocol harms nobody."""
        with closing(socket.create_connection((server.host, server.port))) as client:
            client.sendall(garbage)
            client.settimeout(60)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while client.recv(4096):
                    pass
        assert db.execute("SELECT 1").fetchone() == (1,)
        assert not server.ended

    def test_a_client_that_vanishes_in_the_middle_of_a_result(
        self, server: Server, db: psycopg.Connection
    ):
        """Its statement ends with it."""
        client = server.connect(application_name="vanishing")
        client.pgconn.send_query(b"SELECT a.l_comment FROM lineitem a, lineitem b")
        mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'vanishing'"
        active = mine + " AND state = 'active'"
        wait_until(lambda: db.execute(active).fetchone() == (1,), "the statement runs")
        client.close()
        wait_until(lambda: db.execute(mine).fetchone() == (0,), "the session is gone")

    def test_a_client_that_never_reads(self, server: Server, db: psycopg.Connection):
        """The server waits for it without keeping the result in memory, and others go on."""

        def resident_mb() -> float:
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            return int(status.split("VmRSS:")[1].split()[0]) / 1024

        db.execute("SELECT count(*), max(l_comment) FROM lineitem")
        before = resident_mb()
        with closing(server.connect(application_name="never reads")) as client:
            client.pgconn.send_query(b"SELECT a.* FROM lineitem a, region b, region c")
            active = (
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'never reads' AND state = 'active'"
            )
            wait_until(lambda: db.execute(active).fetchone() == (1,), "the statement runs")
            for _ in range(20):
                db.execute("SELECT pg_sleep(0.1)")
            # The result has 2 GB.
            assert resident_mb() - before < 300
            assert db.execute(active).fetchone() == (1,)


def test_other_drivers(server: Server):
    """asyncpg, which does everything in binary, and SQLAlchemy's reflection."""
    import asyncio

    import asyncpg
    import sqlalchemy

    async def ask() -> tuple:
        db = await asyncpg.connect(server.url, ssl=False)
        try:
            row = await db.fetchrow(
                "SELECT n_name, $1::int + 1 AS n FROM nation WHERE n_nationkey = $2", 41, 3
            )
            async with db.transaction():
                keys = [
                    r["n_nationkey"]
                    async for r in db.cursor("SELECT n_nationkey FROM nation ORDER BY 1")
                ]
            return tuple(row), keys
        finally:
            await db.close()

    assert asyncio.run(ask()) == (("CANADA", 42), list(range(25)))
    engine = sqlalchemy.create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
    inspector = sqlalchemy.inspect(engine)
    assert "nation" in inspector.get_table_names()
    columns = {column["name"]: str(column["type"]) for column in inspector.get_columns("orders")}
    assert columns["o_orderkey"] == "BIGINT"
    assert columns["o_totalprice"] == "NUMERIC(15, 2)"
    assert columns["o_orderdate"] == "DATE"
    engine.dispose()


def test_version():
    """`forebay --version` prints one line."""
    shown = run("--version")
    assert shown.stdout.startswith("forebay ")
    assert BINARY.exists()
