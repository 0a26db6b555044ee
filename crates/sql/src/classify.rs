//! What the server must know about a statement before it is planned.
//!
//! The way of a statement begins with this: the slot of a resource queue is asked for before any
//! lock, and the locks are asked for all at once, so relations and modes must be known from the
//! text alone.

use std::collections::BTreeMap;
use std::fmt;

use datafusion_sql::parser::{CopyToSource, Statement as DfStatement};
use sqlparser::ast::{
    ObjectName, ObjectType, SetExpr, Statement as SqlStatement, VacuumStatement, Visit,
};

use crate::relations::{Collector, Parameters, folded};
use crate::statement::{
    Copy, CopyDirection, CopySource, CreateTable, DiscardKind, DropKind, Explain, Statement,
};

/// A relation lock's mode, as in PostgreSQL. The order is by strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockMode {
    /// Reading.
    AccessShare,
    /// Reading with `FOR UPDATE` and its like.
    RowShare,
    /// Changing rows.
    RowExclusive,
    /// `ANALYZE`, `VACUUM`.
    ShareUpdateExclusive,
    /// Keeps others from changing rows.
    Share,
    /// As [`LockMode::Share`], by one transaction only.
    ShareRowExclusive,
    /// Leaves others nothing but reading.
    Exclusive,
    /// Leaves others nothing.
    AccessExclusive,
}

impl LockMode {
    /// The mode as SQL spells it, for example `ACCESS SHARE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A relation that a statement names, with the lock that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationUse {
    /// The name as the statement gives it, folded: one to three parts, not yet resolved.
    pub name: Vec<String>,
    /// The strongest mode that any mention of the relation needs.
    pub mode: LockMode,
}

/// What the text of a statement tells about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// What PostgreSQL calls the command: `SELECT`, `CREATE VIEW`, `BEGIN`. The tag that a client
    /// sees for `CREATE TABLE AS` and `SELECT INTO` is `SELECT` with a count.
    pub statement_type: &'static str,
    /// Every relation once, in the order of their names; names of `WITH` queries are not relations.
    pub relations: Vec<RelationUse>,
    /// Whether a resource queue governs it: queries, `SELECT INTO`, `CREATE TABLE AS`,
    /// `COPY … TO`, cursors, and `EXPLAIN ANALYZE` of these; unless they touch nothing but system
    /// relations, which the names alone cannot tell.
    pub governed: bool,
    /// Whether it changes rows, so that a queue governs it where `resource_select_only` is off.
    pub dml: bool,
    /// Whether each of its names is one that system relations have. A user may have given it to a
    /// relation as well.
    pub system_only: bool,
    /// Whether it may answer with rows. What `EXECUTE` answers depends on what was prepared.
    pub returns_rows: bool,
    /// Whether it is allowed in a failed transaction because it ends the failure.
    pub ends_failed_transaction: bool,
    /// Whether it makes sense only inside a transaction block. The statements of one message are
    /// one too. (Savepoints need `BEGIN`; the server checks that.)
    pub needs_transaction_block: bool,
    /// Whether it is an error inside a transaction block.
    pub forbidden_in_transaction_block: bool,
}

/// Schemas of the server's own views.
const SYSTEM_SCHEMAS: &[&str] = &["pg_catalog", "information_schema", "gp_toolkit", "forebay"];

/// The relations of a statement while they are collected: each with its strongest mode.
pub(crate) type Relations = BTreeMap<Vec<String>, LockMode>;

impl Class {
    /// A statement that touches nothing and is allowed everywhere.
    fn new(statement_type: &'static str) -> Self {
        Self {
            statement_type,
            relations: Vec::new(),
            governed: false,
            dml: false,
            system_only: false,
            returns_rows: false,
            ends_failed_transaction: false,
            needs_transaction_block: false,
            forbidden_in_transaction_block: false,
        }
    }

    fn rows(mut self) -> Self {
        self.returns_rows = true;
        self
    }

    fn ends_failure(mut self) -> Self {
        self.ends_failed_transaction = true;
        self
    }

    fn in_block(mut self, needed: bool) -> Self {
        self.needs_transaction_block = needed;
        self
    }

    fn outside_block(mut self, needed: bool) -> Self {
        self.forbidden_in_transaction_block = needed;
        self
    }

    fn lock(mut self, names: &[Vec<String>], mode: LockMode) -> Self {
        let relations = names.iter().map(|name| (name.clone(), mode)).collect();
        self.relations = listed(relations);
        self
    }
}

impl Statement {
    /// What the text tells: relations and lock modes, governed or not, where it may run.
    pub fn classify(&self) -> Class {
        match self {
            Self::Plan(statement) => planned(statement),
            Self::Explain(explain) => explained(explain),
            Self::CreateExternalTable(table) => Class::new("CREATE EXTERNAL TABLE")
                .lock(&[folded(&table.name)], LockMode::AccessExclusive),
            Self::CreateView(view) => {
                let mut relations = collected(&view.body).relations;
                relations.insert(view.name.clone(), LockMode::AccessExclusive);
                let mut class = Class::new("CREATE VIEW");
                class.relations = listed(relations);
                class
            }
            Self::CreateTable(table) => created_table(table),
            Self::RenameRelation {
                kind,
                name,
                new_name,
            } => {
                let statement_type = match kind {
                    DropKind::View => "ALTER VIEW",
                    DropKind::Table | DropKind::Schema => "ALTER TABLE",
                };
                let names = [name.clone(), new_name.clone()];
                Class::new(statement_type).lock(&names, LockMode::AccessExclusive)
            }
            Self::Truncate { name, .. } => {
                let names = std::slice::from_ref(name);
                Class::new("TRUNCATE TABLE").lock(names, LockMode::AccessExclusive)
            }
            Self::CommentOnRelation { name, .. } => {
                let names = std::slice::from_ref(name);
                Class::new("COMMENT").lock(names, LockMode::ShareUpdateExclusive)
            }
            Self::CreateSchema { .. } => Class::new("CREATE SCHEMA"),
            Self::Drop { kind, names, .. } => dropped(*kind, names),
            Self::Copy(copy) => copied(copy),
            Self::Prepare { .. } => Class::new("PREPARE"),
            Self::Execute { .. } => Class::new("EXECUTE").rows(),
            Self::Deallocate(_) => Class::new("DEALLOCATE"),
            Self::DeclareCursor { hold, query, .. } => Class {
                statement_type: "DECLARE CURSOR",
                returns_rows: false,
                needs_transaction_block: !hold,
                ..query.statement.classify()
            },
            Self::LockTable { names, mode, .. } => {
                Class::new("LOCK TABLE").lock(names, *mode).in_block(true)
            }
            other => other.classify_session(),
        }
    }

    /// The statements that touch no relation at all.
    fn classify_session(&self) -> Class {
        match self {
            Self::Begin { start: false, .. } => Class::new("BEGIN"),
            Self::Begin { start: true, .. } => Class::new("START TRANSACTION"),
            Self::Commit { .. } => Class::new("COMMIT").ends_failure(),
            Self::Rollback { .. } => Class::new("ROLLBACK").ends_failure(),
            Self::Savepoint(_) => Class::new("SAVEPOINT"),
            Self::RollbackTo(_) => Class::new("ROLLBACK").ends_failure(),
            Self::Release(_) => Class::new("RELEASE"),
            Self::Show(_) => Class::new("SHOW").rows(),
            Self::Reset(_)
            | Self::SetRole { reset: true, .. }
            | Self::SetSessionAuthorization { reset: true, .. } => Class::new("RESET"),
            Self::Discard(kind) => {
                Class::new(discard_tag(*kind)).outside_block(*kind == DiscardKind::All)
            }
            Self::Fetch(fetch) if fetch.mv => Class::new("MOVE"),
            Self::Fetch(_) => Class::new("FETCH").rows(),
            Self::Close(_) => Class::new("CLOSE CURSOR"),
            Self::CreateRole { .. } => Class::new("CREATE ROLE"),
            Self::AlterRole { .. } | Self::AlterRoleSet { .. } | Self::RenameRole { .. } => {
                Class::new("ALTER ROLE")
            }
            Self::DropRole { .. } => Class::new("DROP ROLE"),
            Self::CreateResourceQueue { .. } => {
                Class::new("CREATE RESOURCE QUEUE").outside_block(true)
            }
            Self::AlterResourceQueue { .. } => {
                Class::new("ALTER RESOURCE QUEUE").outside_block(true)
            }
            Self::DropResourceQueue { .. } => Class::new("DROP RESOURCE QUEUE").outside_block(true),
            Self::CommentOnResourceQueue { .. } => Class::new("COMMENT"),
            Self::Unlisten => Class::new("UNLISTEN"),
            _ => Class::new("SET"),
        }
    }

    /// The highest `$n` that the statement uses; 0 without parameters.
    pub fn parameters(&self) -> usize {
        let mut parameters = Parameters::default();
        match self {
            Self::Plan(statement) => parameters.see(statement),
            Self::Explain(explain) => parameters.see(&explain.statement),
            Self::CreateView(view) => parameters.see(&view.body),
            Self::Copy(copy) => {
                if let CopySource::Query(query) = &copy.source {
                    parameters.see(query);
                }
            }
            Self::Execute { params, .. } => {
                let _ = params.visit(&mut parameters);
            }
            Self::DeclareCursor { query, .. } => return query.statement.parameters(),
            // The parameters inside PREPARE are those of its EXECUTE.
            _ => {}
        }
        parameters.highest
    }
}

/// Whether a name as it was written is one that the server's own relations have.
pub(crate) fn is_system(name: &[String]) -> bool {
    match name {
        [relation] => relation.starts_with("pg_"),
        [.., schema, _] => SYSTEM_SCHEMAS.contains(&schema.as_str()),
        [] => false,
    }
}

fn listed(relations: Relations) -> Vec<RelationUse> {
    relations
        .into_iter()
        .map(|(name, mode)| RelationUse { name, mode })
        .collect()
}

fn collected(statement: &DfStatement) -> Collector {
    let mut collector = Collector::default();
    match statement {
        DfStatement::Statement(statement) => {
            let _ = statement.visit(&mut collector);
        }
        DfStatement::CreateExternalTable(table) => {
            collector.note(folded(&table.name), LockMode::AccessExclusive);
        }
        DfStatement::CopyTo(copy) => match &copy.source {
            CopyToSource::Relation(name) => collector.note(folded(name), LockMode::AccessShare),
            CopyToSource::Query(query) => {
                let _ = query.visit(&mut collector);
            }
        },
        DfStatement::Explain(explain) => return collected(&explain.statement),
        DfStatement::Reset(_) => {}
    }
    collector
}

fn planned(statement: &DfStatement) -> Class {
    let collector = collected(statement);
    let kind = Kind::of(statement, &collector);
    let mut names = collector.relations.keys().peekable();
    let system_only = kind.catalog || (names.peek().is_some() && names.all(|n| is_system(n)));
    Class {
        // What `SHOW` is asked about is a schema, or a table that is not read.
        relations: if kind.catalog {
            Vec::new()
        } else {
            listed(collector.relations)
        },
        governed: kind.governed,
        dml: collector.changes_rows,
        system_only,
        returns_rows: kind.rows,
        forbidden_in_transaction_block: kind.outside_block,
        ..Class::new(kind.statement_type)
    }
}

/// A statement that is run to be measured loads the machine as it does by itself.
fn explained(explain: &Explain) -> Class {
    let class = planned(&explain.statement);
    Class {
        statement_type: "EXPLAIN",
        governed: explain.analyze && class.governed,
        dml: explain.analyze && class.dml,
        returns_rows: true,
        forbidden_in_transaction_block: false,
        ..class
    }
}

/// With a query it is governed as that query is, and reads what that reads.
fn created_table(table: &CreateTable) -> Class {
    let Some(query) = &table.query else {
        let names = std::slice::from_ref(&table.name);
        return Class::new("CREATE TABLE").lock(names, LockMode::AccessExclusive);
    };
    let mut relations = collected(query).relations;
    relations.insert(table.name.clone(), LockMode::AccessExclusive);
    Class {
        statement_type: "CREATE TABLE AS",
        relations: listed(relations),
        governed: true,
        returns_rows: false,
        system_only: false,
        ..planned(query)
    }
}

fn dropped(kind: DropKind, names: &[Vec<String>]) -> Class {
    match kind {
        DropKind::Table => Class::new("DROP TABLE").lock(names, LockMode::AccessExclusive),
        DropKind::View => Class::new("DROP VIEW").lock(names, LockMode::AccessExclusive),
        DropKind::Schema => Class::new("DROP SCHEMA"),
    }
}

fn copied(copy: &Copy) -> Class {
    let (name, direction) = match (&copy.source, &copy.direction) {
        (CopySource::Query(query), _) => {
            return Class {
                statement_type: "COPY",
                returns_rows: false,
                ..planned(query)
            };
        }
        (CopySource::Table { name, .. }, direction) => (name, direction),
    };
    let to = matches!(direction, CopyDirection::To(_));
    let mode = if to {
        LockMode::AccessShare
    } else {
        LockMode::RowExclusive
    };
    Class {
        governed: to,
        dml: !to,
        system_only: is_system(name),
        ..Class::new("COPY").lock(std::slice::from_ref(name), mode)
    }
}

fn discard_tag(kind: DiscardKind) -> &'static str {
    match kind {
        DiscardKind::All => "DISCARD ALL",
        DiscardKind::Plans => "DISCARD PLANS",
        DiscardKind::Sequences => "DISCARD SEQUENCES",
        DiscardKind::Temp => "DISCARD TEMP",
    }
}

/// What the top of a planned statement tells.
#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    statement_type: &'static str,
    governed: bool,
    rows: bool,
    /// Reads the catalog without naming it.
    catalog: bool,
    outside_block: bool,
}

impl Kind {
    fn of(statement: &DfStatement, collector: &Collector) -> Self {
        match statement {
            DfStatement::Statement(statement) => Self::of_sql(statement, collector),
            DfStatement::CreateExternalTable(_) => Self::plain("CREATE EXTERNAL TABLE"),
            DfStatement::CopyTo(_) => Self::governed("COPY"),
            DfStatement::Explain(_) => Self::rows("EXPLAIN"),
            DfStatement::Reset(_) => Self::plain("RESET"),
        }
    }

    fn of_sql(statement: &SqlStatement, collector: &Collector) -> Self {
        match statement {
            SqlStatement::Query(query) => Self::of_query(&query.body, collector),
            SqlStatement::Insert(insert) => Self::with_rows("INSERT", insert.returning.is_some()),
            SqlStatement::Update(update) => Self::with_rows("UPDATE", update.returning.is_some()),
            SqlStatement::Delete(delete) => Self::with_rows("DELETE", delete.returning.is_some()),
            SqlStatement::Merge(_) => Self::plain("MERGE"),
            SqlStatement::CreateTable(table) if table.query.is_some() => {
                Self::governed("CREATE TABLE AS")
            }
            SqlStatement::ExplainTable { .. } | SqlStatement::Explain { .. } => {
                Self::rows("DESCRIBE")
            }
            SqlStatement::ShowTables { .. }
            | SqlStatement::ShowColumns { .. }
            | SqlStatement::ShowFunctions { .. }
            | SqlStatement::ShowDatabases { .. }
            | SqlStatement::ShowSchemas { .. }
            | SqlStatement::ShowViews { .. }
            | SqlStatement::ShowCreate { .. } => Self {
                catalog: true,
                ..Self::rows("SHOW")
            },
            SqlStatement::Execute { .. } => Self::rows("EXECUTE"),
            other => Self::of_ddl(other),
        }
    }

    /// The statement types that have no say in rows or queues.
    fn of_ddl(statement: &SqlStatement) -> Self {
        match statement {
            SqlStatement::CreateTable(_) => Self::plain("CREATE TABLE"),
            SqlStatement::CreateIndex(_) => Self::plain("CREATE INDEX"),
            SqlStatement::CreateView(view) if view.materialized => {
                Self::plain("CREATE MATERIALIZED VIEW")
            }
            SqlStatement::CreateFunction(_) => Self::plain("CREATE FUNCTION"),
            SqlStatement::CreateSequence { .. } => Self::plain("CREATE SEQUENCE"),
            SqlStatement::CreateExtension(_) => Self::plain("CREATE EXTENSION"),
            SqlStatement::CreateDatabase { .. } => Self::plain("CREATE DATABASE").outside(),
            SqlStatement::AlterTable(_) => Self::plain("ALTER TABLE"),
            SqlStatement::AlterView { .. } => Self::plain("ALTER VIEW"),
            SqlStatement::DropFunction(_) => Self::plain("DROP FUNCTION"),
            SqlStatement::DropExtension(_) => Self::plain("DROP EXTENSION"),
            SqlStatement::Drop { object_type, .. } => Self::of_drop(object_type),
            SqlStatement::Truncate(_) => Self::plain("TRUNCATE TABLE"),
            SqlStatement::Analyze(_) => Self::plain("ANALYZE"),
            SqlStatement::Vacuum(_) => Self::plain("VACUUM").outside(),
            SqlStatement::Comment { .. } => Self::plain("COMMENT"),
            SqlStatement::Grant(_) => Self::plain("GRANT"),
            SqlStatement::Revoke(_) => Self::plain("REVOKE"),
            SqlStatement::Call(_) => Self::plain("CALL"),
            SqlStatement::LISTEN { .. } => Self::plain("LISTEN"),
            SqlStatement::NOTIFY { .. } => Self::plain("NOTIFY"),
            // DataFusion refuses the rest when it plans.
            _ => Self::plain("UTILITY"),
        }
    }

    fn of_drop(what: &ObjectType) -> Self {
        match what {
            ObjectType::Database => Self::plain("DROP DATABASE").outside(),
            ObjectType::Index => Self::plain("DROP INDEX"),
            ObjectType::MaterializedView => Self::plain("DROP MATERIALIZED VIEW"),
            ObjectType::Sequence => Self::plain("DROP SEQUENCE"),
            ObjectType::Type => Self::plain("DROP TYPE"),
            _ => Self::plain("DROP"),
        }
    }

    fn of_query(body: &SetExpr, collector: &Collector) -> Self {
        match body {
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement)
            | SetExpr::Merge(statement) => Self::of_sql(statement, collector),
            _ if collector.selects_into => Self::governed("SELECT INTO"),
            _ => Self {
                rows: true,
                ..Self::governed("SELECT")
            },
        }
    }

    fn plain(statement_type: &'static str) -> Self {
        Self {
            statement_type,
            ..Self::default()
        }
    }

    fn rows(statement_type: &'static str) -> Self {
        Self::with_rows(statement_type, true)
    }

    fn governed(statement_type: &'static str) -> Self {
        Self {
            governed: true,
            ..Self::plain(statement_type)
        }
    }

    fn with_rows(statement_type: &'static str, rows: bool) -> Self {
        Self {
            rows,
            ..Self::plain(statement_type)
        }
    }

    fn outside(mut self) -> Self {
        self.outside_block = true;
        self
    }
}

/// The relations that a statement names outside of any query, with the modes it needs on them.
///
/// What is not here but visited as a relation counts as read.
pub(crate) fn targets(statement: &SqlStatement) -> Vec<(&ObjectName, LockMode)> {
    match statement {
        SqlStatement::CreateTable(table) => vec![(&table.name, LockMode::AccessExclusive)],
        SqlStatement::CreateView(view) => vec![(&view.name, LockMode::AccessExclusive)],
        SqlStatement::AlterTable(table) => vec![(&table.name, LockMode::AccessExclusive)],
        SqlStatement::AlterView { name, .. } => vec![(name, LockMode::AccessExclusive)],
        SqlStatement::CreateIndex(index) => vec![(&index.table_name, LockMode::Share)],
        SqlStatement::Truncate(truncate) => truncate
            .table_names
            .iter()
            .map(|target| (&target.name, LockMode::AccessExclusive))
            .collect(),
        SqlStatement::Analyze(analyze) => analyze
            .table_name
            .iter()
            .map(|name| (name, LockMode::ShareUpdateExclusive))
            .collect(),
        SqlStatement::Vacuum(VacuumStatement {
            table_name, full, ..
        }) => {
            let mode = if *full {
                LockMode::AccessExclusive
            } else {
                LockMode::ShareUpdateExclusive
            };
            table_name.iter().map(|name| (name, mode)).collect()
        }
        SqlStatement::ExplainTable { table_name, .. } => vec![(table_name, LockMode::AccessShare)],
        SqlStatement::Drop {
            object_type: ObjectType::Table | ObjectType::View | ObjectType::MaterializedView,
            names,
            ..
        } => names
            .iter()
            .map(|name| (name, LockMode::AccessExclusive))
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
