//! The calls: from a message to its reply, whatever transport it came by.

mod ddl_text;
mod execute;
mod fetch;
mod info;
mod metadata;
mod partition;
mod profile;
mod relation;
mod statement;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use forebay_sql::IMPALA_VERSION;
use futures::FutureExt as _;
use pilota::AHashMap;
use pilota::thrift::ThriftException;

use crate::error::{self, Error};
use crate::front::{Caller, Front};
use crate::session::options::QueryOptions;
use crate::session::{handle, options};
use crate::wire::call::{
    Call, INTERNAL_ERROR, INVALID_MESSAGE_TYPE, PROTOCOL_ERROR, UNKNOWN_METHOD,
};
use crate::wire::idl::{
    TCloseImpalaOperationResp, TGetInfoResp, TOpenSessionReq, TOpenSessionResp, TOperationReq,
    TPingResp, TSessionReq, TStatusResp,
};
use crate::wire::scan::Message;

/// `HIVE_CLI_SERVICE_PROTOCOL_V6`: results in columns. Every session speaks it.
const PROTOCOL_V6: i32 = 5;

/// A call that gets no usual reply.
enum Refusal {
    UnknownMethod,
    Malformed(ThriftException),
}

impl From<ThriftException> for Refusal {
    fn from(error: ThriftException) -> Self {
        Self::Malformed(error)
    }
}

type Replied = Result<BytesMut, Refusal>;

impl Front {
    /// Answers one message. A panic, which is a defect of ours, ends this call and no other.
    ///
    /// # Errors
    /// The header is not one.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        caller: &Caller,
        message: Message,
    ) -> Result<BytesMut, ThriftException> {
        let call = Call::read(message)?;
        if !call.is_call {
            let message = "only calls are answered".to_owned();
            return Ok(call.exception(INVALID_MESSAGE_TYPE, message));
        }
        let dispatched = AssertUnwindSafe(self.dispatch(caller, &call)).catch_unwind();
        Ok(match dispatched.await {
            Ok(Ok(reply)) => reply,
            Ok(Err(Refusal::UnknownMethod)) => {
                let message = format!("Invalid method name: '{}'", call.method);
                call.exception(UNKNOWN_METHOD, message)
            }
            Ok(Err(Refusal::Malformed(error))) => call.exception(PROTOCOL_ERROR, error.to_string()),
            Err(_) => {
                tracing::error!(method = %call.method, "a call panicked");
                call.exception(INTERNAL_ERROR, "internal error".to_owned())
            }
        })
    }

    async fn dispatch(self: &Arc<Self>, caller: &Caller, call: &Call) -> Replied {
        match call.method.as_str() {
            "OpenSession" => {
                let request = call.request()?;
                let response =
                    self.opened(caller, &request)
                        .unwrap_or_else(|error| TOpenSessionResp {
                            status: error.status(),
                            server_protocol_version: PROTOCOL_V6,
                            session_handle: None,
                            configuration: None,
                        });
                Ok(call.reply(&response)?)
            }
            "CloseSession" => {
                let request: TSessionReq = call.request()?;
                let closed = match self.session(caller, &request.session_handle) {
                    Ok(session) => self.close_session(&session).await,
                    Err(error) => Err(error),
                };
                reply_status(call, closed)
            }
            "PingImpalaHS2Service" => {
                let request = call.request()?;
                let response = self.ping(caller, &request);
                Ok(call.reply(&response)?)
            }
            "GetInfo" => {
                let request = call.request()?;
                let (status, info_value) = match self.info(caller, &request) {
                    Ok(value) => (error::success(), value),
                    Err(error) => (error.status(), info::nothing()),
                };
                Ok(call.reply(&TGetInfoResp { status, info_value })?)
            }
            "ExecuteStatement" => {
                self.begin(call, self.execute(caller, call.request()?))
                    .await
            }
            "GetTypeInfo" => {
                self.begin(call, self.type_info(caller, call.request()?))
                    .await
            }
            "GetCatalogs" => {
                self.begin(call, self.catalogs(caller, call.request()?))
                    .await
            }
            "GetTableTypes" => {
                self.begin(call, self.table_types(caller, call.request()?))
                    .await
            }
            "GetSchemas" => {
                self.begin(call, self.schemas(caller, call.request()?))
                    .await
            }
            "GetTables" => self.begin(call, self.tables(caller, call.request()?)).await,
            "GetColumns" => {
                self.begin(call, self.columns(caller, call.request()?))
                    .await
            }
            "GetFunctions" => {
                self.begin(call, self.functions(caller, call.request()?))
                    .await
            }
            "GetPrimaryKeys" => {
                self.begin(call, self.primary_keys(caller, call.request()?))
                    .await
            }
            "GetCrossReference" => {
                self.begin(call, self.cross_reference(caller, call.request()?))
                    .await
            }
            "GetOperationStatus" => {
                let response = self.status(caller, call.request()?).await;
                Ok(call.reply(&response)?)
            }
            "GetResultSetMetadata" => {
                let response = self.result_set_metadata(caller, &call.request()?).await;
                Ok(call.reply(&response)?)
            }
            "FetchResults" => self.fetch(call, caller, call.request()?).await,
            "GetLog" => Ok(call.reply(&self.log(caller, &call.request()?))?),
            "GetQueryId" => Ok(call.reply(&self.query_id(caller, &call.request()?))?),
            "CancelOperation" => {
                let request: TOperationReq = call.request()?;
                let found = self.operation(caller, &request.operation_handle);
                let cancelled = found.map(|(operation, _)| operation.cancelled.cancel());
                reply_status(call, cancelled)
            }
            "CloseOperation" => {
                let request = call.request()?;
                let closed = self.closed(caller, request).await;
                reply_status(call, closed.map(|_| ()))
            }
            "CloseImpalaOperation" => {
                let request = call.request()?;
                let (status, dml_result) = match self.closed(caller, request).await {
                    Ok(dml_result) => (error::success(), dml_result),
                    Err(error) => (error.status(), None),
                };
                Ok(call.reply(&TCloseImpalaOperationResp { status, dml_result })?)
            }
            "GetRuntimeProfile" => {
                let response = self.runtime_profile(caller, &call.request()?);
                Ok(call.reply(&response)?)
            }
            "GetExecSummary" => {
                let response = self.exec_summary(caller, &call.request()?);
                Ok(call.reply(&response)?)
            }
            "GetDelegationToken" | "CancelDelegationToken" | "RenewDelegationToken" => {
                reply_status(call, Err(Error::not_supported("Not implemented")))
            }
            _ => Err(Refusal::UnknownMethod),
        }
    }

    fn opened(
        self: &Arc<Self>,
        caller: &Caller,
        request: &TOpenSessionReq,
    ) -> Result<TOpenSessionResp, Error> {
        if request.client_protocol < PROTOCOL_V6 {
            return Err(Error::not_supported(format!(
                "This client speaks version {} of the protocol; results come in columns, since V6.",
                request.client_protocol.saturating_add(1)
            )));
        }
        let claimed = text(request.username.as_ref())?.unwrap_or_default();
        let claimed = if claimed.is_empty() {
            "anonymous"
        } else {
            claimed
        };
        let configuration = pairs(request.configuration.as_ref())?;
        let mut options = QueryOptions::default();
        let mut database = None;
        for (key, value) in configuration {
            let key = key.strip_prefix("set:hiveconf:").unwrap_or(key);
            if let Some(user) = key.strip_prefix("impala.doas.user").map(|_| value)
                && !user.is_empty()
            {
                return Err(Error::new(format!(
                    "User {claimed} is not authorized to delegate to {user}."
                )));
            }
            match key {
                "use:database" => database = Some(execute::schema_of(value)),
                // What nobody knows is ignored here.
                key if options::is_known(key) => options.set(key, value)?,
                _ => {}
            }
        }
        let session = self.open_session(caller, claimed, options, database.as_deref())?;
        let effective = session.options_with([])?;
        let mut configuration: AHashMap<_, _> = effective
            .all()
            .map(|(name, value, _)| (name.into(), value.to_owned().into()))
            .collect();
        configuration.insert("http_addr".into(), self.pages.clone().into());
        Ok(TOpenSessionResp {
            status: error::success(),
            server_protocol_version: request.client_protocol.min(PROTOCOL_V6),
            session_handle: Some(handle::session_handle(session.id, session.secret)),
            configuration: Some(configuration),
        })
    }

    fn ping(&self, caller: &Caller, request: &TSessionReq) -> TPingResp {
        match self.session(caller, &request.session_handle) {
            Ok(_) => TPingResp {
                status: error::success(),
                version: Some(IMPALA_VERSION.into()),
                webserver_address: Some(self.pages.clone().into()),
                timestamp: Some(chrono::Utc::now().timestamp()),
            },
            Err(error) => TPingResp {
                status: error.status(),
                version: None,
                webserver_address: None,
                timestamp: None,
            },
        }
    }
}

fn reply_status(call: &Call, result: Result<(), Error>) -> Replied {
    let status = match result {
        Ok(()) => error::success(),
        Err(error) => error.status(),
    };
    Ok(call.reply(&TStatusResp { status })?)
}

/// A text that a client has sent.
pub(super) fn text(bytes: Option<&Bytes>) -> Result<Option<&str>, Error> {
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let text = std::str::from_utf8(bytes);
    text.map(Some)
        .map_err(|_| Error::new("ParseException: the text is not UTF-8"))
}

/// Names and values that a client has sent.
pub(super) fn pairs(map: Option<&AHashMap<Bytes, Bytes>>) -> Result<Vec<(&str, &str)>, Error> {
    let entries = map.into_iter().flatten();
    entries
        .map(|(name, value)| {
            let name = text(Some(name))?.unwrap_or_default();
            Ok((name, text(Some(value))?.unwrap_or_default()))
        })
        .collect()
}
