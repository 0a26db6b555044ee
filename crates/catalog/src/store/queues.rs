//! Resource queues on disk.

use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{integer, same};
use crate::queue::{Priority, QueueAttributes, ResourceQueue};
use crate::snapshot::Snapshot;

pub(super) async fn load(connection: &mut SqliteConnection) -> sqlx::Result<Vec<ResourceQueue>> {
    let rows = sqlx::query("SELECT * FROM resource_queue").fetch_all(connection);
    rows.await?.iter().map(queue_from).collect()
}

fn queue_from(row: &SqliteRow) -> sqlx::Result<ResourceQueue> {
    let priority: &str = row.try_get("priority")?;
    let memory_limit_kb: Option<i64> = row.try_get("memory_limit_kb")?;
    let queue_timeout_ms: Option<i64> = row.try_get("queue_timeout_ms")?;
    Ok(ResourceQueue {
        oid: row.try_get("oid")?,
        name: row.try_get("name")?,
        attributes: QueueAttributes {
            active_statements: row.try_get("active_statements")?,
            max_cost: row.try_get("max_cost")?,
            cost_overcommit: row.try_get("cost_overcommit")?,
            min_cost: row.try_get("min_cost")?,
            memory_limit_kb: memory_limit_kb.map(i64::unsigned_abs),
            priority: Priority::named(priority)
                .ok_or_else(|| sqlx::Error::Decode(format!("priority {priority}").into()))?,
            max_queued: row.try_get("max_queued")?,
            queue_timeout_ms: queue_timeout_ms.map(i64::unsigned_abs),
        },
        comment: row.try_get("comment")?,
    })
}

pub(super) async fn write(
    connection: &mut SqliteConnection,
    old: &Snapshot,
    new: &Snapshot,
) -> sqlx::Result<()> {
    if Arc::ptr_eq(&old.queues, &new.queues) {
        return Ok(());
    }
    let gone = |queue: &&Arc<ResourceQueue>| !same(new.resource_queue(&queue.name), queue);
    for queue in old.resource_queues().filter(gone) {
        sqlx::query("DELETE FROM resource_queue WHERE oid = ?")
            .bind(queue.oid)
            .execute(&mut *connection)
            .await?;
    }
    let come = |queue: &&Arc<ResourceQueue>| !same(old.resource_queue(&queue.name), queue);
    for queue in new.resource_queues().filter(come) {
        insert(connection, queue).await?;
    }
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, queue: &ResourceQueue) -> sqlx::Result<()> {
    let attributes = &queue.attributes;
    sqlx::query(
        "INSERT INTO resource_queue (oid, name, active_statements, max_cost, cost_overcommit, min_cost, \
         memory_limit_kb, priority, max_queued, queue_timeout_ms, comment) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(queue.oid)
    .bind(&queue.name)
    .bind(attributes.active_statements)
    .bind(attributes.max_cost)
    .bind(attributes.cost_overcommit)
    .bind(attributes.min_cost)
    .bind(attributes.memory_limit_kb.map(integer).transpose()?)
    .bind(attributes.priority.as_str())
    .bind(attributes.max_queued)
    .bind(attributes.queue_timeout_ms.map(integer).transpose()?)
    .bind(&queue.comment)
    .execute(connection)
    .await?;
    Ok(())
}
