//! The portals of a session: SQL's cursors and the protocol's portals, in one table by one name.
//!
//! What a portal holds (its query in the registry, slot and charge, its plan) is in its
//! [`PortalRows`] and nowhere else, and is given back when its rows have come to their end, have
//! failed, or the portal goes. When a portal goes is said here and nowhere else:
//!
//! | event | portals that end |
//! | --- | --- |
//! | commit | all but those `WITH HOLD`, which from then on belong to the session |
//! | rollback | all that do not belong to the session yet |
//! | an error in a block | those, unless they were there before the last savepoint |
//! | `ROLLBACK TO` a savepoint | those that were made after it |
//! | `CLOSE`, `CLOSE ALL`, `DISCARD ALL`, `Close` | the ones named; all |
//! | a cancel of their query while nobody reads them | their rows only |
//! | `idle_cursor_timeout` | their rows only: the name stays and says what has happened |

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::scalar::ScalarValue;
use forebay_engine::CursorRow;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use crate::interrupt::Interrupt;
use crate::limits::{self, Kept};
use crate::prepared::Prepared;
use crate::rows::Rows;
use crate::sessions::SessionHandle;
use crate::{Error, Result, settings};

/// The rows of a portal, shared between the portal and whatever reads them now.
#[derive(Debug)]
pub(crate) struct PortalRows {
    schema: SchemaRef,
    rows: Arc<Mutex<Rows>>,
}

impl PortalRows {
    pub(crate) fn new(rows: Rows) -> Arc<Self> {
        Arc::new(Self {
            schema: Arc::clone(rows.schema()),
            rows: Arc::new(Mutex::new(rows)),
        })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows for one reader.
    pub(crate) async fn read(&self) -> OwnedMutexGuard<Rows> {
        Arc::clone(&self.rows).lock_owned().await
    }

    /// The next rows, at most `limit`; `None` at the end or when `limit` is 0. For the statement
    /// `FETCH`, which is watched itself.
    pub(crate) async fn next(&self, limit: Option<u64>) -> Result<Option<RecordBatch>> {
        if limit == Some(0) {
            return Ok(None);
        }
        let limit = limit.map(|l| usize::try_from(l).unwrap_or(usize::MAX));
        let mut rows = self.rows.lock().await;
        // Boxed, because a FETCH's own rows are read through here as well.
        let next = Box::pin(rows.next_unwatched(limit)).await;
        rows.suspend();
        next
    }

    /// Rows that have been read.
    pub(crate) async fn position(&self) -> u64 {
        self.rows.lock().await.returned()
    }

    /// Looks at the rows unless somebody reads them.
    fn at_rest<T>(&self, look: impl FnOnce(&mut Rows) -> T) -> Option<T> {
        self.rows.try_lock().ok().map(|mut rows| look(&mut rows))
    }
}

impl Drop for Portal {
    /// Another portal may be in the middle of a `FETCH` from this one, and share its rows.
    fn drop(&mut self) {
        if let State::Open(rows) = &self.state {
            rows.at_rest(Rows::stop);
        }
    }
}

/// How far a portal has come.
#[derive(Debug)]
enum State {
    /// Bound and never executed.
    New(Vec<ScalarValue>),
    /// Its statement is beginning now.
    Active,
    /// It has begun, and its rows may have come to their end.
    Open(Arc<PortalRows>),
    /// It cannot be executed again: it was a command, or it failed.
    Spent,
    /// It was idle for longer than this.
    Expired(Duration),
}

/// A statement on its way, with a name.
#[derive(Debug)]
struct Portal {
    state: State,
    /// What was bound; `None` for a cursor of SQL.
    bound: Option<Bound>,
    /// Its columns; `None` when it returns no rows.
    schema: Option<SchemaRef>,
    hold: bool,
    /// Whether the transaction that made it has committed, so that it is the session's now.
    committed: bool,
    /// Savepoints that were open when it was made.
    depth: usize,
    /// What it keeps of what the client has sent.
    _kept: Kept,
}

/// What the protocol's `Bind` made of a portal.
#[derive(Debug, Clone)]
struct Bound {
    prepared: Arc<Prepared>,
    /// Result formats, for the front end.
    formats: Arc<[i16]>,
}

/// A portal's place in `pg_cursors`.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    statement: Arc<str>,
    hold: bool,
    created: DateTime<Utc>,
}

/// What others see of a session's portals.
pub(crate) type Listing = parking_lot::Mutex<HashMap<String, Listed>>;

/// The rows of `pg_cursors`, in the order of their names.
pub(crate) fn listed(listing: &Listing) -> Vec<CursorRow> {
    let listing = listing.lock();
    let mut rows: Vec<CursorRow> = listing
        .iter()
        .map(|(name, portal)| CursorRow {
            name: name.clone(),
            statement: portal.statement.to_string(),
            holdable: portal.hold,
            created: portal.created,
        })
        .collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}

/// What to do for an `Execute`.
pub(crate) enum Begin {
    /// Run this statement with these values, and tell [`Portals::begun`] how it went.
    Run(Arc<Prepared>, Vec<ScalarValue>),
    /// Read on.
    Read(Arc<PortalRows>),
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

/// A portal that is about to be bound.
pub(crate) struct Binding {
    pub(crate) name: String,
    pub(crate) prepared: Arc<Prepared>,
    /// The columns that it returns.
    pub(crate) schema: Option<SchemaRef>,
    pub(crate) values: Vec<ScalarValue>,
    pub(crate) formats: Vec<i16>,
    pub(crate) depth: usize,
    pub(crate) kept: Kept,
}

/// The portals of a session by name.
#[derive(Debug)]
pub(crate) struct Portals {
    by_name: BTreeMap<String, Portal>,
    /// Where others see them.
    handle: Arc<SessionHandle>,
}

impl Portals {
    pub(crate) fn new(handle: Arc<SessionHandle>) -> Self {
        Self {
            by_name: BTreeMap::new(),
            handle,
        }
    }

    /// Whether the transaction may declare one more cursor that takes part in a slot, `limit` being
    /// `max_resource_portals_per_transaction`.
    pub(crate) fn check_governed(&self, limit: usize) -> Result<()> {
        let cursors = self.by_name.values();
        let governed = cursors.filter(|p| p.bound.is_none() && !p.committed && p.is_governed());
        if governed.count() < limit {
            return Ok(());
        }
        Err(limits::too_many(
            "cursors with a slot of a resource queue",
            limits::RESOURCE_PORTALS,
            limit,
        ))
    }

    /// Whether a portal `name` can be made, `limit` being `max_portals`. The unnamed one can
    /// always be: it replaces its predecessor.
    pub(crate) fn check_free(&self, name: &str, limit: usize) -> Result<()> {
        if name.is_empty() {
            return Ok(());
        }
        if self.by_name.contains_key(name) {
            return Err(Error::new(
                "42P03",
                format!("cursor \"{name}\" already exists"),
            ));
        }
        let unnamed = usize::from(self.by_name.contains_key(""));
        if self.by_name.len() - unnamed >= limit {
            return Err(limits::too_many(
                "portals and cursors",
                limits::PORTALS,
                limit,
            ));
        }
        Ok(())
    }

    /// Adds a cursor of SQL, whose name is free.
    pub(crate) fn declare(&mut self, declaration: Declaration, rows: Rows) {
        let rows = PortalRows::new(rows);
        let portal = Portal {
            schema: Some(Arc::clone(rows.schema())),
            state: State::Open(rows),
            bound: None,
            hold: declaration.hold,
            committed: false,
            depth: declaration.depth,
            _kept: Kept::default(),
        };
        self.insert(declaration.name, portal, declaration.statement);
    }

    /// Adds a portal of the protocol, whose name is free.
    pub(crate) fn bind(&mut self, binding: Binding) {
        let statement = binding.prepared.text();
        let portal = Portal {
            schema: binding.schema,
            state: State::New(binding.values),
            bound: Some(Bound {
                prepared: binding.prepared,
                formats: binding.formats.into(),
            }),
            hold: false,
            committed: false,
            depth: binding.depth,
            _kept: binding.kept,
        };
        self.insert(binding.name, portal, statement);
    }

    fn insert(&mut self, name: String, portal: Portal, statement: Arc<str>) {
        let listed = Listed {
            statement,
            hold: portal.hold,
            created: Utc::now(),
        };
        self.handle.portals.lock().insert(name.clone(), listed);
        self.by_name.insert(name, portal);
    }

    /// The columns of a portal (`None`: it returns no rows) and its result formats.
    pub(crate) fn describe(&self, name: &str) -> Option<(Option<SchemaRef>, Arc<[i16]>)> {
        let portal = self.by_name.get(name)?;
        let formats = portal.bound.as_ref().map(|b| Arc::clone(&b.formats));
        Some((portal.schema.clone(), formats.unwrap_or_default()))
    }

    /// What an `Execute` of portal `name` has to do; `None` when there is no such portal.
    pub(crate) fn begin(&mut self, name: &str) -> Option<Result<Begin>> {
        let portal = self.by_name.get_mut(name)?;
        let state = std::mem::replace(&mut portal.state, State::Active);
        Some(match (state, &portal.bound) {
            (State::New(values), Some(bound)) => {
                if bound.prepared.parsed().is_none() {
                    portal.state = State::New(Vec::new());
                }
                Ok(Begin::Run(Arc::clone(&bound.prepared), values))
            }
            (state, _) => {
                portal.state = state;
                portal.rows(name).map(|rows| Begin::Read(Arc::clone(rows)))
            }
        })
    }

    /// The statement of portal `name` has begun: here are its rows, if it returns any.
    pub(crate) fn begun(&mut self, name: &str, rows: Option<Arc<PortalRows>>) {
        // What it did may have closed it: a COMMIT, a CLOSE ALL.
        if let Some(portal) = self.by_name.get_mut(name)
            && matches!(portal.state, State::Active)
        {
            portal.state = rows.map_or(State::Spent, State::Open);
        }
    }

    /// The statement of portal `name`, if it returns rows and has not begun.
    pub(crate) fn not_begun(&self, name: &str) -> Option<&Arc<Prepared>> {
        let portal = self.by_name.get(name)?;
        let bound = portal.bound.as_ref().filter(|_| portal.schema.is_some())?;
        matches!(portal.state, State::New(_)).then_some(&bound.prepared)
    }

    /// The rows of a portal that has begun, for `FETCH`.
    pub(crate) fn get(&self, name: &str) -> Result<&Arc<PortalRows>> {
        let portal = self.by_name.get(name);
        portal.ok_or_else(|| unknown(name))?.rows(name)
    }

    /// The columns of a portal, for `FETCH`.
    pub(crate) fn schema(&self, name: &str) -> Option<SchemaRef> {
        self.by_name.get(name)?.schema.clone()
    }

    /// `CLOSE name`.
    pub(crate) fn close(&mut self, name: &str) -> Result<()> {
        let portal = self.by_name.get(name).ok_or_else(|| unknown(name))?;
        if matches!(portal.state, State::Active) {
            return Err(Error::new(
                "24000",
                format!("cannot drop active portal \"{name}\""),
            ));
        }
        self.forget(name);
        Ok(())
    }

    /// The protocol's `Close`, to which a missing portal is no error.
    pub(crate) fn forget(&mut self, name: &str) {
        if self.by_name.remove(name).is_some() {
            self.handle.portals.lock().remove(name);
        }
    }

    /// All but the one that this comes from.
    pub(crate) fn close_all(&mut self) {
        self.keep(|portal| matches!(portal.state, State::Active));
    }

    /// A transaction has committed.
    pub(crate) fn commit(&mut self) {
        self.keep(|portal| portal.hold);
        for portal in self.by_name.values_mut() {
            portal.committed = true;
        }
    }

    /// A transaction has rolled back.
    pub(crate) fn roll_back(&mut self) {
        self.keep(|portal| portal.committed);
    }

    /// A block has failed in which `depth` savepoints are open.
    pub(crate) fn fail(&mut self, depth: usize) {
        self.keep(|portal| portal.committed || portal.depth < depth);
    }

    /// `ROLLBACK TO` the savepoint number `depth`.
    pub(crate) fn roll_back_to(&mut self, depth: usize) {
        self.keep(|portal| portal.committed || portal.depth < depth);
    }

    /// `RELEASE` has left `depth` savepoints open: what was made after the others belongs to
    /// what is around them.
    pub(crate) fn release(&mut self, depth: usize) {
        for portal in self.by_name.values_mut() {
            portal.depth = portal.depth.min(depth);
        }
    }

    /// When the first portal has been idle for `limit`; `None` when none is idle.
    pub(crate) fn next_expiry(&self, limit: Duration) -> Option<Instant> {
        let idle = self.by_name.values().filter_map(Portal::idle_since);
        idle.min().map(|since| since + limit)
    }

    /// Ends the rows of the portals that have been idle for `limit`.
    pub(crate) fn expire(&mut self, limit: Duration) {
        let now = Instant::now();
        for (name, portal) in &mut self.by_name {
            if portal
                .idle_since()
                .is_some_and(|since| since + limit <= now)
                && let State::Open(rows) =
                    std::mem::replace(&mut portal.state, State::Expired(limit))
            {
                rows.at_rest(|rows| rows.fail(&expired(name, limit)));
            }
        }
    }

    /// Ends the rows of the portals whose statement somebody has cancelled while nobody read them.
    pub(crate) fn end_cancelled(&mut self) {
        for portal in self.by_name.values() {
            if let State::Open(rows) = &portal.state {
                rows.at_rest(|rows| {
                    if rows.is_cancelled() {
                        rows.fail(&Interrupt::Cancel.into());
                    }
                });
            }
        }
    }

    fn keep(&mut self, wanted: impl Fn(&Portal) -> bool) {
        if self.by_name.is_empty() {
            return;
        }
        let mut listing = self.handle.portals.lock();
        self.by_name.retain(|name, portal| {
            let keep = wanted(portal);
            if !keep {
                listing.remove(name);
            }
            keep
        });
    }
}

impl Portal {
    /// The rows of a portal that has begun and may be read.
    fn rows(&self, name: &str) -> Result<&Arc<PortalRows>> {
        match &self.state {
            State::Open(rows) if rows.at_rest(|rows| rows.has_failed()) == Some(true) => {
                Err(cannot_run(name))
            }
            State::Open(rows) => Ok(rows),
            State::New(_) => Err(no_rows(name)),
            State::Active | State::Spent => Err(cannot_run(name)),
            State::Expired(limit) => Err(expired(name, *limit)),
        }
    }

    /// Whether its statement has a slot of a resource queue.
    fn is_governed(&self) -> bool {
        match &self.state {
            State::Open(rows) => rows.at_rest(|rows| rows.queue().is_some()) == Some(true),
            _ => false,
        }
    }

    /// Since when it waits for its client, holding what its statement holds.
    fn idle_since(&self) -> Option<Instant> {
        match &self.state {
            State::Open(rows) => rows.at_rest(|rows| rows.suspended_since()).flatten(),
            _ => None,
        }
    }
}

fn unknown(name: &str) -> Error {
    Error::new("34000", format!("cursor \"{name}\" does not exist"))
}

fn cannot_run(name: &str) -> Error {
    Error::new("55000", format!("portal \"{name}\" cannot be run"))
}

fn no_rows(name: &str) -> Error {
    Error::new(
        "24000",
        format!("cannot fetch from portal \"{name}\": its statement is no query"),
    )
}

fn expired(name: &str, limit: Duration) -> Error {
    Error::from(Interrupt::IdleCursorTimeout)
        .with_detail(format!(
            "\"{name}\" waited for its client for longer than {}.",
            settings::show_duration(limit)
        ))
        .with_hint("Declare it again, and read on sooner or raise idle_cursor_timeout.")
}
