//! SQL cursors: `DECLARE`, `FETCH`, `MOVE`, `CLOSE`.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use forebay_engine::CursorRow;
use forebay_sql::FetchDirection;
use tokio::sync::Mutex;

use crate::rows::Rows;
use crate::sessions::SessionHandle;
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
    statement: Arc<str>,
    declared: DateTime<Utc>,
    hold: bool,
    /// Whether the transaction that declared it has committed.
    committed: bool,
    /// Savepoints that were open when it was declared.
    depth: usize,
}

/// The open cursors of a session.
#[derive(Debug)]
pub(crate) struct Cursors {
    open: BTreeMap<String, Cursor>,
    /// Where others see them.
    handle: Arc<SessionHandle>,
}

/// A cursor that is about to be declared.
pub(crate) struct Declaration {
    pub(crate) name: String,
    /// The `DECLARE` statement.
    pub(crate) statement: Arc<str>,
    pub(crate) hold: bool,
    /// Savepoints that are open.
    pub(crate) depth: usize,
}

impl Cursors {
    pub(crate) fn new(handle: Arc<SessionHandle>) -> Self {
        Self {
            open: BTreeMap::new(),
            handle,
        }
    }

    fn publish(&self) {
        let rows = self.open.iter().map(|(name, cursor)| CursorRow {
            name: name.clone(),
            statement: cursor.statement.to_string(),
            holdable: cursor.hold,
            created: cursor.declared,
        });
        *self.handle.cursors.lock() = rows.collect();
    }

    pub(crate) fn check_free(&self, name: &str) -> Result<()> {
        if self.open.contains_key(name) {
            return Err(Error::new(
                "42P03",
                format!("cursor \"{name}\" already exists"),
            ));
        }
        Ok(())
    }

    pub(crate) fn declare(&mut self, declaration: Declaration, rows: Rows) {
        let cursor = Cursor {
            rows: CursorRows::new(rows),
            statement: declaration.statement,
            declared: Utc::now(),
            hold: declaration.hold,
            committed: false,
            depth: declaration.depth,
        };
        self.open.insert(declaration.name, cursor);
        self.publish();
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Arc<CursorRows>> {
        let cursor = self.open.get(name).map(|c| &c.rows);
        cursor.ok_or_else(|| unknown(name))
    }

    pub(crate) fn close(&mut self, name: &str) -> Result<()> {
        self.open.remove(name).ok_or_else(|| unknown(name))?;
        self.publish();
        Ok(())
    }

    pub(crate) fn close_all(&mut self) {
        self.keep(|_| false);
    }

    /// A transaction has committed: cursors without hold end with it.
    pub(crate) fn commit(&mut self) {
        self.keep(|cursor| cursor.hold);
        for cursor in self.open.values_mut() {
            cursor.committed = true;
        }
    }

    /// Undoes the declarations after a savepoint, `depth` being the savepoints still open.
    pub(crate) fn close_deeper_than(&mut self, depth: usize) {
        self.keep(|cursor| cursor.committed || cursor.depth < depth);
    }

    /// A transaction has rolled back: everything that it declared ends with it.
    pub(crate) fn roll_back(&mut self) {
        self.keep(|cursor| cursor.committed);
    }

    fn keep(&mut self, wanted: impl Fn(&Cursor) -> bool) {
        if !self.open.is_empty() {
            self.open.retain(|_, cursor| wanted(cursor));
            self.publish();
        }
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
