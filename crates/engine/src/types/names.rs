//! Names of types.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, ExactNumberInfo};
use datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;

use super::numeric::SIGNIFICANT_DECIMALS;
use crate::EngineError;

/// The most binary digits that a `real` has: `float(24)` is `real`, `float(25)` is not.
const REAL_DIGITS: u64 = 24;

/// Types that PostgreSQL has and Forebay has not; DataFusion refuses them with 0A000.
const UNSUPPORTED: [&str; 36] = [
    "bit",
    "box",
    "cid",
    "cidr",
    "circle",
    "cstring",
    "datemultirange",
    "daterange",
    "inet",
    "int4multirange",
    "int4range",
    "int8multirange",
    "int8range",
    "jsonpath",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "money",
    "numrange",
    "nummultirange",
    "oidvector",
    "path",
    "pg_lsn",
    "point",
    "polygon",
    "tid",
    "timetz",
    "tsquery",
    "tsrange",
    "tstzrange",
    "tsvector",
    "txid_snapshot",
    "varbit",
    "xid",
    "xml",
];

/// Asked for every type's name before DataFusion's planner looks at it.
#[derive(Debug, Default)]
pub(super) struct TypeNames {
    library: PgOidTypePlanner,
}

impl TypePlanner for TypeNames {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        if let Some(field) = self.library.plan_type_field(sql_type)? {
            return Ok(Some(field));
        }
        let data_type = match sql_type {
            SqlType::Numeric(ExactNumberInfo::None)
            | SqlType::Decimal(ExactNumberInfo::None)
            | SqlType::Dec(ExactNumberInfo::None) => {
                DataType::Decimal128(DECIMAL128_MAX_PRECISION, SIGNIFICANT_DECIMALS)
            }
            SqlType::Float(ExactNumberInfo::Precision(digits)) if *digits <= REAL_DIGITS => {
                DataType::Float32
            }
            SqlType::Float(_) => DataType::Float64,
            SqlType::Custom(name, _) => {
                let last = name.0.last().and_then(|part| part.as_ident());
                let Some(last) = last.map(|ident| match ident.quote_style {
                    Some(_) => ident.value.clone(),
                    None => ident.value.to_lowercase(),
                }) else {
                    return Ok(None);
                };
                match last.as_str() {
                    "name" | "bpchar" => DataType::Utf8,
                    known if UNSUPPORTED.contains(&known) => return Ok(None),
                    _ => {
                        let message = format!("type \"{}\" does not exist", name_of(sql_type));
                        return Err(EngineError::new("42704", message).into());
                    }
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

/// A name as it was written, folded to lower case.
fn name_of(sql_type: &SqlType) -> String {
    sql_type.to_string().to_lowercase()
}
