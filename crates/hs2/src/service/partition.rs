//! `INSERT … PARTITION (…)`: the clause is settled with what the catalog knows of the table.

use std::sync::Arc;

use forebay_server::{Parsed, QueryId, Relation, RelationDefinition, Session};
use forebay_sql::{PartitionedTable, partition_target, settle_partition};

use super::statement::{missing, refused, resolved};
use crate::error::Error;
use crate::session::database_of;

/// The statement without such a clause, if it has one.
///
/// # Errors
/// There is no such table, its files cannot be read, or the clause does not fit it.
pub(super) async fn settled(
    session: &mut Session,
    id: QueryId,
    parsed: Arc<Parsed>,
) -> Result<Arc<Parsed>, Error> {
    let Some(name) = partition_target(&parsed.statement) else {
        return Ok(parsed);
    };
    let text = Arc::clone(&parsed.text);
    let statement_type = parsed.statement.classify().statement_type;
    match settle(session, &name, parsed).await {
        Ok(parsed) => Ok(Arc::new(parsed)),
        Err(error) => Err(refused(session, id, &text, statement_type, &error)),
    }
}

async fn settle(
    session: &mut Session,
    name: &[String],
    parsed: Arc<Parsed>,
) -> Result<Parsed, forebay_server::Error> {
    let Some(relation) = session.relation(name) else {
        return Err(missing(session, name));
    };
    let partition_columns = partition_columns(&relation);
    let mut columns = columns(session, &relation).await?;
    columns.retain(|column| !partition_columns.contains(column));
    let mut parsed = Arc::unwrap_or_clone(parsed);
    let table = PartitionedTable {
        name: &format!("{}.{}", database_of(&relation.schema), relation.name),
        columns: &columns,
        partition_columns: &partition_columns,
    };
    settle_partition(&mut parsed.statement, table)?;
    Ok(parsed)
}

fn partition_columns(relation: &Relation) -> Vec<String> {
    match &relation.definition {
        RelationDefinition::Table(table) => {
            let columns = table.partition_columns.iter();
            columns.map(|column| column.name.clone()).collect()
        }
        RelationDefinition::View(_) => Vec::new(),
    }
}

/// All columns, in the table's order: what was declared, or else what the files have.
async fn columns(
    session: &mut Session,
    relation: &Relation,
) -> Result<Vec<String>, forebay_server::Error> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let (schema, name) = (quoted(&relation.schema), quoted(&relation.name));
    let mut all = forebay_sql::parse(&format!("SELECT * FROM {schema}.{name}"))?;
    let all = Arc::new(all.pop().expect("one statement"));
    let schema = resolved(session, all).await?;
    let names = schema.fields().iter().map(|field| field.name().clone());
    Ok(names.collect())
}
