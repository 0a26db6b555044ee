//! Which views read a relation, directly or over other views.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::change::{RelationDefinition, RelationName};
use crate::snapshot::{Relation, Snapshot};

/// A view that reads another relation.
#[derive(Debug, Clone)]
pub struct Dependent {
    /// The view.
    pub relation: Arc<Relation>,
    /// What it reads.
    pub reads: RelationName,
}

impl RelationName {
    /// The name of `relation`.
    pub fn of(relation: &Relation) -> Self {
        Self {
            schema: relation.schema.clone(),
            name: relation.name.clone(),
        }
    }
}

impl Snapshot {
    /// The views that read one of `names`, or a view that does; those nearest to `names` first. None of `names` is
    /// among them. Looks at every relation once for each step away from `names`.
    pub fn dependents_of(&self, names: &[RelationName]) -> Vec<Dependent> {
        let mut known: BTreeSet<RelationName> = names.iter().cloned().collect();
        let mut nearest: BTreeSet<RelationName> = known.clone();
        let mut dependents = Vec::new();
        while !nearest.is_empty() {
            let found: Vec<Dependent> = self
                .views()
                .filter(|(relation, _)| !known.contains(&RelationName::of(relation)))
                .filter_map(|(relation, reads)| {
                    let reads = reads.iter().find(|read| nearest.contains(read))?.clone();
                    let relation = Arc::clone(relation);
                    Some(Dependent { relation, reads })
                })
                .collect();
            nearest = found
                .iter()
                .map(|d| RelationName::of(&d.relation))
                .collect();
            known.extend(nearest.iter().cloned());
            dependents.extend(found);
        }
        dependents
    }

    fn views(&self) -> impl Iterator<Item = (&Arc<Relation>, &[RelationName])> {
        let relations = self.schemas.values().flat_map(|s| s.relations.values());
        relations.filter_map(|relation| match &relation.definition {
            RelationDefinition::View(view) => Some((relation, view.reads.as_slice())),
            RelationDefinition::Table(_) => None,
        })
    }
}
