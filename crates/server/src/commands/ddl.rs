//! `CREATE` and `DROP` of tables, views and schemas.

use std::collections::BTreeMap;
use std::path::{Path, absolute};

use forebay_catalog::{
    Change, ColumnDefinition, DependentViews, NewRelation, Relation, RelationDefinition,
    RelationName, Snapshot, TableDefinition, ViewDefinition,
};
use forebay_engine::CpuAccount;
use forebay_sql::{CreateExternalTable, CreateView, DropKind, Statement};

use crate::way::Answer;
use crate::{Error, Result, Session};

use super::names::find_relation;

impl Session {
    /// Applies a change of the catalog within the open transaction.
    pub(super) fn change(&mut self, change: Change) -> Result<()> {
        self.require_read_write()?;
        let catalog = std::sync::Arc::clone(&self.server.inner.catalog);
        self.open_mut().change(&catalog, change)
    }

    pub(super) async fn create_external_table(
        &mut self,
        table: &CreateExternalTable,
    ) -> Result<Answer> {
        const TAG: &str = "CREATE EXTERNAL TABLE";
        self.require_superuser("to create an external table")?;
        let (schema, name) = self.place_for(&object_name(&table.name))?;
        if table.if_not_exists && self.exists_notice(&schema, &name) {
            return Ok(Answer::Done(TAG.to_owned()));
        }
        let relation = NewRelation {
            schema,
            name,
            owner: self.current_user().to_owned(),
            definition: RelationDefinition::Table(table_definition(table)?),
        };
        self.check_files(&relation).await?;
        self.change(Change::CreateRelation {
            relation,
            or_replace: table.or_replace,
        })?;
        Ok(Answer::Done(TAG.to_owned()))
    }

    /// Looks at the files of a table that is about to be made.
    ///
    /// # Errors
    /// They cannot be read, or are none of the table's format.
    pub(super) async fn check_files(&self, relation: &NewRelation) -> Result<()> {
        let engine = self.server.inner.engine.clone();
        let (snapshot, checked) = (self.snapshot(), relation.clone());
        let work = async move { engine.check_files(snapshot, &checked).await };
        let here = &self.server.inner.engine;
        here.on_query_runtime(CpuAccount::Ungoverned, work).await?;
        Ok(())
    }

    pub(super) async fn create_view(&mut self, view: &CreateView) -> Result<Answer> {
        const TAG: &str = "CREATE VIEW";
        if view.temporary {
            return Err(Error::new("0A000", "temporary views are not supported"));
        }
        if is_system_schema(&view.name) {
            return Err(system_catalog("create", &view.name.join(".")));
        }
        let (schema, name) = self.place_for(&view.name)?;
        if view.if_not_exists && self.exists_notice(&schema, &name) {
            return Ok(Answer::Done(TAG.to_owned()));
        }
        if let Some(old) = self.snapshot().relation(&schema, &name)
            && view.or_replace
        {
            self.check_owner(&old.owner, "view", &name)?;
        }
        let snapshot = self.snapshot();
        let search_path = self.settings.search_path(self.current_user());
        let definition = ViewDefinition {
            query: view.query.clone(),
            columns: view.columns.clone(),
            reads: relations_read(&snapshot, &search_path, view),
            search_path,
            original: view.original.clone(),
            comment: view.comment.clone(),
            ..ViewDefinition::default()
        };
        let engine = self.server.inner.engine.clone();
        let vantage = self.vantage()?;
        let work = async move { engine.complete_view(&vantage, definition).await };
        let here = &self.server.inner.engine;
        let definition = here.on_query_runtime(CpuAccount::Ungoverned, work).await?;
        let relation = NewRelation {
            schema,
            name,
            owner: self.current_user().to_owned(),
            definition: RelationDefinition::View(definition),
        };
        self.change(Change::CreateRelation {
            relation,
            or_replace: view.or_replace,
        })?;
        Ok(Answer::Done(TAG.to_owned()))
    }

    pub(super) fn exists_notice(&mut self, schema: &str, name: &str) -> bool {
        let exists = self.snapshot().relation(schema, name).is_some();
        if exists {
            let message = format!("relation \"{name}\" already exists, skipping");
            self.notice("NOTICE", "42P07", message);
        }
        exists
    }

    pub(super) fn create_schema(&mut self, name: &str, if_not_exists: bool) -> Result<Answer> {
        const TAG: &str = "CREATE SCHEMA";
        self.require_superuser("to create a schema")?;
        if if_not_exists && self.snapshot().schema(name).is_some() {
            let message = format!("schema \"{name}\" already exists, skipping");
            self.notice("NOTICE", "42P06", message);
            return Ok(Answer::Done(TAG.to_owned()));
        }
        let owner = self.current_user().to_owned();
        self.change(Change::CreateSchema {
            name: name.to_owned(),
            owner,
        })?;
        Ok(Answer::Done(TAG.to_owned()))
    }

    pub(super) fn drop_objects(
        &mut self,
        kind: DropKind,
        names: &[Vec<String>],
        if_exists: bool,
        views: DependentViews,
    ) -> Result<Answer> {
        match kind {
            DropKind::Schema => {
                for name in names {
                    self.drop_schema(name, if_exists, views == DependentViews::Drop)?;
                }
            }
            DropKind::Table => self.drop_relations("table", names, if_exists, views)?,
            DropKind::View => self.drop_relations("view", names, if_exists, views)?,
        }
        let tag = match kind {
            DropKind::Schema => "DROP SCHEMA",
            DropKind::Table => "DROP TABLE",
            DropKind::View => "DROP VIEW",
        };
        Ok(Answer::Done(tag.to_owned()))
    }

    fn drop_schema(&mut self, name: &[String], if_exists: bool, cascade: bool) -> Result<()> {
        let name = name.join(".");
        if SYSTEM_SCHEMAS.contains(&name.as_str()) {
            let message =
                format!("cannot drop schema {name} because it is required by the database system");
            return Err(Error::new("2BP01", message));
        }
        let snapshot = self.snapshot();
        let Some(schema) = snapshot.schema(&name) else {
            return self.missing("schema", &name, "3F000", if_exists);
        };
        self.check_owner(&schema.owner, "schema", &name)?;
        if cascade {
            let own: Vec<RelationName> = schema
                .relations
                .values()
                .map(|r| RelationName::of(r))
                .collect();
            let mut gone: Vec<String> = schema
                .relations
                .values()
                .map(|r| self.described(r))
                .collect();
            gone.extend(self.dependents(&snapshot, &own));
            self.notice_cascade(&gone);
        }
        self.change(Change::DropSchema { name, cascade })
    }

    fn drop_relations(
        &mut self,
        kind: &str,
        names: &[Vec<String>],
        if_exists: bool,
        views: DependentViews,
    ) -> Result<()> {
        let snapshot = self.snapshot();
        let path = self.settings.search_path(self.current_user());
        let mut relations = Vec::new();
        for name in names {
            if is_system_schema(name) {
                return Err(system_catalog("drop", &name.join(".")));
            }
            let Some(relation) = find_relation(&snapshot, &path, name) else {
                self.missing(kind, &name.join("."), "42P01", if_exists)?;
                continue;
            };
            if if_exists && views == DependentViews::Leave && check_kind(relation, kind).is_err() {
                // In Impala there is none of this kind then.
                continue;
            }
            check_kind(relation, kind)?;
            self.check_owner(&relation.owner, kind, &relation.name)?;
            relations.push(RelationName::of(relation));
        }
        relations.sort();
        relations.dedup();
        if relations.is_empty() {
            return Ok(());
        }
        if views == DependentViews::Drop {
            let gone = self.dependents(&snapshot, &relations);
            self.notice_cascade(&gone);
        }
        self.change(Change::DropRelations {
            relations,
            dependents: views,
        })
    }

    /// What goes with `relations`, as notices name it.
    fn dependents(&self, snapshot: &Snapshot, relations: &[RelationName]) -> Vec<String> {
        let dependents = snapshot.dependents_of(relations);
        dependents
            .iter()
            .map(|d| self.described(&d.relation))
            .collect()
    }

    /// `view v`, with its schema if that must be named to mean it.
    fn described(&self, relation: &Relation) -> String {
        let path = self.settings.search_path(self.current_user());
        let found = find_relation(
            &self.snapshot(),
            &path,
            std::slice::from_ref(&relation.name),
        )
        .is_some_and(|r| r.oid == relation.oid);
        let kind = relation.kind();
        if found {
            return format!("{kind} {}", relation.name);
        }
        format!("{kind} {}.{}", relation.schema, relation.name)
    }

    fn notice_cascade(&mut self, gone: &[String]) {
        match gone {
            [] => {}
            [one] => self.notice("NOTICE", "00000", format!("drop cascades to {one}")),
            many => {
                let message = format!("drop cascades to {} other objects", many.len());
                self.notice("NOTICE", "00000", message);
            }
        }
    }

    /// An object to drop that is not there: an error, or a notice with `IF EXISTS`.
    pub(super) fn missing(
        &mut self,
        kind: &str,
        name: &str,
        sqlstate: &'static str,
        if_exists: bool,
    ) -> Result<()> {
        if if_exists {
            let message = format!("{kind} \"{name}\" does not exist, skipping");
            self.notice("NOTICE", "00000", message);
            return Ok(());
        }
        Err(Error::new(
            sqlstate,
            format!("{kind} \"{name}\" does not exist"),
        ))
    }
}

/// Schemas that are the system's.
const SYSTEM_SCHEMAS: [&str; 4] = ["pg_catalog", "information_schema", "gp_toolkit", "forebay"];

/// Whether a relation's name says that it is in one of the system's schemas.
fn is_system_schema(name: &[String]) -> bool {
    let schema = name.len().checked_sub(2).and_then(|i| name.get(i));
    schema.is_some_and(|schema| SYSTEM_SCHEMAS.contains(&schema.as_str()))
}

fn system_catalog(what: &str, name: &str) -> Error {
    Error::permission(format!("permission denied to {what} \"{name}\""))
        .with_detail("System catalog modifications are currently disallowed.")
}

/// The relations of the catalog that a view's query names, however deep.
fn relations_read(snapshot: &Snapshot, path: &[String], view: &CreateView) -> Vec<RelationName> {
    let query = Statement::Plan(view.body.clone());
    let mut names: Vec<RelationName> = query
        .classify()
        .relations
        .iter()
        .filter_map(|used| find_relation(snapshot, path, &used.name))
        .map(|relation| RelationName::of(relation))
        .collect();
    names.sort();
    names.dedup();
    names
}

pub(super) fn check_kind(relation: &Relation, wanted: &str) -> Result<()> {
    let (found, article) = match relation.definition {
        RelationDefinition::Table(_) => ("table", "a table"),
        RelationDefinition::View(_) => ("view", "a view"),
    };
    if found == wanted {
        return Ok(());
    }
    let error = Error::new("42809", format!("\"{}\" is not a {wanted}", relation.name));
    Err(error.with_hint(format!(
        "Use DROP {} to remove {article}.",
        found.to_uppercase()
    )))
}

fn object_name(name: &datafusion::sql::sqlparser::ast::ObjectName) -> Vec<String> {
    let parts = name.0.iter().filter_map(|part| part.as_ident());
    parts
        .map(|ident| match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_lowercase(),
        })
        .collect()
}

fn table_definition(table: &CreateExternalTable) -> Result<TableDefinition> {
    let [location] = table.locations.as_slice() else {
        return Err(
            Error::new("0A000", "an external table has exactly one LOCATION")
                .with_hint("Put the files into one folder."),
        );
    };
    if table.unbounded || table.temporary || !table.constraints.is_empty() {
        return Err(Error::new(
            "0A000",
            "unbounded and temporary external tables, and constraints on them, are not supported",
        ));
    }
    let is_partition = |name: &str| table.table_partition_cols.iter().any(|p| p == name);
    let declared: Vec<ColumnDefinition> = table.columns.iter().map(column).collect();
    let (partition_columns, columns): (Vec<_>, Vec<_>) =
        declared.into_iter().partition(|c| is_partition(&c.name));
    let partition_columns = if partition_columns.is_empty() {
        table
            .table_partition_cols
            .iter()
            .map(|name| untyped(name))
            .collect()
    } else {
        partition_columns
    };
    Ok(TableDefinition {
        format: table.file_type.to_uppercase(),
        location: absolute_location(location)?,
        columns,
        partition_columns,
        options: options(table)?,
        order_by: table
            .order_exprs
            .iter()
            .map(|order| joined(order))
            .collect(),
        ..TableDefinition::default()
    })
}

fn column(column: &datafusion::sql::sqlparser::ast::ColumnDef) -> ColumnDefinition {
    use datafusion::sql::sqlparser::ast::ColumnOption;
    let not_null = column
        .options
        .iter()
        .any(|o| matches!(o.option, ColumnOption::NotNull));
    ColumnDefinition {
        name: match column.name.quote_style {
            Some(_) => column.name.value.clone(),
            None => column.name.value.to_lowercase(),
        },
        data_type: column.data_type.to_string(),
        nullable: !not_null,
    }
}

/// A partition column without a type: its values are text.
fn untyped(name: &str) -> ColumnDefinition {
    ColumnDefinition {
        name: name.to_owned(),
        data_type: "TEXT".to_owned(),
        nullable: true,
    }
}

fn options(table: &CreateExternalTable) -> Result<BTreeMap<String, String>> {
    use datafusion::sql::sqlparser::ast::Value;
    let entry = |(name, value): &(String, Value)| {
        let text = match value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
            Value::Number(number, _) => number.clone(),
            Value::Boolean(flag) => flag.to_string(),
            other => {
                return Err(Error::new(
                    "22023",
                    format!("invalid value for option \"{name}\": {other}"),
                ));
            }
        };
        Ok((name.clone(), text))
    };
    table.options.iter().map(entry).collect()
}

fn joined(order: &[datafusion::sql::sqlparser::ast::OrderByExpr]) -> String {
    let parts: Vec<String> = order.iter().map(ToString::to_string).collect();
    parts.join(", ")
}

/// The definition must mean the same files wherever the server is started from.
pub(super) fn absolute_location(location: &str) -> Result<String> {
    if location.contains("://") {
        return Ok(location.to_owned());
    }
    let path = absolute(Path::new(location))
        .map_err(|e| Error::new("22023", format!("invalid location \"{location}\": {e}")))?;
    let mut text = path.display().to_string();
    if (location.ends_with('/') || path.is_dir()) && !text.ends_with('/') {
        text.push('/');
    }
    Ok(text)
}
