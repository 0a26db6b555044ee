//! The query runtime: threads that plan and run, apart from the network's.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::EngineError;

/// Stack of a query thread, in bytes. Optimizer rules and expressions recurse with the depth of
/// the statement; memory is only taken as it is touched.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// A Tokio runtime whose threads do nothing but plan and run statements.
pub(crate) struct QueryRuntime {
    handle: Handle,
    // Dropping a runtime inside another one's context panics, so it is handed to a thread.
    owned: Option<Runtime>,
}

impl QueryRuntime {
    pub(crate) fn start(threads: usize) -> Result<Self, EngineError> {
        let serial = AtomicUsize::new(0);
        let owned = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_stack_size(STACK_BYTES)
            .thread_name_fn(move || format!("query-{}", serial.fetch_add(1, Ordering::Relaxed)))
            .enable_all()
            .build()
            .map_err(|e: io::Error| EngineError::internal(format!("query runtime: {e}")))?;
        Ok(Self {
            handle: owned.handle().clone(),
            owned: Some(owned),
        })
    }

    /// Runs `work` to its end; dropping the returned future aborts it.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let mut task = AbortOnDrop(self.handle.spawn(caught(work)));
        match (&mut task.0).await {
            Ok(result) => result,
            Err(error) => Err(EngineError::internal(format!("query task: {error}"))),
        }
    }

    /// Starts `work`, which reports through channels of its own; dropping the handle aborts it.
    pub(crate) fn spawn<F>(&self, work: F) -> AbortOnDrop<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        AbortOnDrop(self.handle.spawn(work))
    }
}

impl Drop for QueryRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.owned.take() {
            runtime.shutdown_background();
        }
    }
}

/// Turns a panic of `work` into an error.
pub(crate) async fn caught<T, E, F>(work: F) -> Result<T, E>
where
    E: From<EngineError>,
    F: Future<Output = Result<T, E>>,
{
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(EngineError::panicked(panic.as_ref()).into()),
    }
}

/// A task that ends when its handle is dropped.
#[derive(Debug)]
pub(crate) struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
