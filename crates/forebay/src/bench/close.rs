//! What a client waits for when its query is closed: archived at once, or by the pool.

use std::sync::Arc;
use std::time::Instant;

use forebay_lifecycle::profile::{Counter, Operator, PlanProfile, Unit};
use forebay_lifecycle::{
    Archive, ArchiveFiles, ArchiveOptions, KeepNothing, NewQuery, Outcome, PoolSettings,
    QueryLogLimits, Registry,
};
use tempfile::TempDir;

use super::memory::own_resident_bytes;
use super::{quantile, table};
use crate::cli::BenchClose;

/// Sizes of the profiles, in bytes of their JSON form.
const PROFILE_BYTES: [usize; 4] = [10 << 10, 100 << 10, 1 << 20, 10 << 20];

/// Queries of the part that measures throughput.
const MANY: usize = 200_000;

/// A plan with as many operators as make a profile of some size.
struct Operators(usize);

impl PlanProfile for Operators {
    fn operators(&self) -> Vec<Operator> {
        (0..self.0).map(operator).collect()
    }
}

fn operator(number: usize) -> Operator {
    let counter = |i: usize| Counter {
        name: format!("counter_{i}"),
        unit: [Unit::Unit, Unit::Bytes, Unit::TimeNs][i % 3],
        value: (number * 7919 + i * 104_729) as i64,
    };
    Operator {
        depth: number % 12,
        name: "HashJoin".to_owned(),
        detail: format!("mode=Partitioned, join_type=Inner, on=[(a_{number}, b_{number})]"),
        instances: 2,
        rows: Some(number as u64 * 31),
        counters: (0..12).map(counter).collect(),
        ..Operator::default()
    }
}

/// Bytes of the profile of one operator, about.
fn bytes_for_each() -> usize {
    let profile_bytes = |operators| {
        let registry = registry(0);
        let query = registry.register(NewQuery::default());
        query.attach_plan(Arc::new(Operators(operators)));
        query.profile().to_json().len()
    };
    (profile_bytes(300) - profile_bytes(100)) / 200
}

fn registry(threads: usize) -> Registry {
    let pool = PoolSettings {
        unregistration_thread_pool_size: threads,
        ..PoolSettings::default()
    };
    Registry::new(QueryLogLimits::default(), pool, Box::new(KeepNothing))
}

/// Runs the benchmark and prints its tables.
pub fn run(options: &BenchClose) -> anyhow::Result<()> {
    super::print_setting();
    let threads = PoolSettings::default().unregistration_thread_pool_size;
    println!(
        "closing a query, {} times each, in turns",
        options.iterations
    );
    let header = [
        "profile",
        "synchronous p50 us",
        "p99 us",
        "asynchronous p50 us",
        "p99 us",
        "ratio of p50",
    ];
    let mut table = table(header.to_vec());
    let for_each = bytes_for_each();
    for bytes in PROFILE_BYTES {
        let operators = bytes / for_each;
        let (at_once, by_pool) = (registry(0), registry(threads));
        let mut seconds = [Vec::new(), Vec::new()];
        for _ in 0..options.iterations {
            for (registry, seconds) in [&at_once, &by_pool].into_iter().zip(&mut seconds) {
                seconds.push(close_one(registry, operators));
            }
        }
        let [at_once, by_pool] = &mut seconds;
        let mut row = vec![format!("{} KB", bytes >> 10)];
        for seconds in [&mut *at_once, &mut *by_pool] {
            row.push(format!("{:.1}", quantile(seconds, 0.5) * 1e6));
            row.push(format!("{:.1}", quantile(seconds, 0.99) * 1e6));
        }
        let ratio = quantile(by_pool, 0.5) / quantile(at_once, 0.5);
        row.push(format!("{ratio:.4}"));
        table.add_row(row);
    }
    println!("{table}");
    println!("{MANY} queries with plans of 3 operators, registered, finalized and archived:");
    throughput("in the query log alone", threads, Box::new(KeepNothing))?;
    let folder = TempDir::new()?;
    let everything = ArchiveOptions {
        audit_log: true,
        ..ArchiveOptions::default()
    };
    let files = ArchiveFiles::open(folder.path(), everything, Box::new(|_| ()))?;
    let name = "with profile log, audit log and history";
    throughput(name, threads, Box::new(files))
}

/// Seconds that closing a query takes its client.
fn close_one(registry: &Registry, operators: usize) -> f64 {
    let query = registry.register(NewQuery::default());
    query.attach_plan(Arc::new(Operators(operators)));
    query.set_running();
    let start = Instant::now();
    let pushed_back = query.unregister(Outcome::Finished);
    let seconds = start.elapsed().as_secs_f64();
    drop(pushed_back);
    // Nobody closes the next one while this one is being archived: that is the other table.
    while registry.counters().in_flight > 0 {
        std::thread::yield_now();
    }
    seconds
}

/// Registering, finalizing and archiving one query after the other, and what the log keeps of each.
fn throughput(kept_where: &str, threads: usize, archive: Box<dyn Archive>) -> anyhow::Result<()> {
    let limits = QueryLogLimits {
        query_log_size: MANY,
        query_log_size_in_bytes: usize::MAX,
    };
    let pool = PoolSettings {
        unregistration_thread_pool_size: threads,
        ..PoolSettings::default()
    };
    let registry = Registry::new(limits, pool, archive);
    let before = own_resident_bytes()?;
    let start = Instant::now();
    for _ in 0..MANY {
        let query = registry.register(NewQuery::default());
        query.attach_plan(Arc::new(Operators(3)));
        query.set_running();
        drop(query.unregister(Outcome::Finished));
    }
    registry.drain();
    let per_second = MANY as f64 / start.elapsed().as_secs_f64();
    let kept = registry.counters().logged_bytes / MANY as u64;
    let resident = own_resident_bytes()?.saturating_sub(before) / MANY as u64;
    println!(
        "{kept_where}: {per_second:.0} a second; the query log keeps {kept} bytes of each, \
         {resident} bytes of resident memory"
    );
    Ok(())
}
