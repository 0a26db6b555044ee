//! Definitions of relations as statements of Impala.

use forebay_server::{RelationDefinition, RelationFacts, TableDefinition, ViewDefinition};

use crate::rows::types;
use crate::session::database_of;

/// The option of CSV files that says what stands between two values.
const DELIMITER: &str = "format.delimiter";
/// The option of CSV files that says whether the first line names the columns.
const HEADER: &str = "format.has_header";
/// The one that says what takes the meaning from a delimiter.
const ESCAPE: &str = "format.escape";
/// Impala's property for the names in the first line.
const HEADER_LINES: &str = "skip.header.line.count";

/// A statement that makes the relation again.
pub(super) fn of(facts: &RelationFacts) -> String {
    match &facts.relation.definition {
        RelationDefinition::Table(table) => table_text(facts, table),
        RelationDefinition::View(view) => view_text(facts, view),
    }
}

/// The format of a table's files, by Impala's name.
pub(super) fn format_of(table: &TableDefinition) -> &'static str {
    match table.format.as_str() {
        "PARQUET" => "PARQUET",
        "CSV" => "TEXT",
        "JSON" => "JSON",
        "AVRO" => "AVRO",
        _ => "UNKNOWN",
    }
}

/// `MANAGED_TABLE` or `EXTERNAL_TABLE`.
pub(super) fn table_type(table: &TableDefinition) -> &'static str {
    match table.managed {
        true => "MANAGED_TABLE",
        false => "EXTERNAL_TABLE",
    }
}

/// What is known of a table as a whole.
pub(super) fn parameters(facts: &RelationFacts, table: &TableDefinition) -> Vec<(String, String)> {
    let mut parameters = properties(table);
    let comment = table.comment.iter();
    parameters.extend(comment.map(|comment| ("comment".to_owned(), comment.clone())));
    parameters.push(("numFiles".to_owned(), facts.files.len().to_string()));
    if let Some(rows) = facts.rows() {
        parameters.push(("numRows".to_owned(), rows.to_string()));
    }
    let bytes: u64 = facts.files.iter().map(|file| file.bytes).sum();
    parameters.push(("totalSize".to_owned(), bytes.to_string()));
    parameters
}

/// A view's query.
pub(super) fn query_of(view: &ViewDefinition) -> &str {
    view.original.as_deref().unwrap_or(&view.query)
}

fn table_text(facts: &RelationFacts, table: &TableDefinition) -> String {
    let fields = facts.schema.fields();
    let own = fields.len() - facts.partition_columns.len();
    let columns = |range: std::ops::Range<usize>| {
        let lines = fields[range].iter().map(|field| {
            let kind = types::name(field.data_type()).to_uppercase();
            let comment = facts.relation.comment_on(field.name());
            let comment = comment.map(|text| format!(" COMMENT {}", literal(text)));
            format!(
                "  {} {kind}{}",
                name(field.name()),
                comment.unwrap_or_default()
            )
        });
        lines.collect::<Vec<_>>().join(",\n")
    };
    let external = match table.managed {
        true => "",
        false => "EXTERNAL ",
    };
    let mut text = format!("CREATE {external}TABLE {} (\n", quoted_name(facts));
    text.push_str(&columns(0..own));
    text.push_str("\n)\n");
    if own < fields.len() {
        let partitions = columns(own..fields.len());
        text.push_str(&format!("PARTITIONED BY (\n{partitions}\n)\n"));
    }
    if let Some(comment) = &table.comment {
        text.push_str(&format!("COMMENT {}\n", literal(comment)));
    }
    let stored_as = match table.format.as_str() {
        "CSV" => "TEXTFILE",
        "JSON" => "JSONFILE",
        other => other,
    };
    if table.format == "CSV" {
        let delimiter = table.options.get(DELIMITER).map_or(",", String::as_str);
        let delimiter = literal(delimiter);
        text.push_str(&format!(
            "ROW FORMAT DELIMITED FIELDS TERMINATED BY {delimiter}"
        ));
        if let Some(escape) = table.options.get(ESCAPE) {
            text.push_str(&format!(" ESCAPED BY {}", literal(escape)));
        }
        text.push('\n');
    }
    text.push_str(&format!("STORED AS {stored_as}\n"));
    text.push_str(&format!("LOCATION {}", literal(&table.location)));
    let properties = properties(table);
    if !properties.is_empty() {
        let listed = properties
            .iter()
            .map(|(name, value)| format!("{}={}", literal(name), literal(value)));
        let listed = listed.collect::<Vec<_>>().join(", ");
        text.push_str(&format!("\nTBLPROPERTIES ({listed})"));
    }
    text
}

fn view_text(facts: &RelationFacts, view: &ViewDefinition) -> String {
    let columns = match view.columns.as_slice() {
        [] => String::new(),
        columns => {
            let names: Vec<String> = columns.iter().map(|column| name(column)).collect();
            format!(" ({})", names.join(", "))
        }
    };
    let comment = view.comment.as_deref();
    let comment = comment.map(|comment| format!(" COMMENT {}", literal(comment)));
    format!(
        "CREATE VIEW {}{columns}{} AS\n{}",
        quoted_name(facts),
        comment.unwrap_or_default(),
        query_of(view)
    )
}

/// What was noted, and options of the files that have no clause of their own.
fn properties(table: &TableDefinition) -> Vec<(String, String)> {
    let has_clause = |name: &String| [DELIMITER, ESCAPE].contains(&name.as_str());
    let options = table.options.iter().filter(|(name, _)| !has_clause(name));
    let noted = table.properties.iter();
    noted
        .chain(options)
        .map(|(name, value)| match name.as_str() {
            HEADER => {
                let lines = u8::from(value == "true");
                (HEADER_LINES.to_owned(), lines.to_string())
            }
            _ => (name.clone(), value.clone()),
        })
        .collect()
}

fn quoted_name(facts: &RelationFacts) -> String {
    let relation = &facts.relation;
    format!(
        "{}.{}",
        name(database_of(&relation.schema)),
        name(&relation.name)
    )
}

/// A name as it must be written.
fn name(name: &str) -> String {
    let mut characters = name.chars();
    let plain = characters
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match plain && !forebay_sql::is_impala_word(name) {
        true => name.to_owned(),
        false => format!("`{name}`"),
    }
}

/// A text in quotes.
fn literal(text: &str) -> String {
    let mut literal = "'".to_owned();
    for c in text.chars() {
        match c {
            '\t' => literal.push_str("\\t"),
            '\n' => literal.push_str("\\n"),
            '\'' | '\\' => literal.extend(['\\', c]),
            c => literal.push(c),
        }
    }
    literal.push('\'');
    literal
}
