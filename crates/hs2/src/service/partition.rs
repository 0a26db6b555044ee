//! `INSERT … PARTITION (…)`: the clause is settled with what the catalog knows of the table.

use std::sync::Arc;

use forebay_server::{ColumnDefinition, Parsed, QueryId, Relation, RelationDefinition, Session};
use forebay_sql::{PartitionedTable, partition_target, settle_partition};

use super::statement::{missing, refused};
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
    let (columns, partition_columns) = columns(session, name, &relation).await?;
    let mut parsed = Arc::unwrap_or_clone(parsed);
    let table = PartitionedTable {
        name: &format!("{}.{}", database_of(&relation.schema), relation.name),
        columns: &columns,
        partition_columns: &partition_columns,
    };
    settle_partition(&mut parsed.statement, table)?;
    Ok(parsed)
}

/// The columns in a table's files, and those that it is partitioned by: what was declared, or else
/// what the files and their folders tell. A view has none.
async fn columns(
    session: &mut Session,
    name: &[String],
    relation: &Relation,
) -> Result<(Vec<String>, Vec<String>), forebay_server::Error> {
    match &relation.definition {
        RelationDefinition::View(_) => Ok(Default::default()),
        RelationDefinition::Table(table) if !table.columns.is_empty() => {
            let names = |columns: &[ColumnDefinition]| {
                let columns = columns.iter();
                columns.map(|column| column.name.clone()).collect()
            };
            Ok((names(&table.columns), names(&table.partition_columns)))
        }
        RelationDefinition::Table(_) => {
            let facts = session.relation_facts(name).await?;
            let fields = facts.schema.fields().iter();
            let names = fields.map(|field| field.name().clone());
            let own = names.filter(|name| !facts.partition_columns.contains(name));
            Ok((own.collect(), facts.partition_columns.clone()))
        }
    }
}
