//! What running statements use of the server's memory and disk: `forebay.memory`.

use datafusion::common::ScalarValue;

use super::directory::Relations;
use super::relation::{big, relation};
use crate::memory::ServerMemory;

const MEMORY: &str = "limit_bytes int8, granted_bytes int8, granted_used_bytes int8, \
    other_used_bytes int8, temp_files int8, temp_bytes int8";

/// The views of schema `forebay`.
pub(super) fn own(relations: &mut Relations, memory: ServerMemory) {
    let rows = relation(MEMORY, move |_| {
        let status = memory.status();
        let size = |bytes: usize| -> ScalarValue { big(bytes as u64) };
        vec![vec![
            size(status.limit),
            size(status.granted),
            size(status.granted_used),
            size(status.rest_used),
            size(status.temp_files),
            big(status.temp_bytes),
        ]]
    });
    relations.add("memory", rows);
}
