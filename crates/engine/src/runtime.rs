//! A query runtime: threads that plan and run, apart from the network's.

use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forebay_catalog::Priority;
use futures::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::{EngineError, priority};

/// Stack of a query thread, in bytes. Optimizer rules and expressions recurse with the depth of
/// the statement; memory is only taken as it is touched.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Threads beside the workers, which wait for files. There are as many as reads go on at once, so
/// usually a few for each statement. The limit is far above that, because a scan of a JSON array
/// keeps one while it waits for others.
const MAX_BLOCKING_THREADS: usize = 512;

/// How long a thread that waits for files is kept when it has none to wait for.
const BLOCKING_THREAD_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Bytes of a thread's name that Linux keeps.
const MAX_THREAD_NAME_BYTES: usize = 15;

/// Threads that do nothing but plan and run statements, all of one priority. Cheap to clone.
///
/// The threads end with the last clone: keep one for as long as a statement runs there.
#[derive(Clone)]
pub struct QueryRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    priority: Priority,
    handle: Handle,
    // Dropping a runtime inside another one's context panics, so it is handed to a thread.
    owned: Option<Runtime>,
}

impl QueryRuntime {
    /// Starts `workers` threads; `label` becomes a part of their names. The calling thread must
    /// not be nicer than `priority` asks for ([`priority::take_on`]).
    pub(crate) fn start(
        label: String,
        priority: Priority,
        workers: usize,
    ) -> Result<Self, EngineError> {
        let serial = AtomicUsize::new(0);
        let owned = Builder::new_multi_thread()
            .worker_threads(workers)
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .thread_keep_alive(BLOCKING_THREAD_KEEP_ALIVE)
            .thread_stack_size(STACK_BYTES)
            .thread_name_fn(move || thread_name(&label, serial.fetch_add(1, Ordering::Relaxed)))
            .on_thread_start(move || priority::take_on(priority))
            .enable_all()
            .build()
            .map_err(|e: io::Error| EngineError::internal(format!("query runtime: {e}")))?;
        Ok(Self {
            inner: Arc::new(Inner {
                priority,
                handle: owned.handle().clone(),
                owned: Some(owned),
            }),
        })
    }

    /// The priority of its threads.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.inner.priority
    }

    #[cfg(test)]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Runs `work` to its end; dropping the returned future aborts it.
    ///
    /// # Errors
    /// What `work` returns, or [`EngineError::panicked`] when it panicked.
    pub async fn run<T, F>(&self, work: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let mut task = self.spawn(caught(work));
        match (&mut task.task).await {
            Ok(result) => result,
            Err(error) => Err(EngineError::internal(format!("query task: {error}"))),
        }
    }

    /// Starts `work`; dropping the handle aborts it.
    pub(crate) fn spawn<F>(&self, work: F) -> RunningTask<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        RunningTask {
            task: self.inner.handle.spawn(work),
            runtime: self.clone(),
        }
    }

    /// Runs `work` on a thread that may block.
    pub(crate) async fn block<T, F>(&self, work: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, EngineError> + Send + 'static,
    {
        match self.inner.handle.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(EngineError::internal(format!("query thread: {error}"))),
        }
    }
}

impl fmt::Debug for QueryRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueryRuntime")
            .field(&self.priority())
            .finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.owned.take() {
            runtime.shutdown_background();
        }
    }
}

/// Keeps the number whole where the label is too long.
fn thread_name(label: &str, number: usize) -> String {
    let number = format!("-{number}");
    let room = MAX_THREAD_NAME_BYTES.saturating_sub(number.len());
    format!("{}{number}", &label[..label.floor_char_boundary(room)])
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

/// A task that ends when its handle is dropped, on a runtime that lives as long as the handle.
#[derive(Debug)]
pub(crate) struct RunningTask<T> {
    task: JoinHandle<T>,
    runtime: QueryRuntime,
}

impl<T> RunningTask<T> {
    pub(crate) fn runtime(&self) -> &QueryRuntime {
        &self.runtime
    }
}

impl<T> Drop for RunningTask<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::thread_name;

    #[test]
    fn long_names_keep_their_number() {
        assert_eq!(thread_name("query", 0), "query-0");
        assert_eq!(thread_name("q:pg_default", 17), "q:pg_default-17");
        assert_eq!(thread_name("q:a_long_name", 17), "q:a_long_nam-17");
        assert_eq!(thread_name("q:überübertragung", 3), "q:überübert-3");
    }
}
