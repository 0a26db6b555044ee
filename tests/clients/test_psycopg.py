"""psycopg 3: parameters and results, cursors, transactions, errors, COPY, pipelines, cancel."""

from __future__ import annotations

import asyncio
import math
import threading
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

import psycopg
import psycopg.errors
import pytest
from psycopg.pq import TransactionStatus
from psycopg.types.json import Json

from forebay import Server, wait_until

EAST = timezone(timedelta(hours=2))

# (type, value): goes out as a parameter of the type and must come back as the same value.
VALUES = [
    ("bool", True),
    ("bool", False),
    ("int2", -32768),
    ("int2", 32767),
    ("int4", -2147483648),
    ("int4", 2147483647),
    ("int8", -9223372036854775808),
    ("int8", 9223372036854775807),
    ("float4", 1.5),
    ("float4", float("-inf")),
    ("float8", 0.1),
    ("float8", 1e300),
    ("float8", -5e-324),
    ("float8", float("inf")),
    ("numeric", Decimal(0)),
    ("numeric", Decimal("123456789012345678.123456789")),
    ("numeric(10,2)", Decimal("-12345678.90")),
    ("text", ""),
    ("text", "plain"),
    ("text", "quote ' backslash \\ newline \n tab \t"),
    ("text", "Größe 漢字 🐘"),
    ("varchar", "varying"),
    ("date", date(2024, 2, 29)),
    ("date", date(1, 1, 1)),
    ("date", date(9999, 12, 31)),
    ("time", time(23, 59, 59, 999999)),
    ("time", time(0, 0)),
    ("timestamp", datetime(2024, 2, 29, 12, 34, 56, 789012)),
    ("timestamp", datetime(1969, 12, 31, 23, 59, 59, 999999)),
    ("timestamptz", datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=timezone.utc)),
    ("timestamptz", datetime(2024, 7, 1, 12, 0, tzinfo=EAST)),
    ("interval", timedelta(0)),
    ("interval", timedelta(days=3, hours=4, minutes=5, seconds=6, microseconds=7)),
    ("interval", timedelta(days=-1, hours=1)),
    ("bytea", b""),
    ("bytea", bytes(range(256))),
    ("int4[]", [1, 2, 3]),
    ("int4[]", [1, None, 3]),
    ("int8[]", [2**40]),
    ("float8[]", [0.5, -1.0]),
    ("text[]", ["a", "b c", 'quote " comma , brace }', ""]),
    ("bool[]", [True, False]),
    ("date[]", [date(2024, 1, 1)]),
    ("numeric[]", [Decimal("1.25"), Decimal("-3.5")]),
]

TYPES = sorted({type_ for type_, _ in VALUES})

# The same value as a literal, with the type that Describe must tell.
LITERALS = [
    ("true", "bool", True),
    ("1::int2", "int2", 1),
    ("1", "int4", 1),
    ("3000000000", "int8", 3000000000),
    ("1::float4", "float4", 1.0),
    ("1::float8", "float8", 1.0),
    ("1.50", "numeric", Decimal("1.50")),
    ("'x'", "text", "x"),
    ("'x'::varchar", "varchar", "x"),
    ("DATE '2024-02-29'", "date", date(2024, 2, 29)),
    ("TIME '12:34:56.5'", "time", time(12, 34, 56, 500000)),
    ("TIMESTAMP '2024-02-29 12:00:00'", "timestamp", datetime(2024, 2, 29, 12)),
    (
        "TIMESTAMPTZ '2024-02-29 12:00:00+02'",
        "timestamptz",
        datetime(2024, 2, 29, 10, tzinfo=timezone.utc),
    ),
    ("INTERVAL '1 day 2 hours'", "interval", timedelta(days=1, hours=2)),
    ("'\\x00ff'::bytea", "bytea", b"\x00\xff"),
    ("ARRAY[1, 2]", "int4[]", [1, 2]),
    ("ARRAY['a', NULL]", "text[]", ["a", None]),
    ("NULL", "text", None),
    ("count(*)", "int8", 1),
    ("sum(1)", "int8", 1),
    ("avg(1.0::float8)", "float8", 1.0),
    ("sum(1.5)", "numeric", Decimal("1.5")),
]

FORMATS = pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])


def type_name(description: psycopg.Column) -> str:
    """The type of a result column under the name that SQL has for it."""
    return description.type_display.partition("(")[0]


class TestValues:
    """Every common type, as parameter and result, in text and binary."""

    @FORMATS
    @pytest.mark.parametrize(("type_", "value"), VALUES)
    def test_round_trip(self, type_: str, value, binary: bool, db: psycopg.Connection):
        placeholder = "%b" if binary else "%t"
        cursor = db.cursor(binary=binary)
        row = cursor.execute(f"SELECT {placeholder}::{type_}", [value]).fetchone()
        assert row == (value,)
        assert type(row[0]) is type(value)

    @FORMATS
    @pytest.mark.parametrize("type_", TYPES)
    def test_null(self, type_: str, binary: bool, db: psycopg.Connection):
        cursor = db.cursor(binary=binary)
        assert cursor.execute(f"SELECT %s::{type_}", [None]).fetchone() == (None,)

    @FORMATS
    def test_not_a_number(self, binary: bool, db: psycopg.Connection):
        cursor = db.cursor(binary=binary)
        (value,) = cursor.execute("SELECT %s::float8", [float("nan")]).fetchone()
        assert math.isnan(value)

    @FORMATS
    @pytest.mark.parametrize(("literal", "type_", "value"), LITERALS)
    def test_literal(self, literal: str, type_: str, value, binary: bool, db: psycopg.Connection):
        cursor = db.cursor(binary=binary).execute(f"SELECT {literal} AS c")
        assert cursor.fetchone() == (value,)
        assert type_name(cursor.description[0]) == type_

    @FORMATS
    def test_array_parameter_finds_rows(self, binary: bool, db: psycopg.Connection):
        names = db.cursor(binary=binary).execute(
            "SELECT n_name FROM nation WHERE n_nationkey = ANY(%s) ORDER BY 1", [[1, 3, 24]]
        )
        assert names.fetchall() == [("ARGENTINA",), ("CANADA",), ("UNITED STATES",)]

    def test_parameters_without_casts_take_the_type_of_the_column(self, db: psycopg.Connection):
        row = db.execute(
            "SELECT count(*) FROM orders WHERE o_orderdate < %s AND o_totalprice > %s"
            " AND o_orderstatus = %s AND o_orderkey <> %s",
            [date(1992, 2, 1), Decimal("1000.50"), "F", 0],
        ).fetchone()
        literal = db.execute(
            "SELECT count(*) FROM orders WHERE o_orderdate < '1992-02-01' AND o_totalprice > 1000.50"
            " AND o_orderstatus = 'F' AND o_orderkey <> 0"
        ).fetchone()
        assert row == literal
        assert row[0] > 0

    def test_limit_and_offset_are_parameters(self, db: psycopg.Connection):
        query = "SELECT n_nationkey FROM nation ORDER BY 1 LIMIT %s OFFSET %s"
        assert db.execute(query, [2, 3]).fetchall() == [(3,), (4,)]

    def test_time_zone_of_the_session(self, db: psycopg.Connection):
        db.execute("SET TimeZone = 'America/New_York'")
        assert db.info.parameter_status("TimeZone") == "America/New_York"
        query = "SELECT TIMESTAMPTZ '2024-07-01 12:00:00+00', CAST(TIMESTAMPTZ '2024-07-01 12:00:00+00' AS text)"
        at, text = db.execute(query).fetchone()
        assert at == datetime(2024, 7, 1, 12, tzinfo=timezone.utc)
        assert text == "2024-07-01 08:00:00-04"

    def test_json_parameter(self, db: psycopg.Connection):
        (text,) = db.execute("SELECT %s::json::text", [Json({"a": 1})]).fetchone()
        assert text == '{"a": 1}'

    def test_columns_of_the_same_name(self, db: psycopg.Connection):
        cursor = db.execute("SELECT 1, 1, n_name, n_name, 'x' AS n_name FROM nation LIMIT 1")
        assert [c.name for c in cursor.description] == ["?column?"] * 2 + ["n_name"] * 3
        joined = db.execute("SELECT * FROM nation a JOIN nation b ON a.n_nationkey = b.n_nationkey")
        assert len(joined.description) == 8
        assert len(joined.fetchall()) == 25

    def test_wide_and_long(self, db: psycopg.Connection):
        columns = ", ".join(f"{n} AS c{n}" for n in range(500))
        assert db.execute(f"SELECT {columns}").fetchone() == tuple(range(500))
        long = "x" * 5_000_000
        assert db.execute("SELECT %s::text || 'y'", [long]).fetchone() == (long + "y",)

    def test_no_rows_and_no_columns(self, db: psycopg.Connection):
        cursor = db.execute("SELECT n_name FROM nation WHERE false")
        assert (cursor.fetchall(), cursor.rowcount, cursor.statusmessage) == ([], 0, "SELECT 0")
        assert db.execute("").statusmessage is None
        assert db.execute("-- nothing").statusmessage is None


class TestProtocol:
    """What the extended protocol promises."""

    def test_describe_before_execute(self, db: psycopg.Connection):
        """Types of parameters and columns are known before anything runs."""
        pg = db.pgconn
        text = b"SELECT n_name, n_nationkey + $1 AS k FROM nation WHERE n_regionkey = $2 AND n_name = $3"
        assert pg.prepare(b"described", text).status == psycopg.pq.ExecStatus.COMMAND_OK
        described = pg.describe_prepared(b"described")
        oids = [described.param_type(n) for n in range(described.nparams)]
        assert oids == [20, 20, 25]
        columns = [(described.fname(n), described.ftype(n)) for n in range(described.nfields)]
        assert columns == [(b"n_name", 25), (b"k", 20)]

    def test_describe_of_what_returns_nothing(self, db: psycopg.Connection):
        pg = db.pgconn
        pg.prepare(b"quiet", b"SET application_name = 'quiet'")
        assert pg.describe_prepared(b"quiet").nfields == 0

    def test_given_parameter_types_win(self, db: psycopg.Connection):
        pg = db.pgconn
        pg.prepare(b"given", b"SELECT $1 AS c", [23])
        described = pg.describe_prepared(b"given")
        assert (described.param_type(0), described.ftype(0)) == (23, 23)

    def test_prepared_by_the_driver(self, db: psycopg.Connection):
        """The same statement, again and again, under one name, also after DEALLOCATE ALL."""
        db.prepare_threshold = 1
        query = "SELECT n_name FROM nation WHERE n_nationkey = %s"
        expected = db.execute("SELECT n_name FROM nation ORDER BY n_nationkey").fetchall()
        assert [db.execute(query, [key]).fetchone() for key in range(25)] == expected
        prepared = db.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
        assert prepared[0] >= 1

    def test_prepare_always(self, db: psycopg.Connection):
        for value in (1, 2, 3):
            assert db.execute("SELECT %s + 1", [value], prepare=True).fetchone() == (value + 1,)

    def test_sql_prepare_and_execute(self, db: psycopg.Connection):
        db.execute("PREPARE p(int, text) AS SELECT $1 + 1 AS n, $2 AS t")
        assert db.execute("EXECUTE p(41, 'x')").fetchone() == (42, "x")
        db.execute("DEALLOCATE p")
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            db.execute("EXECUTE p(41, 'x')")

    def test_duplicate_prepared_statement(self, db: psycopg.Connection):
        db.execute("PREPARE twice AS SELECT 1")
        with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
            db.execute("PREPARE twice AS SELECT 1")

    def test_executemany(self, db: psycopg.Connection):
        cursor = db.cursor()
        cursor.executemany("SELECT %s::int * 2", [(n,) for n in range(100)], returning=True)
        values = [cursor.fetchone()[0]]
        while cursor.nextset():
            values.append(cursor.fetchone()[0])
        assert values == [n * 2 for n in range(100)]

    def test_several_statements_at_once(self, db: psycopg.Connection):
        cursor = db.execute("SELECT 1; SET application_name = 'many'; SELECT 'two', 2")
        assert cursor.fetchall() == [(1,)]
        assert cursor.nextset()
        assert cursor.statusmessage == "SET"
        assert cursor.nextset()
        assert cursor.fetchall() == [("two", 2)]
        assert cursor.nextset() is None

    def test_several_statements_are_one_transaction(self, db: psycopg.Connection):
        """What follows an error does not run, and what went before is undone."""
        with pytest.raises(psycopg.errors.DivisionByZero):
            db.execute("SET application_name = 'undone'; SELECT 1/0; SELECT 2")
        assert db.execute("SHOW application_name").fetchone() != ("undone",)
        assert db.info.transaction_status == TransactionStatus.IDLE

    def test_several_statements_in_the_extended_protocol(self, db: psycopg.Connection):
        with pytest.raises(psycopg.errors.SyntaxError, match="multiple commands"):
            db.execute("SELECT %s::int; SELECT 2", [1])

    def test_pipeline(self, db: psycopg.Connection):
        with db.pipeline():
            cursors = [db.execute("SELECT %s::int", [n]) for n in range(50)]
            assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(50)]

    def test_pipeline_stops_at_an_error_and_goes_on_after_sync(self, db: psycopg.Connection):
        with db.pipeline() as pipeline:
            before = db.execute("SELECT 1")
            wrong = db.execute("SELECT no_such_column FROM nation")
            skipped = db.execute("SELECT 2")
            with pytest.raises(psycopg.errors.UndefinedColumn):
                pipeline.sync()
            assert before.fetchone() == (1,)
            for cursor in (wrong, skipped):
                with pytest.raises(psycopg.Error):
                    cursor.fetchone()
            after = db.execute("SELECT 3")
            pipeline.sync()
            assert after.fetchone() == (3,)

    def test_stream(self, db: psycopg.Connection):
        rows = db.cursor().stream("SELECT l_orderkey FROM lineitem ORDER BY l_orderkey LIMIT 20000")
        assert sum(1 for _ in rows) == 20000

    def test_stream_left_early(self, db: psycopg.Connection):
        rows = db.cursor().stream("SELECT * FROM lineitem")
        assert len(next(rows)) == 16
        rows.close()
        assert db.execute("SELECT 1").fetchone() == (1,)

    def test_parameter_status(self, db: psycopg.Connection):
        status = db.info.parameter_status
        assert status("server_encoding") == "UTF8"
        assert status("client_encoding") == "UTF8"
        assert status("integer_datetimes") == "on"
        assert status("standard_conforming_strings") == "on"
        assert status("DateStyle") == "ISO, MDY"
        assert db.info.server_version >= 150000
        db.execute("SET application_name = 'new name'")
        assert status("application_name") == "new name"

    def test_startup_options(self, server: Server):
        options = "-c statement_timeout=1234 -c search_path=public"
        with server.connect(options=options, application_name="named") as db:
            assert db.execute("SHOW statement_timeout").fetchone() == ("1234ms",)
            assert db.execute("SHOW search_path").fetchone() == ("public",)
            assert db.execute("SHOW application_name").fetchone() == ("named",)
            db.execute("SET statement_timeout = 0")
            db.execute("RESET statement_timeout")
            assert db.execute("SHOW statement_timeout").fetchone() == ("1234ms",)

    def test_discard_all(self, db: psycopg.Connection):
        db.execute("PREPARE gone AS SELECT 1")
        db.execute("SET statement_timeout = 5000")
        db.execute("DISCARD ALL")
        assert db.execute("SHOW statement_timeout").fetchone() == ("0",)
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            db.execute("EXECUTE gone")


class TestCursors:
    """DECLARE, FETCH, MOVE and CLOSE."""

    @FORMATS
    def test_server_side(self, binary: bool, server: Server):
        with server.connect(autocommit=False) as db:
            with db.cursor("keys", binary=binary) as cursor:
                cursor.itersize = 7
                cursor.execute("SELECT n_nationkey, n_name FROM nation ORDER BY 1")
                assert cursor.fetchone() == (0, "ALGERIA")
                assert [row[0] for row in cursor.fetchmany(4)] == [1, 2, 3, 4]
                assert [row[0] for row in cursor] == list(range(5, 25))
                assert cursor.fetchall() == []

    def test_server_side_with_parameters(self, server: Server):
        with server.connect(autocommit=False) as db, db.cursor("some") as cursor:
            cursor.execute("SELECT n_name FROM nation WHERE n_regionkey = %s ORDER BY 1", [3])
            assert cursor.fetchone() == ("FRANCE",)

    def test_move_forward(self, server: Server):
        with server.connect(autocommit=False) as db, db.cursor("moved", scrollable=False) as cursor:
            cursor.execute("SELECT n_nationkey FROM nation ORDER BY 1")
            cursor.scroll(10)
            assert cursor.fetchone() == (10,)

    def test_with_hold(self, db: psycopg.Connection):
        with db.cursor("held", withhold=True) as cursor:
            cursor.execute("SELECT n_nationkey FROM nation ORDER BY 1")
            assert cursor.fetchmany(2) == [(0,), (1,)]
            db.execute("BEGIN")
            db.execute("COMMIT")
            assert cursor.fetchone() == (2,)

    def test_statement_messages(self, server: Server):
        with server.connect(autocommit=False) as db:
            assert (
                db.execute("DECLARE c CURSOR FOR SELECT * FROM nation").statusmessage
                == "DECLARE CURSOR"
            )
            assert db.execute("FETCH 2 FROM c").statusmessage == "FETCH 2"
            assert db.execute("MOVE 3 FROM c").statusmessage == "MOVE 3"
            assert db.execute("FETCH ALL FROM c").statusmessage == "FETCH 20"
            assert db.execute("FETCH NEXT FROM c").statusmessage == "FETCH 0"
            assert db.execute("CLOSE c").statusmessage == "CLOSE CURSOR"

    def test_needs_a_transaction(self, db: psycopg.Connection):
        with pytest.raises(psycopg.errors.NoActiveSqlTransaction):
            db.execute("DECLARE c CURSOR FOR SELECT 1")

    def test_ends_with_its_transaction(self, server: Server):
        with server.connect(autocommit=False) as db:
            db.execute("DECLARE c CURSOR FOR SELECT 1")
            db.commit()
            with pytest.raises(psycopg.errors.InvalidCursorName):
                db.execute("FETCH c")

    def test_twice_the_same_name(self, server: Server):
        with server.connect(autocommit=False) as db:
            db.execute("DECLARE c CURSOR FOR SELECT 1")
            with pytest.raises(psycopg.errors.DuplicateCursor):
                db.execute("DECLARE c CURSOR FOR SELECT 1")

    def test_two_at_once(self, server: Server):
        with server.connect(autocommit=False) as db:
            one = db.cursor("one").execute("SELECT n_nationkey FROM nation ORDER BY 1")
            two = db.cursor("two").execute("SELECT n_nationkey FROM nation ORDER BY 1 DESC")
            pairs = [(one.fetchone()[0], two.fetchone()[0]) for _ in range(25)]
            assert pairs == [(n, 24 - n) for n in range(25)]
            one.close()
            two.close()


class TestTransactions:
    """The status byte, failed transactions, savepoints."""

    def test_status(self, server: Server):
        with server.connect(autocommit=False) as db:
            assert db.info.transaction_status == TransactionStatus.IDLE
            db.execute("SELECT 1")
            assert db.info.transaction_status == TransactionStatus.INTRANS
            with pytest.raises(psycopg.errors.DivisionByZero):
                db.execute("SELECT 1/0")
            assert db.info.transaction_status == TransactionStatus.INERROR
            with pytest.raises(psycopg.errors.InFailedSqlTransaction) as caught:
                db.execute("SELECT 1")
            assert caught.value.sqlstate == "25P02"
            db.rollback()
            assert db.info.transaction_status == TransactionStatus.IDLE

    def test_commit_of_a_failed_transaction_is_a_rollback(self, db: psycopg.Connection):
        db.execute("BEGIN")
        with pytest.raises(psycopg.errors.DivisionByZero):
            db.execute("SELECT 1/0")
        assert db.execute("COMMIT").statusmessage == "ROLLBACK"

    def test_savepoints(self, server: Server):
        with server.connect(autocommit=False) as db:
            with db.transaction():
                db.execute("SET LOCAL statement_timeout = 1000")
                with pytest.raises(psycopg.errors.DivisionByZero), db.transaction():
                    db.execute("SET LOCAL statement_timeout = 2000")
                    db.execute("SELECT 1/0")
                assert db.info.transaction_status == TransactionStatus.INTRANS
                assert db.execute("SHOW statement_timeout").fetchone() == ("1s",)
                with db.transaction():
                    db.execute("SET LOCAL statement_timeout = 3000")
                assert db.execute("SHOW statement_timeout").fetchone() == ("3s",)
            assert db.execute("SHOW statement_timeout").fetchone() == ("0",)

    def test_unknown_savepoint(self, db: psycopg.Connection):
        db.execute("BEGIN")
        with pytest.raises(psycopg.errors.InvalidSavepointSpecification):
            db.execute("ROLLBACK TO SAVEPOINT nowhere")
        db.execute("ROLLBACK")

    def test_savepoint_outside_of_a_transaction(self, db: psycopg.Connection):
        with pytest.raises(psycopg.errors.NoActiveSqlTransaction):
            db.execute("SAVEPOINT s")

    @pytest.mark.parametrize(
        ("statement", "before", "state", "severity"),
        [
            ("COMMIT", [], "25P01", "WARNING"),
            ("ROLLBACK", [], "25P01", "WARNING"),
            ("BEGIN", ["BEGIN"], "25001", "WARNING"),
            ("DROP VIEW IF EXISTS no_such_view", [], "00000", "NOTICE"),
        ],
    )
    def test_notices(
        self, statement: str, before: list[str], state: str, severity: str, db: psycopg.Connection
    ):
        notices = []
        db.add_notice_handler(lambda notice: notices.append((notice.sqlstate, notice.severity)))
        for earlier in before:
            db.execute(earlier)
        db.execute(statement)
        assert notices == [(state, severity)]
        notices.clear()
        db.execute("ROLLBACK")
        db.execute("SET client_min_messages = error")
        notices.clear()
        for earlier in before:
            db.execute(earlier)
        db.execute(statement)
        assert notices == []

    def test_views_are_undone_with_their_transaction(self, server: Server):
        with server.connect(autocommit=False) as db:
            db.execute("CREATE VIEW undone AS SELECT 1 AS one")
            assert db.execute("SELECT one FROM undone").fetchone() == (1,)
            db.rollback()
            with pytest.raises(psycopg.errors.UndefinedTable):
                db.execute("SELECT one FROM undone")


class TestErrors:
    """SQLSTATE, position and hint, as PostgreSQL has them."""

    @pytest.mark.parametrize(
        ("query", "error", "at"),
        [
            ("SELECT nope FROM nation", psycopg.errors.UndefinedColumn, "nope"),
            ("SELECT n.nope FROM nation n", psycopg.errors.UndefinedColumn, "n.nope"),
            ("SELECT x.n_name FROM nation n", psycopg.errors.UndefinedTable, "x.n_name"),
            ("SELECT * FROM nowhere", psycopg.errors.UndefinedTable, "nowhere"),
            ("SELECT * FROM public.nowhere", psycopg.errors.UndefinedTable, "public.nowhere"),
            ("SELECT nofunc(1)", psycopg.errors.UndefinedFunction, "nofunc"),
            ("SELEC 1", psycopg.errors.SyntaxError, "SELEC"),
            ("SELECT 1 FROM", psycopg.errors.SyntaxError, None),
            ("SELECT (1", psycopg.errors.SyntaxError, None),
            ("SELECT 1 FROM nation WHERE ORDER BY 1", psycopg.errors.SyntaxError, "ORDER"),
            ("SELECT 'open", psycopg.errors.SyntaxError, "'open"),
            ("SELECT 1/0", psycopg.errors.DivisionByZero, None),
            ("SELECT 1 % 0", psycopg.errors.DivisionByZero, None),
            ("SELECT 1.5 / 0", psycopg.errors.DivisionByZero, None),
            (
                "SELECT n_nationkey / (n_nationkey - n_nationkey) FROM nation",
                psycopg.errors.DivisionByZero,
                None,
            ),
            ("SELECT 'abc'::int", psycopg.errors.InvalidTextRepresentation, None),
            (
                "SELECT CAST(n_name AS int) FROM nation",
                psycopg.errors.InvalidTextRepresentation,
                None,
            ),
            ("SELECT 'x'::bool", psycopg.errors.InvalidTextRepresentation, None),
            ("SELECT '2024-13-45'::date", psycopg.errors.DatetimeFieldOverflow, None),
            ("SELECT 'yesterdayish'::timestamp", psycopg.errors.InvalidDatetimeFormat, None),
            ("SELECT 2147483647::int + 1::int", psycopg.errors.NumericValueOutOfRange, None),
            (
                "SELECT 9223372036854775807::bigint + n_nationkey FROM nation",
                psycopg.errors.NumericValueOutOfRange,
                None,
            ),
            ("SELECT 40000::int2", psycopg.errors.NumericValueOutOfRange, None),
            (
                "SELECT n_name FROM nation GROUP BY n_regionkey",
                psycopg.errors.GroupingError,
                "n_name",
            ),
            (
                "SELECT n_name, count(*) FROM nation WHERE count(*) > 1 GROUP BY 1",
                psycopg.errors.GroupingError,
                None,
            ),
            (
                "SELECT n_nationkey FROM nation a, nation b",
                psycopg.errors.AmbiguousColumn,
                "n_nationkey",
            ),
            ("SELECT 1 UNION SELECT 1, 2", psycopg.errors.SyntaxError, None),
            ("SELECT (SELECT n_name FROM nation)", psycopg.errors.CardinalityViolation, None),
            ("CREATE VIEW nation AS SELECT 1", psycopg.errors.DuplicateTable, None),
            ("CREATE SCHEMA public", psycopg.errors.DuplicateSchema, None),
            ("CREATE VIEW no_schema.v AS SELECT 1", psycopg.errors.InvalidSchemaName, None),
            ("DROP TABLE nowhere", psycopg.errors.UndefinedTable, None),
            ("DROP ROLE nobody", psycopg.errors.UndefinedObject, None),
            ("SET no_such_setting = 1", psycopg.errors.UndefinedObject, None),
            ("SET statement_timeout = 'soon'", psycopg.errors.InvalidParameterValue, None),
            ("SHOW no_such_setting", psycopg.errors.UndefinedObject, None),
            ("SET server_version = '1'", psycopg.errors.CantChangeRuntimeParam, None),
            ("SET TimeZone = 'Nowhere/Town'", psycopg.errors.InvalidParameterValue, None),
            ("SET ROLE nobody", psycopg.errors.InvalidParameterValue, None),
            ("EXECUTE nothing", psycopg.errors.InvalidSqlStatementName, None),
            ("CLOSE nothing", psycopg.errors.InvalidCursorName, None),
            ("VACUUM no_such_table", psycopg.Error, None),
        ],
    )
    def test_error(
        self, query: str, error: type[psycopg.Error], at: str | None, db: psycopg.Connection
    ):
        with pytest.raises(error) as caught:
            db.execute(query)
        diag = caught.value.diag
        assert diag.severity == "ERROR"
        assert diag.message_primary
        assert "DataFusion" not in diag.message_primary
        assert "Arrow error" not in diag.message_primary
        if at is not None:
            assert diag.statement_position is not None, "no position"
            start = int(diag.statement_position) - 1
            assert query[start:].startswith(at), (query[start:], at)
        assert db.execute("SELECT 1").fetchone() == (1,), "the session goes on"

    def test_position_counts_characters(self, db: psycopg.Connection):
        with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
            db.execute("SELECT '漢字 🐘', nope FROM nation")
        assert caught.value.diag.statement_position == "16"

    def test_position_in_a_later_line(self, db: psycopg.Connection):
        query = "SELECT n_name,\n       nope\nFROM nation"
        with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
            db.execute(query)
        assert int(caught.value.diag.statement_position) == query.index("nope") + 1

    def test_hint_for_a_column_that_is_nearly_right(self, db: psycopg.Connection):
        with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
            db.execute("SELECT n_nam FROM nation")
        assert caught.value.diag.message_primary == 'column "n_nam" does not exist'
        assert "n_name" in (caught.value.diag.message_hint or "")

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("SELECT nope FROM nation", 'column "nope" does not exist'),
            ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
            ("SELECT 1/0", "division by zero"),
            ("SELECT 'abc'::int", 'invalid input syntax for type integer: "abc"'),
            ("SELEC 1", 'syntax error at or near "SELEC"'),
            ("DROP TABLE nowhere", 'table "nowhere" does not exist'),
            ("CREATE VIEW nation AS SELECT 1", 'relation "nation" already exists'),
            ("SET no_such_setting = 1", 'unrecognized configuration parameter "no_such_setting"'),
            ("DROP ROLE nobody", 'role "nobody" does not exist'),
            ("SELECT 2147483647::int + 1::int", "integer out of range"),
        ],
    )
    def test_message(self, query: str, message: str, db: psycopg.Connection):
        with pytest.raises(psycopg.Error) as caught:
            db.execute(query)
        assert caught.value.diag.message_primary == message

    def test_error_with_parameters(self, db: psycopg.Connection):
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            db.execute("SELECT %t::text::int", ["abc"])
        with pytest.raises(psycopg.errors.DivisionByZero):
            db.execute("SELECT 1 / %s::int", [0])
        with pytest.raises(psycopg.errors.UndefinedColumn):
            db.execute("SELECT nope + %s::int FROM nation", [0])
        assert db.execute("SELECT %s::int", [5]).fetchone() == (5,)

    def test_wrong_number_of_parameters(self, db: psycopg.Connection):
        result = db.pgconn.exec_params(b"SELECT $1::int + $2::int", [b"1"])
        assert result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"08P01"

    def test_error_in_the_middle_of_a_result(self, db: psycopg.Connection):
        """Rows that came before it do not hide an error."""
        query = "SELECT 1 / (l_orderkey - 500000) FROM lineitem ORDER BY l_orderkey"
        with pytest.raises(psycopg.errors.DivisionByZero):
            db.execute("SELECT 1 / (CASE WHEN l_orderkey > 590000 THEN 0 ELSE 1 END) FROM lineitem")
        with pytest.raises(psycopg.errors.DivisionByZero):
            db.execute(query.replace("500000", "l_orderkey"))
        assert db.execute("SELECT 1").fetchone() == (1,)


class TestCopy:
    """COPY (query) TO STDOUT."""

    QUERY = "SELECT * FROM (VALUES (1, 'plain', true), (2, E'tab\\tnew\\nline\\\\', NULL), (3, '', false)) AS t(a, b, c) ORDER BY a"

    def read(self, db: psycopg.Connection, statement: str) -> str:
        with db.cursor().copy(statement) as copy:
            return b"".join(bytes(part) for part in copy).decode()

    def test_text(self, db: psycopg.Connection):
        text = self.read(db, f"COPY ({self.QUERY}) TO STDOUT")
        assert text == "1\tplain\tt\n2\ttab\\tnew\\nline\\\\\t\\N\n3\t\tf\n"

    def test_rows(self, db: psycopg.Connection):
        with db.cursor().copy(
            "COPY (SELECT n_nationkey, n_name FROM nation ORDER BY 1) TO STDOUT"
        ) as copy:
            copy.set_types(["int8", "text"])
            rows = list(copy.rows())
        assert rows[24] == (24, "UNITED STATES")
        assert len(rows) == 25

    def test_csv(self, db: psycopg.Connection):
        text = self.read(db, f"COPY ({self.QUERY}) TO STDOUT (FORMAT csv, HEADER)")
        assert text == 'a,b,c\n1,plain,t\n2,"tab\tnew\nline\\",\n3,"",f\n'

    def test_csv_options(self, db: psycopg.Connection):
        text = self.read(
            db,
            f"COPY ({self.QUERY}) TO STDOUT WITH (FORMAT csv, DELIMITER ';', NULL 'none', QUOTE '''')",
        )
        assert text == "1;plain;t\n2;'tab\tnew\nline\\';none\n3;;f\n"

    def test_old_syntax(self, db: psycopg.Connection):
        assert (
            self.read(db, "COPY (SELECT 1 AS a, 2 AS b) TO STDOUT WITH CSV HEADER") == "a,b\n1,2\n"
        )

    def test_table(self, db: psycopg.Connection):
        text = self.read(db, "COPY region (r_regionkey, r_name) TO STDOUT")
        assert min(text.splitlines()) == "0\tAFRICA"

    def test_status(self, db: psycopg.Connection):
        cursor = db.cursor()
        with cursor.copy("COPY region TO STDOUT") as copy:
            assert len(list(copy)) == 5
        assert cursor.rowcount == 5

    def test_many_rows(self, db: psycopg.Connection):
        text = self.read(db, "COPY (SELECT l_orderkey, l_comment FROM lineitem) TO STDOUT")
        assert text.count("\n") == 600572

    def test_error_inside(self, db: psycopg.Connection):
        with pytest.raises(psycopg.errors.DivisionByZero):
            self.read(db, "COPY (SELECT 1 / (n_nationkey - 5) FROM nation) TO STDOUT")
        with pytest.raises(psycopg.errors.UndefinedTable):
            self.read(db, "COPY nowhere TO STDOUT")
        assert db.execute("SELECT 1").fetchone() == (1,)

    def test_to_parquet(self, db: psycopg.Connection, tmp_path):
        path = tmp_path / "out.parquet"
        assert db.execute(f"COPY (SELECT * FROM nation) TO '{path}'").statusmessage == "COPY 25"
        db.execute(f"CREATE EXTERNAL TABLE copied STORED AS PARQUET LOCATION '{path}'")
        assert db.execute("SELECT count(*) FROM copied").fetchone() == (25,)
        db.execute("DROP TABLE copied")


class TestCancel:
    """CancelRequest, and what a cancelled statement leaves behind."""

    @pytest.mark.parametrize(
        "query",
        [
            "SELECT pg_sleep(600)",
            "SELECT count(*) FROM lineitem a, lineitem b, lineitem c WHERE a.l_comment < b.l_comment || c.l_comment",
        ],
        ids=["asleep", "busy"],
    )
    def test_cancel(self, query: str, server: Server, db: psycopg.Connection):
        caught = []

        def work():
            try:
                db.execute(query)
            except psycopg.Error as error:
                caught.append(error.sqlstate)

        worker = threading.Thread(target=work)
        worker.start()
        with server.connect() as other:
            active = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
            pid = db.info.backend_pid
            wait_until(lambda: other.execute(active, [pid]).fetchone()[0], "the statement runs")
            db.cancel_safe()
            worker.join()
        assert caught == ["57014"]
        assert db.execute("SELECT 1").fetchone() == (1,)

    def test_cancel_of_nothing(self, db: psycopg.Connection):
        db.cancel_safe()
        assert db.execute("SELECT 1").fetchone() == (1,)

    def test_cancel_of_a_stream(self, db: psycopg.Connection):
        rows = db.cursor().stream("SELECT a.l_comment FROM lineitem a, lineitem b")
        next(rows)
        db.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            for _ in rows:
                pass
        assert db.execute("SELECT 1").fetchone() == (1,)


class TestAsync:
    """The same over asyncio."""

    def test_queries_side_by_side(self, server: Server):
        async def ask(number: int) -> int:
            async with await psycopg.AsyncConnection.connect(server.url) as db:
                cursor = await db.execute(
                    "SELECT count(*) FROM lineitem WHERE l_linenumber = %s", [number]
                )
                return (await cursor.fetchone())[0]

        async def all_of_them() -> list[int]:
            return await asyncio.gather(*(ask(number) for number in range(1, 8)))

        assert sum(asyncio.run(all_of_them())) == 600572

    def test_server_side_cursor(self, server: Server):
        async def keys() -> list[int]:
            async with await psycopg.AsyncConnection.connect(server.url) as db:
                async with db.cursor("keys") as cursor:
                    await cursor.execute("SELECT n_nationkey FROM nation ORDER BY 1")
                    return [row[0] async for row in cursor]

        assert asyncio.run(keys()) == list(range(25))

    def test_cancel_by_timeout(self, server: Server):
        async def wait() -> None:
            async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as db:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(db.execute("SELECT pg_sleep(600)"), timeout=0.5)
                cursor = await db.execute("SELECT 1")
                assert await cursor.fetchone() == (1,)

        asyncio.run(wait())
