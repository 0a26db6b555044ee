//! `information_schema`: SQL's own views of the catalog.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::common::ScalarValue;
use forebay_catalog::{BOOTSTRAP_ROLE_OID, Snapshot};

use super::classes::view_definition;
use super::directory::{Directory, Listed, Relations, SYSTEM_SCHEMAS, role_name};
use super::relation::{
    NULL, Row, empty_relation, int, int_or_null, relation, relation_of_files, text, text_or_null,
    yes_or_no,
};
use super::types::{self, precision_and_scale};
use crate::SessionFacts;
use crate::catalogs::PG_CATALOG;

pub(super) fn all(relations: &mut Relations, directory: &Arc<Directory>) {
    relations.add(
        "information_schema_catalog_name",
        relation("catalog_name name", |asker| {
            vec![vec![text(&asker.database)]]
        }),
    );
    relations.add("schemata", relation(SCHEMATA, schemata_rows));
    relations.add("enabled_roles", relation("role_name name", enabled_roles));
    for (name, columns, row) in [
        ("tables", TABLES, table_row as ListedRow),
        ("views", VIEWS, view_row as ListedRow),
    ] {
        let directory = Arc::clone(directory);
        let rows = relation(columns, move |asker| {
            let listed = directory.relations(&asker.snapshot);
            let rows = listed.iter().filter_map(|r| row(r, asker));
            rows.collect()
        });
        relations.add(name, rows);
    }
    for name in ["table_privileges", "role_table_grants"] {
        let directory = Arc::clone(directory);
        let rows = relation(TABLE_PRIVILEGES, move |asker| {
            let listed = directory.relations(&asker.snapshot);
            let rows = listed.iter().flat_map(|r| privilege_rows(r, asker));
            rows.collect()
        });
        relations.add(name, rows);
    }
    let directory = Arc::clone(directory);
    let columns = relation_of_files(COLUMNS, move |asker| {
        let directory = Arc::clone(&directory);
        Box::pin(async move {
            let listed = directory.columns(&asker.snapshot).await;
            let rows = listed.iter().flat_map(|(r, c)| column_rows(r, c, &asker));
            rows.collect()
        })
    });
    relations.add("columns", columns);
    for (name, columns) in UNUSED {
        relations.add(name, empty_relation(columns));
    }
}

type ListedRow = fn(&Listed, &SessionFacts) -> Option<Row>;

const SCHEMATA: &str = "catalog_name name, schema_name name, schema_owner name, \
    default_character_set_catalog name, default_character_set_schema name, \
    default_character_set_name name, sql_path text";

fn schemata_rows(asker: &SessionFacts) -> Vec<Row> {
    let snapshot = &asker.snapshot;
    let bootstrap = role_name(snapshot, BOOTSTRAP_ROLE_OID);
    let system = SYSTEM_SCHEMAS.map(|(name, _)| (name.to_owned(), bootstrap.clone()));
    let users = snapshot.schemas();
    let users = users.map(|s| (s.name.clone(), Some(s.owner.clone())));
    let schemas = system.into_iter().chain(users);
    let row = |(name, owner): (String, Option<String>)| {
        let database = text(&asker.database);
        vec![
            database,
            text(name),
            text_or_null(owner),
            NULL,
            NULL,
            NULL,
            NULL,
        ]
    };
    schemas.map(row).collect()
}

fn enabled_roles(asker: &SessionFacts) -> Vec<Row> {
    let roles = asker.snapshot.roles();
    let roles = roles.filter(|r| asker.superuser || r.name == asker.current_user);
    roles.map(|r| vec![text(&r.name)]).collect()
}

const TABLES: &str = "table_catalog name, table_schema name, table_name name, table_type text, \
    self_referencing_column_name name, reference_generation text, \
    user_defined_type_catalog name, user_defined_type_schema name, \
    user_defined_type_name name, is_insertable_into text, is_typed text, commit_action text";

fn table_row(listed: &Listed, asker: &SessionFacts) -> Option<Row> {
    let kind = if listed.is_view { "VIEW" } else { "BASE TABLE" };
    Some(vec![
        text(&asker.database),
        text(&listed.schema),
        text(&listed.name),
        text(kind),
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
        yes_or_no(!listed.is_view && !listed.is_system()),
        yes_or_no(false),
        NULL,
    ])
}

const VIEWS: &str = "table_catalog name, table_schema name, table_name name, \
    view_definition text, check_option text, is_updatable text, is_insertable_into text, \
    is_trigger_updatable text, is_trigger_deletable text, is_trigger_insertable_into text";

fn view_row(listed: &Listed, asker: &SessionFacts) -> Option<Row> {
    listed.is_view.then(|| {
        vec![
            text(&asker.database),
            text(&listed.schema),
            text(&listed.name),
            text_or_null(listed.view_query.as_deref().map(view_definition)),
            text("NONE"),
            yes_or_no(false),
            yes_or_no(false),
            yes_or_no(false),
            yes_or_no(false),
            yes_or_no(false),
        ]
    })
}

const TABLE_PRIVILEGES: &str = "grantor name, grantee name, table_catalog name, \
    table_schema name, table_name name, privilege_type text, is_grantable text, \
    with_hierarchy text";

/// Everybody may read everything; nothing else can be granted yet.
fn privilege_rows(listed: &Listed, asker: &SessionFacts) -> Option<Row> {
    let owner = owner_name(listed, &asker.snapshot)?;
    Some(vec![
        text(owner),
        text("PUBLIC"),
        text(&asker.database),
        text(&listed.schema),
        text(&listed.name),
        text("SELECT"),
        yes_or_no(false),
        yes_or_no(true),
    ])
}

fn owner_name(listed: &Listed, snapshot: &Snapshot) -> Option<String> {
    role_name(snapshot, listed.owner)
}

const COLUMNS: &str = "table_catalog name, table_schema name, table_name name, \
    column_name name, ordinal_position int4, column_default text, is_nullable text, \
    data_type text, character_maximum_length int4, character_octet_length int4, \
    numeric_precision int4, numeric_precision_radix int4, numeric_scale int4, \
    datetime_precision int4, interval_type text, interval_precision int4, \
    character_set_catalog name, character_set_schema name, character_set_name name, \
    collation_catalog name, collation_schema name, collation_name name, domain_catalog name, \
    domain_schema name, domain_name name, udt_catalog name, udt_schema name, udt_name name, \
    scope_catalog name, scope_schema name, scope_name name, maximum_cardinality int4, \
    dtd_identifier name, is_self_referencing text, is_identity text, \
    identity_generation text, identity_start text, identity_increment text, \
    identity_maximum text, identity_minimum text, identity_cycle text, is_generated text, \
    generation_expression text, is_updatable text";

fn column_rows<'a>(
    listed: &'a Listed,
    columns: &'a SchemaRef,
    asker: &'a SessionFacts,
) -> impl Iterator<Item = Row> {
    let numbered = (1i32..).zip(columns.fields());
    numbered.map(move |(number, field)| column_row(listed, number, field, asker))
}

fn column_row(listed: &Listed, number: i32, field: &Arc<Field>, asker: &SessionFacts) -> Row {
    let (type_oid, modifier) = types::of_column(field);
    let found = types::by_oid(type_oid).expect("columns have types that are listed");
    let data_type = match found.element {
        0 => types::sql_name(type_oid, None),
        _ => "ARRAY".to_owned(),
    };
    let numbers = Numbers::of(type_oid, modifier);
    let mut row = vec![
        text(&asker.database),
        text(&listed.schema),
        text(&listed.name),
        text(field.name()),
        int(number),
        NULL,
        yes_or_no(listed.is_view || field.is_nullable()),
        text(data_type),
        NULL,
        octets(type_oid),
        int_or_null(numbers.precision),
        int_or_null(numbers.radix),
        int_or_null(numbers.scale),
        int_or_null(datetime_precision(&found.name)),
    ];
    row.extend(vec![NULL; 11]);
    row.extend([
        text(&asker.database),
        text(PG_CATALOG),
        text(&found.name),
        NULL,
        NULL,
        NULL,
        NULL,
        text(number.to_string()),
        yes_or_no(false),
        yes_or_no(false),
    ]);
    row.extend(vec![NULL; 5]);
    let updatable = !listed.is_view && !listed.is_system();
    row.extend([yes_or_no(false), text("NEVER"), NULL, yes_or_no(updatable)]);
    row
}

/// Texts have no limit but that of a value.
fn octets(type_oid: u32) -> ScalarValue {
    const LARGEST_TEXT_BYTES: i32 = 1 << 30;
    match type_oid {
        types::TEXT => int(LARGEST_TEXT_BYTES),
        _ => NULL,
    }
}

/// What SQL tells of a number's type.
#[derive(Default)]
struct Numbers {
    precision: Option<i32>,
    radix: Option<i32>,
    scale: Option<i32>,
}

impl Numbers {
    fn of(type_oid: u32, modifier: i32) -> Self {
        let binary = |precision, scale| Self {
            precision: Some(precision),
            radix: Some(2),
            scale,
        };
        match type_oid {
            21 => binary(16, Some(0)),
            23 => binary(32, Some(0)),
            20 => binary(64, Some(0)),
            700 => binary(24, None),
            701 => binary(53, None),
            types::NUMERIC => {
                let (precision, scale) = precision_and_scale(modifier).unzip();
                Self {
                    precision,
                    radix: Some(10),
                    scale,
                }
            }
            _ => Self::default(),
        }
    }
}

fn datetime_precision(type_name: &str) -> Option<i32> {
    match type_name {
        "date" => Some(0),
        "time" | "timetz" | "timestamp" | "timestamptz" | "interval" => Some(6),
        _ => None,
    }
}

/// What has no rows here: constraints, routines, sequences, triggers, …
const UNUSED: [(&str, &str); 12] = [
    (
        "applicable_roles",
        "grantee name, role_name name, is_grantable text",
    ),
    (
        "check_constraints",
        "constraint_catalog name, constraint_schema name, constraint_name name, check_clause \
         text",
    ),
    (
        "column_privileges",
        "grantor name, grantee name, table_catalog name, table_schema name, table_name name, \
         column_name name, privilege_type text, is_grantable text",
    ),
    (
        "constraint_column_usage",
        "table_catalog name, table_schema name, table_name name, column_name name, \
         constraint_catalog name, constraint_schema name, constraint_name name",
    ),
    (
        "domains",
        "domain_catalog name, domain_schema name, domain_name name, data_type text, \
         character_maximum_length int4, character_octet_length int4, character_set_catalog \
         name, character_set_schema name, character_set_name name, collation_catalog name, \
         collation_schema name, collation_name name, numeric_precision int4, \
         numeric_precision_radix int4, numeric_scale int4, datetime_precision int4, \
         interval_type text, interval_precision int4, domain_default text, udt_catalog name, \
         udt_schema name, udt_name name, scope_catalog name, scope_schema name, scope_name \
         name, maximum_cardinality int4, dtd_identifier name",
    ),
    (
        "element_types",
        "object_catalog name, object_schema name, object_name name, object_type text, \
         collection_type_identifier name, data_type text, character_maximum_length int4, \
         character_octet_length int4, character_set_catalog name, character_set_schema name, \
         character_set_name name, collation_catalog name, collation_schema name, \
         collation_name name, numeric_precision int4, numeric_precision_radix int4, \
         numeric_scale int4, datetime_precision int4, interval_type text, interval_precision \
         int4, domain_default text, udt_catalog name, udt_schema name, udt_name name, \
         scope_catalog name, scope_schema name, scope_name name, maximum_cardinality int4, \
         dtd_identifier name",
    ),
    (
        "key_column_usage",
        "constraint_catalog name, constraint_schema name, constraint_name name, table_catalog \
         name, table_schema name, table_name name, column_name name, ordinal_position int4, \
         position_in_unique_constraint int4",
    ),
    (
        "parameters",
        "specific_catalog name, specific_schema name, specific_name name, ordinal_position \
         int4, parameter_mode text, is_result text, as_locator text, parameter_name name, \
         data_type text, character_maximum_length int4, character_octet_length int4, \
         character_set_catalog name, character_set_schema name, character_set_name name, \
         collation_catalog name, collation_schema name, collation_name name, \
         numeric_precision int4, numeric_precision_radix int4, numeric_scale int4, \
         datetime_precision int4, interval_type text, interval_precision int4, udt_catalog \
         name, udt_schema name, udt_name name, scope_catalog name, scope_schema name, \
         scope_name name, maximum_cardinality int4, dtd_identifier name, parameter_default \
         text",
    ),
    (
        "referential_constraints",
        "constraint_catalog name, constraint_schema name, constraint_name name, \
         unique_constraint_catalog name, unique_constraint_schema name, \
         unique_constraint_name name, match_option text, update_rule text, delete_rule text",
    ),
    (
        "sequences",
        "sequence_catalog name, sequence_schema name, sequence_name name, data_type text, \
         numeric_precision int4, numeric_precision_radix int4, numeric_scale int4, \
         start_value text, minimum_value text, maximum_value text, increment text, \
         cycle_option text",
    ),
    (
        "table_constraints",
        "constraint_catalog name, constraint_schema name, constraint_name name, table_catalog \
         name, table_schema name, table_name name, constraint_type text, is_deferrable text, \
         initially_deferred text, enforced text, nulls_distinct text",
    ),
    (
        "triggers",
        "trigger_catalog name, trigger_schema name, trigger_name name, event_manipulation \
         text, event_object_catalog name, event_object_schema name, event_object_table name, \
         action_order int4, action_condition text, action_statement text, action_orientation \
         text, action_timing text, action_reference_old_table name, \
         action_reference_new_table name, action_reference_old_row name, \
         action_reference_new_row name, created timestamptz",
    ),
];
