//! DataFusion in this process, with the options and caches that the server gives it.

use std::path::Path;
use std::time::Instant;

use datafusion::prelude::SessionContext;
use forebay_engine::{CostConstants, EngineConfig, estimate};
use futures::StreamExt;
use tokio::runtime::Runtime;

/// A DataFusion with the tables of a folder.
pub struct InProcess {
    runtime: Runtime,
    context: SessionContext,
}

impl InProcess {
    /// Opens the TPC-H folder `data`.
    pub fn open(data: &Path) -> anyhow::Result<Self> {
        let config = EngineConfig::default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let session = config
            .session_config()
            .with_create_default_catalog_and_schema(true);
        let context = SessionContext::new_with_config_rt(session, config.runtime_environment()?);
        for entry in std::fs::read_dir(data)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
                continue;
            };
            if path.is_dir() && !name.starts_with('.') {
                let create = format!(
                    "CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{}/'",
                    path.display()
                );
                runtime.block_on(async { context.sql(&create).await?.collect().await })?;
            }
        }
        Ok(Self { runtime, context })
    }

    /// Plans `sql` and estimates what it costs; gives the seconds that one estimate takes.
    pub fn estimate_seconds(&self, sql: &str) -> anyhow::Result<f64> {
        const TIMES: u32 = 100;
        let planning = async { self.context.sql(sql).await?.create_physical_plan().await };
        let plan = self.runtime.block_on(planning)?;
        let environment = self.context.runtime_env();
        let footers = environment.cache_manager.get_file_metadata_cache();
        let constants = CostConstants::default();
        let batch_rows = self.context.copied_config().batch_size();
        let start = Instant::now();
        for _ in 0..TIMES {
            let estimates = estimate(plan.as_ref(), &constants, batch_rows, footers.as_ref());
            std::hint::black_box(estimates);
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(TIMES))
    }

    /// Runs `sql` and collects its rows; gives the seconds that it took.
    pub fn seconds(&self, sql: &str) -> anyhow::Result<f64> {
        self.runtime.block_on(async {
            let start = Instant::now();
            // Spawned, so that the main thread only waits, as a server's client does.
            let context = self.context.clone();
            let sql = sql.to_owned();
            let run = async move { context.sql(&sql).await?.collect().await };
            tokio::spawn(run).await??;
            Ok(start.elapsed().as_secs_f64())
        })
    }

    /// Runs `sql` and forgets its rows; gives their number and the seconds.
    pub fn stream(&self, sql: &str) -> anyhow::Result<(u64, f64)> {
        self.runtime.block_on(async {
            let start = Instant::now();
            let context = self.context.clone();
            let sql = sql.to_owned();
            let run = async move {
                let mut batches = context.sql(&sql).await?.execute_stream().await?;
                let mut rows = 0;
                while let Some(batch) = batches.next().await {
                    rows += batch?.num_rows() as u64;
                }
                Ok::<_, datafusion::error::DataFusionError>(rows)
            };
            let rows = tokio::spawn(run).await??;
            Ok((rows, start.elapsed().as_secs_f64()))
        })
    }
}
