//! Arrow's types as HiveServer2's.

use datafusion::arrow::datatypes::{DataType, Field, Schema};

use crate::wire::idl::{
    TColumnDesc, TPrimitiveTypeEntry, TTableSchema, TTypeDesc, TTypeEntry, TTypeId,
    TTypeQualifierValue, TTypeQualifiers,
};

/// In which member of the protocol's column union a type's values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Member {
    Bool,
    I8,
    I16,
    I32,
    I64,
    Double,
    /// As text.
    Text,
    Binary,
}

impl Member {
    /// The field of the union.
    pub(crate) const fn field(self) -> i16 {
        match self {
            Self::Bool => 1,
            Self::I8 => 2,
            Self::I16 => 3,
            Self::I32 => 4,
            Self::I64 => 5,
            Self::Double => 6,
            Self::Text => 7,
            Self::Binary => 8,
        }
    }
}

/// What a client is told of a type, and where its values go. What the protocol has no type for is a
/// STRING with its text.
pub(crate) fn of(data_type: &DataType) -> (TTypeId, Member) {
    match data_type {
        DataType::Boolean => (TTypeId::BOOLEAN, Member::Bool),
        DataType::Int8 => (TTypeId::TINYINT, Member::I8),
        DataType::Int16 | DataType::UInt8 => (TTypeId::SMALLINT, Member::I16),
        DataType::Int32 | DataType::UInt16 => (TTypeId::INT, Member::I32),
        DataType::Int64 | DataType::UInt32 => (TTypeId::BIGINT, Member::I64),
        DataType::Float16 | DataType::Float32 => (TTypeId::FLOAT, Member::Double),
        DataType::Float64 => (TTypeId::DOUBLE, Member::Double),
        DataType::UInt64 => (TTypeId::DECIMAL, Member::Text),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale)
            if *scale >= 0 =>
        {
            (TTypeId::DECIMAL, Member::Text)
        }
        DataType::Timestamp(..) => (TTypeId::TIMESTAMP, Member::Text),
        DataType::Date32 | DataType::Date64 => (TTypeId::DATE, Member::Text),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => (TTypeId::BINARY, Member::Binary),
        DataType::Null => (TTypeId::NULL_TYPE, Member::Text),
        DataType::Dictionary(_, value) => of(value),
        DataType::RunEndEncoded(_, value) => of(value.data_type()),
        _ => (TTypeId::STRING, Member::Text),
    }
}

/// The type's name as Impala writes it, for example `decimal(15,2)`.
pub(crate) fn name(data_type: &DataType) -> String {
    let (id, _) = of(data_type);
    if let Some((precision, scale)) = decimal(data_type) {
        return format!("decimal({precision},{scale})");
    }
    NAMES
        .iter()
        .find(|(named, _)| *named == id)
        .map_or("string", |(_, name)| name)
        .to_owned()
}

/// The bytes of each value of a type, where all have the same number; as Impala counts them.
pub(crate) fn fixed_bytes(data_type: &DataType) -> Option<i64> {
    let bytes = match of(data_type).0 {
        TTypeId::BOOLEAN | TTypeId::TINYINT => 1,
        TTypeId::SMALLINT => 2,
        TTypeId::INT | TTypeId::FLOAT | TTypeId::DATE => 4,
        TTypeId::BIGINT | TTypeId::DOUBLE => 8,
        TTypeId::TIMESTAMP => 16,
        TTypeId::DECIMAL => match decimal(data_type)? {
            (0..=9, _) => 4,
            (10..=18, _) => 8,
            _ => 16,
        },
        _ => return None,
    };
    Some(bytes)
}

/// The types that columns can have, by Impala's names.
pub(crate) const NAMES: [(TTypeId, &str); 13] = [
    (TTypeId::BOOLEAN, "boolean"),
    (TTypeId::TINYINT, "tinyint"),
    (TTypeId::SMALLINT, "smallint"),
    (TTypeId::INT, "int"),
    (TTypeId::BIGINT, "bigint"),
    (TTypeId::FLOAT, "float"),
    (TTypeId::DOUBLE, "double"),
    (TTypeId::STRING, "string"),
    (TTypeId::TIMESTAMP, "timestamp"),
    (TTypeId::BINARY, "binary"),
    (TTypeId::DECIMAL, "decimal"),
    (TTypeId::NULL_TYPE, "null_type"),
    (TTypeId::DATE, "date"),
];

/// Precision and scale, where the type has them.
pub(crate) fn decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *scale >= 0 =>
        {
            Some((*precision, *scale))
        }
        // Its largest value has so many digits.
        DataType::UInt64 => Some((20, 0)),
        DataType::Dictionary(_, value) => decimal(value),
        DataType::RunEndEncoded(_, value) => decimal(value.data_type()),
        _ => None,
    }
}

/// What a client is told of a result's columns.
pub(crate) fn table_schema(schema: &Schema) -> TTableSchema {
    let fields = schema.fields().iter();
    let columns = fields.enumerate().map(|(i, field)| column(i, field));
    TTableSchema {
        columns: columns.collect(),
    }
}

fn column(index: usize, field: &Field) -> TColumnDesc {
    let (type_id, _) = of(field.data_type());
    let entry = TPrimitiveTypeEntry {
        type_id,
        type_qualifiers: decimal(field.data_type()).map(qualifiers),
    };
    TColumnDesc {
        column_name: field.name().clone().into(),
        type_desc: TTypeDesc {
            types: vec![TTypeEntry::PrimitiveEntry(entry)],
        },
        position: i32::try_from(index).unwrap_or(i32::MAX),
        comment: None,
    }
}

fn qualifiers((precision, scale): (u8, i8)) -> TTypeQualifiers {
    let values = [
        ("precision", i32::from(precision)),
        ("scale", i32::from(scale)),
    ];
    let values = values.map(|(name, value)| (name.into(), TTypeQualifierValue::I32Value(value)));
    TTypeQualifiers {
        qualifiers: values.into_iter().collect(),
    }
}
