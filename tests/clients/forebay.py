"""A Forebay server as a test sees it: a process with a port, its output, and its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target")
BINARY = Path(os.environ.get("FOREBAY_BIN") or TARGET / "debug" / "forebay")
JDBC_CHECKS = Path(__file__).with_name("jdbc") / "Checks.java"
JDBC_DRIVER = Path("/usr/share/java/postgresql.jar")
HIVE_CHECKS = Path(__file__).with_name("hive") / "HiveChecks.java"
HIVE_JARS = TARGET / "test-jars"
QUERIES = REPOSITORY / "bench" / "tpch"

TPCH_TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]
TPCH_QUERIES = [f"q{number:02}" for number in range(1, 23)]

# Longer than anything takes that is going to happen at all.
PATIENCE_S = 60


def wait_until(condition: Callable[[], object], what: str):
    """Waits until `condition()` is true, and returns what it returned."""
    deadline = time.monotonic() + PATIENCE_S
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s in vain: {what}"
        time.sleep(0.02)
    return result


def tpch_query(name: str) -> str:
    """The text of a TPC-H query, without its semicolon."""
    return (QUERIES / f"{name}.sql").read_text().strip().removesuffix(";")


def environment() -> dict[str, str]:
    """Our environment without what would lead the server or a client astray."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PG", "FOREBAY_"))}


def run(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    """Runs the binary to its end."""
    return subprocess.run(
        [BINARY, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_S,
        env=environment() | options.pop("env", {}),
        **options,
    )


def make_certificate(folder: Path, name: str, *options: str) -> tuple[Path, Path]:
    """A certificate for this machine that vouches for itself, and its key."""
    folder.mkdir(exist_ok=True)
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        + ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        + (list(options) or ["-newkey", "rsa:2048"])
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


class Server:
    """A running server. Its output is in `log`, in the order in which it was written."""

    def __init__(
        self,
        data_dir: Path,
        *arguments: object,
        listen: str = "127.0.0.1:0",
        hs2_listen: str = "127.0.0.1:0",
        hs2_http_listen: str = "127.0.0.1:0",
    ):
        self.data_dir = data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        number = len(list(data_dir.parent.glob(f"{data_dir.name}-*.log")))
        self.log_path = data_dir.parent / f"{data_dir.name}-{number}.log"
        command = [BINARY, "serve", "--data-dir", data_dir, "--pg-listen", listen]
        command += ["--hs2-listen", hs2_listen, "--hs2-http-listen", hs2_http_listen]
        command += ["--web-listen", "127.0.0.1:0", *arguments]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(),
            )
        self.host, self.port = self._ready()

    def _ready(self) -> tuple[str, int]:
        """Waits for the line "Ready …", and returns the address that was printed before it."""
        wait_until(lambda: "\nReady after" in self.log or self.ended, "the server gets ready")
        address = re.search(r"^ +PostgreSQL +(\S+):(\d+) ", self.log, re.MULTILINE)
        if "\nReady after" not in self.log or address is None:
            raise AssertionError(f"the server did not start:\n{self.log}")
        self.hs2_port = self._port("HiveServer2")
        self.hs2_http_port = self._port("the same, HTTP")
        pages = re.search(r"^ +web pages +http://\S+:(\d+)/", self.log, re.MULTILINE)
        self.web_port = int(pages[1]) if pages else 0
        return address[1], int(address[2])

    def _port(self, label: str) -> int:
        """The port that was printed with a label; 0 for none."""
        found = re.search(rf"^ +{label} +\S+:(\d+) ", self.log, re.MULTILINE)
        return int(found[1]) if found else 0

    @property
    def log(self) -> str:
        """What the server has written so far."""
        return self.log_path.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    @property
    def url(self) -> str:
        """A connection string in the form that psycopg, psql and asyncpg all read."""
        return f"postgresql://{self.host}:{self.port}/forebay"

    def connect(self, **options) -> psycopg.Connection:
        """A psycopg connection, in autocommit unless told otherwise."""
        options = {"autocommit": True, "connect_timeout": PATIENCE_S} | options
        return psycopg.connect(self.url, **options)

    def page(self, address: str) -> dict:
        """What a web page says in JSON."""
        url = f"http://{self.host}:{self.web_port}{address}"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def signal(self, number: int) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Waits for the end, and returns the exit code."""
        return self.process.wait(timeout=PATIENCE_S)

    def stop(self) -> None:
        """SIGTERM, and the end that must follow it."""
        if not self.ended:
            self.signal(signal.SIGTERM)
        code = self.wait()
        assert code == 0, f"the server ended with {code}:\n{self.log[-4000:]}"

    def kill(self) -> None:
        """The end without a warning."""
        self.process.kill()
        self.wait()
