//! Which object a name means.

use std::sync::Arc;

use forebay_catalog::{ObjectKind, Relation, Snapshot};
use forebay_engine::DATABASE;
use forebay_sql::{CopySource, Statement};

use crate::{Error, Result, Session};

/// The relation that `name` (one to three parts) means, unqualified names being looked up in
/// `path`.
pub(crate) fn find_relation<'a>(
    snapshot: &'a Snapshot,
    path: &[String],
    name: &[String],
) -> Option<&'a Arc<Relation>> {
    match name {
        [name] => path
            .iter()
            .find_map(|schema| snapshot.relation(schema, name)),
        [schema, name] => snapshot.relation(schema, name),
        [_, schema, name] => snapshot.relation(schema, name),
        _ => None,
    }
}

impl Session {
    /// Schema and name of a relation that is about to be created.
    pub(super) fn place_for(&self, name: &[String]) -> Result<(String, String)> {
        let snapshot = self.snapshot();
        let (schema, name) = match name {
            [name] => {
                let path = self.settings.search_path(self.current_user());
                let mut existing = path.into_iter().filter(|s| snapshot.schema(s).is_some());
                let schema = existing.next().ok_or_else(|| {
                    Error::new("3F000", "no schema has been selected to create in")
                })?;
                (schema, name.clone())
            }
            [schema, name] => (schema.clone(), name.clone()),
            [database, schema, name]
                if [DATABASE, &self.identity.database].contains(&database.as_str()) =>
            {
                (schema.clone(), name.clone())
            }
            _ => {
                return Err(Error::new(
                    "0A000",
                    format!(
                        "cross-database references are not implemented: \"{}\"",
                        name.join(".")
                    ),
                ));
            }
        };
        if snapshot.schema(&schema).is_none() {
            return Err(Error::new(
                "3F000",
                format!("schema \"{schema}\" does not exist"),
            ));
        }
        Ok((schema, name))
    }

    /// `COPY name TO` is for tables.
    pub(crate) fn check_copied(&self, statement: &Statement) -> Result<()> {
        let Statement::Copy(copy) = statement else {
            return Ok(());
        };
        let CopySource::Table { name, .. } = &copy.source else {
            return Ok(());
        };
        let path = self.settings.search_path(self.current_user());
        let snapshot = self.snapshot();
        match find_relation(&snapshot, &path, name) {
            Some(relation) if relation.kind() == ObjectKind::View => {
                let message = format!("cannot copy from view \"{}\"", relation.name);
                Err(Error::new("42809", message).with_hint("Try the COPY (SELECT ...) TO variant."))
            }
            _ => Ok(()),
        }
    }

    /// Whether the role in force owns what `owner` owns.
    pub(super) fn check_owner(&self, owner: &str, kind: &str, name: &str) -> Result<()> {
        if self.is_superuser() || owner == self.current_user() {
            return Ok(());
        }
        Err(Error::permission(format!("must be owner of {kind} {name}")))
    }
}
