//! What an operator may choose about execution, and the DataFusion options that follow from it.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;

use crate::memory::ServerMemory;
use crate::{DATABASE, EngineError};

/// Parquet footers kept in memory, in bytes. Large enough for some ten thousand files.
const METADATA_CACHE_BYTES: usize = 256 * 1024 * 1024;

/// Column statistics kept in memory, in bytes.
const STATISTICS_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The operator's choices about execution.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// Partitions that a plan is split into; `None` is one per core.
    pub target_partitions: Option<usize>,
    /// Rows per batch; `None` is DataFusion's default.
    pub batch_size: Option<usize>,
    /// Workers of each query runtime; `None` is one per core.
    pub query_threads: Option<usize>,
    /// What the operators of all statements together may use, in bytes; `None` is 80 % of what
    /// the machine or the control group has.
    pub memory_limit_bytes: Option<usize>,
    /// The folder for what operators spill. It is emptied. `None` is a folder of this engine's
    /// own among the system's temporary files.
    pub temp_folder: Option<PathBuf>,
}

impl EngineConfig {
    /// Workers of each query runtime.
    pub(crate) fn query_threads(&self) -> usize {
        self.query_threads.unwrap_or_else(cores)
    }

    /// The options that every session starts from.
    #[must_use]
    pub fn session_config(&self) -> SessionConfig {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(DATABASE, "public")
            .with_create_default_catalog_and_schema(false)
            .with_target_partitions(self.target_partitions.unwrap_or_else(cores))
            .with_collect_statistics(true);
        if let Some(rows) = self.batch_size {
            config = config.with_batch_size(rows);
        }
        let options = config.options_mut();
        options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
        // `1.5` is numeric in PostgreSQL; as a float, `0.06 + 0.01` would miss 0.07.
        options.sql_parser.parse_float_as_decimal = true;
        options.sql_parser.collect_spans = true;
        // Makes `now()` a time with time zone.
        options.execution.time_zone = Some("+00:00".to_owned());
        options.execution.parquet.pushdown_filters = false;
        config
    }

    /// The memory and the folder for spilled data that all statements share.
    pub(crate) fn server_memory(&self) -> Result<ServerMemory, EngineError> {
        let folder = self.temp_folder.clone();
        Ok(ServerMemory::new(self.memory_limit_bytes, folder)?)
    }

    /// The caches that all statements share. Memory is DataFusion's default, without a limit.
    ///
    /// # Errors
    /// When DataFusion refuses the configuration.
    pub fn runtime_environment(&self) -> Result<Arc<RuntimeEnv>, EngineError> {
        // Listings are not cached: a file that has just been written must be seen by the next
        // statement. Footers and statistics are, keyed by size and modification time.
        let caches = CacheManagerConfig::default()
            .with_list_files_cache_limit(0)
            .with_metadata_cache_limit(METADATA_CACHE_BYTES)
            .with_file_statistics_cache_limit(STATISTICS_CACHE_BYTES);
        Ok(RuntimeEnvBuilder::new()
            .with_cache_manager(caches)
            .build_arc()?)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
