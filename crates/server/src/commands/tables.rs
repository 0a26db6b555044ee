//! Tables as Impala's clients make and change them: over files that are there, or with files of their
//! own in the warehouse.

use std::collections::BTreeMap;

use forebay_catalog::{
    Change, ColumnDefinition, NewRelation, Relation, RelationDefinition, RelationName,
    TableDefinition,
};
use forebay_sql::{Class, CreateTable, DfStatement, DropKind, LockMode, Statement, TableColumn};

use super::ddl::absolute_location;
use super::names::find_relation;
use crate::way::Answer;
use crate::{Error, Result, Session};

/// The format of tables about which nothing was said.
const USUAL_FORMAT: &str = "PARQUET";

/// Whether a character of a partition column's name is found again: files are written into folders
/// whose names have the others encoded, and looked for by the name as it is.
fn stands_in_folders(c: char) -> bool {
    c.is_ascii_alphanumeric() || " _-.,:;!$&'()+@".contains(c)
}

/// Whether a table's option lets its writers take memory that no pool accounts for: levels of
/// compression, and ways to compress that are told for one column.
fn takes_memory(option: &str) -> bool {
    let option = option.to_ascii_lowercase();
    option.contains("compression") && option != "format.compression"
}

impl Session {
    /// `CREATE TABLE` without a query, or one that finds the table there already.
    pub(super) async fn create_table(&mut self, table: &CreateTable) -> Result<Answer> {
        const TAG: &str = "CREATE TABLE";
        let (schema, name) = self.place_for(&table.name)?;
        if table.if_not_exists && self.exists_notice(&schema, &name) {
            return Ok(Answer::Done(TAG.to_owned()));
        }
        let columns = table.columns.iter().map(column).collect();
        let partition_columns = table.partition_columns.iter().map(column).collect();
        self.add_table(table, columns, partition_columns).await?;
        Ok(Answer::Done(TAG.to_owned()))
    }

    /// Makes the table of `CREATE TABLE AS`, which the statement's plan then fills within the same
    /// transaction. False where there is one already and that is no error.
    pub(crate) async fn create_target(&mut self, table: &CreateTable) -> Result<bool> {
        let (schema, name) = self.place_for(&table.name)?;
        if table.if_not_exists && self.snapshot().relation(&schema, &name).is_some() {
            return Ok(false);
        }
        let query = table.query.as_deref();
        let query = query.ok_or_else(|| Error::new("XX000", "CREATE TABLE AS without a query"))?;
        let columns = self.columns_of(query).await?;
        if !table.columns.is_empty() {
            let message = "CREATE TABLE AS takes its columns from the query";
            return Err(Error::new("42601", message));
        }
        let keys = &table.partition_columns;
        let first_key = columns.len().saturating_sub(keys.len());
        let found = columns[first_key..].iter().map(|column| &column.name);
        if !found.eq(keys.iter().map(|key| &key.name)) || (first_key == 0 && !keys.is_empty()) {
            return Err(Error::new(
                "42P16",
                "the columns of PARTITIONED BY must be the last ones of the query, in this order",
            ));
        }
        let partition_columns = columns[first_key..].to_vec();
        let columns = columns[..first_key].to_vec();
        self.add_table(table, columns, partition_columns).await?;
        Ok(true)
    }

    /// The columns that a query gives, as they are stored.
    async fn columns_of(&mut self, query: &DfStatement) -> Result<Vec<ColumnDefinition>> {
        let vantage = self.vantage()?;
        let engine = self.server.inner.engine.clone();
        let query = query.clone();
        let work = async move { engine.stored_columns(&vantage, &query).await };
        let here = &self.server.inner.engine;
        Ok(here.on_query_runtime(self.role_account(), work).await?)
    }

    async fn add_table(
        &mut self,
        table: &CreateTable,
        columns: Vec<ColumnDefinition>,
        partition_columns: Vec<ColumnDefinition>,
    ) -> Result<()> {
        let (schema, name) = self.place_for(&table.name)?;
        if columns.is_empty() && table.location.is_none() {
            let message = format!("table \"{name}\" needs columns or a LOCATION with files");
            return Err(Error::new("42601", message));
        }
        for key in &partition_columns {
            if let Some(odd) = key.name.chars().find(|c| !stands_in_folders(*c)) {
                let message = format!("invalid name of a partition column: \"{}\"", key.name);
                let detail = format!("Folders are named after it, without {odd:?} in their names.");
                return Err(Error::new("42602", message).with_detail(detail));
            }
        }
        for option in table.options.keys().filter(|o| takes_memory(o)) {
            self.require_superuser(&format!("to set \"{option}\""))?;
        }
        let location = match &table.location {
            Some(location) => {
                // Any file of the machine could be read otherwise.
                self.require_superuser("to create an external table")?;
                folder_location(&absolute_location(location)?)
            }
            None if table.external => {
                return Err(Error::new("0A000", "an external table needs a LOCATION")
                    .with_hint("Without EXTERNAL the table has files of its own."));
            }
            None => {
                self.require_read_write()?;
                let folder = self.server.inner.warehouse.new_folder(&schema, &name)?;
                let location = folder.location();
                self.open_mut().keep_folder(folder);
                location
            }
        };
        let comments = table.columns.iter().chain(&table.partition_columns);
        let comments = comments.filter_map(|c| Some((c.name.clone(), c.comment.clone()?)));
        let definition = TableDefinition {
            format: table
                .format
                .clone()
                .unwrap_or_else(|| USUAL_FORMAT.to_owned()),
            location,
            columns,
            partition_columns,
            options: table.options.clone(),
            order_by: Vec::new(),
            managed: table.location.is_none(),
            properties: table.properties.clone(),
            comment: table.comment.clone(),
            column_comments: comments.collect::<BTreeMap<_, _>>(),
        };
        let relation = NewRelation {
            schema,
            name,
            owner: self.current_user().to_owned(),
            definition: RelationDefinition::Table(definition),
        };
        self.check_files(&relation).await?;
        self.change(Change::CreateRelation {
            relation,
            or_replace: false,
        })
    }

    /// `ALTER TABLE` and `ALTER VIEW … RENAME TO`.
    pub(super) fn rename_relation(
        &mut self,
        kind: DropKind,
        name: &[String],
        new_name: &[String],
    ) -> Result<Answer> {
        let (kind, tag) = match kind {
            DropKind::View => ("view", "ALTER VIEW"),
            DropKind::Table | DropKind::Schema => ("table", "ALTER TABLE"),
        };
        let relation = self.owned(kind, name)?;
        super::ddl::check_kind(&relation, kind)?;
        let (schema, name) = match new_name {
            // It stays where it is.
            [name] => (relation.schema.clone(), name.clone()),
            new_name => self.place_for(new_name)?,
        };
        self.change(Change::RenameRelation {
            name: RelationName::of(&relation),
            new_name: RelationName { schema, name },
        })?;
        Ok(Answer::Done(tag.to_owned()))
    }

    /// `TRUNCATE TABLE`: the table gets an empty folder, and others see that at the commit.
    pub(super) fn truncate(&mut self, name: &[String], if_exists: bool) -> Result<Answer> {
        const TAG: &str = "TRUNCATE TABLE";
        let path = self.settings.search_path(self.current_user());
        if find_relation(&self.snapshot(), &path, name).is_none() {
            self.missing("table", &name.join("."), "42P01", if_exists)?;
            return Ok(Answer::Done(TAG.to_owned()));
        }
        let relation = self.owned("table", name)?;
        super::ddl::check_kind(&relation, "table")?;
        let RelationDefinition::Table(table) = &relation.definition else {
            return Err(Error::new("42809", "only tables can be truncated"));
        };
        if !table.managed {
            let message = format!(
                "\"{}\" is over files that are not its own, which are not removed",
                relation.name
            );
            return Err(Error::new("0A000", message));
        }
        let warehouse = &self.server.inner.warehouse;
        let folder = warehouse.new_folder(&relation.schema, &relation.name)?;
        let emptied = TableDefinition {
            location: folder.location(),
            ..table.clone()
        };
        self.open_mut().keep_folder(folder);
        self.redefine(&relation, RelationDefinition::Table(emptied))?;
        Ok(Answer::Done(TAG.to_owned()))
    }

    /// `COMMENT ON TABLE`, `VIEW` and `COLUMN`.
    pub(super) fn comment_on_relation(
        &mut self,
        name: &[String],
        column: Option<&str>,
        comment: Option<&str>,
    ) -> Result<Answer> {
        let relation = self.owned("relation", name)?;
        let comment = comment.filter(|text| !text.is_empty()).map(str::to_owned);
        let mut definition = relation.definition.clone();
        match (&mut definition, column) {
            (RelationDefinition::Table(table), None) => table.comment = comment,
            (RelationDefinition::View(view), None) => view.comment = comment,
            (RelationDefinition::Table(table), Some(column)) => {
                let mut known = table.columns.iter().chain(&table.partition_columns);
                // Columns that are not in the definition are those that the files have.
                if !table.columns.is_empty() && !known.any(|known| known.name == column) {
                    let message = format!("column \"{column}\" does not exist");
                    return Err(Error::new("42703", message));
                }
                match comment {
                    Some(text) => table.column_comments.insert(column.to_owned(), text),
                    None => table.column_comments.remove(column),
                };
            }
            (RelationDefinition::View(_), Some(_)) => {
                let message = "comments on columns of views are not supported";
                return Err(Error::new("0A000", message));
            }
        }
        self.redefine(&relation, definition)?;
        Ok(Answer::Done("COMMENT".to_owned()))
    }

    fn redefine(&mut self, relation: &Relation, definition: RelationDefinition) -> Result<()> {
        if relation.transient {
            let message = format!(
                "table \"{}\" was found when the server started, and cannot be changed",
                relation.name
            );
            return Err(Error::new("0A000", message)
                .with_hint("Make a table of the same files: CREATE EXTERNAL TABLE."));
        }
        self.change(Change::CreateRelation {
            relation: NewRelation {
                schema: relation.schema.clone(),
                name: relation.name.clone(),
                owner: relation.owner.clone(),
                definition,
            },
            or_replace: true,
        })
    }

    /// A relation that the role in force owns.
    fn owned(&self, kind: &str, name: &[String]) -> Result<std::sync::Arc<Relation>> {
        let path = self.settings.search_path(self.current_user());
        let snapshot = self.snapshot();
        let relation = find_relation(&snapshot, &path, name).ok_or_else(|| {
            let message = format!("relation \"{}\" does not exist", name.join("."));
            Error::new("42P01", message)
        })?;
        self.check_owner(&relation.owner, kind, &relation.name)?;
        Ok(std::sync::Arc::clone(relation))
    }

    /// Whether all that a statement writes to are tables with files of their own that the role in
    /// force owns.
    pub(crate) fn writes_own_tables(&self, statement: &Statement, class: &Class) -> bool {
        if let Statement::CreateTable(table) = statement {
            return table.location.is_none();
        }
        let snapshot = self.snapshot();
        let path = self.settings.search_path(self.current_user());
        let mut targets = class
            .relations
            .iter()
            .filter(|used| used.mode == LockMode::RowExclusive)
            .peekable();
        targets.peek().is_some()
            && targets.all(|used| {
                let relation = find_relation(&snapshot, &path, &used.name);
                relation.is_some_and(|relation| {
                    let managed = matches!(&relation.definition, RelationDefinition::Table(table) if table.managed);
                    managed && relation.owner == self.current_user()
                })
            })
    }
}

fn column(column: &TableColumn) -> ColumnDefinition {
    ColumnDefinition {
        name: column.name.clone(),
        data_type: match column.data_type.as_str() {
            // A column of partitions without a type: its values are text.
            "" => "TEXT".to_owned(),
            data_type => data_type.to_owned(),
        },
        nullable: true,
    }
}

/// Impala's tables are over folders, which need not be there yet.
fn folder_location(location: &str) -> String {
    let is_file = std::path::Path::new(location).is_file();
    match is_file || location.ends_with('/') {
        true => location.to_owned(),
        false => format!("{location}/"),
    }
}

/// The statement that fills the table of `CREATE TABLE AS`.
///
/// # Errors
/// Never, unless the query cannot be read back.
pub(crate) fn insert_of(table: &CreateTable, query: &DfStatement) -> Result<DfStatement> {
    let name: Vec<String> = table
        .name
        .iter()
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
        .collect();
    let text = format!("INSERT INTO {} {query}", name.join("."));
    match forebay_sql::parse(&text)?
        .pop()
        .map(|parsed| parsed.statement)
    {
        Some(Statement::Plan(insert)) => Ok(*insert),
        _ => Err(Error::new("XX000", format!("not an INSERT: {text}"))),
    }
}
