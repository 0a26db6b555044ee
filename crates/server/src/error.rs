//! The error that a client is told.

use std::fmt;

use forebay_admission::AdmissionError;
use forebay_catalog::CatalogError;
use forebay_engine::EngineError;
use forebay_sql::{ParseError, Parsed};

/// How an error ends things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed; the session goes on.
    Error,
    /// The session ends.
    Fatal,
}

/// An error with everything that PostgreSQL's clients show of one.
#[derive(Debug, Clone)]
pub struct Error {
    /// Whether the session survives.
    pub severity: Severity,
    /// Five-character code of PostgreSQL's appendix A.
    pub sqlstate: &'static str,
    /// The primary message.
    pub message: String,
    /// More facts.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// 1-based character position in the text that the client sent.
    pub position: Option<usize>,
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of one statement.
    #[must_use]
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
        }
    }

    /// An error that ends the session.
    #[must_use]
    pub fn fatal(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Fatal,
            ..Self::new(sqlstate, message)
        }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What somebody without the right gets.
    #[must_use]
    pub fn permission(message: impl Into<String>) -> Self {
        Self::new("42501", message)
    }

    /// Places an engine error about `parsed`, which knows line and column within the text that
    /// the client sent, by counting the characters before it.
    pub(crate) fn located(error: EngineError, parsed: &Parsed) -> Self {
        let position = error.position.and_then(|p| {
            let (first_line, first_column) = parsed.start;
            let column = if p.line == first_line {
                (p.column + 1).checked_sub(first_column)?
            } else {
                p.column
            };
            let line = (p.line + 1).checked_sub(first_line)?;
            character_index(&parsed.text, line, column)
        });
        Self {
            position: position.map(|p| parsed.position + p + 1),
            ..error.into()
        }
    }
}

/// The index of the character at `line` and `column`, both from 1.
fn character_index(text: &str, line: u64, column: u64) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    let before: usize = text
        .split('\n')
        .take(line)
        .map(|l| l.chars().count() + 1)
        .sum();
    let index = before + column;
    (index <= text.chars().count()).then_some(index)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.sqlstate)
    }
}

impl std::error::Error for Error {}

impl From<EngineError> for Error {
    /// A defect of ours is logged whole, with an id that the client is told.
    fn from(error: EngineError) -> Self {
        let mut message = error.message;
        let mut hint = error.hint;
        if let Some(internal) = error.internal {
            let id = uuid::Uuid::new_v4();
            tracing::error!(%id, "{internal}");
            message = format!("{message} [{id}]");
            hint = Some("The server's log has more under this id.".to_owned());
        }
        Self {
            severity: Severity::Error,
            sqlstate: error.sqlstate,
            message,
            detail: error.detail,
            hint,
            position: None,
        }
    }
}

impl From<CatalogError> for Error {
    fn from(error: CatalogError) -> Self {
        Self {
            detail: error.detail(),
            hint: error.hint(),
            ..Self::new(error.sqlstate(), error.to_string())
        }
    }
}

impl From<AdmissionError> for Error {
    fn from(error: AdmissionError) -> Self {
        Self::new(error.sqlstate(), error.to_string())
    }
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        Self {
            severity: Severity::Error,
            sqlstate: error.sqlstate,
            message: error.message,
            detail: error.detail,
            hint: None,
            position: error.position,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_and_column_become_a_character_position() {
        assert_eq!(character_index("select ä,\n  b", 2, 3), Some(12));
        assert_eq!(character_index("x", 1, 1), Some(0));
        assert_eq!(character_index("x", 9, 1), None);
        assert_eq!(character_index("x", 0, 1), None);
    }
}
