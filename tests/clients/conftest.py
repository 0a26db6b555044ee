"""Fixtures: one server with the TPC-H sample for everybody, and ways to start others."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import psycopg
import pytest

from forebay import (
    BINARY,
    JDBC_CHECKS,
    JDBC_DRIVER,
    PATIENCE_S,
    TARGET,
    TPCH_TABLES,
    Server,
    make_certificate,
    run,
)
from known_failures import KNOWN_FAILURES

# Clients must not pick up the settings of whoever runs the tests.
for name in [name for name in os.environ if name.startswith("PG")]:
    del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expects the failures that are known, and no others."""
    for item in items:
        # Parameters may contain slashes; only the file's folder is to go.
        file, _, test = item.nodeid.partition("::")
        name = f"{file.rsplit('/', 1)[-1]}::{test}"
        if name in KNOWN_FAILURES:
            item.add_marker(pytest.mark.xfail(reason=KNOWN_FAILURES[name], strict=True))


@pytest.fixture(scope="session")
def sample() -> Path:
    """A folder with TPC-H at scale 0.1, made once and kept between runs."""
    assert BINARY.exists(), f"{BINARY} is missing: cargo build --workspace"
    out = TARGET / "test-data" / "tpch"
    arguments = ["tpch", "generate", "--scale", "0.1", "--out", out]
    if run(*arguments).returncode != 0:
        # The data of an older layout.
        shutil.rmtree(out, ignore_errors=True)
        made = run(*arguments)
        assert made.returncode == 0, made.stderr
    return out


@pytest.fixture(scope="session")
def server(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a new catalog and the TPC-H sample; it must end well at SIGTERM."""
    data_dir = tmp_path_factory.mktemp("server") / "data"
    (data_dir / "sample").mkdir(parents=True)
    (data_dir / "sample" / "tpch").symlink_to(sample, target_is_directory=True)
    server = Server(data_dir, "--sample", "tpch")
    try:
        yield server
        server.stop()
    finally:
        if not server.ended:
            server.kill()
    assert "panicked" not in server.log, server.log[-4000:]


@pytest.fixture
def db(server: Server) -> Iterator[psycopg.Connection]:
    """A connection in autocommit mode."""
    with server.connect() as connection:
        yield connection


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of the test's own: `start(arguments…)`, by default on `tmp_path/data`."""
    servers: list[Server] = []

    def start(*arguments: object, data_dir: Path | None = None, **options) -> Server:
        servers.append(Server(data_dir or tmp_path / "data", *arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        if not server.ended:
            server.kill()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The certificate that the servers show, and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled checks of JDBC."""
    folder = tmp_path_factory.mktemp("classes")
    assert JDBC_DRIVER.exists(), f"{JDBC_DRIVER} is missing: install libpostgresql-jdbc-java"
    subprocess.run(["javac", "-Xlint:all", "-Werror", "-d", folder, JDBC_CHECKS], check=True)
    return folder


@pytest.fixture(scope="session")
def duck(sample: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB over the same files."""
    with duckdb.connect() as connection:
        for table in TPCH_TABLES:
            files = sample / table / "*.parquet"
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM '{files}'")
        yield connection


@pytest.fixture
def program(server: Server) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a client program to its end."""

    def program(*command: object, **options) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            timeout=PATIENCE_S * 10,
            **options,
        )

    return program
