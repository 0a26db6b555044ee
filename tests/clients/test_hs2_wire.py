"""HiveServer2 below its clients: malformed and slow senders, thousands of idle connections, noise."""

from __future__ import annotations

import http.client
import os
import random
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from impala._thrift_gen.ImpalaService import ImpalaHiveServer2Service
from impala._thrift_gen.ImpalaService import ttypes as impala
from impala._thrift_gen.TCLIService import ttypes as cli
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer

from forebay import PATIENCE_S, Server
from hs2 import Client, client, connect

TRANSPORTS = ["tcp", "http"]


def message(method: str, *request: object) -> bytes:
    """A call as it is on the wire."""
    buffer = TMemoryBuffer()
    calls = ImpalaHiveServer2Service.Client(TBinaryProtocol(buffer))
    getattr(calls, f"send_{method}")(*request)
    return buffer.getvalue()


def handle(secret: bytes = b"s" * 16) -> cli.THandleIdentifier:
    """The handle of something that does not exist."""
    return cli.THandleIdentifier(b"g" * 16, secret)


# Is answered at once, with an error.
PING = message("PingImpalaHS2Service", impala.TPingImpalaHS2ServiceReq(cli.TSessionHandle(handle())))


def post(body: bytes, *headers: str, length: object = None) -> bytes:
    """A request over HTTP. `length` is what it claims to be."""
    length = len(body) if length is None else length
    lines = ["POST /cliservice HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def rest(wire: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    received = b""
    try:
        while more := wire.recv(65536):
            received += more
    except ConnectionResetError:
        # It has closed without reading all that was sent.
        pass
    return received


def goes_on(server: Server) -> None:
    """New connections are answered, over both transports."""
    for over_http in (False, True):
        with client(server, over_http) as connection:
            operation = connection.execute("select 40 + 2")
            connection.finish(operation)
            assert connection.fetch(operation).results.columns[0].i32Val.values == [42]


class TestHttp:
    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            pytest.param(post(PING, length=10**15), b"413 ", id="claims to be too long"),
            pytest.param(post(PING, length=10**30), b"400 ", id="claims what is no number here"),
            pytest.param(post(PING, length=-1), b"400 ", id="negative"),
            pytest.param(post(PING, length="a"), b"400 ", id="no number"),
            pytest.param(post(PING, "Content-Length: 3"), b"400 ", id="two lengths"),
            pytest.param(post(PING, length=len(PING) - 1), b"400 ", id="ends too early"),
            pytest.param(post(PING + b"\0"), b"400 ", id="goes on"),
            pytest.param(post(PING + PING), b"400 ", id="two messages"),
            pytest.param(post(b""), b"400 ", id="empty"),
            pytest.param(post(b"no Thrift at all"), b"400 ", id="another protocol"),
            pytest.param(post(b"\x80\x01\x00\x01\x7f\xff\xff\xff"), b"400 ", id="a long name"),
            pytest.param(
                post(PING[:12] + b"\x0c\x00\x01" * 40 + b"\0" * 41), b"400 ", id="nested too deep"
            ),
            pytest.param(
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                b"400 ",
                id="broken chunks",
            ),
            pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"405 ", id="GET"),
            pytest.param(b"nonsense\r\n\r\n", b"400 ", id="no HTTP"),
            pytest.param(b"POST / HTTP/1.1\r\nx: " + b"y" * 10**6, b"431 ", id="endless header"),
            pytest.param(
                b"POST / HTTP/1.1\r\n" + b"x: y\r\n" * 200_000, b"431 ", id="endless headers"
            ),
            pytest.param(post(PING, "Authorization: Basic !!!"), b"401 ", id="broken credentials"),
            pytest.param(post(PING, "Authorization: Negotiate abc"), b"401 ", id="other credentials"),
        ],
    )
    def test_refused(self, server, sent, answer):
        with connect(server, server.hs2_http_port) as wire:
            try:
                wire.sendall(sent)
            except (ConnectionResetError, BrokenPipeError):
                # It was refused before all of it was sent.
                pass
            received = rest(wire)
        assert received.startswith(b"HTTP/1.1 " + answer) or not received, received[:200]
        goes_on(server)

    def test_a_client_that_goes_in_the_middle(self, server):
        for sent in (post(PING, length=10**6), post(PING)[:40], post(PING)[:-3]):
            with connect(server, server.hs2_http_port) as wire:
                wire.sendall(sent)
        goes_on(server)

    def test_an_unknown_method(self, server):
        call = b"\x80\x01\x00\x01\x00\x00\x00\x07Nothing\x00\x00\x00\x05\x00"
        with connect(server, server.hs2_http_port) as wire:
            wire.sendall(post(call, "Connection: close"))
            answer = rest(wire)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Invalid method name: 'Nothing'" in answer

    def test_several_requests_at_once(self, server):
        """One behind the other on one connection, in odd pieces."""
        sent = post(PING) * 3 + post(PING, "Connection: close")
        with connect(server, server.hs2_http_port) as wire:
            for start in range(0, len(sent), 50):
                wire.sendall(sent[start : start + 50])
            assert rest(wire).count(b"HTTP/1.1 200 ") == 4


class TestSlowSenders:
    """Who stands still in the middle is cut off; who waits between messages is not."""

    @pytest.fixture(scope="class")
    @staticmethod
    def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        """A server that waits for a second."""
        data = tmp_path_factory.mktemp("impatient") / "data"
        server = Server(data, "--authentication-timeout", "1s")
        with server.connect() as db:
            db.execute("CREATE ROLE ada LOGIN PASSWORD 's3cret'")
        yield server
        server.stop()

    LOGIN = b"\x01\0\0\0\x05PLAIN\x02\0\0\0\x0b\0ada\0s3cret"

    @pytest.mark.parametrize(
        "sent",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(PING[:1], id="a byte"),
            pytest.param(PING[:-1], id="all but a byte"),
            pytest.param(PING + PING[:-1], id="all but a byte of the second"),
            pytest.param(LOGIN[:8], id="half a login"),
            pytest.param(LOGIN + b"\0\0", id="half a frame's length"),
            pytest.param(LOGIN + b"\0\0\0\x09" + PING[:4], id="half a frame"),
            pytest.param(LOGIN + b"\0\0\0\x09" + PING[:9], id="half a message in a frame"),
            pytest.param(b"\x16\x03\x01", id="half a greeting of TLS"),
        ],
    )
    def test_tcp(self, impatient, sent):
        with connect(impatient, impatient.hs2_port) as wire:
            wire.sendall(sent)
            rest(wire)
        goes_on(impatient)

    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            pytest.param(b"", b"", id="nothing"),
            pytest.param(b"PO", b"", id="two bytes"),
            pytest.param(post(PING)[:30], b"", id="half a header"),
            pytest.param(post(PING)[:-1], b"HTTP/1.1 408 ", id="all but a byte"),
            pytest.param(post(b"", length=100), b"HTTP/1.1 408 ", id="no body"),
            pytest.param(
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
                b"HTTP/1.1 408 ",
                id="half a chunk",
            ),
        ],
    )
    def test_http(self, impatient, sent, answer):
        with connect(impatient, impatient.hs2_http_port) as wire:
            wire.sendall(sent)
            assert rest(wire).startswith(answer)
        goes_on(impatient)

    def test_second_header(self, impatient):
        """The time of one request is not that of the next."""
        with connect(impatient, impatient.hs2_http_port) as wire:
            for _ in range(2):
                wire.sendall(post(PING))
                assert wire.recv(65536).startswith(b"HTTP/1.1 200 ")
            wire.sendall(post(PING)[:30])
            assert rest(wire) == b""

    @pytest.mark.parametrize("over_http", [False, True])
    def test_idle_between_messages(self, impatient, over_http):
        """While others are cut off again and again, an idle connection stays."""
        with client(impatient, over_http) as idle:
            port = impatient.hs2_http_port if over_http else impatient.hs2_port
            for _ in range(3):
                with connect(impatient, port) as slow:
                    slow.sendall(PING[:5])
                    rest(slow)
            operation = idle.execute("select 1")
            idle.finish(operation)


class TestManyConnections:
    CONNECTIONS = 2000

    def test_idle(self, start, capsys):
        """Thousands over each transport, and new ones are answered all the while."""
        server = start("--max-connections", "5000")
        goes_on(server)
        before = resident_kib(server)
        idle: list[socket.socket] = []
        try:
            for port in (server.hs2_port, server.hs2_http_port):
                request = PING if port == server.hs2_port else post(PING)
                for number in range(self.CONNECTIONS):
                    idle.append(connect(server, port))
                    idle[-1].sendall(request)
                    assert idle[-1].recv(4096)
                    if number % 200 == 0:
                        goes_on(server)
                after = resident_kib(server)
                each = (after - before) / self.CONNECTIONS
                with capsys.disabled():
                    print(f" {each:.1f} KiB each ", end="")
                assert each < 64
                before = after
            goes_on(server)
            # All are still there.
            for wire, request in zip(idle[:: self.CONNECTIONS], [PING, post(PING)]):
                wire.sendall(request)
                assert wire.recv(4096)
        finally:
            for wire in idle:
                wire.close()
        goes_on(server)

    def test_a_large_message_is_not_kept(self, start):
        """What idle connections have sent before does not stay in memory."""
        server = start()
        goes_on(server)
        text = "select '" + "x" * 4_000_000 + "'"
        request = cli.TExecuteStatementReq(cli.TSessionHandle(handle()), text, {}, runAsync=True)
        large = message("ExecuteStatement", request)
        before = resident_kib(server)
        idle = [connect(server, server.hs2_port) for _ in range(100)]
        try:
            for wire in idle:
                wire.sendall(large)
                assert wire.recv(4096)
            grown = resident_kib(server) - before
            assert grown < 100_000, f"{grown} KiB for {len(idle)} connections"
        finally:
            for wire in idle:
                wire.close()

    def test_no_more_than_allowed(self, start):
        """One too many waits until another goes."""
        server = start("--max-connections", "2")
        with connect(server, server.hs2_port) as first, connect(server, server.hs2_port) as second:
            for wire in (first, second):
                wire.sendall(PING)
                assert wire.recv(4096)
            with connect(server, server.hs2_port) as third:
                third.sendall(PING)
                first.close()
                assert third.recv(4096)


def resident_kib(server: Server) -> int:
    """Memory that the server has now."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1])


class TestNoise:
    """Every call, with bytes of it changed at random: an answer or the end, and no panic."""

    MESSAGES = 3000

    def calls(self, connection: Client) -> list[bytes]:
        """Each call as it should be, about what there is."""
        session = connection.session
        operation = connection.execute("select n_name, n_nationkey from nation")
        connection.finish(operation)
        name = {"catalogName": "", "schemaName": "default"}
        requests = [
            ("OpenSession", cli.TOpenSessionReq(5, "root", "", {"use:database": "default"})),
            ("GetInfo", cli.TGetInfoReq(session, 17)),
            ("ExecuteStatement", cli.TExecuteStatementReq(session, "select 1", {"mt_dop": "1"}, True)),
            ("GetTypeInfo", cli.TGetTypeInfoReq(session)),
            ("GetCatalogs", cli.TGetCatalogsReq(session)),
            ("GetSchemas", cli.TGetSchemasReq(session, **name)),
            ("GetTables", cli.TGetTablesReq(session, tableName="n%", tableTypes=["TABLE"], **name)),
            ("GetTableTypes", cli.TGetTableTypesReq(session)),
            ("GetColumns", cli.TGetColumnsReq(session, tableName="n%", columnName="%", **name)),
            ("GetFunctions", cli.TGetFunctionsReq(session, functionName="a%", **name)),
            ("GetOperationStatus", cli.TGetOperationStatusReq(operation)),
            ("GetResultSetMetadata", cli.TGetResultSetMetadataReq(operation)),
            ("FetchResults", cli.TFetchResultsReq(operation, 0, 2)),
            ("GetLog", cli.TGetLogReq(operation)),
            ("GetExecSummary", impala.TGetExecSummaryReq(operation, session)),
            ("GetRuntimeProfile", impala.TGetRuntimeProfileReq(operation, session, 0)),
            ("PingImpalaHS2Service", impala.TPingImpalaHS2ServiceReq(session)),
            ("CancelOperation", cli.TCancelOperationReq(operation)),
            ("CloseOperation", cli.TCloseOperationReq(operation)),
            ("CloseImpalaOperation", impala.TCloseImpalaOperationReq(operation)),
            ("CloseSession", cli.TCloseSessionReq(session)),
        ]
        return [message(method, request) for method, request in requests]

    def changed(self, chance: random.Random, call: bytes, others: list[bytes]) -> bytes:
        """The call with some of its bytes changed."""
        out = bytearray(call)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(out))
            kind = chance.randrange(6)
            if kind == 0:
                out[at] ^= 1 << chance.randrange(8)
            elif kind == 1:
                out[at] = chance.choice(b"\x00\x01\x02\x03\x06\x08\x0a\x0b\x0c\x0d\x0e\x0f\x7f\x80\xff")
            elif kind == 2:
                del out[at : at + chance.randint(1, 8)]
                out = out or bytearray(b"\0")
            elif kind == 3:
                out[at:at] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 8)))
            elif kind == 4:
                out[at : at + 4] = chance.choice([0, 1, 16, 2**31 - 1, 2**32 - 1]).to_bytes(4, "big")
            else:
                # The end of another call.
                other = chance.choice(others)
                out[at:] = other[chance.randrange(len(other)) :] or b"\0"
        return bytes(out)

    @pytest.mark.parametrize("transport", TRANSPORTS)
    def test_noise(self, server, transport):
        """Always the same noise; `FOREBAY_NOISE_SECONDS` makes more of it, other each time."""
        seconds = float(os.environ.get("FOREBAY_NOISE_SECONDS", "0"))
        chance = random.Random(None if seconds else 9729)
        until, sent = time.monotonic() + seconds, 0
        send = self.over_http if transport == "http" else self.over_tcp
        while sent < self.MESSAGES or time.monotonic() < until:
            with Client(server).open() as calls_of:
                calls = self.calls(calls_of)
                for _ in range(100):
                    send(server, self.changed(chance, chance.choice(calls), calls))
                    sent += 1
        goes_on(server)
        assert "panicked" not in server.log

    def over_tcp(self, server: Server, noise: bytes) -> None:
        """Sends, and says that there is no more."""
        with connect(server, server.hs2_port) as wire:
            try:
                wire.sendall(noise)
                wire.shutdown(socket.SHUT_WR)
            except OSError:
                # It was cut off already.
                return
            rest(wire)

    def over_http(self, server: Server, noise: bytes) -> None:
        """Sends, and takes the answer."""
        wire = http.client.HTTPConnection(server.host, server.hs2_http_port, timeout=PATIENCE_S)
        wire.request("POST", "/", noise)
        assert wire.getresponse().read() is not None
        wire.close()


def test_where_a_client_is_behind_proxies(server):
    """`X-Forwarded-For` is in the profile; of several the first."""
    with Client(server, http=True) as connection:
        connection.transport.setCustomHeaders({"X-Forwarded-For": "  192.0.2.7, 198.51.100.1 "})
        connection.open()
        operation = connection.execute("select 1")
        connection.finish(operation)
        assert "Http Origin: 192.0.2.7, 198.51.100.1\n" in connection.profile(operation)
    with client(server, http=True) as connection:
        assert "Http Origin" not in connection.profile(connection.execute("select 1"))
