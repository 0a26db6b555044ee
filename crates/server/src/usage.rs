//! Limits on what a plan may use: bytes of files, and CPU time.
//!
//! A plan is looked at while it runs, again and again, and once more with each batch that its reader
//! takes and at its end. So a result that has cost more than it may never ends well, however short it
//! is. A statement that writes is not looked at once it is done: its rows are there.

use std::sync::Arc;
use std::time::Duration;

use forebay_engine::{PlanMetrics, Usage};
use tokio::task::AbortHandle;

use crate::interrupt::{Interrupt, Interruptor};
use crate::settings::Settings;
use crate::{Error, Result};

/// Settings with the limits.
pub(crate) const SCAN_BYTES: &str = "scan_bytes_limit";
pub(crate) const CPU: &str = "cpu_limit";

/// How often a plan with a limit is looked at while it runs.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What a plan may use; `None` is without limit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UsageLimits {
    /// Bytes read from files.
    scan_bytes: Option<u64>,
    /// How long its tasks keep threads busy, all together.
    cpu: Option<Duration>,
}

impl UsageLimits {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            scan_bytes: settings.byte_limit(SCAN_BYTES),
            cpu: settings.timeout(CPU),
        }
    }

    fn passed(self, used: Usage) -> Option<Interrupt> {
        if let Some(limit) = self.scan_bytes
            && used.scanned_bytes > limit
        {
            let read = used.scanned_bytes;
            return Some(Interrupt::ScanBytesLimit { limit, read });
        }
        let limit = self.cpu?;
        let used = used.cpu;
        (used > limit).then_some(Interrupt::CpuLimit { limit, used })
    }
}

/// A running plan that has limits. Dropping it ends the looking.
#[derive(Debug)]
pub(crate) struct UsageWatch {
    plan: PlanMetrics,
    limits: UsageLimits,
    looks: AbortHandle,
}

impl UsageWatch {
    /// Watches over `plan` from now on; it is interrupted when it passes a limit. `None` where there
    /// is none.
    pub(crate) fn over(
        plan: &PlanMetrics,
        limits: UsageLimits,
        interruptor: &Arc<Interruptor>,
    ) -> Option<Self> {
        if limits.scan_bytes.is_none() && limits.cpu.is_none() {
            return None;
        }
        let (looked_at, interruptor) = (plan.clone(), Arc::clone(interruptor));
        let looks = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_INTERVAL).await;
                if let Some(interrupt) = limits.passed(looked_at.usage()) {
                    return interruptor.interrupt(interrupt);
                }
            }
        });
        Some(Self {
            plan: plan.clone(),
            limits,
            looks: looks.abort_handle(),
        })
    }

    /// Looks at the plan now.
    ///
    /// # Errors
    /// It has passed a limit (53400).
    pub(crate) fn check(&self) -> Result<()> {
        let passed = self.limits.passed(self.plan.usage());
        passed.map_or(Ok(()), |interrupt| Err(Error::from(interrupt)))
    }
}

impl Drop for UsageWatch {
    fn drop(&mut self) {
        self.looks.abort();
    }
}
