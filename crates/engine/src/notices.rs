//! Messages to the client that are no errors, from wherever they come up.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Messages that wait for being sent. More than this are only counted: a function may have one
/// to say of each row.
const MAX_WAITING: usize = 1000;

/// A message to the client that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// `WARNING`, `NOTICE`, `INFO`.
    pub severity: &'static str,
    /// Code of PostgreSQL's appendix A.
    pub sqlstate: &'static str,
    /// What it says.
    pub message: String,
}

/// The messages of one session that its client has not been sent yet.
#[derive(Debug, Default)]
pub struct Notices {
    waiting: Mutex<Waiting>,
    urgent: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    notices: Vec<Notice>,
    dropped: usize,
}

impl Notices {
    /// Adds a message, unless `client_min_messages` asks for less.
    pub fn add(&self, notice: Notice, client_min_messages: &str) {
        let wanted = match client_min_messages {
            "error" => false,
            "warning" => notice.severity == "WARNING",
            _ => true,
        };
        if !wanted {
            return;
        }
        let mut waiting = self.waiting.lock();
        if waiting.notices.len() < MAX_WAITING {
            waiting.notices.push(notice);
        } else {
            waiting.dropped += 1;
        }
    }

    /// As [`Notices::add`], for a message that is to be sent before the statement goes on.
    pub fn add_urgent(&self, notice: Notice, client_min_messages: &str) {
        self.add(notice, client_min_messages);
        self.urgent.notify_one();
    }

    /// Waits for an urgent message. Cancel safe.
    pub async fn urgent(&self) {
        self.urgent.notified().await;
    }

    /// The messages since the last call, in their order.
    pub fn take(&self) -> Vec<Notice> {
        let Waiting {
            mut notices,
            dropped,
        } = std::mem::take(&mut *self.waiting.lock());
        if dropped > 0 {
            notices.push(Notice {
                severity: "WARNING",
                sqlstate: "01000",
                message: format!("{dropped} more messages were dropped"),
            });
        }
        notices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_are_counted() {
        let notices = Notices::default();
        let notice = |i: usize| Notice {
            severity: "NOTICE",
            sqlstate: "00000",
            message: i.to_string(),
        };
        for i in 0..MAX_WAITING + 7 {
            notices.add(notice(i), "notice");
            notices.add(notice(i), "warning");
        }
        let taken = notices.take();
        assert_eq!(taken.len(), MAX_WAITING + 1);
        assert_eq!(taken[MAX_WAITING - 1], notice(MAX_WAITING - 1));
        assert_eq!(taken[MAX_WAITING].message, "7 more messages were dropped");
        assert_eq!(notices.take(), []);
    }
}
