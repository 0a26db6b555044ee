//! What is assumed where nothing is known. Where PostgreSQL has
//! a value for it, it is PostgreSQL's (`src/include/utils/selfuncs.h`, average widths of types, the
//! planner's default row counts).

/// Bytes of a page.
pub(super) const PAGE_BYTES: f64 = 8192.0;

/// Rows of a source that cannot tell (PostgreSQL's for a function).
pub(super) const ROWS: f64 = 1000.0;

/// Different values of a column about which nothing is known.
pub(super) const DISTINCT: f64 = 200.0;

/// Bytes of a value of variable length.
pub(super) const VARIABLE_WIDTH: f64 = 32.0;

/// Bytes that a text or binary value takes in memory at least, however short it is.
pub(super) const VIEW_BYTES: f64 = 16.0;

/// Bits of the longest number of an entry of a file's dictionary that is taken for one.
pub(super) const MAX_CODE_BITS: f64 = 20.0;

/// Elements of an array.
pub(super) const ARRAY_ELEMENTS: f64 = 10.0;

/// Share of rows that `=` keeps.
pub(super) const EQUALITY: f64 = 0.005;

/// Share of rows that `<` keeps; also that of a function whose result is a yes or no.
pub(super) const INEQUALITY: f64 = 0.3333;

/// Share of rows that `LIKE` keeps.
pub(super) const MATCH: f64 = 0.005;

/// Share of rows that `IS NULL` keeps.
pub(super) const NULLS: f64 = 0.005;

/// Share of rows in which a boolean column is true.
pub(super) const BOOLEAN: f64 = 0.5;

/// How much larger than its first term a recursive query's result is, and how often its
/// recursive term runs.
pub(super) const RECURSION: f64 = 10.0;

/// No estimate has more rows than this.
pub(super) const MAX_ROWS: f64 = 1e100;
