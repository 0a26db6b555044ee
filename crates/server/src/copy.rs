//! `COPY … TO STDOUT`.

use forebay_sql::{CopyColumns, CopyOptions};

use crate::rows::Rows;
use crate::{Error, Result};

/// The form of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFormat {
    /// Tab-separated with backslash escapes.
    Text {
        /// Between columns.
        delimiter: u8,
        /// Stands for NULL.
        null: String,
    },
    /// Comma-separated values.
    Csv {
        /// Between columns.
        delimiter: u8,
        /// Stands for NULL.
        null: String,
        /// Around values that need it.
        quote: u8,
        /// Before a quote inside a value.
        escape: u8,
        /// Whether each column's values are always quoted.
        force_quote: Vec<bool>,
    },
}

/// Rows to be sent in one of the copy formats.
#[derive(Debug)]
pub struct CopyOut {
    /// The rows.
    pub rows: Rows,
    /// Their form.
    pub format: CopyFormat,
    /// Whether the column names come first.
    pub header: bool,
}

impl CopyOut {
    pub(crate) fn new(rows: Rows, options: &CopyOptions) -> Result<Self> {
        let format = match options.format.as_deref() {
            None | Some("text") => text_format(options)?,
            Some("csv") => csv_format(options, &rows)?,
            Some("binary") => {
                return Err(
                    Error::new("0A000", "COPY in binary format is not supported")
                        .with_hint("Use FORMAT text or csv, or COPY to a Parquet file."),
                );
            }
            Some(other) => {
                return Err(Error::new(
                    "22023",
                    format!("COPY format \"{other}\" not recognized"),
                ));
            }
        };
        if let Some((name, _)) = options.other.first() {
            return Err(Error::new(
                "42601",
                format!("option \"{name}\" not recognized"),
            ));
        }
        Ok(Self {
            rows,
            format,
            header: options.header,
        })
    }
}

fn text_format(options: &CopyOptions) -> Result<CopyFormat> {
    if options.quote.is_some() || options.escape.is_some() || options.force_quote.is_some() {
        return Err(Error::new(
            "0A000",
            "COPY quote, escape and force_quote are for CSV only",
        ));
    }
    let delimiter = single_byte("delimiter", options.delimiter.as_deref(), b'\t')?;
    if delimiter.is_ascii_alphanumeric() || matches!(delimiter, b'\\' | b'.' | b'\n' | b'\r') {
        return Err(Error::new(
            "22023",
            format!("COPY delimiter cannot be \"{}\"", char::from(delimiter)),
        ));
    }
    Ok(CopyFormat::Text {
        delimiter,
        null: null_mark(options, "\\N")?,
    })
}

fn csv_format(options: &CopyOptions, rows: &Rows) -> Result<CopyFormat> {
    let delimiter = single_byte("delimiter", options.delimiter.as_deref(), b',')?;
    let quote = single_byte("quote", options.quote.as_deref(), b'"')?;
    if delimiter == quote {
        return Err(Error::new(
            "22023",
            "COPY delimiter and quote must be different",
        ));
    }
    Ok(CopyFormat::Csv {
        delimiter,
        null: null_mark(options, "")?,
        quote,
        escape: single_byte("escape", options.escape.as_deref(), quote)?,
        force_quote: forced_columns(options.force_quote.as_ref(), rows)?,
    })
}

fn forced_columns(columns: Option<&CopyColumns>, rows: &Rows) -> Result<Vec<bool>> {
    let fields = rows.schema().fields();
    let mut forced = vec![matches!(columns, Some(CopyColumns::All)); fields.len()];
    if let Some(CopyColumns::Some(names)) = columns {
        for name in names {
            let index = fields
                .iter()
                .position(|f| f.name() == name)
                .ok_or_else(|| Error::new("42703", format!("column \"{name}\" does not exist")))?;
            forced[index] = true;
        }
    }
    Ok(forced)
}

fn null_mark(options: &CopyOptions, default: &str) -> Result<String> {
    let null = options.null.clone().unwrap_or_else(|| default.to_owned());
    if null.contains(['\n', '\r']) {
        return Err(Error::new(
            "22023",
            "COPY null representation cannot use newline or carriage return",
        ));
    }
    Ok(null)
}

fn single_byte(option: &str, value: Option<&str>, default: u8) -> Result<u8> {
    match value.map(str::as_bytes) {
        None => Ok(default),
        Some([byte]) => Ok(*byte),
        Some(_) => Err(Error::new(
            "0A000",
            format!("COPY {option} must be a single one-byte character"),
        )),
    }
}
