//! `CREATE`, `ALTER` and `DROP RESOURCE QUEUE`, and comments on resource queues.
//!
//! What the commit brings reaches admission through [`crate::queues`].

use forebay_catalog::{CatalogError, Change, DEFAULT_QUEUE, QueueChange};
use forebay_sql::{QueueOption, RoleOptions};

use crate::way::Answer;
use crate::{Result, Session};

impl Session {
    pub(super) fn create_queue(&mut self, name: &str, options: &[QueueOption]) -> Result<Answer> {
        self.require_superuser("to create resource queues")?;
        self.change(Change::CreateQueue {
            name: name.to_owned(),
            change: queue_change(options)?,
        })?;
        self.check_memory_limits(options);
        Ok(Answer::Done("CREATE RESOURCE QUEUE".to_owned()))
    }

    pub(super) fn alter_queue(&mut self, name: &str, options: &[QueueOption]) -> Result<Answer> {
        self.require_superuser("to alter resource queues")?;
        self.change(Change::AlterQueue {
            name: name.to_owned(),
            change: queue_change(options)?,
        })?;
        self.check_memory_limits(options);
        Ok(Answer::Done("ALTER RESOURCE QUEUE".to_owned()))
    }

    /// Warns whoever sets a `MEMORY_LIMIT` that makes all of them more than there is.
    fn check_memory_limits(&mut self, options: &[QueueOption]) {
        let mut sets = options.iter().filter(|option| option.value.is_some());
        if sets.any(|option| option.name.eq_ignore_ascii_case("memory_limit")) {
            self.warn_of_memory_limits();
        }
    }

    pub(super) fn drop_queue(&mut self, name: &str, if_exists: bool) -> Result<Answer> {
        const TAG: &str = "DROP RESOURCE QUEUE";
        self.require_superuser("to drop resource queues")?;
        if self.snapshot().resource_queue(name).is_none() {
            self.missing("resource queue", name, "42704", if_exists)?;
            return Ok(Answer::Done(TAG.to_owned()));
        }
        self.change(Change::DropQueue {
            name: name.to_owned(),
        })?;
        Ok(Answer::Done(TAG.to_owned()))
    }

    pub(super) fn comment_on_queue(&mut self, name: &str, comment: Option<&str>) -> Result<Answer> {
        self.require_superuser("to comment on resource queues")?;
        self.change(Change::CommentOnQueue {
            name: name.to_owned(),
            comment: comment.map(str::to_owned),
        })?;
        Ok(Answer::Done("COMMENT".to_owned()))
    }

    /// The queue that the options of a role name; with `NONE` it is the default one, as in
    /// Greenplum, where every role belongs to a queue.
    pub(super) fn queue_of(&mut self, options: &RoleOptions) -> Result<Option<String>> {
        Ok(match &options.resource_queue {
            None => None,
            Some(Some(queue)) => Some(queue.clone()),
            Some(None) => {
                let message = format!(
                    "resource queue required -- using default resource queue \"{DEFAULT_QUEUE}\""
                );
                self.notice("NOTICE", "00000", message);
                Some(DEFAULT_QUEUE.to_owned())
            }
        })
    }
}

fn queue_change(options: &[QueueOption]) -> Result<QueueChange> {
    let mut change = QueueChange::default();
    for option in options {
        change
            .add(&option.name, option.value.as_deref())
            .map_err(CatalogError::from)?;
    }
    Ok(change)
}
