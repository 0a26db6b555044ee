//! What the operators of a plan measure, while it runs and afterwards.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use parking_lot::Mutex;

use crate::busy::BusyClock;
use crate::{Estimate, memory};

/// The operators of a running or ended plan. Clones look at the same plan.
#[derive(Clone)]
pub struct PlanMetrics {
    estimates: Arc<[Estimate]>,
    /// Bytes that each operator is expected to hold.
    held: Arc<[Option<u64>]>,
    plan: Arc<Mutex<Measured>>,
    clock: Arc<BusyClock>,
}

/// A plan keeps what its operators have built, hash tables for example. So its operators are taken
/// note of when it ends, and the plan is let go.
enum Measured {
    Running(Arc<dyn ExecutionPlan>),
    Ended(Vec<Node>),
}

/// An operator without what it has built.
#[derive(Clone)]
struct Node {
    /// Whether it only makes others give way: no work of the statement's.
    is_hidden: bool,
    depth: usize,
    name: String,
    detail: String,
    instances: usize,
    /// Of a scan of files: what it has to read.
    scan: Option<Scan>,
    /// Shared with whatever still runs of it.
    metrics: MetricsSet,
}

/// What a scan of files has to read.
#[derive(Debug, Clone, Copy)]
struct Scan {
    /// Pieces of files.
    ranges: usize,
    /// Their bytes, of formats whose readers do not count what they read.
    bytes: Option<u64>,
}

/// What a plan has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes read from files.
    pub scanned_bytes: u64,
    /// How long its tasks have kept threads busy, all together.
    pub cpu: Duration,
}

/// How far the scans of a plan are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanProgress {
    /// Pieces of files that were read, or found to have nothing that is wanted.
    pub done: u64,
    /// Pieces of files in all.
    pub total: u64,
}

/// What one operator was expected to do and has done, all its instances together unless it says
/// otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorMetrics {
    /// Operators above it.
    pub depth: usize,
    /// Its kind, without `Exec`.
    pub name: String,
    /// What it works on, in one line.
    pub detail: String,
    /// Partitions of its result, each of which is computed by an instance of it.
    pub instances: usize,
    /// What all instances have computed, without its inputs, in nanoseconds.
    pub time_total_ns: u64,
    /// What the least busy instance has computed, in nanoseconds.
    pub time_min_ns: u64,
    /// What an instance has computed on average, without its inputs, in nanoseconds.
    pub time_avg_ns: u64,
    /// What the busiest instance has computed, in nanoseconds.
    pub time_max_ns: u64,
    /// Rows that it has handed on, if it counts them.
    pub rows: Option<u64>,
    /// What was expected of it.
    pub estimate: Option<Estimate>,
    /// Memory that it was expected to hold, in bytes; `None` if it hands on what it gets.
    pub estimated_memory_bytes: Option<u64>,
    /// The most memory that it had reserved, in bytes, if it says so.
    pub peak_memory_bytes: Option<u64>,
    /// Bytes that did not fit into memory and were written to disk.
    pub spilled_bytes: u64,
    /// Bytes read from files.
    pub scanned_bytes: u64,
    /// Everything that it has counted, by name.
    pub counters: Vec<OperatorCounter>,
}

/// Something that an operator has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorCounter {
    /// What, as DataFusion names it.
    pub name: String,
    /// What the value is.
    pub unit: CounterUnit,
    /// How much.
    pub value: u64,
}

/// What a counter's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterUnit {
    /// A number of things.
    Number,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanoseconds,
}

impl PlanMetrics {
    pub(crate) fn new(
        plan: Arc<dyn ExecutionPlan>,
        estimates: Arc<[Estimate]>,
        clock: Arc<BusyClock>,
    ) -> Self {
        Self {
            held: memory::held(&plan, &estimates).into(),
            estimates,
            plan: Arc::new(Mutex::new(Measured::Running(plan))),
            clock,
        }
    }

    /// Memory that all operators together are expected to hold, in bytes, as if all held theirs at
    /// the same time.
    #[must_use]
    pub fn estimated_memory_bytes(&self) -> u64 {
        let held = self.held.iter().flatten();
        held.fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// What the plan has used up to now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let scans = self.scans();
        let scanned = scans
            .iter()
            .map(|(scan, metrics)| scan.scanned_bytes(metrics));
        Usage {
            scanned_bytes: scanned.sum(),
            cpu: self.clock.busy(),
        }
    }

    /// The scans of files: what each has to read, and what it counts.
    fn scans(&self) -> Vec<(Scan, MetricsSet)> {
        match &*self.plan.lock() {
            Measured::Running(plan) => scans_of(plan.as_ref()),
            Measured::Ended(nodes) => {
                let scan = |node: &Node| Some((node.scan?, node.metrics.clone()));
                nodes.iter().filter_map(scan).collect()
            }
        }
    }

    /// The operators as they stand now, each before its inputs.
    #[must_use]
    pub fn operators(&self) -> Vec<OperatorMetrics> {
        let nodes = match &*self.plan.lock() {
            Measured::Running(plan) => nodes_of(plan.as_ref()),
            Measured::Ended(nodes) => nodes.clone(),
        };
        let estimates = self.estimates.iter().copied().map(Some);
        let estimates = estimates.chain(std::iter::repeat(None));
        let held = self.held.iter().copied().chain(std::iter::repeat(None));
        nodes
            .iter()
            .zip(estimates.zip(held))
            .filter(|(node, _)| !node.is_hidden)
            .map(|(node, (estimate, held))| node.measured(estimate, held))
            .collect()
    }

    /// How far the scans are. A scan that is stopped early, by a `LIMIT` for example, stays behind.
    #[must_use]
    pub fn progress(&self) -> ScanProgress {
        let mut progress = ScanProgress::default();
        for (scan, metrics) in self.scans() {
            progress.done += scan.done(&metrics) as u64;
            progress.total += scan.ranges as u64;
        }
        progress
    }

    /// The plan has ended: lets go of it. What its operators have measured stays.
    pub fn end(&self) {
        let mut measured = self.plan.lock();
        let let_go = match &*measured {
            Measured::Running(plan) => Measured::Ended(nodes_of(plan.as_ref())),
            Measured::Ended(_) => return,
        };
        let plan = std::mem::replace(&mut *measured, let_go);
        drop(measured);
        // Freeing a large hash table takes a while.
        drop(plan);
    }
}

impl fmt::Debug for PlanMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanMetrics").finish_non_exhaustive()
    }
}

fn nodes_of(plan: &dyn ExecutionPlan) -> Vec<Node> {
    let mut nodes = Vec::new();
    add_nodes(plan, 0, &mut nodes);
    nodes
}

fn scans_of(plan: &dyn ExecutionPlan) -> Vec<(Scan, MetricsSet)> {
    let mut scans = Vec::new();
    let mut open = vec![plan];
    while let Some(plan) = open.pop() {
        if let Some(scan) = scan_of(plan) {
            scans.push((scan, plan.metrics().unwrap_or_default()));
        }
        open.extend(plan.children().into_iter().map(AsRef::as_ref));
    }
    scans
}

fn scan_of(plan: &dyn ExecutionPlan) -> Option<Scan> {
    let source = plan.downcast_ref::<DataSourceExec>()?.data_source();
    let files = source.downcast_ref::<FileScanConfig>()?;
    let counts = files.file_source().file_type() == "parquet";
    Some(Scan {
        ranges: files.file_groups.iter().map(FileGroup::len).sum(),
        bytes: (!counts).then(|| {
            let pieces = files.file_groups.iter().flat_map(FileGroup::iter);
            pieces.map(|piece| piece.effective_size()).sum()
        }),
    })
}

impl Scan {
    /// Pieces that are read. A scan that runs again counts again.
    fn done(self, metrics: &MetricsSet) -> usize {
        let done = metrics.sum_by_name("files_processed");
        done.map_or(0, |done| done.as_usize()).min(self.ranges)
    }

    /// Bytes that are read: what the reader has counted, or else those of the pieces that are done,
    /// each taken for as long as the others.
    fn scanned_bytes(self, metrics: &MetricsSet) -> u64 {
        match self.bytes {
            Some(bytes) => {
                let share = self.done(metrics) as f64 / self.ranges.max(1) as f64;
                (bytes as f64 * share) as u64
            }
            None => {
                let counted = metrics.sum_by_name("bytes_scanned");
                counted.map_or(0, |counted| counted.as_usize() as u64)
            }
        }
    }
}

fn add_nodes(plan: &dyn ExecutionPlan, depth: usize, nodes: &mut Vec<Node>) {
    let text = crate::explain::description(plan, false);
    // DataFusion's texts begin with the operator's name and a colon.
    let kind = plan.name();
    let detail = text.strip_prefix(kind).unwrap_or(&text);
    let is_hidden = crate::yielding::only_gives_way(plan);
    nodes.push(Node {
        is_hidden,
        depth,
        name: kind.strip_suffix("Exec").unwrap_or(kind).to_owned(),
        detail: detail.trim_start_matches(':').trim().replace('\n', " "),
        instances: plan.output_partitioning().partition_count(),
        scan: scan_of(plan),
        metrics: plan.metrics().unwrap_or_default(),
    });
    for input in plan.children() {
        add_nodes(input.as_ref(), depth + usize::from(!is_hidden), nodes);
    }
}

impl Node {
    fn measured(&self, estimate: Option<Estimate>, held: Option<u64>) -> OperatorMetrics {
        let (time_total_ns, time_min_ns, time_max_ns) = self.times();
        let counters = self.counters();
        let sum = |wanted: &str| {
            let found = counters.iter().filter(|c| c.name == wanted);
            found.map(|c| c.value).sum::<u64>()
        };
        OperatorMetrics {
            depth: self.depth,
            name: self.name.clone(),
            detail: self.detail.clone(),
            instances: self.instances,
            time_total_ns,
            time_min_ns,
            time_avg_ns: time_total_ns / self.instances.max(1) as u64,
            time_max_ns,
            rows: self.metrics.output_rows().map(|rows| rows as u64),
            estimate,
            estimated_memory_bytes: held,
            peak_memory_bytes: self.peak_memory(),
            spilled_bytes: sum("spilled_bytes"),
            scanned_bytes: self
                .scan
                .map_or(0, |scan| scan.scanned_bytes(&self.metrics)),
            counters,
        }
    }

    /// Sum, minimum and maximum over the instances.
    fn times(&self) -> (u64, u64, u64) {
        let mut by_partition: BTreeMap<Option<usize>, u64> = BTreeMap::new();
        for metric in self.metrics.iter() {
            if let MetricValue::ElapsedCompute(time) = metric.value() {
                *by_partition.entry(metric.partition()).or_default() += time.value() as u64;
            }
        }
        let sum: u64 = by_partition.values().sum();
        let max = by_partition.values().max().copied().unwrap_or(0);
        // An instance that has measured nothing has not begun.
        let all_began = by_partition.len() >= self.instances;
        let min = by_partition.values().min().copied().filter(|_| all_began);
        (sum, min.unwrap_or(0), max)
    }

    fn peak_memory(&self) -> Option<u64> {
        let peaks = self
            .metrics
            .iter()
            .filter_map(|metric| match metric.value() {
                MetricValue::PeakMemoryUsage { gauge, .. } => Some(gauge.value() as u64),
                MetricValue::Gauge { name, gauge } if name.ends_with("mem_used") => {
                    Some(gauge.value() as u64)
                }
                _ => None,
            });
        peaks.fold(None, |sum, peak| Some(sum.unwrap_or(0) + peak))
    }

    fn counters(&self) -> Vec<OperatorCounter> {
        let all = self.metrics.aggregate_by_name();
        let all = all.sorted_for_display().timestamps_removed();
        all.iter().flat_map(|m| counters_of(m.value())).collect()
    }
}

fn counters_of(value: &MetricValue) -> Vec<OperatorCounter> {
    let counter = |name: String, unit, value: usize| OperatorCounter {
        name,
        unit,
        value: value as u64,
    };
    let name = value.name();
    match value {
        MetricValue::PruningMetrics {
            pruning_metrics, ..
        } => vec![
            counter(
                format!("{name}_pruned"),
                CounterUnit::Number,
                pruning_metrics.pruned(),
            ),
            counter(
                format!("{name}_matched"),
                CounterUnit::Number,
                pruning_metrics.matched(),
            ),
        ],
        // What it is made of is counted as well.
        MetricValue::Ratio { .. } => Vec::new(),
        other => vec![counter(name.to_owned(), unit_of(other), other.as_usize())],
    }
}

fn unit_of(value: &MetricValue) -> CounterUnit {
    match value {
        MetricValue::ElapsedCompute(_) | MetricValue::Time { .. } => CounterUnit::Nanoseconds,
        MetricValue::CurrentMemoryUsage(_) | MetricValue::PeakMemoryUsage { .. } => {
            CounterUnit::Bytes
        }
        other if other.name().contains("bytes") || other.name().ends_with("mem_used") => {
            CounterUnit::Bytes
        }
        _ => CounterUnit::Number,
    }
}
