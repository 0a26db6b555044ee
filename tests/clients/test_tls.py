"""Encrypted connections, with a certificate of the test's own: psql, psycopg, JDBC, and bare TLS."""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from forebay import JDBC_DRIVER, Server, environment, make_certificate, wait_until

PSQL = shutil.which("psql") or "psql"


@pytest.fixture
def encrypted(start: Callable[..., Server], certificate: tuple[Path, Path]) -> Server:
    """A server with TLS, and a role with a password."""
    server = start("--tls-cert", certificate[0], "--tls-key", certificate[1])
    with server.connect() as db:
        db.execute("CREATE ROLE ann LOGIN PASSWORD 'secret'")
    return server


class TestClients:
    def test_psql(self, encrypted: Server, certificate: tuple[Path, Path]):
        """It says that it is encrypted, with the certificate checked to the last."""
        for mode in ("require", "verify-full"):
            url = f"{encrypted.url}?sslmode={mode}&sslrootcert={certificate[0]}"
            ran = subprocess.run(
                [PSQL, "-X", url, "-c", "\\conninfo", "-c", "SELECT 42 AS answer"],
                capture_output=True,
                check=False,
                text=True,
                env=environment(),
            )
            assert ran.returncode == 0, ran.stderr
            assert "SSL connection (protocol: TLSv1.3" in ran.stdout
            assert "42" in ran.stdout

    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    def test_psycopg(self, encrypted: Server, certificate: tuple[Path, Path], version: str):
        """Both versions; a result of many messages; a cancel request over TLS."""
        with encrypted.connect(
            sslmode="verify-full",
            sslrootcert=str(certificate[0]),
            ssl_min_protocol_version=version,
            ssl_max_protocol_version=version,
        ) as db:
            assert db.pgconn.ssl_in_use
            rows = db.execute("SELECT i, repeat('x', 100) FROM generate_series(1, 20000) AS g(i)")
            assert sum(len(text) for _, text in rows) == 2_000_000
            db.pgconn.send_query(b"SELECT pg_sleep(3600)")
            with encrypted.connect() as watcher:
                active = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
                pid = db.info.backend_pid
                wait_until(lambda: watcher.execute(active, [pid]).fetchone(), "it runs")
            db.cancel_safe()
            result = db.pgconn.get_result()
            assert result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"57014"
            assert db.pgconn.get_result() is None
            assert db.execute("SELECT 1").fetchone() == (1,)

    def test_jdbc(self, encrypted: Server, certificate: tuple[Path, Path], classes: Path):
        """`sslmode=verify-full` in Java."""
        url = (
            f"jdbc:postgresql://{encrypted.host}:{encrypted.port}/forebay?user={getpass.getuser()}"
            f"&sslmode=verify-full&sslrootcert={certificate[0]}"
        )
        ran = subprocess.run(
            ["java", "-ea", "-cp", f"{classes}:{JDBC_DRIVER}", "Checks", "numbers", url],
            capture_output=True,
            check=False,
            text=True,
        )
        assert ran.stdout == "numbers: as expected\n", ran.stderr

    @pytest.mark.parametrize("binding", ["disable", "prefer", "require"])
    def test_password(self, encrypted: Server, binding: str):
        """A password, bound to the certificate or not."""
        options = {"user": "ann", "sslmode": "require", "channel_binding": binding}
        with encrypted.connect(password="secret", **options) as db:
            assert db.execute("SELECT current_user").fetchone() == ("ann",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            encrypted.connect(password="guess", **options)

    def test_without(self, encrypted: Server, server: Server):
        """Who does not ask is served in the clear; who insists on what is not there is refused."""
        with encrypted.connect(sslmode="disable") as db:
            assert not db.pgconn.ssl_in_use
        with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
            server.connect(sslmode="require")

    @pytest.mark.parametrize(
        "kind",
        [
            ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
            ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-sha384"],
            ["-newkey", "rsa:2048", "-sha512"],
            ["-newkey", "ed25519"],
        ],
        ids=["p256", "p384", "rsa-sha512", "ed25519"],
    )
    def test_kinds_of_keys(self, start: Callable[..., Server], tmp_path: Path, kind: list[str]):
        """Channel binding hashes the certificate with the hash that it is signed with."""
        certificate, key = make_certificate(tmp_path / "tls", "other", *kind)
        server = start("--tls-cert", certificate, "--tls-key", key)
        with server.connect() as db:
            db.execute("CREATE ROLE ann LOGIN PASSWORD 'secret'")
        # Nobody has defined a hash for Ed25519.
        binding = "prefer" if "ed25519" in kind else "require"
        options = {"user": "ann", "password": "secret", "channel_binding": binding}
        options |= {"sslmode": "verify-full", "sslrootcert": str(certificate)}
        with server.connect(**options) as db:
            assert db.execute("SELECT current_user").fetchone() == ("ann",)


class TestDirect:
    """TLS at once, without asking for it, as libpq 17 does with `sslnegotiation=direct`."""

    def connect(self, server: Server, certificate: Path, protocols: list[str]) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(certificate))
        if protocols:
            context.set_alpn_protocols(protocols)
        plain = socket.create_connection((server.host, server.port), timeout=60)
        return context.wrap_socket(plain, server_hostname=server.host)

    def start_up(self) -> bytes:
        body = b"\0\3\0\0user\0" + getpass.getuser().encode() + b"\0database\0forebay\0\0"
        return (len(body) + 4).to_bytes(4, "big") + body

    def test_direct(self, encrypted: Server, certificate: tuple[Path, Path]):
        with closing(self.connect(encrypted, certificate[0], ["postgresql"])) as client:
            assert client.selected_alpn_protocol() == "postgresql"
            client.sendall(self.start_up())
            # AuthenticationOk.
            assert client.recv(9) == b"R\0\0\0\x08\0\0\0\0"

    def test_without_alpn(self, encrypted: Server, certificate: tuple[Path, Path]):
        """Another protocol's client must not be led here: it has to name this one."""
        with closing(self.connect(encrypted, certificate[0], [])) as client:
            answer = b"".join(iter(lambda: client.recv(4096), b""))
            assert answer.startswith(b"E") and b"C08P01\0" in answer

    def test_another_protocol(self, encrypted: Server, certificate: tuple[Path, Path]):
        with pytest.raises(ssl.SSLError):
            self.connect(encrypted, certificate[0], ["http/1.1"])


def test_reload(start: Callable[..., Server], tmp_path: Path):
    """SIGHUP: new connections are shown the new certificate, old ones go on."""
    certificate, key = make_certificate(tmp_path / "tls", "first")
    server = start("--tls-cert", certificate, "--tls-key", key)

    def shown() -> str:
        return ssl.PEM_cert_to_DER_cert(certificate.read_text()).hex()

    def seen(first: str) -> bool:
        """Whether the server shows another certificate than the first."""
        try:
            with server.connect(sslmode="verify-full", sslrootcert=str(certificate)):
                return shown() != first
        except psycopg.OperationalError:
            return False

    first = shown()
    with server.connect(sslmode="verify-full", sslrootcert=str(certificate)) as old:
        second, second_key = make_certificate(tmp_path / "new", "second")
        certificate.write_bytes(second.read_bytes())
        key.write_bytes(second_key.read_bytes())
        assert not seen(first)
        server.signal(signal.SIGHUP)
        wait_until(lambda: seen(first), "the new certificate is shown")
        assert old.execute("SELECT 1").fetchone() == (1,)
    server.stop()
