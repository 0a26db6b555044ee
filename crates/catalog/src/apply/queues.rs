//! Changes of resource queues.

use std::sync::Arc;

use super::{check_name, duplicate, list_dependents, not_found, reserved};
use crate::error::{CatalogError, ObjectKind};
use crate::queue::{
    DEFAULT_QUEUE, DEFAULT_QUEUE_OID, QueueAttributes, QueueChange, QueueError, ResourceQueue,
};
use crate::snapshot::Snapshot;

/// `ACTIVE_STATEMENTS` of the default queue, as in Greenplum.
const DEFAULT_ACTIVE_STATEMENTS: u32 = 20;

impl Snapshot {
    /// Makes sure that the default queue is there. Says whether anything had to change.
    pub(super) fn ensure_default_queue(&mut self) -> bool {
        if self.resource_queue_by_oid(DEFAULT_QUEUE_OID).is_some() {
            return false;
        }
        self.insert_queue(ResourceQueue {
            oid: DEFAULT_QUEUE_OID,
            name: DEFAULT_QUEUE.to_owned(),
            attributes: QueueAttributes {
                active_statements: Some(DEFAULT_ACTIVE_STATEMENTS),
                ..QueueAttributes::default()
            },
            comment: None,
        });
        true
    }

    pub(super) fn create_queue(
        &mut self,
        name: &str,
        change: &QueueChange,
    ) -> Result<(), CatalogError> {
        check_name("resource queue", name)?;
        let attributes = change.create()?;
        // `NONE` is what `ALTER ROLE` says for no queue of its own.
        if name == "none" {
            return Err(reserved(ObjectKind::ResourceQueue, name));
        }
        if self.queues.contains_key(name) {
            return Err(duplicate(ObjectKind::ResourceQueue, name));
        }
        let oid = self.take_oid()?;
        self.insert_queue(ResourceQueue {
            oid,
            name: name.to_owned(),
            attributes,
            comment: None,
        });
        Ok(())
    }

    fn insert_queue(&mut self, queue: ResourceQueue) {
        Arc::make_mut(&mut self.queues).insert(queue.name.clone(), Arc::new(queue));
    }

    pub(super) fn alter_queue(
        &mut self,
        name: &str,
        change: &QueueChange,
    ) -> Result<(), CatalogError> {
        let attributes = change.alter(self.existing_queue(name)?.attributes)?;
        self.queue_mut(name)?.attributes = attributes;
        Ok(())
    }

    pub(super) fn comment_on_queue(
        &mut self,
        name: &str,
        comment: Option<&str>,
    ) -> Result<(), CatalogError> {
        // An empty comment is none, as in PostgreSQL.
        let comment = comment.filter(|text| !text.is_empty());
        self.queue_mut(name)?.comment = comment.map(str::to_owned);
        Ok(())
    }

    pub(super) fn drop_queue(&mut self, name: &str) -> Result<(), CatalogError> {
        let oid = self.existing_queue(name)?.oid;
        if oid == DEFAULT_QUEUE_OID {
            return Err(QueueError::DropsDefault.into());
        }
        let members = self.roles.values().filter(|r| r.resource_queue == oid);
        let roles = list_dependents(members.map(|r| format!("role {}", r.name)).collect());
        if !roles.is_empty() {
            let name = name.to_owned();
            return Err(QueueError::HasRoles { name, roles }.into());
        }
        Arc::make_mut(&mut self.queues).remove(name);
        Ok(())
    }

    pub(super) fn existing_queue(&self, name: &str) -> Result<&Arc<ResourceQueue>, CatalogError> {
        self.queues
            .get(name)
            .ok_or_else(|| not_found(ObjectKind::ResourceQueue, name))
    }

    fn queue_mut(&mut self, name: &str) -> Result<&mut ResourceQueue, CatalogError> {
        // Looked up before the map is copied: a miss must not cost a copy.
        self.existing_queue(name)?;
        let queue = Arc::make_mut(&mut self.queues).get_mut(name);
        queue
            .map(Arc::make_mut)
            .ok_or_else(|| not_found(ObjectKind::ResourceQueue, name))
    }
}
