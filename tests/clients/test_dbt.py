"""dbt-impala: a small project of seeds, views, tables and tests, built twice and described."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from forebay import PATIENCE_S, TARGET, Server
from test_impala import connect
from test_impala_sql import rows

DBT = TARGET / "dbt-venv" / "bin" / "dbt"
PROJECT = Path(__file__).with_name("dbt")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project: dbt writes into its folder."""
    return Path(shutil.copytree(PROJECT, tmp_path / "project"))


@pytest.fixture
def dbt(project: Path) -> Callable[..., str]:
    """Runs dbt in the project, and returns what it says."""

    def dbt(server: Server, *arguments: str) -> str:
        place = {"FOREBAY_TEST_HOST": server.host, "FOREBAY_TEST_PORT": str(server.hs2_port)}
        ran = subprocess.run(
            [DBT, "--no-use-colors", *arguments, "--project-dir", project, "--profiles-dir", project],
            capture_output=True,
            check=False,
            text=True,
            timeout=PATIENCE_S * 5,
            env=os.environ | place,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return dbt


def written(project: Path) -> dict[str, int]:
    """The rows that each relation has got, as dbt was told; -1 for what it takes for no table."""
    results = json.loads((project / "target" / "run_results.json").read_text())["results"]
    relations = [result for result in results if not result["unique_id"].startswith("test.")]
    return {
        result["unique_id"].split(".")[-1]: result["adapter_response"]["rows_affected"]
        for result in relations
    }


def test_a_project_is_built_twice(start, dbt, project):
    server = start()
    assert "ERROR=0 SKIP=0" in dbt(server, "build")
    # What it prints behind each node: tables say how many rows they have got.
    assert written(project) == {
        "best_customers": 2, "customer_orders": -1, "customers": 3, "daily": 3, "orders": 3, "top": -1
    }
    with connect(server) as impyla:
        best = "select name, amount, half from shop.best_customers order by customer_id"
        assert rows(impyla, best) == [("Ada", 15.0, 1.0), ("Grace", 7.25, 0.5)]
        assert rows(impyla, "select name from shop.top") == [("Ada",)]
        assert rows(impyla, "select count(*) from shop.daily") == [(3,)]
        comments = {row[0]: row[2] for row in rows(impyla, "describe shop.best_customers")}
        assert comments["name"] == "As they write it."
        [(text,)] = rows(impyla, "show create table shop.best_customers")
        assert "COMMENT 'Customers who\\'ve bought something.'" in text

        # Seeds are emptied and filled, tables are swapped while views read them, and what is
        # incremental gets what is new.
        with (project / "seeds" / "orders.csv").open("a") as orders:
            orders.write("4,2,100\n")
        assert "ERROR=0 SKIP=0" in dbt(server, "build")
        assert written(project)["daily"] == 1
        assert rows(impyla, best) == [("Ada", 15.0, 1.0), ("Grace", 107.25, 1.0)]
        assert rows(impyla, "select name from shop.top") == [("Grace",)]
        assert sorted(rows(impyla, "select id from shop.daily")) == [(1,), (2,), (3,), (4,)]
        relations = ["best_customers", "customer_orders", "customers", "daily", "orders", "top"]
        assert [row[0] for row in rows(impyla, "show tables in shop")] == relations

        assert "ERROR=0 SKIP=0" in dbt(server, "build", "--full-refresh")
        assert rows(impyla, best) == [("Ada", 15.0, 1.0), ("Grace", 107.25, 1.0)]

    dbt(server, "docs", "generate")
    catalog = json.loads((project / "target" / "catalog.json").read_text())
    columns = catalog["nodes"]["model.forebay.best_customers"]["columns"]
    assert columns["name"]["type"] == "string"
    assert columns["name"]["comment"] == "As they write it."
