//! From a query to its row of `forebay.query_live` and `forebay.query_log`.

use std::time::Duration;

use crate::profile::build::{
    BYTES_READ, COMPUTE_TIME, PEAK_MEMORY, PRUNED, ROWS_READ, SPILLED_BYTES, TOTALS,
};
use crate::{Query, QueryRecord};

impl Query {
    /// What is known of it now, flat.
    pub fn record(&self) -> QueryRecord {
        let (info, facts) = (self.info(), self.facts());
        let profile = self.profile();
        let totals = profile.child(TOTALS);
        let total = |name: &str| {
            let value = totals.and_then(|node| node.counter(name));
            value.and_then(|value| u64::try_from(value).ok())
        };
        let [files, by_statistics, by_bloom_filters] = PRUNED.map(total);
        let row_groups = [by_statistics, by_bloom_filters].into_iter().flatten();
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
            rows_returned: Some(facts.rows_returned),
            rows_read: total(ROWS_READ),
            bytes_read: total(BYTES_READ),
            files_pruned: files,
            row_groups_pruned: totals.map(|_| row_groups.sum()),
            estimated_cost: facts.estimated_cost,
            cpu_us: total(COMPUTE_TIME).map(|ns| ns / 1000),
            memory_estimate_bytes: facts.memory_granted_bytes,
            memory_peak_bytes: total(PEAK_MEMORY),
            spilled_bytes: total(SPILLED_BYTES),
            tables: Some(facts.tables.clone()),
            overcommitted: Some(facts.overcommitted),
            stepped_aside: Some(facts.stepped_aside.into()),
            error: self.error(),
            ..QueryRecord::new(self.id(), self.serial(), self.started_at())
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
