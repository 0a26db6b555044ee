//! How much memory this process can have.

use std::fs;
use std::path::{Path, PathBuf};

/// The limit when nobody sets one: 80 % of what the process can have, in bytes. The rest is for
/// the network, the catalog, caches, and for what operators take without asking.
pub(super) fn default_limit_bytes() -> usize {
    available_bytes().map_or(usize::MAX, |bytes| bytes / 10 * 8)
}

/// The machine's memory, or less where a control group around this process says so.
pub(super) fn available_bytes() -> Option<usize> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| total_bytes(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter();
    let limits = limits.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.chain(machine).min()
}

/// `MemTotal` of `/proc/meminfo`.
pub(super) fn total_bytes(meminfo: &str) -> Option<usize> {
    let total = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kilobytes: usize = total.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The files with the limits of a process's control groups and of those around them, for both
/// versions of control groups. One without a limit has no number in it.
pub(super) fn limit_files(groups: &str) -> Vec<PathBuf> {
    let version = |root: &str, group: &str, file: &str| -> Vec<PathBuf> {
        let group = Path::new(root).join(group.trim_start_matches('/'));
        let around = group.ancestors().take_while(|g| g.starts_with(root));
        around.map(|group| group.join(file)).collect()
    };
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else {
            continue;
        };
        if controllers.is_empty() {
            files.extend(version("/sys/fs/cgroup", group, "memory.max"));
        } else if controllers.split(',').any(|name| name == "memory") {
            let file = "memory.limit_in_bytes";
            files.extend(version("/sys/fs/cgroup/memory", group, file));
        }
    }
    files
}
