//! `BEGIN`, `COMMIT`, `ROLLBACK`, savepoints, `LOCK TABLE`.

use forebay_sql::TransactionModes;

use crate::settings::TRANSACTION_ISOLATION;
use crate::transaction::{Open, Transaction};
use crate::way::Answer;
use crate::{Error, Result, Session, limits};

use super::names::find_relation;

impl Session {
    /// `tag` is which of its two names the client used.
    pub(super) fn begin(&mut self, modes: TransactionModes, tag: &str) -> Result<Answer> {
        self.transaction = match std::mem::take(&mut self.transaction) {
            Transaction::Implicit(open) => Transaction::Block(open),
            other => {
                self.notice(
                    "WARNING",
                    "25001",
                    "there is already a transaction in progress",
                );
                other
            }
        };
        self.apply_modes(modes)?;
        Ok(Answer::Done(tag.to_owned()))
    }

    pub(super) async fn commit_block(&mut self, chain: bool) -> Result<Answer> {
        match std::mem::take(&mut self.transaction) {
            Transaction::Block(open) => {
                let modes = self.modes();
                self.commit(open).await?;
                self.begin_chained(chain, modes);
                Ok(Answer::Done("COMMIT".to_owned()))
            }
            Transaction::Failed(open) => Ok(self.end_by_rolling_back(*open, chain)),
            Transaction::Implicit(open) => {
                self.check_no_chain("COMMIT", chain)?;
                self.commit(open).await?;
                self.notice("WARNING", "25P01", "there is no transaction in progress");
                Ok(Answer::Done("COMMIT".to_owned()))
            }
            Transaction::None => Ok(Answer::Done("COMMIT".to_owned())),
        }
    }

    pub(super) fn roll_back_block(&mut self, chain: bool) -> Result<Answer> {
        match std::mem::take(&mut self.transaction) {
            Transaction::Block(open) | Transaction::Failed(open) => {
                Ok(self.end_by_rolling_back(*open, chain))
            }
            Transaction::Implicit(open) => {
                self.check_no_chain("ROLLBACK", chain)?;
                self.roll_back(*open);
                self.notice("WARNING", "25P01", "there is no transaction in progress");
                Ok(Answer::Done("ROLLBACK".to_owned()))
            }
            Transaction::None => Ok(Answer::Done("ROLLBACK".to_owned())),
        }
    }

    /// Outside a block there is nothing to chain to.
    fn check_no_chain(&self, what: &str, chain: bool) -> Result<()> {
        if chain {
            return Err(Error::new(
                "25P01",
                format!("{what} AND CHAIN can only be used in transaction blocks"),
            ));
        }
        Ok(())
    }

    fn end_by_rolling_back(&mut self, open: Open, chain: bool) -> Answer {
        let modes = self.modes();
        self.roll_back(open);
        self.begin_chained(chain, modes);
        Answer::Done("ROLLBACK".to_owned())
    }

    /// `AND CHAIN`: a new block of the same kind begins at once.
    fn begin_chained(&mut self, chain: bool, modes: (bool, String)) {
        if chain {
            let open = Open::new(&self.settings);
            self.transaction = Transaction::Block(open);
            self.settings.set_read_only(modes.0);
            self.settings.set_isolation(&modes.1);
        }
    }

    /// Whether the transaction is read only, and its isolation.
    fn modes(&self) -> (bool, String) {
        (
            self.is_read_only(),
            self.setting(TRANSACTION_ISOLATION).to_owned(),
        )
    }

    pub(super) fn savepoint(&mut self, name: &str) -> Result<Answer> {
        self.require_block("SAVEPOINT")?;
        let limit = self.settings.count(limits::SAVEPOINTS);
        if self.savepoint_depth() >= limit {
            return Err(limits::too_many("savepoints", limits::SAVEPOINTS, limit));
        }
        let settings = self.settings.clone();
        self.open_mut().savepoint(name.to_owned(), &settings);
        Ok(Answer::Done("SAVEPOINT".to_owned()))
    }

    /// Savepoints need a block that was begun: the statements of one message, a block to others,
    /// are none to them.
    fn require_block(&self, what: &str) -> Result<()> {
        match self.transaction {
            Transaction::Block(_) | Transaction::Failed(_) => Ok(()),
            Transaction::None | Transaction::Implicit(_) => Err(Error::new(
                "25P01",
                format!("{what} can only be used in transaction blocks"),
            )),
        }
    }

    /// Tells that a statement ends together with its effect.
    pub(super) fn warn_outside_block(&mut self, what: &str) {
        if !self.in_block() {
            let message = format!("{what} can only be used in transaction blocks");
            self.notice("WARNING", "25P01", message);
        }
    }

    pub(super) fn roll_back_to(&mut self, name: &str) -> Result<Answer> {
        self.require_block("ROLLBACK TO SAVEPOINT")?;
        let mut settings = self.settings.clone();
        let depth = self.open_mut().roll_back_to(name, &mut settings)?;
        self.portals.roll_back_to(depth);
        self.settings = settings;
        self.transaction = match std::mem::take(&mut self.transaction) {
            Transaction::Failed(open) => Transaction::Block(open),
            other => other,
        };
        self.state_superuser();
        Ok(Answer::Done("ROLLBACK".to_owned()))
    }

    pub(super) fn release(&mut self, name: &str) -> Result<Answer> {
        self.require_block("RELEASE SAVEPOINT")?;
        let depth = self.open_mut().release(name)?;
        self.portals.release(depth);
        Ok(Answer::Done("RELEASE".to_owned()))
    }

    /// The locks themselves were taken on the way here, like those of every statement.
    pub(super) fn lock_table(&mut self, names: &[Vec<String>]) -> Result<Answer> {
        let snapshot = self.snapshot();
        let path = self.settings.search_path(self.current_user());
        for name in names {
            if find_relation(&snapshot, &path, name).is_none() {
                return Err(Error::new(
                    "42P01",
                    format!("relation \"{}\" does not exist", name.join(".")),
                ));
            }
        }
        Ok(Answer::Done("LOCK TABLE".to_owned()))
    }
}
