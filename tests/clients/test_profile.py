"""What Impala's tools look for in a profile, in each of its forms and at each moment of a query's life."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from impala import dbapi
from impala._thrift_gen.RuntimeProfile.ttypes import TRuntimeProfileFormat

from forebay import Server
from test_impala import connect, rows

Infos = dict[str, str]


@pytest.fixture
def impyla(server: Server) -> Iterator[dbapi.HiveServer2Connection]:
    """A connection to everybody's server."""
    with connect(server) as connection:
        yield connection


@pytest.fixture
def own(start) -> Iterator[dbapi.HiveServer2Connection]:
    """A connection to a server of the test's own."""
    with connect(start()) as connection:
        yield connection


def of_text(text: str) -> Infos:
    """The lines of a profile's summary that have a name and a value."""
    summary = text.partition("  Summary:\n")[2].partition("\n  ImpalaServer:")[0]
    return dict(re.findall(r"^    ([A-Z][^:\n]*): (.*)$", summary, re.MULTILINE))


def of_json(text: str) -> Infos:
    """The same of the JSON form."""
    [summary] = [
        node
        for node in json.loads(text)["contents"]["child_profiles"]
        if node["profile_name"] == "Summary"
    ]
    return {info["key"]: info["value"] for info in summary["info_strings"]}


def summaries(cursor) -> list[Infos]:
    """The summary of a cursor's last query, of each form of its profile."""
    form = TRuntimeProfileFormat
    tree = cursor.get_profile(profile_format=form.THRIFT)
    [summary] = [node for node in tree.nodes if node.name == "Summary"]
    return [
        of_text(cursor.get_profile(profile_format=form.STRING)),
        of_json(cursor.get_profile(profile_format=form.JSON)),
        summary.info_strings,
    ]


def always(cursor, names: list[str]) -> Infos:
    """What all forms say under these names, before the rows are fetched and after the close."""
    seen = summaries(cursor)
    # impyla closes what has given its last row.
    cursor.fetchall()
    seen += summaries(cursor)
    [first, *others] = [{name: infos.get(name) for name in names} for infos in seen]
    assert all(other == first for other in others)
    return first


def test_who_served_it(server, impyla):
    names = ["Coordinator", "Impala Version", "HiveServer2 Protocol Version"]
    with impyla.cursor() as cursor:
        cursor.execute("select n_name from nation")
        infos = always(cursor, names)
    [(version,)] = rows(impyla, "select version()")
    assert list(infos.values()) == [f"{server.host}:{server.hs2_port}", version, "V6"]


def test_columns_of_each_clause(impyla):
    """`default` is what Impala's clients call the schema."""
    names = [f"{clause} Columns" for clause in ("Select", "Where", "Join", "Aggregate", "OrderBy")]
    with impyla.cursor() as cursor:
        cursor.execute(
            "select n_name, count(*) from nation n join region r on n.n_regionkey = r.r_regionkey "
            "where r_name > 'A' group by n_name having max(n_nationkey) > 1 order by max(n_comment)"
        )
        infos = always(cursor, names)
    assert list(infos.values()) == [
        "default.nation.n_name",
        "default.region.r_name",
        "default.nation.n_regionkey,default.region.r_regionkey",
        "default.nation.n_name,default.nation.n_nationkey",
        "default.nation.n_comment",
    ]


@pytest.mark.parametrize(
    ("statement", "modified"),
    [
        ("create table written as select column1 as a from (values (1), (2), (3)) v", 3),
        ("insert into filled values (1), (2)", 2),
        ("insert into filled select a from filled where a > 7", 0),
        ("create view seen as select 1 as a", -1),
    ],
)
def test_rows_that_were_written(own, statement, modified):
    """Who writes no table has no such line; impyla reads it, and dbt by impyla."""
    rows(own, "create table filled (a int)")
    with own.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.rowcounts == (modified, -1)
        infos = {name: text for name, text in summaries(cursor)[1].items() if "Modified" in name}
        assert infos == ({"NumModifiedRows": str(modified)} if modified >= 0 else {})


def test_a_statement_that_only_reads_has_written_nothing(impyla):
    with impyla.cursor() as cursor:
        cursor.execute("select 1")
        assert cursor.rowcounts == (-1, -1)
