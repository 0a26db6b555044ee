//! Statements that are planned in another form than they were written in.

use datafusion::sql::parser::{CopyToSource, CopyToStatement};
use forebay_engine::ExplainOptions;
use forebay_sql::{Copy, CopySource, DfStatement, Explain};

use crate::{Error, Result};

/// What `EXPLAIN` was asked for.
pub(crate) fn explain_options(explain: &Explain) -> Result<ExplainOptions> {
    match explain.format.as_deref().map(str::to_lowercase).as_deref() {
        None | Some("text" | "indent") => Ok(ExplainOptions {
            analyze: explain.analyze,
            verbose: explain.verbose,
            costs: explain.costs,
        }),
        Some(other) => Err(Error::new(
            "0A000",
            format!("EXPLAIN format \"{other}\" is not supported"),
        )
        .with_hint("Use FORMAT TEXT.")),
    }
}

/// The query behind `COPY source TO`.
pub(crate) fn copy_source(source: &CopySource) -> Result<DfStatement> {
    match source {
        CopySource::Query(query) => Ok((**query).clone()),
        CopySource::Table { name, columns } => {
            let list = if columns.is_empty() {
                "*".to_owned()
            } else {
                quoted(columns).join(", ")
            };
            let text = format!("SELECT {list} FROM {}", quoted(name).join("."));
            let mut parsed = forebay_sql::parse(&text)?;
            match parsed.pop().map(|p| p.statement) {
                Some(forebay_sql::Statement::Plan(plan)) => Ok(*plan),
                _ => Err(Error::new(
                    "42601",
                    format!("cannot copy from {}", name.join(".")),
                )),
            }
        }
    }
}

/// DataFusion's statement for `COPY … TO 'file'`.
pub(crate) fn copy_to_file(copy: &Copy, path: &str) -> Result<DfStatement> {
    let DfStatement::Statement(inner) = copy_source(&copy.source)? else {
        return Err(Error::new("42601", "COPY needs a query or a table"));
    };
    let datafusion::sql::sqlparser::ast::Statement::Query(query) = *inner else {
        return Err(Error::new("0A000", "COPY (statement) TO needs a query"));
    };
    let text =
        |value: &str| datafusion::sql::sqlparser::ast::Value::SingleQuotedString(value.to_owned());
    let mut options: Vec<_> = copy
        .options
        .other
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    if copy.options.header {
        options.push(("format.has_header".to_owned(), text("true")));
    }
    if let Some(delimiter) = &copy.options.delimiter {
        options.push(("format.delimiter".to_owned(), text(delimiter)));
    }
    Ok(DfStatement::CopyTo(CopyToStatement {
        source: CopyToSource::Query(query),
        target: path.to_owned(),
        partitioned_by: copy.options.partitioned_by.clone(),
        stored_as: copy.options.format.as_ref().map(|f| f.to_uppercase()),
        options,
    }))
}

fn quoted(names: &[String]) -> Vec<String> {
    names
        .iter()
        .map(|name| format!("\"{}\"", name.replace('"', "\"\"")))
        .collect()
}
