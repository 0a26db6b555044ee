"""The calls of HiveServer2 as they are, below impyla."""

from __future__ import annotations

import getpass
import socket

from impala._thrift_gen.ImpalaService import ImpalaHiveServer2Service
from impala._thrift_gen.ImpalaService.ttypes import TGetExecSummaryReq, TGetRuntimeProfileReq
from impala._thrift_gen.TCLIService import ttypes as cli
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.transport.THttpClient import THttpClient
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport

from forebay import PATIENCE_S, Server

SUCCESS = cli.TStatusCode.SUCCESS_STATUS
NEXT, FIRST = cli.TFetchOrientation.FETCH_NEXT, cli.TFetchOrientation.FETCH_FIRST


class Refused(Exception):
    """A reply whose status is an error; the text is its message."""


def check(response):
    """The response, if its status is good."""
    if response.status.statusCode != SUCCESS:
        raise Refused(response.status.errorMessage)
    return response


class Client:
    """A connection, and a session if one was opened."""

    def __init__(self, server: Server, http: bool = False):
        if http:
            self.transport = THttpClient(f"http://{server.host}:{server.hs2_http_port}/cliservice")
            self.transport.setTimeout(PATIENCE_S * 1000)
        else:
            wire = TSocket(server.host, server.hs2_port)
            wire.setTimeout(PATIENCE_S * 1000)
            self.transport = TBufferedTransport(wire)
        self.transport.open()
        self.calls = ImpalaHiveServer2Service.Client(TBinaryProtocolAccelerated(self.transport))
        self.session: cli.TSessionHandle | None = None

    def open(self, user: str = "", **configuration: str) -> Client:
        """Opens a session."""
        request = cli.TOpenSessionReq(
            client_protocol=cli.TProtocolVersion.HIVE_CLI_SERVICE_PROTOCOL_V6,
            username=user or getpass.getuser(),
            configuration=configuration,
        )
        self.session = check(self.calls.OpenSession(request)).sessionHandle
        return self

    def execute(self, statement: str, **options: str) -> cli.TOperationHandle:
        """Begins a statement."""
        request = cli.TExecuteStatementReq(self.session, statement, options, runAsync=True)
        return check(self.calls.ExecuteStatement(request)).operationHandle

    def status(self, operation: cli.TOperationHandle) -> cli.TGetOperationStatusResp:
        """What GetOperationStatus says."""
        return check(self.calls.GetOperationStatus(cli.TGetOperationStatusReq(operation)))

    def finish(self, operation: cli.TOperationHandle) -> None:
        """Waits until the first rows are there."""
        state = cli.TOperationState.RUNNING_STATE
        running = (cli.TOperationState.RUNNING_STATE, cli.TOperationState.PENDING_STATE)
        while state in running:
            status = self.status(operation)
            state = status.operationState
        if state != cli.TOperationState.FINISHED_STATE:
            raise Refused(status.errorMessage)

    def fetch(
        self, operation: cli.TOperationHandle, rows: int = 10_000, orientation: int = NEXT
    ) -> cli.TFetchResultsResp:
        """One FetchResults."""
        request = cli.TFetchResultsReq(operation, orientation, rows)
        return check(self.calls.FetchResults(request))

    def fetch_all(self, operation: cli.TOperationHandle) -> None:
        """Fetches to the end of the result."""
        while self.fetch(operation).hasMoreRows:
            pass

    def cancel(self, operation: cli.TOperationHandle) -> None:
        """Cancels a statement."""
        check(self.calls.CancelOperation(cli.TCancelOperationReq(operation)))

    def close_operation(self, operation: cli.TOperationHandle) -> None:
        """Closes a statement."""
        check(self.calls.CloseOperation(cli.TCloseOperationReq(operation)))

    def log(self, operation: cli.TOperationHandle) -> str:
        """What GetLog says."""
        return check(self.calls.GetLog(cli.TGetLogReq(operation))).log

    def summary(self, operation: cli.TOperationHandle):
        """The execution summary."""
        request = TGetExecSummaryReq(operation, self.session)
        return check(self.calls.GetExecSummary(request)).summary

    def profile(self, operation: cli.TOperationHandle, form: int = 0) -> str:
        """The profile, as text unless told otherwise."""
        request = TGetRuntimeProfileReq(operation, self.session, form)
        return check(self.calls.GetRuntimeProfile(request)).profile

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Closes session and connection."""
        if self.session:
            self.calls.CloseSession(cli.TCloseSessionReq(self.session))
        self.transport.close()


def client(server: Server, http: bool = False, **configuration: str) -> Client:
    """A connection with a session, to be closed at the end of a block."""
    return Client(server, http).open(**configuration)


def query_id(operation: cli.TOperationHandle) -> str:
    """A query's id as it is written."""
    guid = operation.operationId.guid
    return f"{guid[7::-1].hex()}:{guid[:7:-1].hex()}"


def connect(server: Server, port: int) -> socket.socket:
    """A bare connection."""
    return socket.create_connection((server.host, port), timeout=PATIENCE_S)
