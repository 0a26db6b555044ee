//! The engine's measurements in the words of the profile.

use std::borrow::Cow;
use std::sync::Arc;

use forebay_engine::{CounterUnit, OperatorCounter, OperatorMetrics, PlanMetrics};
use forebay_lifecycle::Redactor;
use forebay_lifecycle::profile::{Counter, Operator, PlanProfile, ScanProgress, Unit};

/// A plan that is measured, for the profile of its query.
pub(crate) struct MeasuredPlan {
    pub(crate) plan: PlanMetrics,
    /// A plan has the literals of its statement.
    pub(crate) redactor: Arc<Redactor>,
}

impl PlanProfile for MeasuredPlan {
    fn operators(&self) -> Vec<Operator> {
        let mut operators: Vec<Operator> =
            self.plan.operators().into_iter().map(operator).collect();
        for operator in &mut operators {
            if let Cow::Owned(redacted) = self.redactor.redact(&operator.detail) {
                operator.detail = redacted;
            }
        }
        operators
    }

    fn progress(&self) -> ScanProgress {
        let progress = self.plan.progress();
        ScanProgress {
            done: progress.done,
            total: progress.total,
        }
    }

    fn end(&self) {
        self.plan.end();
    }
}

fn operator(measured: OperatorMetrics) -> Operator {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "estimates are finite and not negative"
    )]
    let estimated_rows = measured.estimate.map(|e| e.rows.round() as u64);
    Operator {
        depth: measured.depth,
        name: measured.name,
        detail: measured.detail,
        instances: measured.instances,
        time_total_ns: measured.time_total_ns,
        time_min_ns: measured.time_min_ns,
        time_avg_ns: measured.time_avg_ns,
        time_max_ns: measured.time_max_ns,
        rows: measured.rows,
        estimated_rows,
        estimated_memory_bytes: measured.estimated_memory_bytes,
        peak_memory_bytes: measured.peak_memory_bytes,
        spilled_bytes: measured.spilled_bytes,
        scanned_bytes: measured.scanned_bytes,
        counters: measured.counters.into_iter().map(counter).collect(),
    }
}

fn counter(counted: OperatorCounter) -> Counter {
    Counter {
        name: counted.name,
        unit: match counted.unit {
            CounterUnit::Number => Unit::Unit,
            CounterUnit::Bytes => Unit::Bytes,
            CounterUnit::Nanoseconds => Unit::TimeNs,
        },
        value: i64::try_from(counted.value).unwrap_or(i64::MAX),
    }
}
