//! `forebay serve`: from a configuration to a running server, and back down.
#![allow(
    clippy::print_stdout,
    reason = "the operator reads what is served here"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use forebay_engine::EngineConfig;
use forebay_lifecycle::{
    ArchiveOptions, HistoryOptions, PoolSettings, QueryLogLimits, Redactor, Retention, Rotation,
};
use forebay_postgres::Tls;
use forebay_server::{Server, ServerConfig};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Effective, Sample};
use crate::{impala, observe};

/// Threads of the network runtime. It only moves bytes and decides who may run, so a few
/// threads keep up with thousands of connections.
const NETWORK_THREADS: usize = 2;

/// The folder in the data directory for what operators spill. It is emptied at each start.
const TEMP_FOLDER: &str = "temp";

/// Scale factor of `--sample tpch`.
const SAMPLE_SCALE: &str = "0.1";

/// How long sessions may take to end once they have been told to.
const TERMINATION_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Serves until it is told to stop.
pub fn run(effective: Effective) -> anyhow::Result<()> {
    let logs = observe::start_logging(&effective.config.log)?;
    raise_open_files(effective.config.max_connections);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NETWORK_THREADS)
        .thread_name("network")
        .thread_stack_size(forebay_sql::STACK_BYTES)
        .enable_all()
        .build()
        .context("cannot start the network runtime")?;
    let result = runtime.block_on(serve(effective, logs));
    // A statement that does not stop in time must not keep the process alive.
    runtime.shutdown_background();
    result
}

/// Each connection is an open file. The soft limit is often 1024 for the sake of old programs that
/// use `select`; a server takes what it is allowed.
fn raise_open_files(max_connections: usize) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) if files < max_connections as u64 => tracing::warn!(
            files,
            max_connections,
            "the limit of open files is below max_connections; raise it (ulimit -Hn)"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!("cannot raise the limit of open files: {error}"),
    }
}

async fn serve(effective: Effective, logs: forebay_web::Logs) -> anyhow::Result<()> {
    let settings = effective.settings();
    let config = effective.config;
    let started = Instant::now();
    // First of all, so that a signal during start-up is not lost.
    let mut signals = Signals::listen()?;
    let listener = listen(&config).await?;
    let hs2_listeners = impala::listen(&config).await?;
    let web_listener = observe::listen(config.web_listen).await?;
    let tls = tls(&config)?.map(Arc::new);
    let address = listener.local_addr()?;
    let server = open(&config, hs2_listeners.address().unwrap_or(address)).await?;
    let mut paths = config.paths.clone();
    if let Some(Sample::Tpch) = config.sample {
        paths.push(sample(&config.data_dir)?);
    }
    let tables = serve_paths(&server, &paths).await;
    println!("Forebay {}", env!("CARGO_PKG_VERSION"));
    println!("  data directory  {}", config.data_dir.display());
    println!("  tables          {}", summary(&tables));
    println!(
        "  PostgreSQL      {address}   (psql -h {} -p {})",
        address.ip(),
        address.port()
    );
    hs2_listeners.print()?;
    if let Some(listener) = &web_listener {
        println!("  web pages       http://{}/", listener.local_addr()?);
    }
    println!(
        "Ready after {:.1} s. Ctrl-C stops it.",
        started.elapsed().as_secs_f64()
    );
    let stop = CancellationToken::new();
    let limits = forebay_postgres::Limits {
        max_message_bytes: config.max_message_size_bytes,
        authentication_timeout: config.authentication_timeout,
        max_pending_connections: config.max_pending_connections,
    };
    let accepting = tokio::spawn(forebay_postgres::serve(
        server.clone(),
        listener,
        limits,
        tls.clone(),
        stop.clone(),
    ));
    let pages = web_listener.as_ref().map(TcpListener::local_addr);
    let hs2 = impala::options(&server, &config, tls.clone(), pages.transpose()?);
    let hs2 = tokio::spawn(hs2_listeners.serve(hs2, stop.clone()));
    // The pages show how the server stops, so they go last.
    let stop_pages = CancellationToken::new();
    let pages = web_listener.map(|listener| {
        let options = observe::options(server.clone(), logs, settings);
        tokio::spawn(forebay_web::serve(listener, options, stop_pages.clone()))
    });
    let audit_failed = tokio::select! {
        () = signals.until_stop(|| reload(tls.as_deref())) => None,
        why = server.audit_failed() => Some(why),
    };
    if let Some(why) = &audit_failed {
        tracing::error!("stopping, because an audit event could not be written: {why}");
    }
    stop.cancel();
    accepting.await?;
    shut_down(&server, &config, &mut signals).await;
    // Clients of HTTP that hold their connections do not hold up the end.
    hs2.abort();
    stop_pages.cancel();
    if let Some(pages) = pages {
        pages.await?.context("the web pages have failed")?;
    }
    server.close().await;
    println!("Stopped.");
    match audit_failed {
        Some(why) => bail!(
            "stopped because an audit event could not be written (abort_on_failed_audit_event): {why}"
        ),
        None => Ok(()),
    }
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    TcpListener::bind(config.pg_listen).await.with_context(|| {
        format!(
            "cannot listen on {} for PostgreSQL's clients; choose another address with --pg-listen",
            config.pg_listen
        )
    })
}

/// The certificate, if connections may be encrypted.
fn tls(config: &Config) -> anyhow::Result<Option<Tls>> {
    match (&config.tls_cert, &config.tls_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(Tls::load(certificate, key)?)),
        (Some(_), None) => {
            bail!("tls_cert is set, but not the key that belongs to it: set tls_key")
        }
        (None, Some(_)) => bail!("tls_key is set, but not its certificate: set tls_cert"),
    }
}

/// What takes secrets out of statements, and cuts those that are long.
fn redactor(config: &Config) -> anyhow::Result<Redactor> {
    let redactor = Redactor::new(config.max_kept_statement_size_bytes);
    match &config.redaction_rules_file {
        Some(rules) => redactor
            .with_rules_of(rules)
            .with_context(|| format!("cannot use the rules of {}", rules.display())),
        None => Ok(redactor),
    }
}

/// SIGHUP: reads again what may be read while the server runs.
fn reload(tls: Option<&Tls>) {
    match tls.map(Tls::reload) {
        None => tracing::info!("SIGHUP: nothing to read again"),
        Some(Ok(())) => tracing::info!("SIGHUP: the certificate and its key are read again"),
        Some(Err(error)) => tracing::error!("SIGHUP: the old certificate stays in use: {error}"),
    }
}

/// What names this server in profiles: one of its addresses, with the machine's name in the place of
/// one that stands for all.
fn coordinator(address: SocketAddr) -> String {
    match whoami::hostname() {
        Ok(name) if address.ip().is_unspecified() => format!("{name}:{}", address.port()),
        _ => address.to_string(),
    }
}

async fn open(config: &Config, address: SocketAddr) -> anyhow::Result<Server> {
    let bootstrap_role = whoami::username().context("cannot tell which user starts the server")?;
    let server_config = ServerConfig {
        bootstrap_role,
        redactor: redactor(config)?,
        max_connections: config.max_connections,
        superuser_reserved_connections: config.superuser_reserved_connections,
        query_log: QueryLogLimits {
            query_log_size: config.query_log_size,
            query_log_size_in_bytes: config.query_log_size_in_bytes,
        },
        unregistration_pool: PoolSettings {
            unregistration_thread_pool_size: config.unregistration_thread_pool_size,
            unregistration_thread_pool_queue_depth: config.unregistration_thread_pool_queue_depth,
        },
        archive: ArchiveOptions {
            profile_log: config.profile_log,
            audit_log: config.audit_log,
            rotation: Rotation {
                max_file_bytes: config.archive_log_file_size_bytes as u64,
                max_files: config.archive_log_files,
            },
            history: (config.query_history_days > 0).then(|| HistoryOptions {
                retention: Retention {
                    days: u32::try_from(config.query_history_days).ok(),
                    bytes: Some(config.query_history_size_bytes as u64),
                },
                ..HistoryOptions::default()
            }),
        },
        abort_on_failed_audit_event: config.abort_on_failed_audit_event,
        engine: EngineConfig {
            target_partitions: Some(config.target_partitions),
            batch_size: Some(config.batch_size),
            query_threads: None,
            memory_limit_bytes: config.memory_limit_bytes,
            temp_folder: Some(config.data_dir.join(TEMP_FOLDER)),
        },
        coordinator: coordinator(address).into(),
    };
    match Server::open(&config.data_dir, server_config).await {
        Ok(server) => Ok(server),
        Err(error) => {
            let more = [error.detail, error.hint].into_iter().flatten();
            let more: String = more.map(|text| format!("\n  {text}")).collect();
            bail!(
                "cannot open {}: {}{more}",
                config.data_dir.display(),
                error.message
            )
        }
    }
}

/// Makes the sample data if it is not there yet. A process of its own does it, because the
/// generator keeps a large text in memory that a server has no use for.
fn sample(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let out = data_dir.join("sample").join("tpch");
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let status = Command::new(program)
        .args(["tpch", "generate", "--scale", SAMPLE_SCALE, "--out"])
        .arg(&out)
        .status()
        .context("cannot start the generator of the sample data")?;
    if !status.success() {
        bail!("the sample data could not be made in {}", out.display());
    }
    Ok(out)
}

/// Serves every path; says which are not served, and why.
async fn serve_paths(server: &Server, paths: &[PathBuf]) -> Vec<String> {
    let mut tables = Vec::new();
    for path in paths {
        for result in server.serve_path(path).await {
            match result {
                Ok(name) => tables.push(name),
                Err(error) => {
                    let detail = error.detail.map(|d| format!(" ({d})")).unwrap_or_default();
                    eprintln!(
                        "forebay: not served: {}: {}{detail}",
                        path.display(),
                        error.message
                    );
                }
            }
        }
    }
    tables
}

fn summary(tables: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut text = match tables {
        [] => return "none on the command line".to_owned(),
        tables => format!(
            "{} ({}",
            tables.len(),
            tables[..tables.len().min(SHOWN)].join(", ")
        ),
    };
    text += if tables.len() > SHOWN { ", …)" } else { ")" };
    text
}

/// Lets running statements finish, then cancels them.
async fn shut_down(server: &Server, config: &Config, signals: &mut Signals) {
    server.begin_shutdown();
    let open = server.session_count();
    if open > 0 {
        println!(
            "Stopping: {open} sessions are open; running statements have {} to finish.",
            humantime::format_duration(config.shutdown_grace)
        );
    }
    tokio::select! {
        () = server.sessions_closed() => {}
        () = tokio::time::sleep(config.shutdown_grace) => terminate(server).await,
        () = signals.until_stop(|| reload(None)) => {
            println!("Stopping at once.");
            terminate(server).await;
        }
    }
}

async fn terminate(server: &Server) {
    server.terminate_sessions();
    let _ = tokio::time::timeout(TERMINATION_PATIENCE, server.sessions_closed()).await;
}

/// The signals that a server listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal to stop; reloads at each SIGHUP before it.
    async fn until_stop(&mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => reload(),
            }
        }
    }
}
