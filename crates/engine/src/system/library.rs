//! What is the same in every PostgreSQL: types, functions, operators, … as
//! `datafusion-pg-catalog` has them, exported from a real one.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    ArrayRef, AsArray, Int32Array, ListBuilder, RecordBatch, StringBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion_pg_catalog::pg_catalog::{ArrowTable, PgCatalogStaticTables};

use super::directory::Relations;
use super::relation::{OID_KEY, oid_metadata};

/// The exported tables, read once.
pub(super) static LIBRARY: LazyLock<PgCatalogStaticTables> =
    LazyLock::new(|| PgCatalogStaticTables::try_new().expect("the library's own data"));

pub(super) fn all(relations: &mut Relations) {
    let tables = [
        ("pg_aggregate", &LIBRARY.pg_aggregate),
        ("pg_am", &LIBRARY.pg_am),
        ("pg_amop", &LIBRARY.pg_amop),
        ("pg_amproc", &LIBRARY.pg_amproc),
        ("pg_cast", &LIBRARY.pg_cast),
        ("pg_collation", &LIBRARY.pg_collation),
        ("pg_conversion", &LIBRARY.pg_conversion),
        ("pg_description", &LIBRARY.pg_description),
        ("pg_language", &LIBRARY.pg_language),
        ("pg_opclass", &LIBRARY.pg_opclass),
        ("pg_operator", &LIBRARY.pg_operator),
        ("pg_opfamily", &LIBRARY.pg_opfamily),
        ("pg_proc", &LIBRARY.pg_proc),
        ("pg_range", &LIBRARY.pg_range),
        ("pg_tablespace", &LIBRARY.pg_tablespace),
        ("pg_ts_config", &LIBRARY.pg_ts_config),
        ("pg_ts_dict", &LIBRARY.pg_ts_dict),
        ("pg_ts_parser", &LIBRARY.pg_ts_parser),
        ("pg_ts_template", &LIBRARY.pg_ts_template),
        ("pg_type", &LIBRARY.pg_type),
    ];
    for (name, table) in tables {
        relations.add(name, provider(name, table));
    }
}

/// The export has names where a function's object id belongs, and arrays as text.
fn provider(table_name: &str, table: &ArrowTable) -> Arc<dyn TableProvider> {
    let column = |field: &Arc<Field>| {
        let data_type = match kind(table_name, field.name()) {
            Kind::AsItIs => return as_in_15(field),
            Kind::Function => {
                let oid = Field::new(field.name(), DataType::Int32, true);
                return Arc::new(oid.with_metadata(oid_metadata("regproc")));
            }
            Kind::Oids => DataType::Int32,
            Kind::Texts => DataType::Utf8,
        };
        let list = DataType::List(Arc::new(Field::new("item", data_type, true)));
        Arc::new(Field::new(field.name(), list, true))
    };
    let fields: Vec<Arc<Field>> = table.schema().fields().iter().map(column).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = |batch: &RecordBatch| {
        let fields = batch.schema();
        let columns = batch.columns().iter().zip(fields.fields());
        let columns = columns.map(|(c, f)| converted(&kind(table_name, f.name()), c));
        RecordBatch::try_new(Arc::clone(&schema), columns.collect())
    };
    let batches: Result<Vec<_>, _> = table.data().iter().map(batch).collect();
    let batches = batches.expect("columns as declared");
    let table = MemTable::try_new(schema, vec![batches]);
    Arc::new(table.expect("one partition of the table's own schema"))
}

/// A column's name as of PostgreSQL 15, whose version clients are told. Object ids are no more
/// than that in the catalog itself, whatever they are of.
fn as_in_15(field: &Field) -> Arc<Field> {
    let name = match field.name().as_str() {
        "colllocale" => "colliculocale",
        name => name,
    };
    let marked = field.metadata().contains_key(OID_KEY);
    let metadata = match (marked, field.data_type()) {
        (true, DataType::Int32) => oid_metadata("oid"),
        (true, _) => HashMap::new(),
        (false, _) => field.metadata().clone(),
    };
    let plain = Field::new(name, field.data_type().clone(), field.is_nullable());
    Arc::new(plain.with_metadata(metadata))
}

enum Kind {
    AsItIs,
    Function,
    Oids,
    Texts,
}

fn kind(table: &str, column: &str) -> Kind {
    match (table, column) {
        (
            "pg_type",
            "typsubscript" | "typinput" | "typoutput" | "typreceive" | "typsend" | "typmodin"
            | "typmodout" | "typanalyze",
        )
        | ("pg_am", "amhandler") => Kind::Function,
        ("pg_proc", "proallargtypes" | "protrftypes") => Kind::Oids,
        ("pg_proc", "proargmodes" | "proargnames" | "proconfig" | "proacl")
        | ("pg_type", "typacl")
        | ("pg_tablespace", "spcacl" | "spcoptions") => Kind::Texts,
        _ => Kind::AsItIs,
    }
}

fn converted(kind: &Kind, column: &ArrayRef) -> ArrayRef {
    let texts = || column.as_string::<i32>().iter();
    match kind {
        Kind::AsItIs => Arc::clone(column),
        Kind::Function => {
            let oids = texts().map(|name| name.map(|n| function_oid(n).cast_signed()));
            Arc::new(Int32Array::from_iter(oids))
        }
        Kind::Oids => {
            let lists = texts().map(|list| {
                let elements = elements(list?);
                Some(
                    elements
                        .map(|e| e.parse().ok())
                        .collect::<Vec<Option<i32>>>(),
                )
            });
            let lists: Vec<_> = lists.collect();
            Arc::new(datafusion::arrow::array::ListArray::from_iter_primitive::<
                Int32Type,
                _,
                _,
            >(lists))
        }
        Kind::Texts => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for list in texts() {
                match list {
                    Some(list) => {
                        elements(list).for_each(|e| lists.values().append_value(e));
                        lists.append(true);
                    }
                    None => lists.append(false),
                }
            }
            Arc::new(lists.finish())
        }
    }
}

/// The elements of an array that is written `{a,b}`.
fn elements(list: &str) -> impl Iterator<Item = &str> {
    let inner = list.trim_start_matches('{').trim_end_matches('}');
    let elements = inner.split(',').filter(move |_| !inner.is_empty());
    elements.map(|e| e.trim_matches('"'))
}

/// Functions of `pg_proc`, by object id and by name.
pub(super) struct Functions {
    pub(super) by_oid: HashMap<u32, Function>,
    by_name: HashMap<String, Vec<u32>>,
}

/// One function of `pg_proc`.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) result: u32,
    pub(super) returns_set: bool,
    pub(super) arguments: Vec<u32>,
}

pub(super) static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    let mut functions = Functions {
        by_oid: HashMap::new(),
        by_name: HashMap::new(),
    };
    for batch in LIBRARY.pg_proc.data() {
        let names = column(batch, "proname").as_string::<i32>();
        let oids = column(batch, "oid").as_primitive::<Int32Type>();
        let results = column(batch, "prorettype").as_primitive::<Int32Type>();
        let sets = column(batch, "proretset").as_boolean();
        let arguments = column(batch, "proargtypes").as_string::<i32>();
        for row in 0..batch.num_rows() {
            let oid = oids.value(row).cast_unsigned();
            let name = names.value(row).to_owned();
            functions.by_name.entry(name.clone()).or_default().push(oid);
            let arguments = arguments
                .value(row)
                .split(' ')
                .filter_map(|a| a.parse().ok());
            let function = Function {
                name,
                result: results.value(row).cast_unsigned(),
                returns_set: sets.value(row),
                arguments: arguments.collect(),
            };
            functions.by_oid.insert(oid, function);
        }
    }
    functions
});

/// The object ids of the functions of this name.
pub(super) fn functions_named(name: &str) -> &'static [u32] {
    FUNCTIONS.by_name.get(name).map_or(&[], Vec::as_slice)
}

fn function_oid(name: &str) -> u32 {
    functions_named(name).first().copied().unwrap_or(0)
}

/// A column of one of the exported tables.
pub(super) fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    batch
        .column_by_name(name)
        .expect("a column of PostgreSQL's")
}
