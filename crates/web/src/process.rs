//! What the operating system says of this process.

use std::fs;
use std::time::Duration;

/// A number of bytes with its name and meaning.
#[derive(Debug, Clone)]
pub struct Figure {
    /// A short name, in snake case.
    pub name: &'static str,
    /// What it counts, in a sentence.
    pub help: &'static str,
    /// How many.
    pub bytes: u64,
}

/// Ticks of processor time in a second: what Linux shows to programs is always in hundredths,
/// whatever the kernel counts in itself (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// Processor time that all threads have used.
pub(crate) fn processor_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold blanks. Behind it, user and system time are fields 12 and 13.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Processors that this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Files and sockets that are open.
pub(crate) fn open_files() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

/// Memory that the process occupies now.
pub(crate) fn resident_bytes() -> Option<u64> {
    status("VmRSS")
}

/// What the kernel counts of the process's memory; nothing where it does not tell.
pub(crate) fn memory() -> Vec<Figure> {
    const FIGURES: [(&str, &str, &str); 6] = [
        ("VmRSS", "resident", "Memory that the process occupies now"),
        ("VmHWM", "resident_peak", "The most that it has occupied"),
        (
            "RssAnon",
            "resident_anonymous",
            "Of it, memory that no file stands behind",
        ),
        (
            "RssFile",
            "resident_file",
            "Of it, mapped files, the program's own among them",
        ),
        ("VmSwap", "swapped", "Memory that was moved to swap"),
        (
            "VmSize",
            "virtual",
            "Addresses that are reserved, used or not",
        ),
    ];
    let figure = |(key, name, help): (&str, &'static str, &'static str)| {
        let bytes = status(key)?;
        Some(Figure { name, help, bytes })
    };
    FIGURES.into_iter().filter_map(figure).collect()
}

fn status(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kilobytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Memory of the whole machine, in bytes.
pub(crate) fn machine_memory() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let value = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells() {
        assert!(processor_time().is_some());
        assert!(resident_bytes().unwrap() > 100_000);
        assert!(machine_memory().unwrap() > resident_bytes().unwrap());
        assert!(open_files().unwrap() > 2);
        let names: Vec<&str> = memory().iter().map(|figure| figure.name).collect();
        assert!(
            names.contains(&"resident") && names.contains(&"virtual"),
            "{names:?}"
        );
    }
}
