//! The resident memory of a process, as the operating system tells it.

use anyhow::Context;

/// Watches the resident memory of a process from a moment on.
pub struct MemoryWatch {
    process: u32,
    before: u64,
}

impl MemoryWatch {
    /// Begins now. What the process had at its peak before is forgotten, as Linux does on `5`.
    pub fn start(process: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/clear_refs");
        std::fs::write(&path, "5").with_context(|| format!("cannot write {path}"))?;
        let before = resident(process)?;
        Ok(Self { process, before })
    }

    /// Bytes that were resident at the start, and how many more there were at the peak since.
    pub fn end(&self) -> anyhow::Result<(u64, u64)> {
        let peak = status(self.process, "VmHWM:")?;
        Ok((self.before, peak.saturating_sub(self.before)))
    }
}

/// Resident memory of this process, in bytes.
pub fn own_resident_bytes() -> anyhow::Result<u64> {
    status(std::process::id(), "VmRSS:")
}

/// The resident memory of a process now, in bytes.
pub fn resident(process: u32) -> anyhow::Result<u64> {
    status(process, "VmRSS:")
}

/// A line of `/proc/PID/status` that is in kilobytes, in bytes.
fn status(process: u32, name: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|l| l.strip_prefix(name));
    let kilobytes = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(1024 * kilobytes.with_context(|| format!("no {name} in {path}"))?)
}
