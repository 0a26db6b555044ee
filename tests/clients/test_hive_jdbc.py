"""Hive's JDBC driver: the checks of `hive/HiveChecks.java`, one by one, over each transport."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forebay import HIVE_CHECKS, HIVE_JARS, Server

CHECKS = re.findall(r'case "(\w+)" ->', HIVE_CHECKS.read_text())
JAVA = shutil.which("java") or "java"

# How a client gets in: what is behind the address, and with which password.
WAYS = {
    "noSasl": (False, ";auth=noSasl", "trusted", "none"),
    "plain": (False, "", "ada", "s3cret"),
    "http": (True, ";transportMode=http;httpPath=cliservice", "ada", "s3cret"),
}


@pytest.fixture(scope="session")
def hive_classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compiled checks with the driver: a class path."""
    assert HIVE_JARS.is_dir(), f"{HIVE_JARS} is missing: cargo xtask test makes it"
    folder = tmp_path_factory.mktemp("hive")
    subprocess.run(["javac", "-Xlint:all", "-Werror", "-d", folder, HIVE_CHECKS], check=True)
    return f"{folder}:{HIVE_JARS}/*"


@pytest.fixture(scope="module")
def roles(server: Server) -> Iterator[None]:
    """A role with a password, and one without."""
    with server.connect() as db:
        db.execute("CREATE ROLE ada LOGIN PASSWORD 's3cret'")
        db.execute("CREATE ROLE trusted LOGIN")
        yield
        db.execute("DROP ROLE ada, trusted")


@pytest.fixture
def check(hive_classes: str, server: Server, roles: None, program: Callable) -> Callable[..., object]:
    """Runs one check; returns how it ended."""

    def check(name: str, way: str, *, password: str | None = None, more: str = "", of: Server = server):
        http, options, user, right = WAYS[way]
        port = of.hs2_http_port if http else of.hs2_port
        url = f"jdbc:hive2://{of.host}:{port}/default{options}{more}"
        # What nobody configures, log4j complains about.
        java = [JAVA, "-ea", "-Dlog4j.defaultInitOverride=true", "-cp", hive_classes]
        return program(*java, "HiveChecks", name, url, user, password or right)

    return check


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CHECKS)
def test_check(name: str, way: str, check: Callable):
    """The check finds what it expects; it says so itself."""
    ran = check(name, way)
    assert ran.stdout == f"{name}: as expected\n", ran.stderr


@pytest.mark.parametrize("way", ["plain", "http"])
def test_wrong_password(way: str, check: Callable):
    ran = check("connection", way, password="guess")
    assert ran.returncode != 0
    assert re.search("password authentication failed|HTTP Response code: 401", ran.stderr)


@pytest.mark.parametrize("way", ["plain", "http"])
def test_encrypted(
    way: str,
    check: Callable,
    start: Callable[..., Server],
    certificate: tuple[Path, Path],
    tmp_path: Path,
):
    """With the certificate in a store of Java's."""
    server = start("--tls-cert", certificate[0], "--tls-key", certificate[1])
    with server.connect() as db:
        db.execute("CREATE ROLE ada LOGIN PASSWORD 's3cret'")
    store = tmp_path / "store.jks"
    subprocess.run(
        ["keytool", "-importcert", "-noprompt", "-alias", "server", "-file", certificate[0]]
        + ["-keystore", store, "-storepass", "changeit"],
        check=True,
        capture_output=True,
    )
    options = f";ssl=true;sslTrustStore={store};trustStorePassword=changeit"
    ran = check("types", way, more=options, of=server)
    assert ran.stdout == "types: as expected\n", ran.stderr
