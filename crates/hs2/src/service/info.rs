//! `GetInfo`.

use crate::error::Error;
use crate::front::{Caller, Front};
use crate::wire::idl::{TGetInfoReq, TGetInfoValue};
use forebay_sql::IMPALA_VERSION;

/// Kinds of information, by ODBC's numbers where it has them.
const DATA_SOURCE_NAME: i32 = 2;
const SERVER_NAME: i32 = 13;
const DBMS_NAME: i32 = 17;
const DBMS_VERSION: i32 = 18;
const IDENTIFIER_QUOTE: i32 = 29;
const MAX_COLUMN_NAME: i32 = 30;
const MAX_SCHEMA_NAME: i32 = 32;
const MAX_TABLE_NAME: i32 = 35;
const USER_NAME: i32 = 47;
const MAX_IDENTIFIER: i32 = 10_005;

/// Characters that a name may have.
const NAME_LENGTH: i64 = 128;

impl Front {
    pub(super) fn info(
        &self,
        caller: &Caller,
        request: &TGetInfoReq,
    ) -> Result<TGetInfoValue, Error> {
        let session = self.session(caller, &request.session_handle)?;
        let text = |value: &str| Ok(TGetInfoValue::StringValue(value.to_owned().into()));
        match request.info_type {
            // Clients decide by this name how to speak.
            DATA_SOURCE_NAME | SERVER_NAME | DBMS_NAME => text("Impala"),
            DBMS_VERSION => text(IMPALA_VERSION),
            IDENTIFIER_QUOTE => text("`"),
            USER_NAME => text(&session.user),
            MAX_COLUMN_NAME | MAX_SCHEMA_NAME | MAX_TABLE_NAME | MAX_IDENTIFIER => {
                Ok(TGetInfoValue::LenValue(NAME_LENGTH))
            }
            _ => Err(Error::not_supported("Unsupported operation")),
        }
    }
}

/// What stands in an answer that is an error.
pub(super) fn nothing() -> TGetInfoValue {
    TGetInfoValue::StringValue("".into())
}
