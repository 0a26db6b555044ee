//! The flat description of one query: a row of `forebay.query_live` and of `forebay.query_log`.

use crate::{QueryId, QueryState};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What is known of one query at one moment. It never changes; a living query gives a new one.
///
/// What is not known, or not known yet, is `None`: a statement that failed before planning has no
/// estimated cost. Times ending in `_us` are microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryRecord {
    /// The query's name.
    #[serde(with = "id_as_text")]
    pub query_id: QueryId,
    /// The place of the query among all that were registered since the server started, from 1.
    pub serial: u64,
    /// The session's number.
    pub session_id: i32,
    /// The front end it came through, for example `postgres`.
    pub protocol: Cow<'static, str>,
    /// The client's address and port, or `local`.
    pub client_address: String,
    /// The name that the client gave itself; may be empty.
    pub application_name: String,
    /// The role that logged in.
    pub role: String,
    /// The role in force when the statement started.
    pub effective_role: String,
    /// The database of the session.
    pub database: String,
    /// The resource queue that governed it; none for a superuser or an ungoverned statement.
    pub queue: Option<String>,
    /// The statement's text, redacted and cut (see [`crate::Redactor`]).
    pub statement: String,
    /// The kind of statement, for example `SELECT`.
    pub statement_type: Cow<'static, str>,
    /// Where the query is in its life.
    #[serde(with = "state_as_text")]
    pub state: QueryState,
    /// `OK`, or the first words of the error; none while it lives.
    pub status: Option<String>,
    /// The five characters that name the error to programs; none without an error.
    pub sqlstate: Option<String>,
    /// When it was registered.
    #[serde(with = "micros")]
    pub start_time: DateTime<Utc>,
    /// When it ended; none while it lives.
    #[serde(with = "optional_micros")]
    pub end_time: Option<DateTime<Utc>>,
    /// From its start to its end, or to this moment.
    pub total_us: Option<u64>,
    /// How long it waited for its resource queue.
    pub queue_wait_us: Option<u64>,
    /// How long it waited for relation locks.
    pub lock_wait_us: Option<u64>,
    /// How long it was planned.
    pub planning_us: Option<u64>,
    /// From the start of execution to its last row.
    pub execution_us: Option<u64>,
    /// From handing rows out until more were asked for: they were encoded, sent, and waited for
    /// their client.
    pub fetch_us: Option<u64>,
    /// From its end until its profile was written and its row was made; none while that is to come.
    pub unregister_us: Option<u64>,
    /// Rows that the client got.
    pub rows_returned: Option<u64>,
    /// Rows that scans gave.
    pub rows_read: Option<u64>,
    /// Bytes that scans read.
    pub bytes_read: Option<u64>,
    /// Files that needed no reading.
    pub files_pruned: Option<u64>,
    /// Row groups that needed no reading, in files that did.
    pub row_groups_pruned: Option<u64>,
    /// The plan's cost, in PostgreSQL's unit.
    pub estimated_cost: Option<f64>,
    /// CPU time that its operators took.
    pub cpu_us: Option<u64>,
    /// Memory that its operators were expected to hold, as if all did at the same time.
    pub memory_estimate_bytes: Option<u64>,
    /// The most memory that it held at one time.
    pub memory_peak_bytes: Option<u64>,
    /// What it wrote to disk because memory was short.
    pub spilled_bytes: Option<u64>,
    /// The relations that it names, with their schemas.
    pub tables: Option<Vec<String>>,
    /// The columns that its scans read, with their relations.
    pub columns_used: Option<Vec<String>>,
    /// Whether it was admitted beyond a limit, because waiting could never have ended.
    pub overcommitted: Option<bool>,
    /// How often it gave back its slot and waited again, because its charge did not fit.
    pub stepped_aside: Option<u64>,
    /// How much of the work of planning was done before: 1 when names and types were resolved, 2
    /// when the plan was optimized too. What the cache of Parquet footers has answered is counted
    /// for the whole server only.
    pub cache_hits: Option<u64>,
    /// The workers that took part; none as long as a server runs statements alone.
    pub workers: Option<Vec<String>>,
    /// The error, or why it was cancelled.
    pub error: Option<String>,
}

impl QueryRecord {
    /// A record that knows only its name, its number and its start, to fill in from.
    pub fn new(query_id: QueryId, serial: u64, start_time: DateTime<Utc>) -> Self {
        QueryRecord {
            query_id,
            serial,
            session_id: 0,
            protocol: Cow::Borrowed(""),
            client_address: String::new(),
            application_name: String::new(),
            role: String::new(),
            effective_role: String::new(),
            database: String::new(),
            queue: None,
            statement: String::new(),
            statement_type: Cow::Borrowed(""),
            state: QueryState::Created,
            status: None,
            sqlstate: None,
            start_time,
            end_time: None,
            total_us: None,
            queue_wait_us: None,
            lock_wait_us: None,
            planning_us: None,
            execution_us: None,
            fetch_us: None,
            unregister_us: None,
            rows_returned: None,
            rows_read: None,
            bytes_read: None,
            files_pruned: None,
            row_groups_pruned: None,
            estimated_cost: None,
            cpu_us: None,
            memory_estimate_bytes: None,
            memory_peak_bytes: None,
            spilled_bytes: None,
            tables: None,
            columns_used: None,
            overcommitted: None,
            stepped_aside: None,
            cache_hits: None,
            workers: None,
            error: None,
        }
    }
}

/// A query id as its text.
mod id_as_text {
    use crate::QueryId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(id: &QueryId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<QueryId, D::Error> {
        Cow::<'de, str>::deserialize(from)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// A state as its name.
mod state_as_text {
    use crate::QueryState;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(state: &QueryState, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(state.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<QueryState, D::Error> {
        let name = Cow::<'de, str>::deserialize(from)?;
        QueryState::ALL
            .into_iter()
            .find(|state| state.as_str() == name)
            .ok_or_else(|| D::Error::custom(format!("\"{name}\" is not a state of a query")))
    }
}

/// A moment as microseconds since 1970.
mod micros {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(at: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(at.timestamp_micros())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<DateTime<Utc>, D::Error> {
        DateTime::from_timestamp_micros(i64::deserialize(from)?)
            .ok_or_else(|| D::Error::custom("the time is out of range"))
    }
}

/// A moment as microseconds since 1970, or nothing.
mod optional_micros {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        at: &Option<DateTime<Utc>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(|at| at.timestamp_micros()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<DateTime<Utc>>, D::Error> {
        let micros = Option::<i64>::deserialize(from)?;
        Ok(micros.and_then(DateTime::from_timestamp_micros))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A moment to the microsecond, as records keep it.
    pub(crate) fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(micros).unwrap()
    }

    /// A record in which every field has a value of its own.
    pub(crate) fn full(serial: u64) -> QueryRecord {
        QueryRecord {
            session_id: 17,
            protocol: "postgres".into(),
            client_address: "127.0.0.1:5000".into(),
            application_name: "psql".into(),
            role: "ada".into(),
            effective_role: "analyst".into(),
            database: "forebay".into(),
            queue: Some("reports".into()),
            statement: "SELECT 'a\nb', \"é\"".into(),
            statement_type: "SELECT".into(),
            state: QueryState::Exception,
            status: Some("division by zero".into()),
            sqlstate: Some("22012".into()),
            end_time: Some(at(1_700_000_000_123_457)),
            total_us: Some(1),
            queue_wait_us: Some(2),
            lock_wait_us: Some(3),
            planning_us: Some(4),
            execution_us: Some(5),
            fetch_us: Some(6),
            unregister_us: Some(7),
            rows_returned: Some(8),
            rows_read: Some(9),
            bytes_read: Some(u64::MAX),
            files_pruned: Some(11),
            row_groups_pruned: Some(12),
            estimated_cost: Some(13.5),
            cpu_us: Some(14),
            memory_estimate_bytes: Some(15),
            memory_peak_bytes: Some(16),
            spilled_bytes: Some(17),
            tables: Some(vec!["public.a".into(), "public.b".into()]),
            columns_used: Some(vec![]),
            overcommitted: Some(true),
            stepped_aside: Some(2),
            cache_hits: Some(18),
            workers: Some(vec!["w1".into()]),
            error: Some("division by zero".into()),
            ..QueryRecord::new(
                QueryId::from_halves(1, serial),
                serial,
                at(1_700_000_000_123_456),
            )
        }
    }

    #[test]
    fn json_gives_the_same_record_back() {
        for record in [full(3), QueryRecord::new(QueryId::random(), 4, at(-1))] {
            let json = serde_json::to_string(&record).unwrap();
            assert!(!json.contains('\n'));
            assert_eq!(serde_json::from_str::<QueryRecord>(&json).unwrap(), record);
        }
    }

    #[test]
    fn json_that_is_no_record_says_why() {
        let json = serde_json::to_string(&full(1)).unwrap();
        for (wrong, why) in [
            (
                json.replace("EXCEPTION", "ASLEEP"),
                "\"ASLEEP\" is not a state of a query",
            ),
            (
                json.replace(":0000000000000001", "!"),
                "a query id is two halves",
            ),
            (json[..json.len() / 2].to_owned(), "EOF"),
        ] {
            let error = serde_json::from_str::<QueryRecord>(&wrong).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
