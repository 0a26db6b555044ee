//! The form of text files, as `CREATE TABLE` tells it.

use super::create::unsupported;
use super::reader::Reader;
use crate::error::{INVALID_PARAMETER, ParseError};
use crate::statement::CreateTable;

/// Options of text files, by DataFusion's names.
const DELIMITER: &str = "format.delimiter";
const ESCAPE: &str = "format.escape";
const HEADER: &str = "format.has_header";

/// What separates values in a text file when nothing is said.
const USUAL_DELIMITER: &str = "\u{1}";

/// What is said of the form of text files.
#[derive(Default)]
pub(super) struct TextOptions {
    delimiter: Option<String>,
    escape: Option<String>,
    null: Option<String>,
    header_lines: Option<String>,
    is_delimited: bool,
}

impl TextOptions {
    /// The rest of `ROW FORMAT DELIMITED`.
    pub(super) fn read(&mut self, reader: &mut Reader<'_, '_, '_>) -> Result<(), ParseError> {
        self.is_delimited = true;
        loop {
            if reader.eat(&["fields", "terminated", "by"]) {
                self.delimiter = Some(reader.literal()?);
            } else if reader.eat(&["escaped", "by"]) {
                self.escape = Some(reader.literal()?);
            } else if reader.eat(&["lines", "terminated", "by"]) {
                if reader.literal()? != "\n" {
                    return Err(unsupported("LINES TERMINATED BY other than '\\n'"));
                }
            } else if reader.eat(&["null", "defined", "as"]) {
                self.null = Some(reader.literal()?);
            } else {
                return Ok(());
            }
        }
    }

    /// One of the table's properties, which may be about the form.
    pub(super) fn property(
        &mut self,
        table: &mut CreateTable,
        name: String,
        value: String,
    ) -> Result<(), ParseError> {
        match name.as_str() {
            "skip.header.line.count" => self.header_lines = Some(value),
            "serialization.null.format" => self.null = Some(value),
            "field.delim" => self.delimiter = Some(value),
            _ if name.starts_with("format.") => {
                table.options.insert(name, value);
            }
            _ => {
                table.properties.insert(name, value);
            }
        }
        Ok(())
    }

    /// Text files have all of it, others none.
    pub(super) fn settle(self, table: &mut CreateTable) -> Result<(), ParseError> {
        if table.format.as_deref() != Some("CSV") {
            if self.is_delimited && table.format.is_some() {
                return Err(unsupported("ROW FORMAT of other than text files"));
            }
            if !self.is_delimited {
                return Ok(());
            }
            // As in Impala, who says how values are separated means text.
            table.format = Some("CSV".to_owned());
        }
        let header = match self.header_lines.as_deref() {
            None | Some("0") => "false",
            Some("1") => "true",
            Some(lines) => {
                let message = format!("skip.header.line.count is 0 or 1 here, not {lines}");
                return Err(ParseError::new(INVALID_PARAMETER, message));
            }
        };
        // The reader of text files takes an empty value for NULL, and nothing else.
        if self.null.is_some_and(|null| !null.is_empty()) {
            return Err(unsupported("another text for NULL than the empty one"));
        }
        let delimiter = self.delimiter.unwrap_or_else(|| USUAL_DELIMITER.to_owned());
        let mut set = |name: &str, value: String| {
            table.options.entry(name.to_owned()).or_insert(value);
        };
        set(HEADER, header.to_owned());
        set(DELIMITER, delimiter);
        if let Some(escape) = self.escape {
            set(ESCAPE, escape);
        }
        Ok(())
    }
}
