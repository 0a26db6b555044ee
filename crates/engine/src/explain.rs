//! What a plan looks like, and which file made it fail.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::StringArray;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::file::reader::ChunkReader;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt, path::Path};

use crate::yielding::only_gives_way;
use crate::{EngineError, Estimate};

/// How `EXPLAIN` shows a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExplainOptions {
    /// Run the plan and show what each operator did.
    pub analyze: bool,
    /// Show every property of each operator.
    pub verbose: bool,
    /// Show what each operator was expected to cost.
    pub costs: bool,
}

/// PostgreSQL's answer to `EXPLAIN`: one text column.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "QUERY PLAN",
        DataType::Utf8,
        false,
    )]))
}

/// The plan as text, one operator a line, its inputs indented below it. `estimates` are those of
/// the operators in the same order; `memory` tells what running it took.
pub(crate) fn lines(
    plan: &dyn ExecutionPlan,
    estimates: &[Estimate],
    options: ExplainOptions,
    memory: Option<String>,
) -> Result<RecordBatch, EngineError> {
    let mut text = PlanText {
        options,
        estimates: estimates.iter(),
        lines: Vec::new(),
    };
    text.add(plan, 0);
    text.lines.extend(memory);
    let lines: StringArray = text.lines.into_iter().map(Some).collect();
    Ok(RecordBatch::try_new(schema(), vec![Arc::new(lines)])
        .map_err(datafusion::error::DataFusionError::from)?)
}

struct PlanText<'a> {
    options: ExplainOptions,
    estimates: std::slice::Iter<'a, Estimate>,
    lines: Vec<String>,
}

impl PlanText<'_> {
    fn add(&mut self, plan: &dyn ExecutionPlan, depth: usize) {
        let estimate = self.estimates.next().filter(|_| self.options.costs);
        if only_gives_way(plan) {
            return self.add_inputs(plan, depth);
        }
        let mut line = format!("{:1$}", "", depth * 2);
        line.push_str(&description(plan, self.options.verbose));
        if let Some(e) = estimate {
            let costs = format!("cost={:.2}..{:.2}", e.startup, e.total);
            line.push_str(&format!(
                "  ({costs} rows={:.0} width={:.0})",
                e.rows, e.width
            ));
        }
        if self.options.analyze
            && let Some(measured) = measured(plan)
        {
            let gap = if estimate.is_some() { " " } else { "  " };
            line.push_str(gap);
            line.push_str(&measured);
        }
        // Texts of expressions may have line ends.
        self.lines.extend(line.lines().map(str::to_owned));
        self.add_inputs(plan, depth + 1);
    }

    fn add_inputs(&mut self, plan: &dyn ExecutionPlan, depth: usize) {
        for input in plan.children() {
            self.add(input.as_ref(), depth);
        }
    }
}

pub(crate) fn description(plan: &dyn ExecutionPlan, verbose: bool) -> String {
    struct Operator<'a>(&'a dyn ExecutionPlan, DisplayFormatType);
    impl fmt::Display for Operator<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt_as(self.1, f)
        }
    }
    let form = match verbose {
        true => DisplayFormatType::Verbose,
        false => DisplayFormatType::Default,
    };
    Operator(plan, form).to_string()
}

/// What the operator did: time and rows in PostgreSQL's words, then everything that it counted.
/// The time is what its partitions computed, without that of its inputs, in milliseconds.
fn measured(plan: &dyn ExecutionPlan) -> Option<String> {
    let metrics = plan.metrics()?;
    let rows = metrics.output_rows().unwrap_or(0);
    let time = Duration::from_nanos(metrics.elapsed_compute().unwrap_or(0) as u64);
    let milliseconds = time.as_secs_f64() * 1e3;
    let metrics = metrics.aggregate_by_name();
    let metrics = metrics.sorted_for_display().timestamps_removed();
    Some(format!(
        "(actual time={milliseconds:.3} rows={rows}), metrics=[{metrics}]"
    ))
}

/// Bytes of files that are read again at most, looking for the damaged one.
const MAX_SEARCHED_BYTES: u64 = 1 << 30;

/// Adds the name of the damaged file to an error that the data caused.
///
/// Readers do not say which file they read. So, once a plan has failed, the Parquet files of
/// its scans are read one after another until one fails; the good path pays nothing for it.
pub(crate) async fn name_bad_file(
    plan: &Arc<dyn ExecutionPlan>,
    context: &TaskContext,
    error: EngineError,
) -> EngineError {
    if !error.is_bad_data() {
        return error;
    }
    let mut searched_bytes = 0;
    for scan in file_scans(plan) {
        let Ok(store) = context.runtime_env().object_store(&scan.object_store_url) else {
            continue;
        };
        for file in scan.file_groups.iter().flat_map(|group| group.iter()) {
            let path = &file.object_meta.location;
            searched_bytes += file.object_meta.size;
            if searched_bytes > MAX_SEARCHED_BYTES {
                return error;
            }
            if let Err(reason) = read_whole(&store, path).await {
                return EngineError::new(
                    error.sqlstate,
                    format!("could not read file \"/{path}\": {reason}"),
                );
            }
        }
    }
    error
}

fn file_scans(plan: &Arc<dyn ExecutionPlan>) -> Vec<FileScanConfig> {
    let mut scans = Vec::new();
    let mut open = vec![Arc::clone(plan)];
    while let Some(node) = open.pop() {
        if let Some(source) = node.downcast_ref::<DataSourceExec>()
            && let Some(config) = source.data_source().downcast_ref::<FileScanConfig>()
            && config.file_source().file_type() == "parquet"
        {
            scans.push(config.clone());
        }
        open.extend(node.children().into_iter().cloned());
    }
    scans
}

async fn read_whole(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<(), String> {
    let file = store.get(path).await.map_err(|e| e.to_string())?;
    match file.payload {
        GetResultPayload::File(file, _) => decode_apart(file).await,
        GetResultPayload::Stream(_) => {
            let bytes = store
                .get(path)
                .await
                .map_err(|e| e.to_string())?
                .bytes()
                .await;
            decode_apart(bytes.map_err(|e| e.to_string())?).await
        }
    }
}

/// Decoding keeps a thread busy, so it gets one of its own.
async fn decode_apart<R: ChunkReader + 'static>(reader: R) -> Result<(), String> {
    let decode = move || {
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(reader).map_err(|e| e.to_string())?;
        let mut batches = builder.build().map_err(|e| e.to_string())?;
        batches.try_for_each(|batch| batch.map(drop).map_err(|e| e.to_string()))
    };
    let decoded = tokio::task::spawn_blocking(decode).await;
    decoded.unwrap_or_else(|_| Err("the decoder panicked".to_owned()))
}
