//! Short ways to write changes.

#![allow(dead_code, reason = "every test file uses some of it")]

use std::collections::BTreeMap;

use forebay_catalog::{
    BOOTSTRAP_ROLE_OID, Catalog, Change, ColumnDefinition, DependentViews, NewRelation, NewRole,
    RelationDefinition, RelationName, RoleChange, Snapshot, TableDefinition, ViewDefinition,
};

/// The bootstrap role of every test.
pub const BOSS: &str = "boss";

/// Opens the catalog in `directory`.
pub async fn open(directory: &tempfile::TempDir) -> Catalog {
    Catalog::open(directory.path(), BOSS).await.unwrap()
}

/// Closes the catalog, opens it again, and returns what it then says. The bootstrap role may have been renamed: with
/// its old name, opening would add a role.
pub async fn reopened(catalog: Catalog, directory: &tempfile::TempDir) -> Snapshot {
    catalog.close().await;
    let boss = catalog
        .snapshot()
        .role_by_oid(BOOTSTRAP_ROLE_OID)
        .unwrap()
        .name
        .clone();
    let catalog = Catalog::open(directory.path(), &boss).await.unwrap();
    let snapshot = Snapshot::clone(&catalog.snapshot());
    catalog.close().await;
    snapshot
}

pub fn create_role(name: &str) -> Change {
    Change::CreateRole(NewRole::new(name))
}

pub fn alter_role(name: &str, change: RoleChange) -> Change {
    Change::AlterRole {
        name: name.into(),
        change,
    }
}

pub fn rename_role(name: &str, new_name: &str) -> Change {
    Change::RenameRole {
        name: name.into(),
        new_name: new_name.into(),
    }
}

pub fn drop_role(name: &str) -> Change {
    Change::DropRole { name: name.into() }
}

pub fn set_role(role: &str, name: &str, value: Option<&str>) -> Change {
    Change::SetRoleSetting {
        role: role.into(),
        name: name.into(),
        value: value.map(Into::into),
    }
}

pub fn set_system(name: &str, value: Option<&str>) -> Change {
    Change::SetSystemSetting {
        name: name.into(),
        value: value.map(Into::into),
    }
}

pub fn create_schema(name: &str, owner: &str) -> Change {
    Change::CreateSchema {
        name: name.into(),
        owner: owner.into(),
    }
}

pub fn drop_schema(name: &str, cascade: bool) -> Change {
    Change::DropSchema {
        name: name.into(),
        cascade,
    }
}

pub fn create(relation: NewRelation) -> Change {
    Change::CreateRelation {
        relation,
        or_replace: false,
    }
}

pub fn replace(relation: NewRelation) -> Change {
    Change::CreateRelation {
        relation,
        or_replace: true,
    }
}

pub fn drop_relation(schema: &str, name: &str) -> Change {
    drop_relations(&[(schema, name)], false)
}

pub fn drop_relations(names: &[(&str, &str)], cascade: bool) -> Change {
    Change::DropRelations {
        relations: names.iter().map(|(s, n)| relation_name(s, n)).collect(),
        dependents: match cascade {
            true => DependentViews::Drop,
            false => DependentViews::Refuse,
        },
    }
}

pub fn relation_name(schema: &str, name: &str) -> RelationName {
    RelationName {
        schema: schema.into(),
        name: name.into(),
    }
}

/// A view that reads other relations and gives bigint columns.
pub fn reading(name: &str, reads: &[(&str, &str)], output: &[&str]) -> NewRelation {
    let definition = ViewDefinition {
        query: "SELECT 1".into(),
        search_path: vec!["public".into()],
        reads: reads.iter().map(|(s, n)| relation_name(s, n)).collect(),
        output: output.iter().map(|name| column(name, "bigint")).collect(),
        ..ViewDefinition::default()
    };
    relation("public", name, BOSS, RelationDefinition::View(definition))
}

pub fn view(schema: &str, name: &str, owner: &str, query: &str) -> NewRelation {
    let definition = ViewDefinition {
        query: query.into(),
        columns: vec!["a".into(), "b".into()],
        search_path: vec!["public".into()],
        ..ViewDefinition::default()
    };
    relation(schema, name, owner, RelationDefinition::View(definition))
}

pub fn table(schema: &str, name: &str, owner: &str, location: &str) -> NewRelation {
    let definition = TableDefinition {
        format: "CSV".into(),
        location: location.into(),
        columns: vec![column("id", "BIGINT"), column("naïve \"name\"", "VARCHAR")],
        partition_columns: vec![column("day", "DATE")],
        options: BTreeMap::from([("format.delimiter".into(), "\u{1}|'".into())]),
        order_by: vec!["id ASC NULLS LAST".into()],
        managed: true,
        properties: BTreeMap::from([("a'b".into(), "".into())]),
        comment: Some("one's".into()),
        column_comments: BTreeMap::from([("id".into(), "a \"number\"".into())]),
    };
    relation(schema, name, owner, RelationDefinition::Table(definition))
}

pub fn column(name: &str, data_type: &str) -> ColumnDefinition {
    ColumnDefinition {
        name: name.into(),
        data_type: data_type.into(),
        nullable: name != "id",
    }
}

fn relation(schema: &str, name: &str, owner: &str, definition: RelationDefinition) -> NewRelation {
    NewRelation {
        schema: schema.into(),
        name: name.into(),
        owner: owner.into(),
        definition,
    }
}
