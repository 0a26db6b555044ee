//! A disk that fails, at every step there is.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// Opens a history, fills it and closes it, over merges and the retention. Returns what was told to be
/// written while nothing had failed, and what was appended at all.
fn fill(disk: &Disk, folder: &Path) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let (mut told, mut appended) = (BTreeSet::new(), BTreeSet::new());
    let options = HistoryOptions {
        retention: Retention {
            days: Some(5),
            bytes: None,
        },
        ..options()
    };
    let Ok(history) = History::open_on(disk, folder, options) else {
        return (told, appended);
    };
    for serial in 1..=16 {
        // The first ones are too old to stay.
        history.append(row(serial, if serial <= 3 { 10 } else { 0 }));
        appended.insert(serial);
        if history.health().failures == 0 {
            told.insert(serial);
        }
        if serial % 2 == 0 {
            let _ = history.flush();
        }
    }
    let _ = history.close();
    (told, appended)
}

/// What must hold after a failure: rows are there once, the told ones all, and half files are not.
fn check(
    folder: &Path,
    history: &History,
    told: &BTreeSet<u64>,
    appended: &BTreeSet<u64>,
    at: &str,
) {
    let rows = seen(history);
    let mut counts = BTreeMap::new();
    rows.iter()
        .for_each(|serial| *counts.entry(*serial).or_insert(0) += 1);
    assert!(counts.values().all(|count| *count == 1), "{at}: {rows:?}");
    let found: BTreeSet<u64> = rows.into_iter().collect();
    assert!(found.is_subset(appended), "{at}: {found:?}");
    let young: BTreeSet<u64> = told.iter().copied().filter(|serial| *serial > 3).collect();
    assert!(young.is_subset(&found), "{at}: {young:?} {found:?}");
    assert_eq!(names(folder, ".tmp"), Vec::<String>::new(), "{at}");
    assert_eq!(names(folder, ".damaged"), Vec::<String>::new(), "{at}");
}

/// How many steps [`fill`] takes when nothing fails.
fn steps_of_fill() -> u64 {
    let folder = TempDir::new().unwrap();
    let disk = Disk::default();
    let (told, _) = fill(&disk, folder.path());
    assert_eq!(told.len(), 16);
    let steps = disk.faults.steps();
    assert!(steps > 100, "{steps}");
    eprintln!("{steps} steps");
    steps
}

#[test]
fn a_crash_at_whichever_step_loses_no_row_and_doubles_none() {
    let steps = steps_of_fill();
    for step in 1..=steps {
        let folder = TempDir::new().unwrap();
        let disk = Disk::default();
        disk.faults.fail(step, u64::MAX);
        let (told, appended) = fill(&disk, folder.path());

        let at = format!("step {step} of {steps}");
        let (history, _) = open(folder.path(), options());
        check(folder.path(), &history, &told, &appended, &at);
        let opened = history.opened();
        assert_eq!(
            (opened.lost, opened.damaged, opened.broken),
            (0, 0, 0),
            "{at}"
        );
        history.close().unwrap();
        drop(history);
        let (history, _) = open(folder.path(), options());
        assert_eq!(history.opened(), Opened::default(), "{at}");
        check(folder.path(), &history, &told, &appended, &at);
    }
}

#[test]
fn a_crash_while_a_crash_is_mended_loses_nothing_either() {
    let steps = steps_of_fill();
    for first in (1..=steps).step_by(5) {
        let crashed = TempDir::new().unwrap();
        let disk = Disk::default();
        disk.faults.fail(first, u64::MAX);
        let (told, appended) = fill(&disk, crashed.path());
        for second in (1..).step_by(3) {
            let folder = TempDir::new().unwrap();
            for entry in fs::read_dir(crashed.path()).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
            disk.faults.fail(second, u64::MAX);
            if let Ok(history) = History::open_on(&disk, folder.path(), options()) {
                let _ = history.close();
            }
            let is_past_the_end = disk.faults.steps() < second;

            let at = format!("steps {first} and {second}");
            let (history, _) = open(folder.path(), options());
            check(folder.path(), &history, &told, &appended, &at);
            if is_past_the_end {
                break;
            }
        }
    }
}

#[test]
fn one_failure_at_whichever_step_is_made_good() {
    let steps = steps_of_fill();
    for step in 1..=steps {
        for length in [1, 4] {
            let folder = TempDir::new().unwrap();
            let disk = Disk::default();
            disk.faults.fail(step, step + length - 1);
            let (_, appended) = fill(&disk, folder.path());
            let at = format!("{length} from step {step} of {steps}");
            // The end may have failed; the next start makes it good. Rows that could not go into the
            // journal are only safe when a later flush succeeds, so the last ones may be missing.
            let (history, _) = open(folder.path(), options());
            let told = if step + length + 20 < steps {
                appended.clone()
            } else {
                BTreeSet::new()
            };
            check(folder.path(), &history, &told, &appended, &at);
        }
    }
}
