//! Results: Arrow's batches as HiveServer2's columns.

pub(crate) mod columns;
mod texts;
pub(crate) mod types;

#[cfg(test)]
mod tests;
