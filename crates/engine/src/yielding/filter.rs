//! The filter of a join, watched while it works.

use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_plan::PhysicalExpr;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc::WeakSender;

use crate::plan::{BatchSender, Delivery};

/// How long a thread evaluates filters before it lets another one take over its other tasks.
const TURN: Duration = Duration::from_millis(100);

/// How long the thread that takes over is given to wake up.
const HANDOVER: Duration = Duration::from_micros(200);

/// Who reads the rows of a plan, once it runs.
#[derive(Debug, Default)]
pub(crate) struct Reader(OnceLock<WeakSender<Delivery>>);

impl Reader {
    /// From now on the plan runs for whoever receives what `sender` sends.
    pub(crate) fn is_behind(&self, sender: &BatchSender) {
        // A plan runs once.
        let _ = self.0.set(sender.downgrade());
    }

    /// Whether there was one who has gone.
    fn has_gone(&self) -> bool {
        let gone = |weak: &WeakSender<_>| weak.upgrade().is_none_or(|sender| sender.is_closed());
        self.0.get().is_some_and(gone)
    }
}

/// A filter that fails when its plan's reader has gone, and lets others work on while it is
/// evaluated for long. Both happen inside of a poll that does not return meanwhile, where neither
/// dropping the plan nor a yield is possible.
#[derive(Debug)]
pub(super) struct WatchedFilter {
    filter: Arc<dyn PhysicalExpr>,
    reader: Arc<Reader>,
}

impl WatchedFilter {
    pub(super) fn new(filter: Arc<dyn PhysicalExpr>, reader: Arc<Reader>) -> Self {
        Self { filter, reader }
    }
}

/// The filter itself, for those who want to know what it says.
pub(crate) fn unwatched(filter: &dyn PhysicalExpr) -> &dyn PhysicalExpr {
    let watched = filter.downcast_ref::<WatchedFilter>();
    watched.map_or(filter, |watched| watched.filter.as_ref())
}

impl PhysicalExpr for WatchedFilter {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.reader.has_gone() {
            return exec_err!("the statement has ended");
        }
        let values = self.filter.evaluate(batch);
        if turn_is_over() {
            hand_over();
        }
        values
    }

    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.filter.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.filter.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.filter.return_field(schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.filter]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let filter = children.swap_remove(0);
        Ok(Arc::new(Self::new(filter, Arc::clone(&self.reader))))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filter.fmt_sql(f)
    }
}

impl fmt::Display for WatchedFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filter.fmt(f)
    }
}

impl PartialEq for WatchedFilter {
    fn eq(&self, other: &Self) -> bool {
        self.filter.eq(&other.filter)
    }
}

impl Eq for WatchedFilter {}

impl Hash for WatchedFilter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.filter.hash(state);
    }
}

/// Whether the calling thread has last handed over, or begun, a turn ago.
fn turn_is_over() -> bool {
    thread_local! {
        static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    let begun = BEGUN.get().unwrap_or(now);
    let is_over = now.duration_since(begun) >= TURN;
    BEGUN.set(Some(if is_over { now } else { begun }));
    is_over
}

/// Lets another thread of the runtime take over what waits for the calling one, which goes on with
/// its poll alone. It may fail, when the other one does not wake in time: there is a next turn.
fn hand_over() {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    if flavor.is_ok_and(|flavor| flavor == RuntimeFlavor::MultiThread) {
        tokio::task::block_in_place(|| std::thread::sleep(HANDOVER));
    }
}
