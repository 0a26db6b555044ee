"""Impala's way of SQL: what its clients say that PostgreSQL's do not, and what they read back."""

from __future__ import annotations

import decimal
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forebay import PATIENCE_S, Server
from impala import dbapi
from impala.error import HiveServer2Error, OperationalError
from test_impala import SHELL, connect

REFUSED = (HiveServer2Error, OperationalError)


@pytest.fixture
def impyla(server: Server) -> Iterator[dbapi.HiveServer2Connection]:
    """A connection of impyla to everybody's server."""
    with connect(server) as connection:
        yield connection


@pytest.fixture
def own(start: Callable[..., Server]) -> Iterator[dbapi.HiveServer2Connection]:
    """A connection to a server of the test's own."""
    with connect(start()) as connection:
        yield connection


def ask(
    connection: dbapi.HiveServer2Connection, sql: str, **options
) -> tuple[list[str], list[tuple]]:
    """The names of the columns of a statement's result, and its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, **options)
        if not cursor.description:
            return [], []
        return [column[0] for column in cursor.description], cursor.fetchall()


def rows(connection: dbapi.HiveServer2Connection, sql: str, **options) -> list[tuple]:
    """The rows of a statement."""
    return ask(connection, sql, **options)[1]


def value(connection: dbapi.HiveServer2Connection, expression: str):
    """The value of an expression."""
    return rows(connection, f"select {expression}")[0][0]


def shell(server: Server, *statements: str) -> subprocess.CompletedProcess[str]:
    """Runs statements in impala-shell."""
    where = f"{server.host}:{server.hs2_port}"
    command = [SHELL, "-i", where, "-B", "-q", ";".join(statements)]
    return subprocess.run(
        command, capture_output=True, check=False, text=True, timeout=PATIENCE_S
    )


class TestShow:
    def test_create_table(self, impyla):
        names, [(text,)] = ask(impyla, "show create table nation")
        assert names == ["result"]
        assert text.startswith("CREATE EXTERNAL TABLE default.nation (\n  n_nationkey ")
        assert "\n  n_name STRING,\n" in text
        assert "\nSTORED AS PARQUET\nLOCATION '" in text

    def test_create_view(self, own):
        rows(own, "create view v as select 1 as a, 'it''s' as b")
        [(text,)] = rows(own, "show create view v")
        assert text.startswith("CREATE VIEW default.v AS\n")
        rows(own, "drop view v")
        rows(own, text)
        assert rows(own, "select * from default.v") == [(1, "it's")]

    def test_table_stats(self, impyla):
        names, [row] = ask(impyla, "show table stats nation")
        assert names == [
            "#Rows", "#Files", "Size", "Bytes Cached", "Cache Replication", "Format",
            "Incremental stats", "Location", "EC Policy",
        ]  # fmt: skip
        stats = dict(zip(names, row, strict=True))
        assert (stats["#Rows"], stats["#Files"], stats["Format"]) == (25, 1, "PARQUET")
        assert re.fullmatch(r"[\d.]+K?B", stats["Size"])

    def test_column_stats(self, impyla):
        names, stats = ask(impyla, "show column stats nation")
        assert names == [
            "Column", "Type", "#Distinct Values", "#Nulls", "Max Size", "Avg Size", "#Trues",
            "#Falses",
        ]  # fmt: skip
        by_name = {row[0]: row[1:] for row in stats}
        assert by_name["n_name"] == ("STRING", -1, 0, -1, -1.0, -1, -1)
        kind, distinct, nulls, most, average, *_ = by_name["n_nationkey"]
        size = {"INT": 4, "BIGINT": 8}[kind]
        assert (distinct, nulls, most, average) == (-1, 0, size, float(size))

    def test_partitions(self, start, tmp_path):
        duckdb = pytest.importorskip("duckdb")
        folder = tmp_path / "parted"
        with duckdb.connect() as duck:
            duck.execute(
                "COPY (SELECT i AS a, i % 2 AS half, 'it''s' AS word FROM range(10) t(i)) "
                f"TO '{folder}' (FORMAT parquet, PARTITION_BY (half))"
            )
        with connect(start(folder)) as impyla:
            names, [first, second, total] = ask(impyla, "show partitions parted")
            assert names[:3] == ["half", "#Rows", "#Files"]
            assert (first[0], first[1], first[2]) == ("0", 5, 1)
            assert first[names.index("Location")].endswith("/parted/half=0")
            assert second[0] == "1"
            assert (total[0], total[1], total[2]) == ("Total", 10, 2)
            names, files = ask(impyla, "show files in parted")
            assert names == ["Path", "Size", "Partition", "EC Policy"]
            assert [row[2] for row in files] == ["half=0", "half=1"]
            assert all(Path(row[0]).is_file() for row in files)
            [(text,)] = rows(impyla, "show create table parted")
            assert "\n)\nPARTITIONED BY (\n  half STRING\n)\n" in text
            stats = {row[0]: row[1:] for row in rows(impyla, "show column stats parted")}
            assert stats["half"][1:3] == (2, 0)

    def test_what_a_relation_has_not(self, own):
        rows(own, "create view v as select 1 as a")
        for statement, message in [
            ("show table stats v", "SHOW TABLE STATS not applicable to a view: default.v"),
            ("show partitions v", "SHOW PARTITIONS not applicable to a view"),
            ("show create table nowhere", "Could not resolve table reference: 'nowhere'"),
            ("show table stats", "ParseException"),
        ]:
            with pytest.raises(REFUSED, match=re.escape(message)):
                rows(own, statement)

    def test_not_partitioned(self, impyla):
        with pytest.raises(REFUSED, match="Table is not partitioned: default.nation"):
            rows(impyla, "show partitions nation")

    def test_formatted(self, impyla):
        names, lines = ask(impyla, "describe extended nation")
        assert names == ["name", "type", "comment"]
        assert lines[0] == ("# col_name", "data_type", "comment")
        assert lines[1] == ("", None, None)
        assert ("n_name", "string", None) in lines
        facts = {line[0].strip(): line[1] for line in lines if line[0].endswith(":")}
        assert facts["Database:"] == "default"
        assert facts["Table Type:"] == "EXTERNAL_TABLE"
        assert facts["Format:"] == "PARQUET"
        assert ("", "numRows", "25") in lines
        assert rows(impyla, "describe formatted default.nation") == lines

    def test_functions(self, impyla):
        names, listed = ask(impyla, "show functions in _impala_builtins like 'nv*'")
        assert names == ["return type", "signature", "binary type", "is persistent"]
        assert [row[1] for row in listed] == ["nvl(BIGINT, BIGINT)", "nvl2(BIGINT, BIGINT, BIGINT)"]
        assert rows(impyla, "show functions") == []

    def test_roles(self, impyla):
        assert ask(impyla, "show roles")[0] == ["role_name"]


# A value of each type that signatures name.
SAMPLES = {
    "BIGINT": "cast(7 as bigint)",
    "BOOLEAN": "true",
    "DOUBLE": "cast(0.5 as double)",
    "INT": "2",
    "STRING": "'a b'",
    "TIMESTAMP": "cast('2024-02-29 12:34:56' as timestamp)",
}

# Arguments that must be of a certain form.
ARGUMENTS = {
    "from_timestamp(TIMESTAMP, STRING)": "now(), 'yyyy-MM-dd'",
    "from_unixtime(BIGINT, STRING)": "0, 'yyyy'",
    "parse_url(STRING, STRING)": "'http://a/b', 'HOST'",
    "parse_url(STRING, STRING, STRING)": "'http://a/b?c=d', 'QUERY', 'c'",
    "to_timestamp(STRING, STRING)": "'2024-02-29', 'yyyy-MM-dd'",
    "trunc(TIMESTAMP, STRING)": "now(), 'MM'",
    "unix_timestamp(STRING, STRING)": "'2024-02-29', 'yyyy-MM-dd'",
}


class TestFunctions:
    def test_all_that_are_listed_can_be_called(self, impyla):
        failed = []
        for gives, signature, *_ in rows(impyla, "show functions in _impala_builtins"):
            name, types = re.fullmatch(r"(\w+)\((.*)\)", signature).groups()
            arguments = ", ".join(SAMPLES[kind] for kind in types.split(", ") if kind)
            call = f"{name}({ARGUMENTS.get(signature, arguments)})"
            call = call.replace("sleep(2)", "sleep(0)")
            try:
                kind = rows(impyla, f"select typeof(x) from (select {call} as x) t")[0][0]
            except REFUSED as error:
                failed.append(f"{call}: {error}")
                continue
            if kind.split("(")[0] != gives:
                failed.append(f"{call}: {kind}, not {gives}")
        assert not failed, "\n".join(failed)

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("1 / 2", 0.5),
            ("7 div 2", 3),
            ("-7 DIV 2", -3),
            ("1 div 0", None),
            ("7 % 0", None),
            ("1 + 7 / 2 * 2", 8.0),
            ("1 / 0", float("inf")),
            ("1.0 / 3", decimal.Decimal("0.333333333333")),
            ("3 ^ 1", 2),
            ("typeof(1)", "INT"),
            ("typeof('a')", "STRING"),
            ("typeof(1.50)", "DECIMAL(3,2)"),
            ("nvl(null, 2)", 2),
            ("nvl2(null, 1, 2)", 2),
            ("if(1 > 2, 'a', 'b')", "b"),
            ("decode(2, 1, 'one', 2, 'two')", "two"),
            ("decode(null, 1, 'one', null, 'none', 'else')", "none"),
            ("zeroifnull(null)", 0),
            ("concat('a', null)", None),
            ("concat('a', 1, 'b')", "a1b"),
            ("concat_ws('-', 'a', 'b')", "a-b"),
            ("substr('hello', -3)", "llo"),
            ("substr('hello', 0)", ""),
            ("substr('hello', -3, 2)", "ll"),
            ("instr('hello', 'l')", 3),
            ("locate('l', 'hello', 4)", 4),
            ("regexp_extract('abcdef123', '([a-z]+)([0-9]+)', 2)", "123"),
            ("regexp_extract('abc', 'x(y)', 1)", ""),
            ("regexp_replace('aaba', 'a', 'x')", "xxbx"),
            ("'abc' rlike 'b.'", True),
            ("'abc' not regexp 'b.'", False),
            ("null <=> null", True),
            ("parse_url('http://u:p@h:80/p/q?k=v&l=w#r', 'HOST')", "h"),
            ("parse_url('http://u:p@h:80/p/q?k=v&l=w#r', 'PATH')", "/p/q"),
            ("parse_url('http://u:p@h:80/p/q?k=v&l=w#r', 'QUERY', 'l')", "w"),
            ("from_unixtime(0)", "1970-01-01 00:00:00"),
            ("from_unixtime(86399, 'yyyy/MM/dd HH:mm')", "1970/01/01 23:59"),
            ("unix_timestamp('1970-01-02')", 86400),
            ("cast(to_date('2024-02-29 10:00:00') as string)", "2024-02-29"),
            ("year('2024-02-29')", 2024),
            ("dayofweek('2024-02-29')", 5),
            ("datediff('2024-03-01', '2024-02-28')", 2),
            ("cast(date_add('2024-02-28', 2) as string)", "2024-03-01 00:00:00"),
            ("cast(date_sub('2024-03-31', interval 1 month) as string)", "2024-02-29 00:00:00"),
            ("cast(trunc('2024-02-29', 'MM') as string)", "2024-02-01 00:00:00"),
            ("hex(255)", "FF"),
            ("hex('ab')", "6162"),
            ("fnv_hash('a')", -5808556873153909620),
            ("shiftleft(1, 4)", 16),
            ("pmod(-7, 3)", 2),
            ("current_database()", "default"),
        ],
    )
    def test_values(self, impyla, expression, expected):
        assert value(impyla, expression) == expected

    def test_aggregates(self, impyla):
        assert rows(
            impyla,
            "select group_concat(r_name, '|'), ndv(r_regionkey), appx_median(r_regionkey) from "
            "(select * from region order by r_regionkey limit 3) r",
        ) == [("AFRICA|AMERICA|ASIA", 3, 1)]
        [(average,)] = rows(impyla, "select sum(n_nationkey) / count(*) from nation")
        assert average == 12.0

    def test_session(self, impyla):
        with impyla.cursor() as cursor:
            cursor.execute("select current_session(), version(), effective_user()")
            session, version, user = cursor.fetchone()
        assert re.fullmatch("[0-9a-f]{16}:[0-9a-f]{16}", session)
        assert "Forebay" in version
        assert user

    def test_spellings(self, impyla):
        for statement in [
            "values (1), (2)",
            "-- a comment\n/* another */ select 1 union all select 2;",
            "select `column1` from (values (1), (2)) t /* the end */ -- ;",
        ]:
            assert sorted(rows(impyla, statement)) == [(1,), (2,)]


class TestKeys:
    """impyla has no such calls: they are made of one that has the same fields."""

    @pytest.mark.parametrize("call", ["GetPrimaryKeys", "GetCrossReference"])
    def test_there_are_none(self, impyla, call):
        from impala._thrift_gen.TCLIService import TCLIService, ttypes
        from thrift.Thrift import TMessageType

        with impyla.cursor() as cursor:
            client = impyla.service.client
            request = ttypes.TGetColumnsReq(sessionHandle=cursor.session.handle)
            client._oprot.writeMessageBegin(call, TMessageType.CALL, 0)
            TCLIService.GetColumns_args(req=request).write(client._oprot)
            client._oprot.writeMessageEnd()
            client._oprot.trans.flush()
            name, kind, _ = client._iprot.readMessageBegin()
            assert (name, kind) == (call, TMessageType.REPLY)
            result = TCLIService.GetColumns_result()
            result.read(client._iprot)
            client._iprot.readMessageEnd()
            answer = result.success
            assert answer.status.statusCode == ttypes.TStatusCode.SUCCESS_STATUS
            handle = answer.operationHandle
            request = ttypes.TGetResultSetMetadataReq(operationHandle=handle)
            schema = client.GetResultSetMetadata(request).schema
            columns = [column.columnName for column in schema.columns]
            request = ttypes.TFetchResultsReq(operationHandle=handle, maxRows=10)
            fetched = client.FetchResults(request)
        assert "PK_NAME" in columns
        assert "KEQ_SEQ" in columns
        assert fetched.results.columns[0].stringVal.values == []
