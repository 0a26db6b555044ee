//! A bare `datafusion-postgres` server, the peer of `forebay bench latency`.
//!
//! `bare-datafusion-postgres PORT [DIR]` serves the sub-folders of DIR as Parquet tables.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_postgres::{ServerOptions, serve};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments
        .next()
        .context("usage: bare-datafusion-postgres PORT [DIR]")?;
    let config = SessionConfig::new().with_information_schema(true);
    let context = SessionContext::new_with_config(config);
    if let Some(folder) = arguments.next().map(PathBuf::from) {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|n| n.to_str())
                .unwrap_or_default()
                .to_owned();
            if path.is_dir() && !name.starts_with('.') {
                let location = format!("{}/", path.display());
                context
                    .register_parquet(name, location, ParquetReadOptions::default())
                    .await?;
            }
        }
    }
    setup_pg_catalog(&context, "datafusion", EmptyContextProvider).map_err(|e| *e)?;
    let options = ServerOptions::new().with_port(port.parse()?);
    serve(Arc::new(context), &options).await?;
    Ok(())
}
