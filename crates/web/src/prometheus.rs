//! Metrics in the form that Prometheus reads. They are gathered when somebody asks: what statements
//! do for them is a few additions.

use std::sync::Arc;

use forebay_server::{ArchiveHealth, DurationCounts, HistoryHealth, QueueOverview};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::app::App;
use crate::process;

/// The content type of [`text`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as text.
pub(crate) fn text(app: &Arc<App>) -> String {
    let mut registry = Registry::with_prefix("forebay");
    registry.register_collector(Box::new(Metrics(Arc::new(values(app)))));
    let mut text = String::new();
    // Writing to a string cannot fail, and our collector has no other errors.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

/// What is measured.
#[derive(Debug)]
pub(crate) enum Value {
    Gauge(f64),
    /// Only ever grows.
    Counter(f64),
    Histogram(DurationCounts),
}

/// A metric with a value for each set of labels; its name is without prefix and unit.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) unit: Option<Unit>,
    pub(crate) values: Vec<(Labels, Value)>,
}

/// Names and values.
pub(crate) type Labels = Vec<(&'static str, String)>;

impl Metric {
    /// Its whole name.
    pub(crate) fn full_name(&self) -> String {
        match &self.unit {
            Some(unit) => format!("forebay_{}_{}", self.name, unit.as_str()),
            None => format!("forebay_{}", self.name),
        }
    }
}

/// The value of every metric now.
pub(crate) fn values(app: &App) -> Vec<Metric> {
    let queues = app.server.queues();
    let mut metrics = of_server(app);
    metrics.extend(of_statements(app, &queues));
    metrics.extend(of_queues(&queues));
    metrics.extend(of_unregistration(app));
    metrics.extend(of_archive(&app.server.archive_health()));
    metrics.extend(of_process(app));
    metrics
}

fn one(name: &'static str, help: &'static str, unit: Option<Unit>, value: Value) -> Metric {
    Metric {
        name,
        help,
        unit,
        values: vec![(Vec::new(), value)],
    }
}

fn of_server(app: &App) -> Vec<Metric> {
    let server = &app.server;
    let counters = server.registry().counters();
    let held = server.held();
    let gauge = |n: usize| Value::Gauge(n as f64);
    let ended = [
        ("finished", counters.finished),
        ("exception", counters.exception),
        ("cancelled", counters.cancelled),
    ];
    let ended =
        ended.map(|(state, n)| (vec![("state", state.to_owned())], Value::Counter(n as f64)));
    let (lock_waits, lock_timeouts) = server.lock_waits();
    vec![
        one(
            "sessions",
            "Open sessions",
            None,
            gauge(server.session_count()),
        ),
        one(
            "queries_in_flight",
            "Queries that have not ended",
            None,
            Value::Gauge(counters.in_flight as f64),
        ),
        one(
            "queries_waiting",
            "Statements that wait for a resource queue or a lock",
            None,
            gauge(held.waiters),
        ),
        one(
            "queries_registered",
            "Queries that were ever registered",
            None,
            Value::Counter(counters.registered as f64),
        ),
        Metric {
            name: "queries_ended",
            help: "Queries that have ended, by how they ended",
            unit: None,
            values: ended.into(),
        },
        one(
            "query_log_entries",
            "Ended queries that are kept in memory",
            None,
            Value::Gauge(counters.logged as f64),
        ),
        one(
            "slots_held",
            "Slots of resource queues that are held",
            None,
            gauge(held.slots),
        ),
        one(
            "charges_held",
            "Charges of resource queues that are held",
            None,
            gauge(held.charges),
        ),
        one(
            "relation_locks_held",
            "Locks of relations that are held",
            None,
            gauge(held.locks),
        ),
        one(
            "lock_wait_duration",
            "How long statements waited for locks of relations",
            Some(Unit::Seconds),
            Value::Histogram(lock_waits),
        ),
        one(
            "lock_wait_timeouts",
            "Waits for locks that reached lock_timeout",
            None,
            Value::Counter(lock_timeouts as f64),
        ),
        one(
            "deadlocks",
            "Cycles of relation locks that were broken by an error",
            None,
            Value::Counter(server.deadlocks() as f64),
        ),
    ]
}

fn of_statements(app: &App, queues: &[QueueOverview]) -> Vec<Metric> {
    let labelled =
        |queue: &str, counts| (vec![("queue", queue.to_owned())], Value::Histogram(counts));
    let governed = queues
        .iter()
        .map(|q| labelled(&q.name, q.statements.clone()));
    let ungoverned = labelled("", app.server.ungoverned_statements());
    vec![Metric {
        name: "query_duration",
        help: "How long queries took from registering to their end, by the resource queue that governs them; those that none governs have an empty label",
        unit: Some(Unit::Seconds),
        values: governed.chain([ungoverned]).collect(),
    }]
}

fn of_queues(queues: &[QueueOverview]) -> Vec<Metric> {
    let labels = |queue: &QueueOverview| vec![("queue", queue.name.clone())];
    let each = |name, help, unit, value: &dyn Fn(&QueueOverview) -> Option<Value>| {
        let values = queues.iter().filter_map(|q| Some((labels(q), value(q)?)));
        let values = values.collect();
        Metric {
            name,
            help,
            unit,
            values,
        }
    };
    let gauge = |number: f64| Some(Value::Gauge(number));
    let counter = |number: u64| Some(Value::Counter(number as f64));
    vec![
        each("queue_slots", "Slots that are taken", None, &|q| {
            gauge(q.slots as f64)
        }),
        each("queue_slots_limit", "ACTIVE_STATEMENTS", None, &|q| {
            gauge(f64::from(q.limits.active_statements?))
        }),
        each(
            "queue_cost",
            "Plan cost that is charged, in sequential pages",
            None,
            &|q| gauge(q.cost),
        ),
        each(
            "queue_cost_limit",
            "MAX_COST, in sequential pages",
            None,
            &|q| gauge(q.limits.max_cost?),
        ),
        each(
            "queue_memory",
            "Memory that is charged",
            Some(Unit::Bytes),
            &|q| gauge(q.memory_bytes as f64),
        ),
        each(
            "queue_memory_limit",
            "MEMORY_LIMIT",
            Some(Unit::Bytes),
            &|q| gauge(q.limits.memory_limit_kb? as f64 * 1024.0),
        ),
        each(
            "queue_waiting",
            "Statements that wait for the queue",
            None,
            &|q| gauge(q.waiting as f64),
        ),
        each(
            "queue_wait_duration",
            "How long statements waited for the queue",
            Some(Unit::Seconds),
            &|q| Some(Value::Histogram(q.waits.clone())),
        ),
        each("queue_admitted", "Statements that got a slot", None, &|q| {
            counter(q.totals.admitted)
        }),
        each("queue_waited", "Statements that had to wait", None, &|q| {
            counter(q.totals.waited)
        }),
        each(
            "queue_stepped_aside",
            "Statements that gave their slot back and waited again with their demand known",
            None,
            &|q| counter(q.totals.stepped_aside),
        ),
        each(
            "queue_overcommitted",
            "Grants beyond a limit, because waiting could never have ended",
            None,
            &|q| counter(q.totals.overcommitted),
        ),
        each(
            "queue_passed",
            "Grants out of turn, because the waits before them waited for them",
            None,
            &|q| counter(q.totals.passed),
        ),
        each(
            "queue_refused",
            "Statements that were refused: MAX_QUEUED or MAX_COST",
            None,
            &|q| counter(q.totals.refused),
        ),
        each(
            "queue_timeouts",
            "Waits that reached QUEUE_TIMEOUT",
            None,
            &|q| counter(q.totals.timed_out),
        ),
        each(
            "queue_given_up",
            "Waits that ended without a grant",
            None,
            &|q| counter(q.totals.given_up),
        ),
    ]
}

fn of_unregistration(app: &App) -> Vec<Metric> {
    let pool = app.server.unregistration();
    let counter = |number: u64| Value::Counter(number as f64);
    vec![
        one(
            "unregistration_queued",
            "Ended queries that wait to be archived",
            None,
            Value::Gauge(pool.queued as f64),
        ),
        one(
            "unregistration_archived",
            "Ended queries that the unregistration pool has archived",
            None,
            counter(pool.archived),
        ),
        one(
            "unregistration_pushed_back",
            "How often the pool's queue was full when a query was closed",
            None,
            counter(pool.pushed_back),
        ),
        one(
            "unregistration_queue_duration",
            "How long ended queries waited for a thread of the pool",
            Some(Unit::Seconds),
            Value::Histogram(pool.time_in_queue),
        ),
        one(
            "unregistration_archive_duration",
            "How long archiving a query took",
            Some(Unit::Seconds),
            Value::Histogram(pool.time_to_archive),
        ),
    ]
}

fn of_archive(health: &ArchiveHealth) -> Vec<Metric> {
    let logs = [
        ("profile_log", &health.profile_log),
        ("audit_log", &health.audit_log),
    ];
    let logs = logs
        .into_iter()
        .filter_map(|(file, log)| Some((file, log.as_ref()?)));
    let logs = logs.map(|(file, log)| (file, log.failures, log.failing_since.is_some()));
    let history = health.history.as_ref();
    let failing = history.map(|h| ("history", h.failures, h.is_failing()));
    let files: Vec<(&str, u64, bool)> = logs.chain(failing).collect();
    let label = |file: &str| vec![("file", file.to_owned())];
    let mut metrics = vec![
        Metric {
            name: "archive_failures",
            help: "How often something of an ended query could not be written, by file",
            unit: None,
            values: files
                .iter()
                .map(|(file, failures, _)| (label(file), Value::Counter(*failures as f64)))
                .collect(),
        },
        Metric {
            name: "archive_failing",
            help: "Whether the file could not be written the last time: 1 or 0",
            unit: None,
            values: files
                .iter()
                .map(|(file, _, failing)| (label(file), Value::Gauge(f64::from(*failing))))
                .collect(),
        },
    ];
    metrics.extend(history.map(of_history).into_iter().flatten());
    metrics
}

fn of_history(health: &HistoryHealth) -> Vec<Metric> {
    let gauge = |number: u64| Value::Gauge(number as f64);
    vec![
        one(
            "history_queries",
            "Queries in the Parquet files of the history",
            None,
            gauge(health.file_rows),
        ),
        one(
            "history_waiting_queries",
            "Ended queries that are in no Parquet file yet",
            None,
            gauge(health.pending_rows),
        ),
        one(
            "history_dropped_queries",
            "Ended queries that are missing from the history because it could not be written for too long",
            None,
            Value::Counter(health.dropped as f64),
        ),
        one(
            "history_files",
            "Parquet files of the history",
            None,
            gauge(health.files),
        ),
        one(
            "history_size",
            "Size of the Parquet files of the history",
            Some(Unit::Bytes),
            gauge(health.file_bytes),
        ),
    ]
}

fn of_process(app: &App) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let uptime = (chrono::Utc::now() - app.started).as_seconds_f64();
    metrics.push(one(
        "uptime",
        "How long the server has been running",
        Some(Unit::Seconds),
        Value::Gauge(uptime),
    ));
    if let Some(time) = process::processor_time() {
        let help = "Processor time that was used";
        metrics.push(one(
            "process_cpu",
            help,
            Some(Unit::Seconds),
            Value::Counter(time.as_secs_f64()),
        ));
    }
    if let Some(files) = process::open_files() {
        let help = "Files and sockets that are open";
        metrics.push(one(
            "process_open_files",
            help,
            None,
            Value::Gauge(files as f64),
        ));
    }
    for (name, help, figures) in [
        (
            "process_memory",
            "Memory of the process, as the kernel counts it",
            process::memory(),
        ),
        (
            "allocator_memory",
            "Memory of the allocator, as it counts it",
            (app.allocator)(),
        ),
    ] {
        let labelled = |f: process::Figure| {
            let labels = vec![("kind", f.name.to_owned())];
            (labels, Value::Gauge(f.bytes as f64))
        };
        let values = figures.into_iter().map(labelled).collect();
        metrics.push(Metric {
            name,
            help,
            unit: Some(Unit::Bytes),
            values,
        });
    }
    metrics
}

#[derive(Debug)]
struct Metrics(Arc<Vec<Metric>>);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        for metric in self.0.iter() {
            let kind = match metric.values.first() {
                None => continue,
                Some((_, Value::Gauge(_))) => MetricType::Gauge,
                Some((_, Value::Counter(_))) => MetricType::Counter,
                Some((_, Value::Histogram(_))) => MetricType::Histogram,
            };
            let mut family =
                encoder.encode_descriptor(metric.name, metric.help, metric.unit.as_ref(), kind)?;
            for (labels, value) in &metric.values {
                let labels: Vec<(&str, String)> = labels
                    .iter()
                    .map(|(name, value)| (*name, escaped(value)))
                    .collect();
                // Without labels there are no braces either.
                match labels.is_empty() {
                    true => write(&mut family, value)?,
                    false => write(&mut family.encode_family(&labels)?, value)?,
                }
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder<'_>, value: &Value) -> Result<(), std::fmt::Error> {
    match value {
        Value::Gauge(number) => encoder.encode_gauge(number),
        Value::Counter(number) => encoder.encode_counter::<NoLabelSet, _, f64>(number, None),
        Value::Histogram(counts) => {
            let buckets: Vec<(f64, u64)> = counts
                .buckets
                .iter()
                // The encoder's way to say that there is no bound.
                .map(|(bound, n)| (if bound.is_finite() { *bound } else { f64::MAX }, *n))
                .collect();
            let (sum, count) = (counts.sum.as_secs_f64(), counts.count());
            encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        }
    }
}

/// A label's value as the format wants it; the encoder writes what it is given. A queue may have any
/// name.
fn escaped(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    escaped.replace('\n', "\\n").replace('\r', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_kind_is_one_value() {
        let labels = vec![("queue", "a\"b\\c\nd".to_owned())];
        let metric = Metric {
            name: "queue_memory",
            help: "Memory",
            unit: Some(Unit::Bytes),
            values: vec![(labels, Value::Gauge(1.5))],
        };
        assert_eq!(metric.full_name(), "forebay_queue_memory_bytes");
        let mut registry = Registry::with_prefix("forebay");
        registry.register_collector(Box::new(Metrics(Arc::new(vec![metric]))));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = r#"forebay_queue_memory_bytes{queue="a\"b\\c\nd"} 1.5"#;
        assert!(text.lines().any(|l| l == line), "{text}");
    }

    #[test]
    fn a_histogram_counts_upwards_to_infinity() {
        let counts = DurationCounts {
            buckets: vec![(0.5, 2), (2.0, 1), (f64::INFINITY, 1)],
            sum: std::time::Duration::from_millis(4500),
        };
        let metric = one(
            "query_duration",
            "x",
            Some(Unit::Seconds),
            Value::Histogram(counts),
        );
        let mut registry = Registry::with_prefix("forebay");
        registry.register_collector(Box::new(Metrics(Arc::new(vec![metric]))));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "# TYPE forebay_query_duration_seconds histogram",
            "forebay_query_duration_seconds_sum 4.5",
            "forebay_query_duration_seconds_count 4",
            r#"forebay_query_duration_seconds_bucket{le="0.5"} 2"#,
            r#"forebay_query_duration_seconds_bucket{le="2.0"} 3"#,
            r#"forebay_query_duration_seconds_bucket{le="+Inf"} 4"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
