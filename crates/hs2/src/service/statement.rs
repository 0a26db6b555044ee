//! From a statement of Impala's dialect to what an operation does.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use forebay_server::{Parsed, QueryId, Relation, Session};
use forebay_sql::{ImpalaStatement, Statement};

use super::execute::schema_of;
use super::{partition, relation};
use crate::error::{self, Error};
use crate::front::Front;
use crate::operation::driver::Work;
use crate::rows::types;
use crate::session::{ClientSession, database_of, options};

type Prepared = (Work, Option<SchemaRef>);

impl Front {
    /// What an operation is to do for `statement`, and the columns that it returns. Names are resolved
    /// now, so that a client is told of its mistakes at once; a statement that has some is book-kept
    /// as failed.
    pub(super) async fn prepare(
        &self,
        client: &Arc<ClientSession>,
        session: &mut Session,
        id: QueryId,
        text: Arc<str>,
        statement: ImpalaStatement,
    ) -> Result<Prepared, Error> {
        let made = |statement_type, rows: Option<RecordBatch>| {
            let schema = rows.as_ref().map(RecordBatch::schema);
            let text = Arc::clone(&text);
            let work = Work::Made {
                text,
                statement_type,
                rows,
            };
            (work, schema)
        };
        Ok(match statement {
            ImpalaStatement::Sql(parsed) => {
                let parsed = partition::settled(session, id, parsed).await?;
                return prepare_sql(session, id, parsed).await;
            }
            ImpalaStatement::Catalog { query, schema } => {
                if let Some(schema) = schema {
                    let found = check_schema(session, &schema);
                    found.map_err(|error| refused(session, id, &text, "SHOW", &error))?;
                }
                session.hide_plans();
                return prepare_sql(session, id, query).await;
            }
            ImpalaStatement::Use(database) => {
                let schema = schema_of(&database);
                let found = check_schema(session, &schema);
                found.map_err(|error| refused(session, id, &text, "USE", &error))?;
                client.use_database(&schema)?;
                made("USE", None)
            }
            ImpalaStatement::SetOption { name, value } => {
                client.set_option(&name, &value)?;
                made("SET", Some(option_rows(std::iter::empty())))
            }
            ImpalaStatement::ShowOptions => {
                let options = client.options_with([])?;
                let rows: Vec<_> = options
                    .all()
                    .map(|(name, value, level)| {
                        let level = match options::has_effect(name) {
                            true => level.to_owned(),
                            false => format!("{level} (no effect)"),
                        };
                        (name, value.to_owned(), level)
                    })
                    .collect();
                made("SET", Some(option_rows(rows.into_iter())))
            }
            ImpalaStatement::Nothing { statement_type } => made(statement_type, None),
            ImpalaStatement::ComputeStats(table) => {
                let columns = columns_of(session, id, table).await?;
                let summary = format!(
                    "Updated 1 partition(s) and {} column(s).",
                    columns.fields().len()
                );
                made("COMPUTE STATS", Some(summary_row(summary)))
            }
            ImpalaStatement::Describe { table, name } => {
                let schema = match resolved(session, table).await {
                    // A view may be there without what it reads.
                    Err(error)
                        if error.sqlstate == UNDEFINED_TABLE
                            && session.relation(&name).is_none() =>
                    {
                        let path = written(&name);
                        let message = format!("Could not resolve path: '{path}'");
                        Err(forebay_server::Error::new(UNDEFINED_TABLE, message))
                    }
                    schema => schema,
                };
                let schema =
                    schema.map_err(|error| refused(session, id, &text, "DESCRIBE", &error))?;
                let relation = session.relation(&name);
                made("DESCRIBE", Some(described(&schema, relation.as_deref())))
            }
            ImpalaStatement::ShowRelation { view, name } => {
                let facts = match session.relation(&name) {
                    Some(_) => session.relation_facts(&name).await,
                    None => Err(missing(session, &name)),
                };
                let shown = facts.and_then(|facts| relation::shown(view, &facts));
                let rows = shown
                    .map_err(|error| refused(session, id, &text, view.statement_type(), &error))?;
                made(view.statement_type(), Some(rows))
            }
            ImpalaStatement::KillQuery(query) => {
                let killed = self.kill(client, &query)?;
                made("KILL QUERY", Some(summary_row(killed)))
            }
        })
    }

    /// `KILL QUERY`: of whoever may cancel it.
    fn kill(&self, client: &ClientSession, query: &str) -> Result<String, Error> {
        let unknown = || Error::new("Could not find query on any coordinator");
        let id: QueryId = query
            .parse()
            .map_err(|_| Error::new(format!("ParseException: Invalid query id: '{query}'")))?;
        let found = self.server.query(&id).ok_or_else(unknown)?;
        if *found.info().role != *client.user && !Front::is_superuser(client) {
            return Err(Error::new(format!(
                "User '{}' is not authorized to kill the query.",
                client.user
            )));
        }
        self.server.cancel_query(&id).map_err(|_| unknown())?;
        Ok(format!("Query {id} is killed."))
    }
}

/// `42P01`, of a relation.
const UNDEFINED_TABLE: &str = "42P01";

/// Book-keeps a statement that cannot begin, and says why.
pub(super) fn refused(
    session: &mut Session,
    id: QueryId,
    text: &Arc<str>,
    statement_type: &'static str,
    error: &forebay_server::Error,
) -> Error {
    session.refuse(id, text, statement_type, error);
    Error::of_query(id, &error::text(error))
}

fn check_schema(session: &Session, schema: &str) -> Result<(), forebay_server::Error> {
    match session.has_schema(schema) {
        true => Ok(()),
        false => {
            let message = format!("schema \"{schema}\" does not exist");
            Err(forebay_server::Error::new("3F000", message))
        }
    }
}

/// What is wrong with the name of a relation that is not there, in Impala's words.
pub(super) fn missing(session: &Session, name: &[String]) -> forebay_server::Error {
    if let [schema, _] = name
        && let Err(error) = check_schema(session, schema)
    {
        return error;
    }
    let message = match name {
        [name] => format!("Table does not exist: {}.{name}", session.shown_database()),
        name => format!("Table does not exist: {}", written(name)),
    };
    forebay_server::Error::new(UNDEFINED_TABLE, message)
}

/// A relation's name as its client writes it.
fn written(name: &[String]) -> String {
    match name {
        [schema, name] => format!("{}.{name}", database_of(schema)),
        name => name.join("."),
    }
}

async fn prepare_sql(
    session: &mut Session,
    id: QueryId,
    parsed: Arc<Parsed>,
) -> Result<Prepared, Error> {
    let refused = |session: &mut Session, error: &forebay_server::Error| {
        let statement_type = parsed.statement.classify().statement_type;
        refused(session, id, &parsed.text, statement_type, error)
    };
    if let Some(error) = not_served(&parsed.statement) {
        return Err(refused(session, &error));
    }
    let prepared = session
        .prepare("", Some(Arc::clone(&parsed)), Vec::new(), Vec::new())
        .await;
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return Err(refused(session, &error)),
    };
    let schema = prepared.schema().map(|schema| match parsed.statement {
        Statement::Explain(_) => text_schema(&["Explain String"]),
        _ => Arc::clone(schema),
    });
    let summary = match &schema {
        Some(_) => None,
        None => summary_of(&parsed.statement),
    };
    let schema = schema.or_else(|| summary.map(|_| text_schema(&["summary"])));
    let work = Work::Statement {
        parsed,
        prepared,
        summary,
    };
    Ok((work, schema))
}

/// Statements that need more than one of them in a transaction or session.
fn not_served(statement: &Statement) -> Option<forebay_server::Error> {
    let served = matches!(
        statement,
        Statement::Plan(_)
            | Statement::Explain(_)
            | Statement::CreateExternalTable(_)
            | Statement::CreateView(_)
            | Statement::CreateSchema { .. }
            | Statement::CreateTable(_)
            | Statement::RenameRelation { .. }
            | Statement::Truncate { .. }
            | Statement::CommentOnRelation { .. }
            | Statement::Drop { .. }
            | Statement::CreateRole { .. }
            | Statement::AlterRole { .. }
            | Statement::AlterRoleSet { .. }
            | Statement::RenameRole { .. }
            | Statement::DropRole { .. }
            | Statement::CreateResourceQueue { .. }
            | Statement::AlterResourceQueue { .. }
            | Statement::DropResourceQueue { .. }
            | Statement::CommentOnResourceQueue { .. }
    );
    (!served).then(|| {
        let verb = statement.classify().statement_type;
        forebay_server::Error::new("0A000", format!("{verb} is not supported by this protocol"))
            .with_hint("Each statement is a transaction of its own here. Use a PostgreSQL client.")
    })
}

/// What a statement without rows says when it is done; `None` for those that write rows.
fn summary_of(statement: &Statement) -> Option<fn(&str) -> RecordBatch> {
    match statement {
        Statement::Plan(_) => match statement.classify().statement_type {
            "INSERT" | "UPDATE" | "DELETE" | "MERGE" => None,
            _ => Some(|tag| summary_row(format!("{tag}."))),
        },
        Statement::CreateView(view) if view.or_replace => {
            Some(|_| summary_row("View has been altered.".to_owned()))
        }
        _ => Some(|tag| summary_row(done(tag))),
    }
}

/// Impala's words for a command tag.
fn done(tag: &str) -> String {
    if let Some(rows) = tag.strip_prefix("SELECT ") {
        return format!("Inserted {rows} row(s)");
    }
    let words = match tag {
        "CREATE TABLE" | "CREATE EXTERNAL TABLE" => "Table has been created.",
        "CREATE VIEW" => "View has been created.",
        "CREATE SCHEMA" => "Database has been created.",
        "CREATE ROLE" => "Role has been created.",
        "ALTER TABLE" | "ALTER VIEW" => "Renaming was successful.",
        "TRUNCATE TABLE" => "Table has been truncated.",
        "COMMENT" => "Updated table.",
        "DROP TABLE" | "DROP EXTERNAL TABLE" => "Table has been dropped.",
        "DROP VIEW" => "View has been dropped.",
        "DROP SCHEMA" => "Database has been dropped.",
        "DROP ROLE" => "Role has been dropped.",
        tag => tag,
    };
    words.to_owned()
}

/// The columns of a relation.
async fn columns_of(
    session: &mut Session,
    id: QueryId,
    select_all: Arc<Parsed>,
) -> Result<SchemaRef, Error> {
    let text = Arc::clone(&select_all.text);
    let columns = resolved(session, select_all).await;
    columns.map_err(|error| refused(session, id, &text, "DESCRIBE", &error))
}

/// The columns of a query.
async fn resolved(
    session: &mut Session,
    query: Arc<Parsed>,
) -> Result<SchemaRef, forebay_server::Error> {
    let prepared = session.prepare("", Some(query), Vec::new(), Vec::new());
    let schema = prepared.await?.schema().cloned();
    Ok(schema.unwrap_or_else(|| text_schema(&[])))
}

fn described(schema: &Schema, relation: Option<&Relation>) -> RecordBatch {
    let names = schema.fields().iter().map(|field| field.name().clone());
    let kinds = schema
        .fields()
        .iter()
        .map(|field| types::name(field.data_type()));
    let comment = |name: &str| relation.and_then(|relation| relation.comment_on(name));
    let comments = schema
        .fields()
        .iter()
        .map(|field| comment(field.name()).unwrap_or_default().to_owned());
    text_rows(
        &["name", "type", "comment"],
        [names.collect(), kinds.collect(), comments.collect()],
    )
}

fn option_rows<'a>(rows: impl Iterator<Item = (&'a str, String, String)>) -> RecordBatch {
    let mut columns: [Vec<String>; 3] = Default::default();
    for (name, value, level) in rows {
        columns[0].push(name.to_owned());
        columns[1].push(value);
        columns[2].push(level);
    }
    text_rows(&["option", "value", "level"], columns)
}

fn summary_row(summary: String) -> RecordBatch {
    text_rows(&["summary"], [vec![summary]])
}

/// A schema of text columns.
pub(super) fn text_schema(names: &[&str]) -> SchemaRef {
    let fields = names
        .iter()
        .map(|name| Field::new(*name, DataType::Utf8, false));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Rows of texts.
pub(super) fn text_rows<const N: usize>(
    names: &[&str; N],
    columns: [Vec<String>; N],
) -> RecordBatch {
    let columns = columns.map(|texts| Arc::new(StringArray::from(texts)) as ArrayRef);
    RecordBatch::try_new(text_schema(names), columns.into()).expect("columns of one length")
}
