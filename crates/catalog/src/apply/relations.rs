//! Rules of tables and views: what may be made, replaced and dropped.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{check_name, described, duplicate, list_dependents, not_found, shown_name};
use crate::change::{
    DependentViews, NewRelation, RelationDefinition, RelationName, ViewDefinition,
};
use crate::dependencies::Dependent;
use crate::error::{CatalogError, ObjectKind};
use crate::snapshot::{Relation, Snapshot};

impl Snapshot {
    pub(crate) fn create_relation(
        &mut self,
        new: &NewRelation,
        or_replace: bool,
    ) -> Result<(), CatalogError> {
        self.check_new_relation(new)?;
        match self.relation(&new.schema, &new.name) {
            None => {
                // Views may have stayed that read what was here before.
                self.check_not_recursive(new)?;
                let oid = self.take_oid()?;
                self.insert_relation(new, oid, false)
            }
            Some(old) if or_replace && !old.transient => {
                check_replaces(old, &new.definition)?;
                self.check_not_recursive(new)?;
                self.replace_definition(new)
            }
            Some(_) => Err(duplicate(
                ObjectKind::Relation,
                shown_name(&new.schema, &new.name),
            )),
        }
    }

    /// Adds a relation that is never written to disk.
    pub(crate) fn create_transient(&mut self, new: &NewRelation) -> Result<(), CatalogError> {
        self.check_new_relation(new)?;
        if self.relation(&new.schema, &new.name).is_some() {
            return Err(duplicate(
                ObjectKind::Relation,
                shown_name(&new.schema, &new.name),
            ));
        }
        let oid = self.next_transient_oid;
        self.next_transient_oid = oid.checked_add(1).ok_or(CatalogError::OidsExhausted)?;
        self.insert_relation(new, oid, true)
    }

    fn check_new_relation(&self, new: &NewRelation) -> Result<(), CatalogError> {
        check_name("relation", &new.name)?;
        self.existing_schema(&new.schema)?;
        self.existing_role(&new.owner)?;
        check_columns(&new.definition)?;
        self.check_reads(&new.definition)
    }

    /// What a view reads may have gone since the view was thought of.
    fn check_reads(&self, definition: &RelationDefinition) -> Result<(), CatalogError> {
        let RelationDefinition::View(view) = definition else {
            return Ok(());
        };
        for RelationName { schema, name } in &view.reads {
            if self.relation(schema, name).is_none() {
                return Err(not_found(ObjectKind::Relation, shown_name(schema, name)));
            }
        }
        Ok(())
    }

    /// A view must not read itself, over however many others.
    fn check_not_recursive(&self, new: &NewRelation) -> Result<(), CatalogError> {
        let RelationDefinition::View(view) = &new.definition else {
            return Ok(());
        };
        let own = RelationName {
            schema: new.schema.clone(),
            name: new.name.clone(),
        };
        let dependents = self.dependents_of(std::slice::from_ref(&own));
        let recursive = view.reads.iter().any(|read| {
            *read == own
                || dependents
                    .iter()
                    .any(|d| RelationName::of(&d.relation) == *read)
        });
        if recursive {
            return Err(CatalogError::RecursiveView {
                name: shown_name(&new.schema, &new.name),
            });
        }
        Ok(())
    }

    fn insert_relation(
        &mut self,
        new: &NewRelation,
        oid: u32,
        transient: bool,
    ) -> Result<(), CatalogError> {
        let relation = Relation {
            oid,
            schema: new.schema.clone(),
            name: new.name.clone(),
            owner: new.owner.clone(),
            version: self.version + 1,
            transient,
            definition: new.definition.clone(),
        };
        let relations = &mut self.schema_mut(&new.schema)?.relations;
        relations.insert(new.name.clone(), Arc::new(relation));
        Ok(())
    }

    fn replace_definition(&mut self, new: &NewRelation) -> Result<(), CatalogError> {
        let version = self.version + 1;
        let relations = &mut self.schema_mut(&new.schema)?.relations;
        if let Some(relation) = relations.get_mut(&new.name) {
            let relation = Arc::make_mut(relation);
            relation.version = version;
            relation.definition = new.definition.clone();
        }
        Ok(())
    }

    pub(crate) fn drop_relations(
        &mut self,
        names: &[RelationName],
        views: DependentViews,
    ) -> Result<(), CatalogError> {
        for RelationName { schema, name } in names {
            if !self.existing_schema(schema)?.relations.contains_key(name) {
                return Err(not_found(ObjectKind::Relation, shown_name(schema, name)));
            }
        }
        let dependents = match views {
            DependentViews::Leave => Vec::new(),
            DependentViews::Refuse | DependentViews::Drop => self.dependents_of(names),
        };
        if views == DependentViews::Refuse
            && let Some(first) = dependents.first()
        {
            return Err(self.needed(names, first, &dependents));
        }
        let dependents = dependents.iter().map(|d| RelationName::of(&d.relation));
        for RelationName { schema, name } in names.iter().cloned().chain(dependents) {
            self.schema_mut(&schema)?.relations.remove(&name);
        }
        Ok(())
    }

    pub(crate) fn rename_relation(
        &mut self,
        name: &RelationName,
        new_name: &RelationName,
    ) -> Result<(), CatalogError> {
        check_name("relation", &new_name.name)?;
        self.existing_schema(&new_name.schema)?;
        let Some(old) = self.relation(&name.schema, &name.name).cloned() else {
            return Err(not_found(
                ObjectKind::Relation,
                shown_name(&name.schema, &name.name),
            ));
        };
        if self.relation(&new_name.schema, &new_name.name).is_some() {
            return Err(duplicate(
                ObjectKind::Relation,
                shown_name(&new_name.schema, &new_name.name),
            ));
        }
        self.check_not_recursive(&NewRelation {
            schema: new_name.schema.clone(),
            name: new_name.name.clone(),
            owner: old.owner.clone(),
            definition: old.definition.clone(),
        })?;
        let renamed = Relation {
            schema: new_name.schema.clone(),
            name: new_name.name.clone(),
            version: self.version + 1,
            ..Relation::clone(&old)
        };
        self.schema_mut(&name.schema)?.relations.remove(&name.name);
        let relations = &mut self.schema_mut(&new_name.schema)?.relations;
        relations.insert(new_name.name.clone(), Arc::new(renamed));
        Ok(())
    }

    /// The first of the relations that something needs cannot be dropped.
    fn needed(
        &self,
        names: &[RelationName],
        first: &Dependent,
        dependents: &[Dependent],
    ) -> CatalogError {
        let needed = names
            .iter()
            .find(|n| **n == first.reads)
            .unwrap_or(&names[0]);
        let kind = self
            .relation(&needed.schema, &needed.name)
            .map_or(ObjectKind::Relation, |relation| relation.kind());
        let lines = dependents.iter().map(|dependent| self.reason(dependent));
        CatalogError::Dependents {
            kind,
            name: shown_name(&needed.schema, &needed.name),
            dependents: list_dependents(lines.collect()),
        }
    }

    fn reason(&self, dependent: &Dependent) -> String {
        let RelationName { schema, name } = &dependent.reads;
        let read = self.relation(schema, name);
        let read = read.map_or_else(|| shown_name(schema, name), |r| described(r));
        format!("{} depends on {read}", described(&dependent.relation))
    }
}

fn check_columns(definition: &RelationDefinition) -> Result<(), CatalogError> {
    let names: Vec<&str> = match definition {
        RelationDefinition::Table(table) => {
            let columns = table.columns.iter().chain(&table.partition_columns);
            columns.map(|column| column.name.as_str()).collect()
        }
        RelationDefinition::View(view) => view.columns.iter().map(String::as_str).collect(),
    };
    let mut seen = BTreeSet::new();
    for name in names {
        check_name("column", name)?;
        if !seen.insert(name) {
            return Err(CatalogError::DuplicateColumn {
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

fn check_replaces(old: &Relation, new: &RelationDefinition) -> Result<(), CatalogError> {
    if old.kind() != new.kind() {
        return Err(CatalogError::WrongKind {
            name: shown_name(&old.schema, &old.name),
            expected: new.kind(),
        });
    }
    match (&old.definition, new) {
        (RelationDefinition::View(old), RelationDefinition::View(new)) => {
            check_keeps_columns(old, new)
        }
        _ => Ok(()),
    }
}

/// What reads a view must find the columns that it was made for; more may follow.
fn check_keeps_columns(old: &ViewDefinition, new: &ViewDefinition) -> Result<(), CatalogError> {
    if new.output.is_empty() {
        return Ok(());
    }
    if new.output.len() < old.output.len() {
        return Err(CatalogError::ViewColumns {
            change: "cannot drop columns from view".to_owned(),
            renames: false,
        });
    }
    for (old, new) in old.output.iter().zip(&new.output) {
        if old.name != new.name {
            return Err(CatalogError::ViewColumns {
                change: format!(
                    "cannot change name of view column \"{}\" to \"{}\"",
                    old.name, new.name
                ),
                renames: true,
            });
        }
        if old.data_type != new.data_type {
            return Err(CatalogError::ViewColumns {
                change: format!(
                    "cannot change data type of view column \"{}\" from {} to {}",
                    old.name, old.data_type, new.data_type
                ),
                renames: false,
            });
        }
    }
    Ok(())
}
