//! A wait in a sentence, for notices, errors and views.

use forebay_admission::{Owner, Owners, Reason, RelationId, WaiterView};

/// Place and reason of a wait. `named` is how a message names a relation, `process` who an owner
/// is, if it is still there.
pub(crate) fn explanation(
    view: &WaiterView,
    named: impl Fn(RelationId) -> String,
    process: impl Fn(Owner) -> Option<i32>,
) -> String {
    let holders = |owners: &Owners| processes(owners, &process);
    let why = match &view.reason {
        Reason::Turn { head, .. } => format!("{} is next", holders(&Owners::from_iter([*head]))),
        Reason::Slots {
            limit, holders: of, ..
        } => format!("all {limit} slots are taken by {}", holders(of)),
        Reason::Cost {
            needed,
            available,
            limit,
            holders: of,
            ..
        } => format!(
            "it needs cost {needed}, of the limit {limit} there is {available} left beside {}",
            holders(of)
        ),
        Reason::Idle {
            needed,
            limit,
            holders: of,
            ..
        } => format!(
            "its cost {needed} is above the limit {limit}, so it waits for {} to end",
            holders(of)
        ),
        Reason::Memory {
            needed_bytes,
            available_bytes,
            limit_bytes,
            holders: of,
            ..
        } => format!(
            "it needs {needed_bytes} bytes of memory, of the limit {limit_bytes} there are \
             {available_bytes} left beside {}",
            holders(of)
        ),
        Reason::HeldBack { holders: of, .. } => {
            format!("{} runs on a slot beyond the limit", holders(of))
        }
        Reason::Lock {
            relation,
            mode,
            holders: of,
            ahead,
        } => {
            let mut before = Owners::from_iter(of.named.iter().chain(&ahead.named).copied());
            before.others += of.others + ahead.others;
            format!(
                "{mode} on relation {} is kept from it by {}",
                named(*relation),
                holders(&before)
            )
        }
    };
    format!("place {}; {why}", view.place)
}

fn processes(owners: &Owners, process: impl Fn(Owner) -> Option<i32>) -> String {
    let name = |owner: &Owner| {
        let pid = process(*owner);
        pid.map_or_else(|| "that has ended".to_owned(), |pid| pid.to_string())
    };
    let names: Vec<String> = owners.named.iter().map(name).collect();
    match names.as_slice() {
        [] => "nobody".to_owned(),
        [one] => format!("process {one}"),
        many if owners.others > 0 => {
            format!("processes {} and {} others", many.join(", "), owners.others)
        }
        many => format!("processes {}", many.join(", ")),
    }
}
