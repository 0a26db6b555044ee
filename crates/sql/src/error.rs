//! The one error of this room, worded as PostgreSQL words it.

/// SQLSTATE of a syntax error.
pub(crate) const SYNTAX_ERROR: &str = "42601";
/// SQLSTATE of a statement that is too deep or too long to be worked on safely.
pub(crate) const TOO_COMPLEX: &str = "54001";
/// SQLSTATE of a statement that PostgreSQL knows and Forebay has not.
pub(crate) const NOT_SUPPORTED: &str = "0A000";
/// SQLSTATE of a column that a table has not.
pub(crate) const UNDEFINED_COLUMN: &str = "42703";
/// SQLSTATE of a column that is named twice.
pub(crate) const DUPLICATE_COLUMN: &str = "42701";
/// SQLSTATE of what cannot be done with an object of its kind.
pub(crate) const WRONG_OBJECT: &str = "42809";
/// SQLSTATE of a parameter number that cannot exist.
pub(crate) const UNDEFINED_PARAMETER: &str = "42P02";
/// SQLSTATE of a value that is not allowed at its place.
pub(crate) const INVALID_PARAMETER: &str = "22023";
/// SQLSTATE of a number that does not fit.
pub(crate) const OUT_OF_RANGE: &str = "22003";

/// Why a query string could not be parsed.
///
/// The fields are those of a PostgreSQL error message, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// The primary message, for example `syntax error at or near "fro"`.
    pub message: String,
    /// What the parser had expected, where it knows.
    pub detail: Option<String>,
    /// Where in the whole query string, in characters, counting from 1.
    pub position: Option<usize>,
    /// The five characters of the error's class, `42601` for a plain syntax error.
    pub sqlstate: &'static str,
}

impl ParseError {
    /// An error without a place or a detail.
    pub(crate) fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            detail: None,
            position: None,
            sqlstate,
        }
    }

    /// The same error with its place: a 1-based character position.
    pub(crate) fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }

    /// The same error with a detail, if there is one.
    pub(crate) fn with_detail(mut self, detail: Option<String>) -> Self {
        self.detail = detail;
        self
    }

    /// A statement that would need more stack than a thread has.
    pub(crate) fn too_deep() -> Self {
        Self::new(TOO_COMPLEX, "stack depth limit exceeded").with_detail(Some(
            "The statement is nested too deeply or chains too many operators.".to_owned(),
        ))
    }
}
