//! The summary of a query: a table with a line for each operator, as Impala's users know it.

use super::Operator;
use super::text::{bytes, nanoseconds, units};

const HEADER: [&str; 10] = [
    "Operator",
    "#Inst",
    "Avg Time",
    "Max Time",
    "#Rows",
    "Est. #Rows",
    "Peak Mem",
    "Est. Peak Mem",
    "Spilled",
    "Detail",
];

/// The table; nothing for a query that never ran a plan.
pub(super) fn table(operators: &[Operator]) -> String {
    if operators.is_empty() {
        return String::new();
    }
    let rows: Vec<[String; HEADER.len()]> = operators.iter().map(row).collect();
    let last = HEADER.len() - 1;
    let widths: [usize; HEADER.len()] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADER[column].len()]).max().unwrap_or(0)
    });
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ if column == last => cell.clone(),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let total = widths[..last].iter().sum::<usize>() + 2 * last + HEADER[last].len();
    let mut lines = vec![line(&HEADER.map(str::to_owned)), "-".repeat(total)];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

fn row(operator: &Operator) -> [String; HEADER.len()] {
    let known = |value: Option<u64>, show: fn(u64) -> String| value.map_or_else(String::new, show);
    let branch = match operator.depth {
        0 => String::new(),
        depth => format!("{}--", "|".repeat(depth)),
    };
    [
        format!("{branch}{}", operator.name),
        operator.instances.to_string(),
        nanoseconds(operator.time_avg_ns),
        nanoseconds(operator.time_max_ns),
        known(operator.rows, units),
        known(operator.estimated_rows, units),
        known(operator.peak_memory_bytes, bytes),
        known(operator.estimated_memory_bytes, bytes),
        match operator.spilled_bytes {
            0 => String::new(),
            spilled => bytes(spilled),
        },
        operator.detail.clone(),
    ]
}
