//! What running statements may use: memory, and disk where memory ends.
//!
//! An operator asks its pool before it takes memory. What is refused makes it spill, if it can;
//! else its statement ends with `53200`. Each statement has a pool of its own (`pool.rs`), so a
//! statement that takes too much pays for it itself. Spilled data goes to files that belong to
//! the statement (`spill.rs`).
//!
//! The pools count what operators tell them. Not told are the batches on their way between
//! operators and what readers of files hold, so a process needs more than its pools; the default
//! limit leaves room for it (`machine.rs`).

mod held;
mod joins;
mod machine;
mod pool;
mod spill;
#[cfg(test)]
mod tests;
mod tuning;

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionConfig;

pub(crate) use held::held;
pub(crate) use joins::MergeLargeJoins;
use pool::{ServerPool, StatementPool};
use spill::SpillFolder;
pub(crate) use tuning::{planned, row_width, suits, tuned};

/// What a running statement may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryGrant {
    /// The most that its operators may hold together, in bytes; `None` is what the server has.
    pub limit_bytes: Option<u64>,
    /// Who vouches for the memory.
    pub source: MemorySource,
    /// The most that it may have spilled at one time, in bytes; `None` is no limit.
    pub temp_file_limit_bytes: Option<u64>,
}

/// Where a statement's memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemorySource {
    /// Its resource queue has granted its limit: so much is set aside for as long as it runs,
    /// and it is never refused inside the limit, whatever others use.
    Granted,
    /// Its resource queue lets it pass without a charge. Inside its limit it is never refused;
    /// nothing is set aside.
    Exempt,
    /// What grants leave, first come, first served.
    Rest,
    /// The same, and a part that nobody else gets: an administrator must get in.
    Reserve,
}

/// What is in use, for `forebay.memory`. All but the number of files in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MemoryStatus {
    /// What the operators of all statements together may use.
    pub(crate) limit: usize,
    /// What is set aside for statements with a grant.
    pub(crate) granted: usize,
    /// What these use.
    pub(crate) granted_used: usize,
    /// What all others use.
    pub(crate) rest_used: usize,
    pub(crate) temp_files: usize,
    pub(crate) temp_bytes: u64,
}

/// The server's memory for operators, and its folder for what they spill. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ServerMemory {
    pool: Arc<ServerPool>,
    spill: Arc<SpillFolder>,
}

impl ServerMemory {
    /// A pool of `limit_bytes`, by default what the machine can give, and an empty folder.
    /// Without a path it is made among the system's temporary files when the first is written.
    ///
    /// # Errors
    /// When the folder cannot be made or emptied.
    pub(crate) fn new(limit_bytes: Option<usize>, folder: Option<PathBuf>) -> Result<Self> {
        let limit_bytes = limit_bytes.unwrap_or_else(machine::default_limit_bytes);
        Ok(Self {
            pool: Arc::new(ServerPool::new(limit_bytes)),
            spill: Arc::new(SpillFolder::open(folder)?),
        })
    }

    pub(crate) fn limit_bytes(&self) -> usize {
        self.pool.limit_bytes()
    }

    pub(crate) fn status(&self) -> MemoryStatus {
        let (temp_files, temp_bytes) = self.spill.in_use();
        MemoryStatus {
            temp_files,
            temp_bytes,
            ..self.pool.status()
        }
    }

    /// The environment of a statement. Its caches are those of all; its pool and its spilled
    /// files are its own.
    pub(crate) fn environment(&self, all: &RuntimeEnv, grant: &MemoryGrant) -> Arc<RuntimeEnv> {
        Arc::new(RuntimeEnv {
            memory_pool: self.statement_pool(grant),
            disk_manager: self.spill.manager(grant.temp_file_limit_bytes),
            ..all.clone()
        })
    }

    /// The environment of what belongs to no statement of a session, such as constants that are
    /// worked out while planning.
    pub(crate) fn common_environment(&self, all: &RuntimeEnv) -> Arc<RuntimeEnv> {
        let grant = MemoryGrant {
            limit_bytes: None,
            source: MemorySource::Reserve,
            temp_file_limit_bytes: None,
        };
        self.environment(all, &grant)
    }

    /// `config` for running a plan without a limit of its own; `None` where it is right as it is.
    pub(crate) fn tuned(&self, config: &SessionConfig) -> Option<SessionConfig> {
        tuning::with_reserve(config, self.limit_bytes() / pool::RESERVED_PART)
    }

    fn statement_pool(&self, grant: &MemoryGrant) -> Arc<dyn MemoryPool> {
        let limit = grant.limit_bytes.map(bytes);
        let server = Arc::clone(&self.pool);
        Arc::new(StatementPool::new(server, limit, grant.source))
    }
}

/// The most that a statement with this pool has had at one time, in words.
pub(crate) fn peak_text(pool: &dyn MemoryPool) -> Option<String> {
    Some(pool.downcast_ref::<StatementPool>()?.peak_text())
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
