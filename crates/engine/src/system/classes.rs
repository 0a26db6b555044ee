//! Relations and their columns: `pg_class`, `pg_attribute`, `pg_namespace`, and the views of them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::common::ScalarValue;
use forebay_catalog::{BOOTSTRAP_ROLE_OID, Snapshot};

use super::directory::{Directory, Listed, Relations, SYSTEM_SCHEMAS, role_name, role_oid};
use super::relation::{
    NULL, Row, boolean, int, oid, relation, relation_of_files, small, text, text_or_null,
};
use super::types;

pub(super) fn all(relations: &mut Relations, directory: &Arc<Directory>) {
    let with_columns = Arc::clone(directory);
    relations.add(
        "pg_class",
        relation_of_files(PG_CLASS, move |asker| {
            let directory = Arc::clone(&with_columns);
            Box::pin(async move {
                let listed = directory.columns(&asker.snapshot).await;
                listed.iter().map(|(r, c)| class_row(r, c)).collect()
            })
        }),
    );
    let with_columns = Arc::clone(directory);
    relations.add(
        "pg_attribute",
        relation_of_files(PG_ATTRIBUTE, move |asker| {
            let directory = Arc::clone(&with_columns);
            Box::pin(async move {
                let listed = directory.columns(&asker.snapshot).await;
                let rows = listed.iter().flat_map(|(r, c)| attribute_rows(r, c));
                rows.collect()
            })
        }),
    );
    relations.add(
        "pg_namespace",
        relation(PG_NAMESPACE, |asker| namespace_rows(&asker.snapshot)),
    );
    for (name, columns, row) in [
        ("pg_tables", PG_TABLES, table_row as ListedRow),
        ("pg_views", PG_VIEWS, view_row as ListedRow),
    ] {
        let directory = Arc::clone(directory);
        let rows = relation(columns, move |asker| {
            let listed = directory.relations(&asker.snapshot);
            let rows = listed.iter().filter_map(|r| row(r, &asker.snapshot));
            rows.collect()
        });
        relations.add(name, rows);
    }
}

type ListedRow = fn(&Listed, &Snapshot) -> Option<Row>;

const PG_CLASS: &str = "oid oid, relname name, relnamespace oid, reltype oid, reloftype oid, \
    relowner oid, relam oid, relfilenode oid, reltablespace oid, relpages int4, \
    reltuples float4, relallvisible int4, reltoastrelid oid, relhasindex bool, \
    relisshared bool, relpersistence char, relkind char, relnatts int2, relchecks int2, \
    relhasrules bool, relhastriggers bool, relhassubclass bool, relrowsecurity bool, \
    relforcerowsecurity bool, relispopulated bool, relreplident char, relispartition bool, \
    relrewrite oid, relfrozenxid xid, relminmxid xid, relacl aclitem[], reloptions text[], \
    relpartbound pg_node_tree";

/// PostgreSQL's mark of a table that has never been counted.
const NEVER_COUNTED: f32 = -1.0;

fn class_row(listed: &Listed, columns: &SchemaRef) -> Row {
    let kind = if listed.is_view { "v" } else { "r" };
    // As PostgreSQL has it: the default for tables that anybody made.
    let identity = if listed.is_view || listed.is_system() {
        "n"
    } else {
        "d"
    };
    vec![
        oid(listed.oid),
        text(&listed.name),
        oid(listed.schema_oid),
        oid(0),
        oid(0),
        oid(listed.owner),
        oid(0),
        oid(0),
        oid(0),
        int(0),
        ScalarValue::Float32(Some(NEVER_COUNTED)),
        int(0),
        oid(0),
        boolean(false),
        boolean(false),
        text("p"),
        text(kind),
        small(i16::try_from(columns.fields().len()).unwrap_or(i16::MAX)),
        small(0),
        boolean(false),
        boolean(false),
        boolean(false),
        boolean(false),
        boolean(false),
        boolean(true),
        text(identity),
        boolean(false),
        oid(0),
        int(0),
        int(0),
        NULL,
        NULL,
        NULL,
    ]
}

const PG_ATTRIBUTE: &str = "attrelid oid, attname name, atttypid oid, attstattarget int4, \
    attlen int2, attnum int2, attndims int4, attcacheoff int4, atttypmod int4, attbyval bool, \
    attalign char, attstorage char, attcompression char, attnotnull bool, atthasdef bool, \
    atthasmissing bool, attidentity char, attgenerated char, attisdropped bool, \
    attislocal bool, attinhcount int4, attcollation oid, attacl aclitem[], attoptions text[], \
    attfdwoptions text[], attmissingval text";

fn attribute_rows<'a>(listed: &'a Listed, columns: &'a SchemaRef) -> impl Iterator<Item = Row> {
    let numbered = (1i16..).zip(columns.fields());
    numbered.map(|(number, field)| attribute_row(listed, number, field))
}

fn attribute_row(listed: &Listed, number: i16, field: &Arc<Field>) -> Row {
    let (type_oid, modifier) = types::of_column(field);
    let found = types::by_oid(type_oid).expect("columns have types that are listed");
    // A view promises nothing about its columns.
    let not_null = !listed.is_view && !field.is_nullable();
    vec![
        oid(listed.oid),
        text(field.name()),
        oid(type_oid),
        int(-1),
        small(found.length),
        small(number),
        int(i32::from(found.element != 0)),
        int(-1),
        int(modifier),
        boolean(found.by_value),
        text(&found.align),
        text(&found.storage),
        text(""),
        boolean(not_null),
        boolean(false),
        boolean(false),
        text(""),
        text(""),
        boolean(false),
        boolean(true),
        int(0),
        oid(found.collation),
        NULL,
        NULL,
        NULL,
        NULL,
    ]
}

const PG_NAMESPACE: &str = "oid oid, nspname name, nspowner oid, nspacl aclitem[]";

fn namespace_rows(snapshot: &Snapshot) -> Vec<Row> {
    let row = |number, name: &str, owner| vec![oid(number), text(name), oid(owner), NULL];
    let mut rows: Vec<Row> = SYSTEM_SCHEMAS
        .map(|(name, number)| row(number, name, BOOTSTRAP_ROLE_OID))
        .into();
    rows.extend(
        snapshot
            .schemas()
            .map(|s| row(s.oid, &s.name, role_oid(snapshot, &s.owner))),
    );
    rows
}

const PG_TABLES: &str = "schemaname name, tablename name, tableowner name, tablespace name, \
    hasindexes bool, hasrules bool, hastriggers bool, rowsecurity bool";

fn table_row(listed: &Listed, snapshot: &Snapshot) -> Option<Row> {
    (!listed.is_view).then(|| {
        vec![
            text(&listed.schema),
            text(&listed.name),
            text_or_null(role_name(snapshot, listed.owner)),
            NULL,
            boolean(false),
            boolean(false),
            boolean(false),
            boolean(false),
        ]
    })
}

const PG_VIEWS: &str = "schemaname name, viewname name, viewowner name, definition text";

fn view_row(listed: &Listed, snapshot: &Snapshot) -> Option<Row> {
    listed.is_view.then(|| {
        vec![
            text(&listed.schema),
            text(&listed.name),
            text_or_null(role_name(snapshot, listed.owner)),
            text_or_null(listed.view_query.as_deref().map(view_definition)),
        ]
    })
}

/// A view's query as PostgreSQL prints one: with a blank in front and a semicolon behind.
pub(super) fn view_definition(query: &str) -> String {
    format!(" {};", query.trim().trim_end_matches(';'))
}
