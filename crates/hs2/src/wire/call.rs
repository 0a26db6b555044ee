//! Calls and replies around the structs of the IDL.
//!
//! A call is a struct with the request in field 1, a reply one with the response in field 0.

use bytes::{Bytes, BytesMut};
use pilota::FastStr;
use pilota::thrift::binary::TBinaryProtocol;
use pilota::thrift::{
    Message as ThriftMessage, TInputProtocol, TMessageIdentifier, TMessageType, TOutputProtocol,
    TStructIdentifier, TType, ThriftException,
};

use super::idl::TApplicationException;
use super::scan::Message;

/// Where a reply is written.
pub(crate) type Output<'a> = TBinaryProtocol<&'a mut BytesMut>;

/// Kinds of [`TApplicationException`].
pub(crate) const UNKNOWN_METHOD: i32 = 1;
pub(crate) const INVALID_MESSAGE_TYPE: i32 = 2;
pub(crate) const INTERNAL_ERROR: i32 = 6;
pub(crate) const PROTOCOL_ERROR: i32 = 7;

/// A call that has arrived.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: FastStr,
    sequence: i32,
    pub(crate) is_call: bool,
    /// Behind the header.
    body: Bytes,
    only_texts: bool,
}

impl Call {
    /// Reads the header of a scanned message.
    pub(crate) fn read(message: Message) -> Result<Self, ThriftException> {
        let mut body = message.bytes;
        // The scanner has seen that the name is ASCII, on which pilota relies.
        let header = TBinaryProtocol::new(&mut body, false).read_message_begin()?;
        Ok(Self {
            method: header.name,
            sequence: header.sequence_number,
            is_call: header.message_type == TMessageType::Call,
            body,
            only_texts: message.only_texts,
        })
    }

    /// The request.
    pub(crate) fn request<M: ThriftMessage>(&self) -> Result<M, ThriftException> {
        if !self.only_texts {
            return Err(invalid("a list or map of anything but texts"));
        }
        let mut body = self.body.clone();
        let mut input = TBinaryProtocol::new(&mut body, false);
        let mut request = None;
        input.read_struct_begin()?;
        loop {
            let field = input.read_field_begin()?;
            match (field.field_type, field.id) {
                (TType::Stop, _) => break,
                (TType::Struct, Some(1)) => request = Some(M::decode(&mut input)?),
                (kind, _) => {
                    input.skip(kind)?;
                }
            }
        }
        request.ok_or_else(|| invalid("a call without its request"))
    }

    /// The reply with this response.
    pub(crate) fn reply<R: Response>(&self, response: &R) -> Result<BytesMut, ThriftException> {
        let mut bytes = BytesMut::with_capacity(response.capacity());
        let mut output = self.begin(&mut bytes, TMessageType::Reply)?;
        output.write_struct_begin(&TStructIdentifier { name: "result" })?;
        output.write_field_begin(TType::Struct, 0)?;
        response.write(&mut output)?;
        output.write_field_end()?;
        output.write_field_stop()?;
        output.write_struct_end()?;
        output.write_message_end()?;
        Ok(bytes)
    }

    /// The reply to a call that cannot be answered.
    pub(crate) fn exception(&self, kind: i32, message: String) -> BytesMut {
        let exception = TApplicationException {
            message: Some(message.into()),
            type_code: Some(kind),
        };
        let mut bytes = BytesMut::new();
        let written = self
            .begin(&mut bytes, TMessageType::Exception)
            .and_then(|mut output| exception.encode(&mut output));
        debug_assert!(written.is_ok(), "a buffer takes everything");
        bytes
    }

    fn begin<'a>(
        &self,
        bytes: &'a mut BytesMut,
        kind: TMessageType,
    ) -> Result<Output<'a>, ThriftException> {
        let mut output = TBinaryProtocol::new(bytes, false);
        let header = TMessageIdentifier::new(self.method.clone(), kind, self.sequence);
        output.write_message_begin(&header)?;
        Ok(output)
    }
}

/// What a reply carries.
pub(crate) trait Response {
    /// About how many bytes will be written, where that is a lot.
    fn capacity(&self) -> usize {
        0
    }

    /// Writes the struct.
    fn write(&self, output: &mut Output<'_>) -> Result<(), ThriftException>;
}

impl<M: ThriftMessage> Response for M {
    fn write(&self, output: &mut Output<'_>) -> Result<(), ThriftException> {
        self.encode(output)
    }
}

fn invalid(what: &'static str) -> ThriftException {
    pilota::thrift::new_protocol_exception(pilota::thrift::ProtocolExceptionKind::InvalidData, what)
}
