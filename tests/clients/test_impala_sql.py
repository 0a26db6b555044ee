"""Impala's way of SQL: what its clients say that PostgreSQL's do not, and what they read back."""

from __future__ import annotations

import datetime
import decimal
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy
from forebay import PATIENCE_S, Server, wait_until
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
            ("show create table nowhere", "Table does not exist: default.nowhere"),
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


def location(connection: dbapi.HiveServer2Connection, table: str) -> Path:
    """The folder of a table's files."""
    lines = rows(connection, f"describe formatted {table}")
    return Path(next(line[1] for line in lines if line[0] == "Location:"))


class TestTables:
    COLUMNS = (
        "a bigint comment 'it''s the key', b string, c decimal(10,2), d double, e timestamp, "
        "f date, g boolean, h tinyint, i float"
    )
    ROW = (
        "1, 'x,\"y\"', 1.25, 0.5, cast('2024-02-29 12:34:56' as timestamp), date '2024-02-29', "
        "true, cast(3 as tinyint), cast(0.25 as float)"
    )

    @pytest.mark.parametrize("stored_as", ["PARQUET", "TEXTFILE", "JSONFILE"])
    def test_what_is_written_is_read(self, own, stored_as):
        assert ask(own, f"create table t ({self.COLUMNS}) stored as {stored_as}") == (
            ["summary"],
            [("Table has been created.",)],
        )
        assert rows(own, "select * from t") == []
        with own.cursor() as cursor:
            cursor.execute(f"insert into t values ({self.ROW})")
            assert cursor.rowcount == 1
            nulls = "2, null, null, null, null, null, null, null, null"
            cursor.execute(f"insert into table default.t select {nulls}")
        first, second = rows(own, "select * from t order by a")
        assert first[:3] == (1, 'x,"y"', decimal.Decimal("1.25"))
        assert str(first[4]) == "2024-02-29 12:34:56"
        assert first[6:] == (True, 3, 0.25)
        assert second == (2, *[None] * 8)
        types = [row[1] for row in rows(own, "describe t")]
        assert types == [
            "bigint", "string", "decimal(10,2)", "double", "timestamp", "date", "boolean",
            "tinyint", "float",
        ]  # fmt: skip
        assert rows(own, "describe t")[0][2] == "it's the key"

    def test_definitions_make_the_same_table_again(self, own, tmp_path):
        created = (
            f"create external table t ({self.COLUMNS}) partitioned by (`date` int comment 'when') "
            "comment 'what\\'s here' row format delimited fields terminated by '|' escaped by '\\\\' "
            f"stored as textfile location '{tmp_path}/t' "
            "tblproperties ('skip.header.line.count'='1', 'note'='x')"
        )
        rows(own, created)
        [(first,)] = rows(own, "show create table t")
        assert "COMMENT 'what\\'s here'" in first
        assert "PARTITIONED BY (\n  `date` INT COMMENT 'when'\n)" in first
        rows(own, "drop table t")
        rows(own, first)
        assert rows(own, "show create table t") == [(first,)]

    def test_external_files_are_read_and_stay(self, own, tmp_path):
        folder = tmp_path / "files"
        folder.mkdir()
        (folder / "a.csv").write_text("name;n\nx;1\n;2\n")
        rows(
            own,
            "create external table if not exists default.t (name string, n int) row format delimited "
            f"fields terminated by ';' stored as textfile location '{folder}' "
            "tblproperties ('skip.header.line.count'='1')",
        )
        assert sorted(rows(own, "select n, name from t")) == [(1, "x"), (2, None)]
        rows(own, "drop table t")
        assert (folder / "a.csv").exists()
        # A folder that is not there yet is one without files.
        rows(own, f"create external table u (n int) location '{tmp_path}/new'")
        rows(own, "insert into u values (7)")
        assert rows(own, "select * from u") == [(7,)]

    def test_tables_of_queries(self, own):
        summary = ask(own, "create table t as select 1 as a, 'x' as b, 1.5 as c, 2 / 3 union all select 2, 'y', 2.5, 1")
        assert summary == (["summary"], [("Inserted 2 row(s)",)])
        assert [row[:2] for row in rows(own, "describe t")] == [
            ("a", "int"),
            ("b", "string"),
            ("c", "decimal(2,1)"),
            ("_c3", "double"),
        ]
        assert rows(own, "select a, b from t order by a") == [(1, "x"), (2, "y")]
        assert rows(own, "create table if not exists t as select 3 as a") == [("Table has been created.",)]
        assert rows(own, "select count(*) from t") == [(2,)]
        rows(own, "create table none stored as parquet as select * from t where false")
        assert rows(own, "select * from none") == []
        assert len(rows(own, "describe none")) == 4

    def test_partitions_of_ones_own(self, own):
        rows(own, "create table t partitioned by (k) stored as parquet as select 1 as a, 'x' as k union all select 2, 'y'")
        rows(own, "insert into t values (3, 'y')")
        assert [row[:3] for row in rows(own, "show partitions t")] == [
            ("x", 1, 1),
            ("y", 2, 2),
            ("Total", 3, 3),
        ]
        assert rows(own, "select a from t where k = 'y' order by a") == [(2,), (3,)]
        with pytest.raises(REFUSED, match="must be the last ones"):
            rows(own, "create table u partitioned by (a) as select 1 as a, 2 as b")

    PARTED = "create table p (a int, b string) partitioned by (year int, kind string)"

    def test_inserts_with_partitions(self, own):
        rows(own, self.PARTED)
        for statement, written in [
            # In another order than the table's; the query's last column is the open one's.
            ("insert into p partition (kind, year=2023 + 1) select 1, 'x', 'new'", 1),
            ("insert into p partition (year=2024, kind='it''s') values (2, 'y'), (3, null)", 2),
            ("insert into table default.p (b) partition (year, kind='old') select 'z', 2023", 1),
            ("insert into p partition (year, kind) select 5, 'v', 2022, 'old'", 1),
            ("insert into p (kind, b, a) partition (`YEAR`=2021) select 'k', 'w', 6", 1),
            (
                "insert into p partition (year=2020, kind='u') with q as (select 7 as a, 'q' as b) "
                "select a, b from q union all select 8, 'r'",
                2,
            ),
        ]:
            with own.cursor() as cursor:
                cursor.execute(statement)
                assert cursor.rowcount == written, statement
        assert rows(own, "select * from p order by a") == [
            (1, "x", 2024, "new"),
            (2, "y", 2024, "it's"),
            (3, None, 2024, "it's"),
            (5, "v", 2022, "old"),
            (6, "w", 2021, "k"),
            (7, "q", 2020, "u"),
            (8, "r", 2020, "u"),
            (None, "z", 2023, "old"),
        ]
        parts = [row[:2] for row in rows(own, "show partitions p")]
        assert ("2024", "new") in parts and ("2023", "old") in parts
        plan = rows(own, "explain insert into p partition (year=2020, kind='u') select 1, 'x'")
        assert plan

    @pytest.mark.parametrize(
        ("statement", "message"),
        [
            ("insert into p partition (year=1) select 1, 'x'", "Missing columns are: kind"),
            ("insert into p partition (year=1, kind, c) select 1, 'x', 'y'", "Unknown column 'c' in partition clause"),
            ("insert into p partition (a=1, year=1, kind) select 1, 'x'", "Column 'a' is not a partition column"),
            ("insert into q partition (year=1) select 1", "'default.q' is not partitioned"),
            ("insert into r partition (year=1) select 1", "Table does not exist: default.r"),
            ("insert into nowhere.r partition (year=1) select 1", "Database does not exist: nowhere"),
            ("insert into p partition (year=1, kind='x') select 1", "more or fewer expressions than target columns"),
            ("insert into p partition (year, kind) select 1, 'x', cast(null as int), 'y'", "null value in column number 3"),
            ("insert overwrite table p partition (year=1, kind='x') select 1", "INSERT OVERWRITE is not supported"),
        ],
    )
    def test_partitions_that_do_not_fit(self, own, statement, message):
        rows(own, self.PARTED)
        rows(own, "create table q (a int)")
        with pytest.raises(REFUSED, match=re.escape(message)):
            rows(own, statement)
        assert rows(own, "select * from p") == []

    def test_partitions_of_files_that_were_there(self, start, tmp_path):
        """The columns are those of the files: nobody has declared any."""
        duckdb = pytest.importorskip("duckdb")
        folder = tmp_path / "parted"
        with duckdb.connect() as duck:
            duck.execute(
                "COPY (SELECT i AS a, 'w' AS word, i % 2 AS half FROM range(2) t(i)) "
                f"TO '{folder}' (FORMAT parquet, PARTITION_BY (half))"
            )
        with connect(start(folder)) as impyla:
            rows(impyla, "insert into parted partition (half='7') select 7, 'new'")
            assert rows(impyla, "select * from parted where a = 7") == [(7, "new", "7")]

    def test_dropping_takes_the_files_along(self, own):
        rows(own, "create table t as select 1 as a")
        folder = location(own, "t")
        assert list(folder.iterdir())
        rows(own, "alter table t rename to u")
        assert rows(own, "select * from u") == [(1,)]
        rows(own, "truncate table u")
        assert rows(own, "select * from u") == []
        emptied = location(own, "u")
        assert emptied != folder
        wait_until(lambda: not folder.exists(), "the old files are gone")
        rows(own, "insert into u values (5)")
        assert rows(own, "drop table if exists u purge") == [("Table has been dropped.",)]
        wait_until(lambda: not emptied.exists(), "the files are gone")
        rows(own, "drop table if exists u")
        with pytest.raises(REFUSED, match="Could not resolve table reference: 'u'"):
            rows(own, "drop table u")

    def test_what_fails_leaves_nothing(self, own):
        with pytest.raises(REFUSED, match="decimal by zero"):
            rows(own, "create table t as select 1.5 / (column1 - 1) as a from (values (1), (2)) v")
        with pytest.raises(REFUSED, match="Could not resolve"):
            rows(own, "create table t as select * from nowhere")
        with pytest.raises(REFUSED, match="Could not resolve"):
            rows(own, "select * from t")
        rows(own, "create table u (a int)")
        warehouse = location(own, "u").parent
        wait_until(lambda: len(list(warehouse.iterdir())) == 1, "only one table has a folder")
        with pytest.raises(REFUSED, match="Table already exists: u"):
            rows(own, "create table u (a int)")

    def test_views_stay_when_tables_go(self, own):
        rows(own, "create table t as select 1 as a")
        rows(own, "create view v as select a / 2 as half from t")
        # What dbt does to replace a table.
        rows(own, "create table t2 as select 4 as a")
        rows(own, "alter table t rename to t_old")
        rows(own, "alter table t2 rename to t")
        rows(own, "drop table if exists t_old")
        assert rows(own, "select * from v") == [(2.0,)]
        rows(own, "drop table t")
        with pytest.raises(REFUSED, match="Could not resolve table reference: 't'"):
            rows(own, "select * from v")
        assert ("v",) in rows(own, "show tables")
        with own.cursor() as cursor:
            # What cannot be read does not hide the others.
            rows(own, "create table u (a int, d decimal(9,2))")
            schema = cursor.get_table_schema("u", "default")
            assert [column[:2] for column in schema] == [("a", "INT"), ("d", "DECIMAL")]
        # A thing of another kind is passed over.
        rows(own, "drop table if exists v")
        assert rows(own, "show views") == [("v",)]
        rows(own, "alter view v rename to w")
        rows(own, "drop view if exists w")
        assert rows(own, "show views") == []

    def test_views_do_not_read_themselves(self, own):
        rows(own, "create table t (a int)")
        rows(own, "create view v as select a from t")
        rows(own, "create view w as select a from v")
        rows(own, "drop table t")
        with pytest.raises(REFUSED, match="Could not resolve table reference: 't'"):
            rows(own, "create view t as select a from v")
        with pytest.raises(REFUSED, match="recursi"):
            rows(own, "alter view w rename to t")

    def test_comments(self, own):
        rows(own, "create table t (a int comment 'old', b string) comment 'first'")
        rows(own, "comment on table t is 'second'")
        rows(own, "comment on column default.t.a is 'new'")
        rows(own, "comment on column t.b is 'other'")
        assert [row[2] for row in rows(own, "describe t")] == ["new", "other"]
        [(text,)] = rows(own, "show create table t")
        assert "COMMENT 'second'" in text
        with pytest.raises(REFUSED, match="Could not resolve column/field reference: 'c'"):
            rows(own, "comment on column t.c is 'none'")

    def test_ownership(self, start):
        server = start()
        with server.connect() as db:
            db.execute("CREATE ROLE ada LOGIN")
            db.execute("CREATE ROLE bob LOGIN")
        options = {"auth_mechanism": "PLAIN", "password": "none"}
        with (
            connect(server, user="ada", **options) as ada,
            connect(server, user="bob", **options) as bob,
        ):
            rows(ada, "create table t as select 1 as a")
            rows(ada, "insert into t values (2)")
            assert sorted(rows(bob, "select * from t")) == [(1,), (2,)]
            for statement in [
                "insert into t values (3)",
                "drop table t",
                "truncate table t",
                "alter table t rename to u",
                "comment on table t is 'mine'",
                "create external table x (a int) location '/tmp/x'",
            ]:
                with pytest.raises(REFUSED, match="must be|permission|superuser"):
                    rows(bob, statement)
            assert sorted(rows(bob, "select * from t")) == [(1,), (2,)]

    def test_a_start_removes_what_a_crash_has_left(self, start, tmp_path):
        server = start()
        with connect(server) as impyla:
            rows(impyla, "create table t as select 1 as a")
            warehouse = location(impyla, "t").parent
        server.kill()
        left = warehouse / "public.u-0123456789abcdef0123456789abcdef"
        left.mkdir()
        (left / "x.parquet").write_bytes(b"half a file")
        with connect(start()) as impyla:
            assert not left.exists()
            assert rows(impyla, "select * from t") == [(1,)]

    def test_names_of_partition_columns_are_names(self, own, tmp_path):
        """Whatever is in them: they are no SQL."""
        secret = tmp_path / "secret"
        for name in [f") LOCATION '{secret}/' --", 'a"b', "a=b", "größe"]:
            with pytest.raises(REFUSED, match="invalid name of a partition column"):
                rows(own, f"create table t (a string) partitioned by (`{name}` string)")
        for name in [") LOCATION 'secret' --", "a b", "x) options('format.delimiter' ';'"]:
            rows(own, f"create table t (a string) partitioned by (`{name}` string)")
            assert rows(own, "select * from t") == []
            rows(own, f"insert into t partition (`{name}`) values ('x', 'y')")
            assert rows(own, f"select a, `{name}` from t") == [("x", "y")]
            assert "warehouse" in str(location(own, "t"))
            rows(own, "drop table t")

    def test_values_of_partitions_come_back(self, own):
        values = ["Zürich", "a/b", "100 %", "x=y", "a\"b"]
        rows(own, "create table t (a int) partitioned by (p string)")
        for number, value in enumerate(values):
            rows(own, f"insert into t partition (p='{value}') select {number}")
        assert rows(own, "select p from t order by a") == [(value,) for value in values]
        assert rows(own, "select a from t where p = 'Zürich'") == [(0,)]

    def test_what_takes_memory_is_for_superusers(self, start):
        server = start()
        with server.connect() as db:
            db.execute("CREATE ROLE bob LOGIN")
        statements = [
            "create table t (a string) tblproperties ('format.compression::a'='zstd(22)')",
            "create table t (a string) stored as textfile tblproperties "
            "('format.compression'='zstd', 'format.compression_level'='22')",
        ]
        with connect(server, user="bob", auth_mechanism="PLAIN", password="none") as bob:
            for statement in statements:
                with pytest.raises(REFUSED, match="must be superuser"):
                    rows(bob, statement)

    def test_tables_move_with_the_data_directory(self, start, tmp_path):
        server = start()
        with connect(server) as impyla:
            rows(impyla, "create table t (a int) partitioned by (b int)")
            rows(impyla, "insert into t values (1, 2)")
            rows(impyla, "create view v as select * from t")
        server.stop()
        (tmp_path / "data").rename(tmp_path / "moved")
        with connect(start(data_dir=tmp_path / "moved")) as impyla:
            assert rows(impyla, "select * from v") == [(1, 2)]
            assert location(impyla, "t").parent == tmp_path / "moved" / "warehouse"
            rows(impyla, "insert into t values (3, 4)")
            assert sorted(rows(impyla, "select * from v")) == [(1, 2), (3, 4)]

    @pytest.mark.parametrize(
        ("statement", "message"),
        [
            ("create table t (a array<int>)", "the type ARRAY is not supported"),
            ("create table t (a int) stored as orc", "STORED AS ORC is not supported"),
            ("create table t (a int) stored as textfile tblproperties ('serialization.null.format'='N')", "another text for NULL"),
            ("create table t", "needs columns"),
            ("create external table t (a int)", "needs a LOCATION"),
            ("alter table t add columns (b int)", "ALTER TABLE other than RENAME TO"),
            ("insert overwrite t select 1", "INSERT OVERWRITE is not supported"),
            ("create table t as select null as a", "Cast it"),
        ],
    )
    def test_what_is_not_served(self, own, statement, message):
        with pytest.raises(REFUSED, match=message):
            rows(own, statement)

    def test_in_the_shell(self, start):
        ran = shell(
            start(),
            "create table t (a int)",
            "insert into t values (1), (2)",
            "create table u as select * from t",
            "select count(*) from u",
        )
        assert ran.returncode == 0, ran.stderr
        assert "Modified 2 row(s)" in ran.stderr
        assert ran.stdout.splitlines() == ["Table has been created.", "Inserted 2 row(s)", "2"]


class TestOptions:
    def test_explain_level(self, impyla):
        minimal = rows(impyla, "explain select * from nation", configuration={"EXPLAIN_LEVEL": "0"})
        standard = rows(impyla, "explain select * from nation")
        verbose = rows(impyla, "explain select * from nation", configuration={"EXPLAIN_LEVEL": "VERBOSE"})
        assert not any("cost=" in line for (line,) in minimal)
        assert any("cost=" in line for (line,) in standard)
        assert len(verbose) == len(standard)
        assert ask(impyla, "explain select 1")[0] == ["Explain String"]

    @pytest.mark.parametrize(
        ("codec", "found"),
        [
            ("NONE", "UNCOMPRESSED"),
            ("SNAPPY", "SNAPPY"),
            ("lz4", "LZ4"),
            ("gzip", "GZIP"),
            ("zstd:9", "ZSTD"),
            ("", "ZSTD"),
        ],
    )
    def test_compression_codec(self, own, codec, found):
        """What a session writes is compressed as it says, whoever made the table."""
        options = {"COMPRESSION_CODEC": codec}
        rows(own, "create table t (a bigint, b string)", configuration={"COMPRESSION_CODEC": "NONE"})
        rows(own, "insert into t select 1, 'x'", configuration=options)
        assert self.codecs(own, "t") == [found]
        # Partitions too, and tables of queries.
        rows(
            own,
            "create table u partitioned by (k) as select 1 as a, 'x' as k union all select 2, 'y'",
            configuration=options,
        )
        assert self.codecs(own, "u") == [found]
        assert rows(own, "select a, k from u order by a") == [(1, "x"), (2, "y")]

    def test_compression_codec_is_of_the_session(self, start):
        server = start()
        shell_ran = shell(
            server,
            "create table t (a int)",
            "set compression_codec=snappy",
            "insert into t values (1)",
            "set compression_codec=",
            "insert into t values (2)",
        )
        assert shell_ran.returncode == 0, shell_ran.stderr
        with connect(server) as impyla:
            assert self.codecs(impyla, "t") == ["SNAPPY", "ZSTD"]
            with pytest.raises(REFUSED, match="Invalid value for query option COMPRESSION_CODEC: 'BZIP2'"):
                rows(impyla, "insert into t values (3)", configuration={"COMPRESSION_CODEC": "BZIP2"})
            assert sorted(rows(impyla, "select a from t")) == [(1,), (2,)]
        with server.connect() as db:
            # PostgreSQL's clients say it in DataFusion's words.
            db.execute("SET datafusion.execution.parquet.compression = 'gzip(1)'")
            db.execute("INSERT INTO t VALUES (4)")
        with connect(server) as impyla:
            assert self.codecs(impyla, "t") == ["GZIP", "SNAPPY", "ZSTD"]

    def test_compression_takes_no_right(self, start):
        """Everybody may choose, but for levels that take much memory."""
        server = start()
        with server.connect() as db:
            db.execute("CREATE ROLE ada LOGIN")
        with connect(server, user="ada", auth_mechanism="PLAIN", password="none") as ada:
            options = {"COMPRESSION_CODEC": "ZSTD:19"}
            rows(ada, "create table t as select 1 as a", configuration=options)
            assert self.codecs(ada, "t") == ["ZSTD"]
            with pytest.raises(REFUSED, match="levels of ZSTD above 19"):
                rows(ada, "insert into t values (2)", configuration={"COMPRESSION_CODEC": "ZSTD:20"})

    @pytest.mark.parametrize("stored_as", ["PARQUET", "TEXTFILE", "JSONFILE"])
    def test_scan_bytes_limit(self, own, stored_as):
        """What has been read counts, whatever the format, and however short the answer is."""
        rows(own, f"create table t (a bigint, b string) stored as {stored_as}")
        rows(own, "insert into t select x, repeat('y', 100) from generate_series(1, 5000) g(x)")
        whole = "select max(a), count(distinct concat(b, cast(a as string))) from t"
        for limit in ["0", "1g", "10MB"]:
            assert rows(own, whole, configuration={"SCAN_BYTES_LIMIT": limit}) == [(5000, 5000)]
        with pytest.raises(REFUSED) as raised:
            rows(own, whole, configuration={"SCAN_BYTES_LIMIT": "4k"})
        assert re.search(
            r"Query [0-9a-f:]{33} terminated due to scan bytes limit of 4kB\.\n"
            r"It has read \d+ bytes of files.*\nUnset or increase SCAN_BYTES_LIMIT query option\.",
            str(raised.value),
        )
        # A statement that writes nothing when it fails.
        with pytest.raises(REFUSED, match="scan bytes limit of 10B"):
            rows(own, f"explain analyze {whole}", configuration={"SCAN_BYTES_LIMIT": "10"})

    def test_cpu_limit_gives_everything_back(self, start):
        server = start()
        with server.connect() as db:
            db.execute("CREATE RESOURCE QUEUE one WITH (ACTIVE_STATEMENTS=1)")
            db.execute("CREATE ROLE ada LOGIN RESOURCE QUEUE one")
        endless = "select sum(x % 7) from generate_series(1, 1000000000000) g(x)"
        with connect(server, user="ada", auth_mechanism="PLAIN", password="none") as ada:
            with pytest.raises(REFUSED) as raised:
                rows(ada, endless, configuration={"CPU_LIMIT_S": "1"})
            assert re.search(
                r"Query [0-9a-f:]{33} terminated due to CPU limit of 1s\.\n"
                r"It has kept threads busy for \d+ms.*\nUnset or increase CPU_LIMIT_S query option\.",
                str(raised.value),
            )
            # The queue's only slot is free, and waiting is not computing.
            options = {"CPU_LIMIT_S": "1"}
            assert rows(ada, "select sleep(1500)", configuration=options) == [(True,)]
            assert rows(ada, "select 1", configuration=options) == [(1,)]
            with pytest.raises(REFUSED, match="Invalid value for query option CPU_LIMIT_S: 'much'"):
                rows(ada, "select 1", configuration={"CPU_LIMIT_S": "much"})

    def codecs(self, connection, table: str) -> list[str]:
        """How the columns in a table's files are compressed, as their footers say."""
        duckdb = pytest.importorskip("duckdb")
        files = [row[0] for row in rows(connection, f"show files in {table}")]
        assert files
        with duckdb.connect() as duck:
            found = duck.execute("select distinct compression from parquet_metadata(?)", [files])
            return sorted(codec for (codec,) in found.fetchall())

    def test_default_file_format(self, own):
        made = "create table {} as select * from (values (1), (2)) v"
        rows(own, made.format("texts"), configuration={"DEFAULT_FILE_FORMAT": "JSON"})
        assert [row[5] for row in rows(own, "show table stats texts")] == ["JSON"]


class TestErrors:
    @pytest.mark.parametrize(
        ("statement", "message"),
        [
            (
                "select n_name\nfrom default.nation wher x",
                "ParseException: Syntax error in line 2:\nfrom default.nation wher x\n                         ^",
            ),
            ("select x from nation", "AnalysisException: Could not resolve column/field reference: 'x'"),
            ("select * from default.nowhere", "Could not resolve table reference: 'default.nowhere'"),
            ("select nothing_at_all(1)", "nothing_at_all() unknown"),
            ("use nowhere", "AnalysisException: Database does not exist: nowhere"),
            ("show tables in nowhere", "AnalysisException: Database does not exist: nowhere"),
            ("show views in nowhere like 'a*'", "AnalysisException: Database does not exist: nowhere"),
            ("show functions in nowhere", "AnalysisException: Database does not exist: nowhere"),
            ("describe database nowhere", "AnalysisException: Database does not exist: nowhere"),
            ("describe nowhere", "AnalysisException: Could not resolve path: 'nowhere'"),
            ("describe default.nowhere", "AnalysisException: Could not resolve path: 'default.nowhere'"),
            ("describe formatted nowhere", "AnalysisException: Table does not exist: default.nowhere"),
            ("show table stats nowhere", "AnalysisException: Table does not exist: default.nowhere"),
            ("show column stats default.nowhere", "AnalysisException: Table does not exist: default.nowhere"),
            ("show partitions elsewhere.t", "AnalysisException: Database does not exist: elsewhere"),
            ("show files in nowhere", "AnalysisException: Table does not exist: default.nowhere"),
        ],
    )
    def test_words(self, impyla, statement, message):
        with pytest.raises(REFUSED) as raised:
            rows(impyla, statement)
        assert message in str(raised.value)


class TestSqlAlchemy:
    @pytest.fixture
    def engine(self, start) -> Iterator[sqlalchemy.Engine]:
        """An engine of SQLAlchemy over impyla, to a server of the test's own."""
        server = start()
        url = f"impala://{server.host}:{server.hs2_port}/default?auth_mechanism=NOSASL"
        engine = sqlalchemy.create_engine(url)
        yield engine
        engine.dispose()

    def test_tables_are_made_filled_and_read(self, engine):
        table = sqlalchemy.Table(
            "t",
            sqlalchemy.MetaData(),
            sqlalchemy.Column("id", sqlalchemy.Integer),
            sqlalchemy.Column("name", sqlalchemy.String),
            sqlalchemy.Column("at", sqlalchemy.DateTime),
            sqlalchemy.Column("share", sqlalchemy.Float),
            sqlalchemy.Column("amount", sqlalchemy.Numeric(10, 2)),
        )
        table.metadata.create_all(engine)
        first = (
            1, "it's", datetime.datetime(2024, 2, 29, 12, 34, 56), 0.5, decimal.Decimal("1.25"),
        )  # fmt: skip
        second = (2, None, None, None, None)
        names = table.columns.keys()
        with engine.begin() as connection:
            values = [dict(zip(names, row, strict=True)) for row in (first, second)]
            connection.execute(table.insert(), values)
            found = connection.execute(sqlalchemy.select(table).order_by(table.c.id)).all()
            assert [tuple(row) for row in found] == [first, second]
            half = sqlalchemy.select(table.c.id / 2).where(table.c.name == "it's")
            assert connection.execute(half).scalar_one() == 0.5
        table.metadata.drop_all(engine)
        assert not sqlalchemy.inspect(engine).has_table("t")

    def test_reflection(self, engine):
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("create database shop"))
            made = "create table shop.t as select 1 as a, 'x' as b, date '2024-02-29' as c"
            connection.execute(sqlalchemy.text(made))
        inspector = sqlalchemy.inspect(engine)
        assert {"default", "shop"} <= set(inspector.get_schema_names())
        assert inspector.get_table_names(schema="shop") == ["t"]
        table = sqlalchemy.Table("t", sqlalchemy.MetaData(), autoload_with=engine, schema="shop")
        kinds = [type(column.type).__name__ for column in table.columns]
        assert kinds == ["INT", "STRING", "DATE"]
        with engine.connect() as connection:
            row = connection.execute(sqlalchemy.select(table)).one()
        assert tuple(row) == (1, "x", datetime.date(2024, 2, 29))


class TestColumns:
    KINDS = {
        "a": ("boolean", "BOOLEAN", 16),
        "b": ("tinyint", "TINYINT", -6),
        "c": ("smallint", "SMALLINT", 5),
        "d": ("int", "INT", 4),
        "e": ("bigint", "BIGINT", -5),
        "f": ("float", "FLOAT", 6),
        "g": ("double", "DOUBLE", 8),
        "h": ("decimal(10,2)", "DECIMAL", 3),
        "i": ("string", "STRING", 12),
        "j": ("timestamp", "TIMESTAMP", 93),
        "k": ("date", "DATE", 91),
        "l": ("binary", "BINARY", -2),
    }

    def test_types_are_the_same_wherever_they_are_told(self, own):
        made = ", ".join(f"{name} {kind}" for name, (kind, *_) in self.KINDS.items())
        rows(own, f"create table t ({made}) partitioned by (p tinyint)")
        kinds = self.KINDS | {"p": ("tinyint", "TINYINT", -6)}
        assert {row[0]: row[1] for row in rows(own, "describe t")} == {
            name: kind for name, (kind, *_) in kinds.items()
        }
        rows(own, "insert into t partition (p=-7) select null, 127, null, null, null, null, null, null, null, null, null, null")
        with own.cursor() as cursor:
            cursor.execute("select * from t")
            assert {column[0]: column[1] for column in cursor.description} == {
                name: kind for name, (_, kind, _) in kinds.items()
            }
            (row,) = cursor.fetchall()
            assert (row[1], row[-1]) == (127, -7)
        names, listed = self.columns(own, "t")
        told = [dict(zip(names, row, strict=True)) for row in listed]
        assert {c["COLUMN_NAME"]: (c["TYPE_NAME"], c["DATA_TYPE"]) for c in told} == {
            name: (kind, code) for name, (_, kind, code) in kinds.items()
        }
        sizes = {c["COLUMN_NAME"]: (c["COLUMN_SIZE"], c["DECIMAL_DIGITS"]) for c in told}
        assert (sizes["b"], sizes["h"], sizes["i"]) == ((3, None), (10, 2), (None, None))

    def test_tinyint_in_files_that_were_there(self, start, tmp_path):
        duckdb = pytest.importorskip("duckdb")
        folder = tmp_path / "small"
        folder.mkdir()
        with duckdb.connect() as duck:
            duck.execute(
                "COPY (SELECT cast(-128 AS tinyint) AS a, cast(200 AS utinyint) AS b) "
                f"TO '{folder}/x.parquet' (FORMAT parquet)"
            )
        with connect(start(folder)) as impyla:
            names, listed = self.columns(impyla, "small")
            types = [row[names.index("TYPE_NAME")] for row in listed]
            assert types == ["TINYINT", "SMALLINT"]
            assert [row[1] for row in rows(impyla, "describe small")] == ["tinyint", "smallint"]
            assert rows(impyla, "select * from small") == [(-128, 200)]

    def test_comments_for_postgresqls_clients(self, start, sample):
        """psql's `\\dt+` and `\\d+` ask so; nobody has declared the second table's columns."""
        server = start()
        with server.connect() as db:
            db.execute(f"CREATE EXTERNAL TABLE n STORED AS PARQUET LOCATION '{sample}/nation'")
        with connect(server) as impyla:
            rows(impyla, "create table t (a int, b int comment 'of b') comment 'of t'")
            rows(impyla, "comment on column n.n_name is 'of n_name'")
            rows(impyla, "comment on table n is 'of n'")
        with server.connect() as db:
            told = db.execute(
                "SELECT c.relname, a.attname, obj_description(c.oid, 'pg_class'), "
                "col_description(a.attrelid, a.attnum) FROM pg_class c JOIN pg_attribute a "
                "ON a.attrelid = c.oid WHERE col_description(a.attrelid, a.attnum) IS NOT NULL "
                "ORDER BY 1"
            ).fetchall()
            assert told == [
                ("n", "n_name", "of n", "of n_name"),
                ("t", "b", "of t", "of b"),
            ]

    def test_comments(self, own):
        rows(own, "create table t (a int comment 'it''s the key', b int) comment 'of the table'")
        rows(own, "create view v comment 'of the view' as select 1 as a")
        rows(own, "comment on column t.b is 'new'")
        names, listed = self.columns(own, "t")
        assert [row[names.index("REMARKS")] for row in listed] == ["it's the key", "new"]
        assert self.tables(own) == {"t": ("TABLE", "of the table"), "v": ("VIEW", "of the view")}
        rows(own, "comment on column t.b is null")
        rows(own, "comment on table t is null")
        names, listed = self.columns(own, "t")
        assert [row[names.index("REMARKS")] for row in listed] == ["it's the key", ""]
        assert self.tables(own)["t"] == ("TABLE", "")

    def test_tables_that_the_server_has_found_take_none(self, impyla):
        with pytest.raises(REFUSED, match='table "nation" was found when the server started'):
            rows(impyla, "comment on table nation is 'x'")

    def columns(self, connection, table: str) -> tuple[list[str], list[tuple]]:
        """What GetColumns answers."""
        with connection.cursor() as cursor:

            def begin() -> None:
                cursor._last_operation = cursor.session.get_table_schema(table, "default")

            cursor._execute_async(begin)
            cursor._wait_to_finish()
            return [column[0] for column in cursor.description], cursor.fetchall()

    def tables(self, connection) -> dict[str, tuple[str, str]]:
        """Kinds and comments, as GetTables answers."""
        with connection.cursor() as cursor:
            cursor.get_tables(database_name="default")
            return {row[2]: row[3:5] for row in cursor.fetchall()}


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
