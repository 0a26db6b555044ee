//! SQL cursors: `DECLARE`, `FETCH`, `MOVE`, `CLOSE`.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use forebay_sql::FetchDirection;
use tokio::sync::Mutex;

use crate::rows::Rows;
use crate::{Error, Result};

/// The rows of a cursor, shared between the cursor and the `FETCH` that reads them.
#[derive(Debug)]
pub(crate) struct CursorRows {
    schema: SchemaRef,
    rows: Mutex<Rows>,
}

impl CursorRows {
    pub(crate) fn new(rows: Rows) -> Arc<Self> {
        Arc::new(Self {
            schema: Arc::clone(rows.schema()),
            rows: Mutex::new(rows),
        })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows, at most `limit`; `None` at the end or when `limit` is 0.
    pub(crate) async fn next(&self, limit: Option<u64>) -> Result<Option<RecordBatch>> {
        if limit == Some(0) {
            return Ok(None);
        }
        let limit = limit.map(|l| usize::try_from(l).unwrap_or(usize::MAX));
        // Boxed, because a FETCH's own rows are read through here as well.
        Box::pin(self.rows.lock().await.next_unwatched(limit)).await
    }

    /// Rows that have been read.
    async fn position(&self) -> u64 {
        self.rows.lock().await.returned()
    }
}

#[derive(Debug)]
struct Cursor {
    rows: Arc<CursorRows>,
    hold: bool,
    /// Whether the transaction that declared it has committed.
    committed: bool,
    /// Savepoints that were open when it was declared.
    depth: usize,
}

/// The open cursors of a session.
#[derive(Debug, Default)]
pub(crate) struct Cursors(BTreeMap<String, Cursor>);

impl Cursors {
    pub(crate) fn check_free(&self, name: &str) -> Result<()> {
        if self.0.contains_key(name) {
            return Err(Error::new(
                "42P03",
                format!("cursor \"{name}\" already exists"),
            ));
        }
        Ok(())
    }

    pub(crate) fn declare(&mut self, name: String, rows: Rows, hold: bool, depth: usize) {
        let cursor = Cursor {
            rows: CursorRows::new(rows),
            hold,
            committed: false,
            depth,
        };
        self.0.insert(name, cursor);
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Arc<CursorRows>> {
        let cursor = self.0.get(name).map(|c| &c.rows);
        cursor.ok_or_else(|| unknown(name))
    }

    pub(crate) fn close(&mut self, name: &str) -> Result<()> {
        self.0.remove(name).map(drop).ok_or_else(|| unknown(name))
    }

    pub(crate) fn close_all(&mut self) {
        self.0.clear();
    }

    /// A transaction has committed: cursors without hold end with it.
    pub(crate) fn commit(&mut self) {
        self.0.retain(|_, cursor| cursor.hold);
        for cursor in self.0.values_mut() {
            cursor.committed = true;
        }
    }

    /// Undoes the declarations after a savepoint, `depth` being the savepoints still open.
    pub(crate) fn close_deeper_than(&mut self, depth: usize) {
        self.0.retain(|_, c| c.committed || c.depth < depth);
    }

    /// A transaction has rolled back: everything that it declared ends with it.
    pub(crate) fn roll_back(&mut self) {
        self.0.retain(|_, cursor| cursor.committed);
    }
}

fn unknown(name: &str) -> Error {
    Error::new("34000", format!("cursor \"{name}\" does not exist"))
}

/// How many rows to skip and then to return (`None`: all that are left), for a cursor that
/// stands after its row `position`.
pub(crate) async fn forward_steps(
    cursor: &CursorRows,
    direction: FetchDirection,
) -> Result<(u64, Option<u64>)> {
    let position = cursor.position().await;
    match direction {
        FetchDirection::Next => Ok((0, Some(1))),
        FetchDirection::Forward(n) if n > 0 => Ok((0, Some(n.unsigned_abs()))),
        FetchDirection::ForwardAll => Ok((0, None)),
        FetchDirection::Relative(n) if n > 0 => Ok((n.unsigned_abs() - 1, Some(1))),
        FetchDirection::First if position == 0 => Ok((0, Some(1))),
        FetchDirection::Absolute(n) if n > 0 && n.unsigned_abs() > position => {
            Ok((n.unsigned_abs() - position - 1, Some(1)))
        }
        _ => Err(Error::new("55000", "cursor can only scan forward")
            .with_hint("Close the cursor and declare it again to read from its start.")),
    }
}
