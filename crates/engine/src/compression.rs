//! How the Parquet files that a statement writes are compressed: as its session says.
//!
//! DataFusion keeps the way to compress with a table. Everybody shares the table's provider, and its
//! planner refuses that option for Parquet; so a table has none, and the plan of a statement that
//! writes to it is given the session's.

use std::sync::Arc;

use datafusion::common::file_options::parquet_writer::parse_compression_string;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::physical_plan::FileSink;
use datafusion::datasource::physical_plan::parquet::ParquetSink;
use datafusion::datasource::sink::DataSinkExec;
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::parquet::basic::Compression;
use datafusion::physical_plan::ExecutionPlan;

use crate::EngineError;

/// The option of a session that says how its statements compress Parquet files.
pub const PARQUET_COMPRESSION: &str = "datafusion.execution.parquet.compression";

/// Levels of ZSTD above this one take hundreds of megabytes for each column that is being written,
/// which no memory pool accounts for.
const MAX_FRUGAL_ZSTD_LEVEL: i32 = 19;

/// The plan of a statement that writes to a table, with the session's way to compress.
///
/// # Errors
/// What DataFusion makes the writer's plan with.
pub(crate) async fn as_session_says(
    plan: Arc<dyn ExecutionPlan>,
    state: &SessionState,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(writer) = plan.downcast_ref::<DataSinkExec>() else {
        return Ok(plan);
    };
    let Some(sink) = writer.sink().downcast_ref::<ParquetSink>() else {
        return Ok(plan);
    };
    let wanted = &state.config_options().execution.parquet.compression;
    let mut options = sink.parquet_options().clone();
    if options.global.compression == *wanted {
        return Ok(plan);
    }
    options.global.compression.clone_from(wanted);
    ParquetFormat::default()
        .with_options(options)
        .create_writer_physical_plan(
            Arc::clone(writer.input()),
            state,
            sink.config().clone(),
            writer.sort_order().clone(),
        )
        .await
}

/// Checks a value of [`PARQUET_COMPRESSION`]: DataFusion itself looks at it when it writes.
///
/// # Errors
/// `22023` for what is no way to compress, `42501` for one that takes much memory unless
/// `may_take_memory`.
pub fn check_parquet_compression(value: &str, may_take_memory: bool) -> Result<(), EngineError> {
    match parse_compression_string(value) {
        Ok(Compression::ZSTD(level))
            if level.compression_level() > MAX_FRUGAL_ZSTD_LEVEL && !may_take_memory =>
        {
            let message = format!(
                "levels of ZSTD above {MAX_FRUGAL_ZSTD_LEVEL} take much memory and are for superusers"
            );
            Err(EngineError::new("42501", message))
        }
        Ok(_) => Ok(()),
        Err(_) => {
            let message =
                format!("invalid value for parameter \"{PARQUET_COMPRESSION}\": \"{value}\"");
            Err(EngineError::new("22023", message).with_hint(
                "There are uncompressed, snappy, lz4, lz4_raw, gzip(0) to gzip(9), brotli(0) to \
                 brotli(11) and zstd(1) to zstd(22).",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check_parquet_compression;

    #[test]
    fn ways_to_compress_are_checked() {
        for (value, expected) in [
            ("zstd(19)", None),
            ("ZSTD(3)", None),
            ("snappy", None),
            ("uncompressed", None),
            ("lz4", None),
            ("zstd(20)", Some("42501")),
            ("zstd(99)", Some("22023")),
            ("zstd", Some("22023")),
            ("snappy(1)", Some("22023")),
            ("gzip(10)", Some("22023")),
            ("rot13", Some("22023")),
            ("", Some("22023")),
        ] {
            let checked = check_parquet_compression(value, false);
            assert_eq!(checked.err().map(|e| e.sqlstate), expected, "{value}");
        }
        assert!(check_parquet_compression("zstd(22)", true).is_ok());
    }
}
