//! For front ends that read rows before their clients ask for them.
//!
//! Such a statement gives back what it holds when its plan has given the last row. Its query goes on until
//! the client has taken that row, since only then it is known how the rows were fetched.

use std::time::Duration;

use crate::Session;
use crate::rows::Rows;
use crate::sessions::Activity;

impl Rows {
    /// From now on they are read ahead of their client: what it is given is told by
    /// [`Query::deliver`](crate::Query::deliver), and the last batch does not end the query.
    pub fn read_ahead(&mut self) {
        self.ahead = true;
    }

    /// Their client has asked for more this long after it was answered.
    pub fn client_waited(&self, time: Duration) {
        if let Some(running) = &self.running {
            running.waited_for_client(time);
        }
    }

    /// Ends the query: its client has taken the last row, or (`closed_early`) wants no more.
    pub fn finish(&mut self, closed_early: bool) {
        let Some(running) = self.running.take() else {
            return;
        };
        self.stop();
        if closed_early {
            running.learn(|facts| facts.fetches.get_or_insert_default().closed_early = true);
        }
        running.finish(Ok(()));
    }
}

impl Session {
    /// The session shows that it runs nothing, while its client still takes rows of its last statement.
    pub fn rest(&self) {
        self.show_activity(Activity::Idle, None);
    }
}
