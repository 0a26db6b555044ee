//! From a query to its row of `forebay.query_live` and `forebay.query_log`.

use std::time::Duration;

use crate::profile::Totals;
use crate::{Query, QueryRecord};

impl Query {
    /// What is known of it now, flat.
    pub fn record(&self) -> QueryRecord {
        let (info, facts) = (self.info(), self.facts());
        let totals = self.totals();
        let total = |of: fn(&Totals) -> u64| totals.as_ref().map(of);
        let ended = self.state().is_final();
        QueryRecord {
            session_id: info.session_id,
            protocol: info.protocol.into(),
            client_address: info.client_address.to_string(),
            application_name: info.application_name.to_string(),
            role: info.role.to_string(),
            effective_role: info.effective_role.to_string(),
            database: info.database.to_string(),
            queue: facts.queue.as_ref().map(ToString::to_string),
            statement: info.statement.to_string(),
            statement_type: info.statement_type.into(),
            state: self.state(),
            status: ended.then(|| self.error().unwrap_or_else(|| "OK".to_owned())),
            sqlstate: self.sqlstate(),
            end_time: self.ended_at(),
            total_us: Some(micros(self.duration())),
            queue_wait_us: Some(micros(facts.queue_wait)),
            lock_wait_us: Some(micros(facts.lock_wait)),
            planning_us: totals.map(|_| micros(facts.planning)),
            execution_us: facts
                .started_us
                .map(|at| micros(self.duration()).saturating_sub(at)),
            fetch_us: facts.started_us.map(|_| micros(facts.fetch_wait)),
            unregister_us: self.archived_after().map(micros),
            rows_returned: Some(facts.rows_returned),
            rows_read: total(|t| t.rows_read),
            bytes_read: total(|t| t.bytes_read),
            files_pruned: total(|t| t.files_pruned),
            row_groups_pruned: total(Totals::row_groups_pruned),
            estimated_cost: facts.estimated_cost,
            cpu_us: total(|t| t.compute_time_ns / 1000),
            memory_estimate_bytes: facts.memory_estimate_bytes,
            memory_peak_bytes: total(|t| t.peak_memory_bytes),
            spilled_bytes: total(|t| t.spilled_bytes),
            tables: Some(facts.tables.clone()),
            columns_used: facts.columns.as_ref().map(|columns| columns.to_vec()),
            overcommitted: Some(facts.overcommitted),
            stepped_aside: Some(facts.stepped_aside.into()),
            cache_hits: facts.cache_hits.map(u64::from),
            error: self.error(),
            ..QueryRecord::new(self.id(), self.serial(), self.started_at())
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
