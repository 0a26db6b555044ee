"""What is left of queries, read by programs that are not ours: Parquet by DuckDB, profiles by thriftpy2."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
import thriftpy2
from thriftpy2.protocol.compact import TCompactProtocol
from thriftpy2.transport import TMemoryBuffer

from forebay import Server, run

STATEMENTS = [
    "SELECT n_name FROM nation JOIN region ON n_regionkey = r_regionkey ORDER BY n_name",
    "SELECT 'é', count(*) FROM lineitem",
]
IDL = Path(__file__).with_name("impala_profile.thrift")


@pytest.fixture
def data_dir(start: Callable[..., Server], sample: Path, tmp_path: Path) -> Path:
    """A data directory in which these statements have run."""
    server = start(sample, data_dir=tmp_path / "data")
    with closing(server.connect()) as db:
        for statement in STATEMENTS:
            db.execute(statement).fetchall()
    server.stop()
    return server.data_dir


def test_any_parquet_reader_reads_the_history(data_dir: Path):
    with closing(duckdb.connect()) as duck:
        files = str(data_dir / "history" / "*.parquet")
        rows = duck.execute(
            "SELECT statement, state, rows_returned, end_time >= start_time, len(columns_used) "
            "FROM read_parquet(?) WHERE statement_type = 'SELECT' ORDER BY start_time",
            [files],
        ).fetchall()
    assert rows == [
        (STATEMENTS[0], "FINISHED", 25, True, 3),
        (STATEMENTS[1], "FINISHED", 1, True, 0),
    ]


def decode(line: str):
    """The tree in a line of the profile log."""
    layout = thriftpy2.load(str(IDL), module_name="impala_profile_thrift")
    tree = layout.TRuntimeProfileTree()
    payload = zlib.decompress(base64.b64decode(line.split(" ")[2], validate=True))
    buffer = TMemoryBuffer(payload)
    tree.read(TCompactProtocol(buffer))
    assert buffer.read(1) == b"", "nothing follows the tree"
    return tree


def test_another_thrift_library_reads_the_profiles(data_dir: Path):
    log = data_dir / "profiles" / "profile.log"
    lines = log.read_text().splitlines()
    printed = run("profile", log, "--format", "json").stdout.splitlines()
    trees = [decode(line) for line in lines]
    queries = [tree for tree in trees if tree.nodes[1].info_strings["Sql Statement"] in STATEMENTS]
    assert [tree.nodes[1].info_strings["Sql Statement"] for tree in queries] == STATEMENTS
    for line, tree, ours in zip(lines, trees, map(json.loads, printed), strict=True):
        assert tree.profile_version == 1
        check(iter(tree.nodes), ours["contents"])
        assert tree.nodes[0].name == f"Query (id={line.split(' ')[1]})"

    join = queries[0]
    compilation, timeline = join.nodes[1].event_sequences
    assert compilation.labels == ["Planning finished"]
    assert timeline.labels[0] == "Query submitted"
    assert "Planning finished" in timeline.labels
    assert timeline.labels[-2:] == ["Last row fetched", "Unregister query"]
    assert timeline.timestamps == sorted(timeline.timestamps)
    operators = [node for node in join.nodes if node.node_metadata]
    assert [node.node_metadata.plan_node_id for node in operators] == list(range(len(operators)))
    assert all(node.summary_stats_counters[0].name == "ComputeTime" for node in operators)


UNITS = {"UNIT": 0, "BYTES": 3, "TIME_NS": 5}


def check(nodes, ours: dict):
    """The nodes, each before its children, are our tree."""
    node = next(nodes)
    assert node.name == ours["profile_name"]
    assert node.num_children == ours["num_children"] == len(ours.get("child_profiles", []))
    assert [{"key": k, "value": node.info_strings[k]} for k in node.info_strings_display_order] == ours.get(
        "info_strings", []
    )
    assert [(c.name, c.unit, c.value) for c in node.counters] == [
        (c["counter_name"], UNITS[c["unit"]], c["value"]) for c in ours.get("counters", [])
    ]
    for child in ours.get("child_profiles", []):
        check(nodes, child)
