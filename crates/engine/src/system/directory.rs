//! Every relation that there is, the system's and the users', with names, object ids and columns.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::Result;
use forebay_catalog::{BOOTSTRAP_ROLE_OID, RelationDefinition, Snapshot};
use futures::StreamExt;

use crate::catalogs::{FOREBAY, GP_TOOLKIT, INFORMATION_SCHEMA, PG_CATALOG};
use crate::{SessionFacts, Vantage};

/// The system's schemas and their object ids. That of `pg_catalog` is PostgreSQL's; the others
/// differ there from cluster to cluster. Here they and [`FIRST_VIEW_OID`] are above everything that
/// the library has numbered and commented on, with room behind each for its relations.
pub(super) const SYSTEM_SCHEMAS: [(&str, u32); 4] = [
    (PG_CATALOG, 11),
    (INFORMATION_SCHEMA, 15_000),
    (GP_TOOLKIT, 15_500),
    (FOREBAY, 15_600),
];

/// Views of `pg_catalog` are numbered from here; theirs too differ from cluster to cluster.
const FIRST_VIEW_OID: u32 = 14_500;

/// Tables that are opened at the same time to learn their columns.
const OPENED_AT_ONCE: usize = 8;

/// The way back from the catalog tables to the engine that they are part of.
#[derive(Clone, Default)]
pub(crate) struct EngineLink(Arc<OnceLock<Weak<crate::Inner>>>);

impl EngineLink {
    pub(crate) fn connect(&self, engine: &crate::Engine) {
        let _ = self.0.set(Arc::downgrade(&engine.inner));
    }

    fn engine(&self) -> Option<crate::Engine> {
        let inner = self.0.get()?.upgrade()?;
        Some(crate::Engine { inner })
    }
}

/// One of the system's schemas: its relations by name.
pub(super) struct Relations {
    pub(super) schema: &'static str,
    pub(super) by_name: BTreeMap<&'static str, SystemEntry>,
}

pub(super) struct SystemEntry {
    pub(super) oid: u32,
    pub(super) provider: Arc<dyn TableProvider>,
}

impl Relations {
    pub(super) fn new(schema: &'static str) -> Self {
        Self {
            schema,
            by_name: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, name: &'static str, provider: Arc<dyn TableProvider>) {
        let entry = SystemEntry { oid: 0, provider };
        let replaced = self.by_name.insert(name, entry);
        assert!(replaced.is_none(), "{name} is declared once");
    }

    /// Gives every relation its object id: tables have PostgreSQL's, views are counted.
    pub(super) fn numbered(mut self) -> Self {
        let mut next = match self.schema {
            PG_CATALOG => FIRST_VIEW_OID,
            schema => system_schema_oid(schema).unwrap_or_default() + 1,
        };
        for (name, entry) in &mut self.by_name {
            entry.oid = table_oid(name).unwrap_or_else(|| {
                next += 1;
                next - 1
            });
        }
        self
    }
}

impl fmt::Debug for Relations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Relations").field(&self.schema).finish()
    }
}

#[async_trait]
impl SchemaProvider for Relations {
    fn table_names(&self) -> Vec<String> {
        self.by_name.keys().map(ToString::to_string).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.by_name.get(name).map(|e| Arc::clone(&e.provider)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }
}

/// A relation as `pg_class` lists it.
pub(super) struct Listed {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) schema_oid: u32,
    pub(super) name: String,
    /// Object id of the owner.
    pub(super) owner: u32,
    pub(super) is_view: bool,
    /// The query of a view that somebody made.
    pub(super) view_query: Option<String>,
    source: Source,
}

impl Listed {
    /// Whether it is one of the system's.
    pub(super) fn is_system(&self) -> bool {
        matches!(self.source, Source::System(_))
    }

    /// What its maker says of it.
    pub(super) fn comment(&self) -> Option<&str> {
        self.relation()?.comment()
    }

    /// What its maker says of one of its columns.
    pub(super) fn comment_on(&self, column: &str) -> Option<&str> {
        self.relation()?.comment_on(column)
    }

    fn relation(&self) -> Option<&forebay_catalog::Relation> {
        match &self.source {
            Source::System(_) => None,
            Source::User(relation) => Some(relation),
        }
    }
}

enum Source {
    System(SchemaRef),
    User(Arc<forebay_catalog::Relation>),
}

/// Finds relations, whoever they belong to.
pub(super) struct Directory {
    link: EngineLink,
    /// Weak, because the relations themselves look things up here.
    system: OnceLock<Vec<Weak<Relations>>>,
}

impl Directory {
    pub(super) fn new(link: EngineLink) -> Self {
        Self {
            link,
            system: OnceLock::new(),
        }
    }

    pub(super) fn fill(&self, system: &[Arc<Relations>]) {
        let _ = self.system.set(system.iter().map(Arc::downgrade).collect());
    }

    fn system(&self) -> impl Iterator<Item = Arc<Relations>> {
        let schemas = self.system.get().into_iter().flatten();
        schemas.filter_map(Weak::upgrade)
    }

    /// Every relation of `snapshot` and of the system.
    pub(super) fn relations(&self, snapshot: &Snapshot) -> Vec<Listed> {
        let mut listed = Vec::new();
        for schema in self.system() {
            listed.extend(system_relations(&schema));
        }
        for schema in snapshot.schemas() {
            let relations = schema.relations.values();
            listed.extend(relations.map(|r| user_relation(snapshot, schema.oid, r)));
        }
        listed
    }

    /// Every relation with its columns. A table whose files cannot be read has none, so that one
    /// bad file does not hide all the others.
    pub(super) async fn columns(&self, snapshot: &Arc<Snapshot>) -> Vec<(Listed, SchemaRef)> {
        let vantage = Vantage::nobodys(Arc::clone(snapshot)).ok();
        let listed = futures::stream::iter(self.relations(snapshot));
        let opened = listed.map(|listed| {
            let vantage = vantage.clone();
            async move {
                let columns = self.columns_of(vantage.as_ref(), &listed.source).await;
                (listed, columns)
            }
        });
        opened.buffered(OPENED_AT_ONCE).collect().await
    }

    /// What its maker says of a relation's column, which is counted from 1. Columns that nobody has
    /// declared are known once the relation's files were opened: who asks for comments of all columns
    /// has asked for the columns before.
    pub(super) fn comment_on_column(
        &self,
        snapshot: &Arc<Snapshot>,
        relation_oid: u32,
        number: u32,
    ) -> Option<String> {
        let relation = snapshot.relation_by_oid(relation_oid)?;
        let index = number.checked_sub(1)? as usize;
        let comment = match &relation.definition {
            RelationDefinition::Table(table) if !table.columns.is_empty() => {
                let mut columns = table.columns.iter().chain(&table.partition_columns);
                relation.comment_on(&columns.nth(index)?.name)
            }
            _ => {
                let engine = self.link.engine()?;
                let opened = engine.inner.providers.find(relation, snapshot)?;
                relation.comment_on(opened.schema().fields().get(index)?.name())
            }
        };
        comment.map(ToOwned::to_owned)
    }

    async fn columns_of(&self, vantage: Option<&Vantage>, source: &Source) -> SchemaRef {
        let relation = match source {
            Source::System(columns) => return Arc::clone(columns),
            Source::User(relation) => relation,
        };
        let columns = async {
            let engine = self.link.engine()?;
            let providers = Arc::clone(&engine.inner.providers);
            let provider = providers.get(&engine, vantage?, relation).await.ok()?;
            Some(provider.schema())
        };
        columns.await.unwrap_or_else(|| Arc::new(Schema::empty()))
    }

    /// The object id of the relation that `name` means to the one who asks.
    pub(super) fn find(
        &self,
        asker: &SessionFacts,
        schema: Option<&str>,
        name: &str,
    ) -> Option<u32> {
        match schema {
            Some(schema) => self.find_in(asker, schema, name),
            None => {
                let mut searched = asker.searched_schemas();
                searched.find_map(|schema| self.find_in(asker, schema, name))
            }
        }
    }

    fn find_in(&self, asker: &SessionFacts, schema: &str, name: &str) -> Option<u32> {
        if let Some(system) = self.system().find(|s| s.schema == schema) {
            return Some(system.by_name.get(name)?.oid);
        }
        Some(asker.snapshot.relation(schema, name)?.oid)
    }

    /// Schemas and names by object id.
    pub(super) fn names(&self, snapshot: &Snapshot) -> HashMap<u32, (String, String)> {
        let relations = self.relations(snapshot).into_iter();
        relations.map(|r| (r.oid, (r.schema, r.name))).collect()
    }
}

fn system_relations(schema: &Relations) -> Vec<Listed> {
    let schema_oid = system_schema_oid(schema.schema).unwrap_or_default();
    let relations = schema.by_name.iter();
    relations
        .map(|(name, entry)| Listed {
            oid: entry.oid,
            schema: schema.schema.to_owned(),
            schema_oid,
            name: (*name).to_owned(),
            owner: BOOTSTRAP_ROLE_OID,
            is_view: table_oid(name).is_none(),
            view_query: None,
            source: Source::System(entry.provider.schema()),
        })
        .collect()
}

fn user_relation(
    snapshot: &Snapshot,
    schema_oid: u32,
    relation: &Arc<forebay_catalog::Relation>,
) -> Listed {
    let view_query = match &relation.definition {
        RelationDefinition::Table(_) => None,
        RelationDefinition::View(view) => Some(view.query.clone()),
    };
    Listed {
        oid: relation.oid,
        schema: relation.schema.clone(),
        schema_oid,
        name: relation.name.clone(),
        owner: role_oid(snapshot, &relation.owner),
        is_view: view_query.is_some(),
        view_query,
        source: Source::User(Arc::clone(relation)),
    }
}

/// The object id of role `name`; 0 means none, as everywhere in `pg_catalog`.
pub(super) fn role_oid(snapshot: &Snapshot, name: &str) -> u32 {
    snapshot.role(name).map_or(0, |role| role.oid)
}

/// The name of role `oid`.
pub(super) fn role_name(snapshot: &Snapshot, oid: u32) -> Option<String> {
    snapshot.role_by_oid(oid).map(|role| role.name.clone())
}

/// Whether `name` is a schema of the system.
pub(super) fn is_system_schema(name: &str) -> bool {
    system_schema_oid(name).is_some()
}

/// The object id of a schema of the system.
pub(super) fn system_schema_oid(name: &str) -> Option<u32> {
    let found = SYSTEM_SCHEMAS.iter().find(|(schema, _)| *schema == name);
    found.map(|(_, oid)| *oid)
}

/// The object id of a table of `pg_catalog`: those are the same in every PostgreSQL, and those of
/// resource queues in every Greenplum. What is not among them is a view.
pub(crate) fn table_oid(name: &str) -> Option<u32> {
    let found = TABLE_OIDS.binary_search_by_key(&name, |(name, _)| name);
    found.ok().map(|i| TABLE_OIDS[i].1)
}

const TABLE_OIDS: [(&str, u32); 67] = [
    ("pg_aggregate", 2600),
    ("pg_am", 2601),
    ("pg_amop", 2602),
    ("pg_amproc", 2603),
    ("pg_attrdef", 2604),
    ("pg_attribute", 1249),
    ("pg_auth_members", 1261),
    ("pg_authid", 1260),
    ("pg_cast", 2605),
    ("pg_class", 1259),
    ("pg_collation", 3456),
    ("pg_constraint", 2606),
    ("pg_conversion", 2607),
    ("pg_database", 1262),
    ("pg_db_role_setting", 2964),
    ("pg_default_acl", 826),
    ("pg_depend", 2608),
    ("pg_description", 2609),
    ("pg_enum", 3501),
    ("pg_event_trigger", 3466),
    ("pg_extension", 3079),
    ("pg_foreign_data_wrapper", 2328),
    ("pg_foreign_server", 1417),
    ("pg_foreign_table", 3118),
    ("pg_index", 2610),
    ("pg_inherits", 2611),
    ("pg_init_privs", 3394),
    ("pg_language", 2612),
    ("pg_largeobject", 2613),
    ("pg_largeobject_metadata", 2995),
    ("pg_namespace", 2615),
    ("pg_opclass", 2616),
    ("pg_operator", 2617),
    ("pg_opfamily", 2753),
    ("pg_parameter_acl", 6243),
    ("pg_partitioned_table", 3350),
    ("pg_policy", 3256),
    ("pg_proc", 1255),
    ("pg_publication", 6104),
    ("pg_publication_namespace", 6237),
    ("pg_publication_rel", 6106),
    ("pg_range", 3541),
    ("pg_replication_origin", 6000),
    ("pg_resourcetype", 6059),
    ("pg_resqueue", 6026),
    ("pg_resqueuecapability", 6060),
    ("pg_rewrite", 2618),
    ("pg_seclabel", 3596),
    ("pg_sequence", 2224),
    ("pg_shdepend", 1214),
    ("pg_shdescription", 2396),
    ("pg_shseclabel", 3592),
    ("pg_statistic", 2619),
    ("pg_statistic_ext", 3381),
    ("pg_statistic_ext_data", 3429),
    ("pg_subscription", 6100),
    ("pg_subscription_rel", 6102),
    ("pg_tablespace", 1213),
    ("pg_transform", 3576),
    ("pg_trigger", 2620),
    ("pg_ts_config", 3602),
    ("pg_ts_config_map", 3603),
    ("pg_ts_dict", 3600),
    ("pg_ts_parser", 3601),
    ("pg_ts_template", 3764),
    ("pg_type", 1247),
    ("pg_user_mapping", 1418),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_told_from_views() {
        assert!(TABLE_OIDS.is_sorted_by_key(|(name, _)| name));
        assert_eq!(table_oid("pg_class"), Some(1259));
        assert_eq!(table_oid("pg_views"), None);
    }
}
