//! `FETCH`, `MOVE`, `CLOSE`.

use forebay_sql::{Fetch, FetchDirection};

use crate::portals::PortalRows;
use crate::way::Answer;
use crate::{Error, Response, Result, Rows, Session};

impl Session {
    pub(super) async fn fetch(&mut self, fetch: &Fetch) -> Result<Answer> {
        let cursor = self.portals.get(&fetch.cursor)?.clone();
        let (skip, limit) = forward_steps(&cursor, fetch.direction).await?;
        let mut left = skip;
        while left > 0
            && let Some(batch) = cursor.next(Some(left)).await?
        {
            left -= batch.num_rows() as u64;
        }
        if !fetch.mv {
            return Ok(Answer::Ready(Box::new(move |running| {
                Ok(Response::Rows(Rows::of_portal(cursor, limit, running)))
            })));
        }
        let mut moved = 0;
        while let Some(batch) = cursor.next(limit.map(|l| l - moved)).await? {
            moved += batch.num_rows() as u64;
        }
        Ok(Answer::Done(format!("MOVE {moved}")))
    }

    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> Result<Answer> {
        match name {
            Some(name) => {
                self.portals.close(name)?;
                Ok(Answer::Done("CLOSE CURSOR".to_owned()))
            }
            None => {
                self.portals.close_all();
                Ok(Answer::Done("CLOSE CURSOR ALL".to_owned()))
            }
        }
    }
}

/// How many rows to skip and then to return (`None`: all that are left), for a cursor that
/// stands after its row `position`.
async fn forward_steps(
    cursor: &PortalRows,
    direction: FetchDirection,
) -> Result<(u64, Option<u64>)> {
    let position = cursor.position().await;
    match direction {
        FetchDirection::Next => Ok((0, Some(1))),
        FetchDirection::Forward(n) if n > 0 => Ok((0, Some(n.unsigned_abs()))),
        FetchDirection::ForwardAll => Ok((0, None)),
        FetchDirection::Relative(n) if n > 0 => Ok((n.unsigned_abs() - 1, Some(1))),
        FetchDirection::First if position == 0 => Ok((0, Some(1))),
        FetchDirection::Absolute(n) if n > 0 && n.unsigned_abs() > position => {
            Ok((n.unsigned_abs() - position - 1, Some(1)))
        }
        _ => Err(Error::new("55000", "cursor can only scan forward")
            .with_hint("Close the cursor and declare it again to read from its start.")),
    }
}
