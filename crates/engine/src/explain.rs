//! What a plan looks like, and which file made it fail.

use std::sync::Arc;

use datafusion::arrow::array::StringArray;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::file::reader::ChunkReader;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt, path::Path};

use crate::EngineError;

/// How `EXPLAIN` shows a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExplainOptions {
    /// Run the plan and show what each operator did.
    pub analyze: bool,
    /// Show every property of each operator.
    pub verbose: bool,
}

/// PostgreSQL's answer to `EXPLAIN`: one text column.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "QUERY PLAN",
        DataType::Utf8,
        false,
    )]))
}

pub(crate) fn lines(
    plan: &dyn ExecutionPlan,
    options: ExplainOptions,
) -> Result<RecordBatch, EngineError> {
    let text = if options.analyze {
        DisplayableExecutionPlan::with_metrics(plan)
            .indent(options.verbose)
            .to_string()
    } else {
        DisplayableExecutionPlan::new(plan)
            .indent(options.verbose)
            .to_string()
    };
    let lines: StringArray = text.lines().map(Some).collect();
    Ok(RecordBatch::try_new(schema(), vec![Arc::new(lines)])
        .map_err(datafusion::error::DataFusionError::from)?)
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
