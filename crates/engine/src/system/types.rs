//! Types as PostgreSQL's catalog knows them: by object id, by name, and of a column.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, Field, Int16Type, Int32Type};

use super::library::{LIBRARY, column};

/// Object id of type `text`.
pub(super) const TEXT: u32 = 25;

/// Object id of type `numeric`.
pub(super) const NUMERIC: u32 = 1700;

/// What PostgreSQL adds to every type modifier.
const MODIFIER_HEADER: i32 = 4;

/// A row of `pg_type`.
pub(super) struct PgType {
    pub(super) name: String,
    pub(super) length: i16,
    pub(super) by_value: bool,
    pub(super) align: String,
    pub(super) storage: String,
    pub(super) collation: u32,
    /// The type of the elements; 0 for what is no array.
    pub(super) element: u32,
}

struct Types {
    by_oid: HashMap<u32, PgType>,
    by_name: HashMap<String, u32>,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let mut types = Types {
        by_oid: HashMap::new(),
        by_name: HashMap::new(),
    };
    for batch in LIBRARY.pg_type.data() {
        let texts = |name| column(batch, name).as_string::<i32>();
        let ints = |name| column(batch, name).as_primitive::<Int32Type>();
        let (oids, names, categories) = (ints("oid"), texts("typname"), texts("typcategory"));
        let lengths = column(batch, "typlen").as_primitive::<Int16Type>();
        for row in 0..batch.num_rows() {
            let oid = ints("oid").value(row).cast_unsigned();
            // `int2vector` and `oidvector` are stored plainly, and are no arrays by name.
            let is_array = categories.value(row) == "A"
                && lengths.value(row) == -1
                && texts("typstorage").value(row) != "p";
            let element = ints("typelem").value(row).cast_unsigned();
            let found = PgType {
                name: names.value(row).to_owned(),
                length: lengths.value(row),
                by_value: column(batch, "typbyval").as_boolean().value(row),
                align: texts("typalign").value(row).to_owned(),
                storage: texts("typstorage").value(row).to_owned(),
                collation: ints("typcollation").value(row).cast_unsigned(),
                element: if is_array { element } else { 0 },
            };
            debug_assert_eq!(oid, oids.value(row).cast_unsigned());
            types.by_name.insert(found.name.clone(), oid);
            types.by_oid.insert(oid, found);
        }
    }
    types
});

/// The type with this object id.
pub(super) fn by_oid(oid: u32) -> Option<&'static PgType> {
    TYPES.by_oid.get(&oid)
}

/// Object id and modifier of a column's type, as clients are told them with a result.
pub(super) fn of_column(field: &Arc<Field>) -> (u32, i32) {
    let oid = arrow_pg::datatypes::field_into_pg_type(field).map_or(TEXT, |t| t.oid());
    let oid = if TYPES.by_oid.contains_key(&oid) && oid != UNKNOWN {
        oid
    } else {
        TEXT
    };
    (oid, modifier(field.data_type()))
}

const UNKNOWN: u32 = 705;

/// `numeric(p,s)` keeps precision and scale in its modifier; -1 is none.
fn modifier(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            (i32::from(*precision) << 16 | i32::from(*scale) & 0x7ff) + MODIFIER_HEADER
        }
        _ => -1,
    }
}

/// Precision and scale of a numeric type's modifier.
pub(super) fn precision_and_scale(modifier: i32) -> Option<(i32, i32)> {
    let packed = modifier.checked_sub(MODIFIER_HEADER).filter(|m| *m >= 0)?;
    Some((packed >> 16, packed & 0x7ff))
}

/// SQL's names where they are not the catalog's.
const SQL_NAMES: [(&str, &str); 14] = [
    ("bit", "bit"),
    ("bool", "boolean"),
    ("bpchar", "character"),
    ("char", "\"char\""),
    ("float4", "real"),
    ("float8", "double precision"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("time", "time without time zone"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("timetz", "time with time zone"),
    ("varchar", "character varying"),
];

/// Other spellings that SQL allows, in lower case.
const SPELLINGS: [(&str, &str); 8] = [
    ("char", "bpchar"),
    ("dec", "numeric"),
    ("decimal", "numeric"),
    ("float", "float8"),
    ("int", "int4"),
    ("time", "time"),
    ("timestamp", "timestamp"),
    ("bit varying", "varbit"),
];

/// The name of a type as `format_type` prints it: `numeric(15,2)`, `integer[]`.
pub(super) fn sql_name(oid: u32, modifier: Option<i32>) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    let Some(found) = by_oid(oid) else {
        return "???".to_owned();
    };
    if found.element != 0 {
        return format!("{}[]", sql_name(found.element, modifier));
    }
    let listed = SQL_NAMES.iter().find(|(name, _)| *name == found.name);
    let mut text = listed
        .map_or(found.name.as_str(), |(_, sql)| sql)
        .to_owned();
    if let Some(modifier) = modifier.filter(|m| *m >= 0) {
        insert_modifier(&mut text, &found.name, modifier);
    }
    text
}

/// A modifier stands behind the first word.
fn insert_modifier(text: &mut String, name: &str, modifier: i32) {
    let mut shown = String::new();
    let _ = match (name, precision_and_scale(modifier)) {
        ("numeric", Some((precision, scale))) => write!(shown, "({precision},{scale})"),
        ("varchar" | "bpchar", Some(_)) => write!(shown, "({})", modifier - MODIFIER_HEADER),
        ("time" | "timetz" | "timestamp" | "timestamptz" | "bit" | "varbit", _) => {
            write!(shown, "({modifier})")
        }
        _ => Ok(()),
    };
    let place = match name {
        "varchar" => text.len(),
        _ => text.find(' ').unwrap_or(text.len()),
    };
    text.insert_str(place, &shown);
}

/// The object id of the type that somebody writes so: `int4`, `double precision`,
/// `pg_catalog.text[]`, `numeric(15,2)`.
pub(super) fn parse(text: &str) -> Option<u32> {
    let text = text.trim();
    if let Some(element) = text.strip_suffix("[]") {
        let element = parse(element)?;
        let mut all = TYPES.by_oid.iter();
        return all.find(|(_, t)| t.element == element).map(|(oid, _)| *oid);
    }
    let name = text.strip_prefix("pg_catalog.").unwrap_or(text);
    if let Some(quoted) = name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
        return TYPES.by_name.get(quoted).copied();
    }
    let name = without_modifier(&name.to_lowercase());
    let sql = SQL_NAMES.iter().find(|(_, sql)| *sql == name);
    let spelled = SPELLINGS.iter().find(|(spelling, _)| *spelling == name);
    let catalog = match (spelled, sql) {
        (Some((_, catalog)), _) => catalog,
        (None, Some((catalog, _))) => catalog,
        (None, None) => name.as_str(),
    };
    TYPES.by_name.get(catalog).copied()
}

fn without_modifier(name: &str) -> String {
    match (name.find('('), name.find(')')) {
        (Some(open), Some(close)) if open < close => {
            format!("{}{}", &name[..open].trim_end(), &name[close + 1..])
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_printed_as_format_type_does() {
        let cases = [
            (23, None, "integer"),
            (1007, None, "integer[]"),
            (1700, Some(((15 << 16) | 2) + 4), "numeric(15,2)"),
            (1043, Some(14), "character varying(10)"),
            (1114, Some(3), "timestamp(3) without time zone"),
            (1184, Some(-1), "timestamp with time zone"),
            (18, None, "\"char\""),
            (22, None, "int2vector"),
            (0, None, "-"),
            (999_999, None, "???"),
        ];
        for (oid, modifier, expected) in cases {
            assert_eq!(sql_name(oid, modifier), expected);
        }
    }

    #[test]
    fn types_are_found_by_every_name() {
        let cases = [
            ("int4", Some(23)),
            ("INTEGER", Some(23)),
            ("pg_catalog.int8", Some(20)),
            ("numeric(15, 2)", Some(1700)),
            ("timestamp(3) with time zone", Some(1184)),
            ("text[]", Some(1009)),
            ("\"char\"", Some(18)),
            ("char", Some(1042)),
            ("hstore", None),
        ];
        for (name, expected) in cases {
            assert_eq!(parse(name), expected, "{name}");
        }
    }

    #[test]
    fn columns_have_types_and_modifiers() {
        let of = |data_type| of_column(&Arc::new(Field::new("c", data_type, true)));
        assert_eq!(of(DataType::Int32), (23, -1));
        assert_eq!(of(DataType::Decimal128(15, 2)), (1700, 983_046));
        assert_eq!(of(DataType::Null), (25, -1));
    }
}
