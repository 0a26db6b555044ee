//! Texts that a client sends again and again.
//!
//! Dashboards, and drivers that do not prepare, send one text many times. From the second time on
//! what parsing and resolving gave is kept, as if the client had prepared the statement. The same
//! rules hold: after a change of the catalog or of a setting it is resolved anew.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use forebay_sql::{Parsed, Statement};

use crate::prepared::Prepared;

/// Texts that are kept for a session. The one that was not sent for the longest time goes first.
const MAX_KEPT: usize = 8;

/// Texts of which is known that they were sent once.
const MAX_SEEN: usize = 32;

/// A longer text is not kept: planning it takes far longer than reading it.
const MAX_TEXT_BYTES: usize = 8 * 1024;

/// Words that stand for the present moment where a text becomes a time, which happens before a
/// statement is kept.
const MOMENTS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

/// What is kept of the texts that one session's client repeats.
#[derive(Debug, Default)]
pub(crate) struct Repeated {
    /// The last one that was sent comes first.
    kept: VecDeque<Repetition>,
    seen: VecDeque<u64>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Repetition {
    text: Box<str>,
    prepared: Arc<Prepared>,
}

impl Repeated {
    /// The only statement of `text`, if it is kept.
    pub(crate) fn find(&mut self, text: &str) -> Option<Arc<Parsed>> {
        let found = self.kept.iter().position(|kept| *kept.text == *text)?;
        let kept = self.kept.remove(found)?;
        let parsed = kept.prepared.parsed().cloned();
        self.kept.push_front(kept);
        parsed
    }

    /// Takes note that `text` came, and consists of `parsed` alone. The second time it is kept.
    pub(crate) fn note(&mut self, text: &str, parsed: &Arc<Parsed>) {
        if !is_worth_keeping(text, &parsed.statement) {
            return;
        }
        let hash = self.hasher.hash_one(text);
        if !self.seen.contains(&hash) {
            self.seen.truncate(MAX_SEEN - 1);
            self.seen.push_front(hash);
            return;
        }
        self.kept.truncate(MAX_KEPT - 1);
        self.kept.push_front(Repetition {
            text: text.into(),
            prepared: Arc::new(Prepared::unresolved(Arc::clone(parsed))),
        });
    }

    /// What is kept of a statement that [`Repeated::find`] gave or [`Repeated::note`] took.
    pub(crate) fn prepared(&self, parsed: &Arc<Parsed>) -> Option<&Arc<Prepared>> {
        let mut all = self.kept.iter().map(|kept| &kept.prepared);
        all.find(|p| p.parsed().is_some_and(|kept| Arc::ptr_eq(kept, parsed)))
    }

    /// Forgets everything (`DISCARD`).
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.seen.clear();
    }
}

fn is_worth_keeping(text: &str, statement: &Statement) -> bool {
    matches!(statement, Statement::Plan(_)) && text.len() <= MAX_TEXT_BYTES && !names_a_moment(text)
}

fn names_a_moment(text: &str) -> bool {
    let letters = text.to_ascii_lowercase();
    MOMENTS.iter().any(|moment| letters.contains(moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(repeated: &mut Repeated, text: &str) -> bool {
        if repeated.find(text).is_some() {
            return true;
        }
        let mut parsed = forebay_sql::parse(text).expect(text);
        let parsed = Arc::new(parsed.pop().expect(text));
        repeated.note(text, &parsed);
        false
    }

    #[test]
    fn the_third_of_a_kind_is_known() {
        let mut repeated = Repeated::default();
        let known: Vec<bool> = (0..4).map(|_| send(&mut repeated, "SELECT 1")).collect();
        assert_eq!(known, [false, false, true, true]);
        let parsed = repeated.find("SELECT 1").expect("it is kept");
        assert!(repeated.prepared(&parsed).is_some());
        repeated.clear();
        assert!(repeated.find("SELECT 1").is_none());
    }

    #[test]
    fn few_are_kept_those_that_came_last() {
        let mut repeated = Repeated::default();
        let texts: Vec<String> = (0..MAX_KEPT + 3).map(|n| format!("SELECT {n}")).collect();
        for text in &texts {
            send(&mut repeated, text);
            send(&mut repeated, text);
            assert!(send(&mut repeated, &texts[0]) || *text == texts[0]);
        }
        assert_eq!(repeated.kept.len(), MAX_KEPT);
        assert!(repeated.find(&texts[0]).is_some(), "it came all the time");
        assert!(repeated.find(&texts[1]).is_none());
        assert!(repeated.find(texts.last().expect("some")).is_some());
        for n in 0..1000 {
            send(&mut repeated, &format!("SELECT {n}, 0"));
        }
        assert_eq!(repeated.kept.len(), MAX_KEPT);
        assert_eq!(repeated.seen.len(), MAX_SEEN);
    }

    #[test]
    fn some_texts_are_never_kept() {
        let long = format!("SELECT '{}'", "x".repeat(MAX_TEXT_BYTES));
        for text in [
            "SELECT 'NOW'::timestamp",
            "BEGIN",
            "EXPLAIN SELECT 1",
            &long,
        ] {
            let mut repeated = Repeated::default();
            for _ in 0..4 {
                assert!(!send(&mut repeated, text), "{text}");
            }
        }
    }
}
