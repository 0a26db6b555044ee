//! PostgreSQL's planner constants: what things cost against each other.

use std::collections::BTreeMap;

/// Larger constants than this are taken as this, so that products of a few stay finite.
const MAX_CONSTANT: f64 = 1e50;

/// The unit costs that an estimate is made of. Names and defaults are PostgreSQL's; 1.0 is what
/// reading one sequential page of 8 KiB costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CostConstants {
    /// Reading one page (8 KiB as stored) of a scan that goes on.
    pub seq_page_cost: f64,
    /// Reading a page somewhere else: opening a file and finding its footer.
    pub random_page_cost: f64,
    /// Handling one row.
    pub cpu_tuple_cost: f64,
    /// Looking at one entry of an index. Forebay's indexes are the files' statistics, so it is
    /// what looking whether one file can be skipped costs.
    pub cpu_index_tuple_cost: f64,
    /// Evaluating one operator or function for one row. Everything else that work with columns
    /// takes is counted in it (`weights.rs`).
    pub cpu_operator_cost: f64,
    /// Handing something from one thread to another. Forebay hands on batches where PostgreSQL
    /// hands on rows, so it is paid once per batch.
    pub parallel_tuple_cost: f64,
}

impl Default for CostConstants {
    fn default() -> Self {
        Self {
            seq_page_cost: 1.0,
            random_page_cost: 4.0,
            cpu_tuple_cost: 0.01,
            cpu_index_tuple_cost: 0.005,
            cpu_operator_cost: 0.0025,
            parallel_tuple_cost: 0.1,
        }
    }
}

impl CostConstants {
    /// The values of the settings of the same names; the default where one is missing or is not
    /// a number that a cost can be.
    #[must_use]
    pub fn of_settings(settings: &BTreeMap<String, String>) -> Self {
        let read = |name: &str, default: f64| {
            let value = settings.get(name).and_then(|v| v.parse::<f64>().ok());
            let value = value.filter(|v| *v >= 0.0).unwrap_or(default);
            value.min(MAX_CONSTANT)
        };
        let default = Self::default();
        Self {
            seq_page_cost: read("seq_page_cost", default.seq_page_cost),
            random_page_cost: read("random_page_cost", default.random_page_cost),
            cpu_tuple_cost: read("cpu_tuple_cost", default.cpu_tuple_cost),
            cpu_index_tuple_cost: read("cpu_index_tuple_cost", default.cpu_index_tuple_cost),
            cpu_operator_cost: read("cpu_operator_cost", default.cpu_operator_cost),
            parallel_tuple_cost: read("parallel_tuple_cost", default.parallel_tuple_cost),
        }
    }
}
