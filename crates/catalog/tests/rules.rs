//! What is allowed and what is not, on snapshots alone.

mod support;

use forebay_catalog::{
    BOOTSTRAP_ROLE_OID, CatalogError, Change, DependentViews, FIRST_USER_OID,
    MAX_DEPENDENTS_LISTED, NewRole, PUBLIC_SCHEMA_OID, RelationDefinition, RoleChange, Snapshot,
};
use support::*;

/// A catalog with a role `ann`, a schema `s` of hers, a view `s.v` and a table `public.t`.
fn start() -> Snapshot {
    let changes = [
        create_role("ann"),
        create_schema("s", "ann"),
        create(view("s", "v", "ann", "SELECT 1, 2")),
        create(table("public", "t", BOSS, "/data/t.csv")),
    ];
    let start = Snapshot::bootstrap(BOSS).unwrap();
    changes
        .iter()
        .fold(start, |snapshot, change| snapshot.apply(change).unwrap())
}

fn refused(change: &Change) -> CatalogError {
    let before = start();
    let error = before
        .apply(change)
        .expect_err("the change must be refused");
    assert_eq!(before, start(), "a refused change leaves no trace");
    error
}

/// One line per case: SQLSTATE, message, detail and hint where there are any.
fn shown(error: &CatalogError) -> String {
    let mut text = format!("{} {error}", error.sqlstate());
    for more in [error.detail(), error.hint()].into_iter().flatten() {
        text = format!("{text} | {more}");
    }
    text
}

#[test]
fn a_new_catalog_has_a_superuser_and_public() {
    let snapshot = Snapshot::bootstrap(BOSS).unwrap();
    let boss = snapshot.role(BOSS).unwrap();
    assert_eq!(boss.oid, BOOTSTRAP_ROLE_OID);
    assert!(boss.superuser && boss.login && boss.create_db && boss.create_role);
    let public = snapshot.schema("public").unwrap();
    assert_eq!(
        (public.oid, public.owner.as_str()),
        (PUBLIC_SCHEMA_OID, BOSS)
    );
    assert_eq!(snapshot.roles().count(), 1);
    assert_eq!(snapshot.schemas().count(), 1);
}

#[test]
fn refusals_read_like_postgresql() {
    let owns_nothing = RoleChange {
        connection_limit: Some(-2),
        ..RoleChange::default()
    };
    let no_superuser = RoleChange {
        superuser: Some(false),
        ..RoleChange::default()
    };
    let no_login = RoleChange {
        login: Some(false),
        ..RoleChange::default()
    };
    let mut twice = table("public", "x", BOSS, "/x");
    let forebay_catalog::RelationDefinition::Table(definition) = &mut twice.definition else {
        unreachable!()
    };
    definition.partition_columns = vec![column("id", "INT")];
    let cases = [
        (create_role("ann"), r#"42710 role "ann" already exists"#),
        (
            create_role("pg_ann"),
            r#"42939 role name "pg_ann" is reserved | Names that start with "pg_" belong to the system."#,
        ),
        (
            create_role("public"),
            r#"42939 role name "public" is reserved"#,
        ),
        (create_role("none"), r#"42939 role name "none" is reserved"#),
        (
            create_role(""),
            r#"42602 invalid role name "": it is empty"#,
        ),
        (
            create_role("a\0b"),
            r#"42602 invalid role name "a\0b": it has a NUL character in it"#,
        ),
        (
            create_role(&"é".repeat(128)),
            "42622 role name is 256 bytes long, the limit is 255",
        ),
        (
            alter_role("bob", RoleChange::default()),
            r#"42704 role "bob" does not exist"#,
        ),
        (
            alter_role("ann", owns_nothing),
            "22023 invalid connection limit: -2",
        ),
        (
            alter_role(BOSS, no_superuser),
            r#"42501 the bootstrap superuser "boss" must keep the SUPERUSER attribute"#,
        ),
        (
            alter_role(BOSS, no_login),
            r#"42501 the bootstrap superuser "boss" must keep the LOGIN attribute"#,
        ),
        (
            rename_role("bob", "eve"),
            r#"42704 role "bob" does not exist"#,
        ),
        (
            rename_role("ann", BOSS),
            r#"42710 role "boss" already exists"#,
        ),
        (
            rename_role("ann", "pg_x"),
            r#"42939 role name "pg_x" is reserved | Names that start with "pg_" belong to the system."#,
        ),
        (
            set_role("bob", "x", None),
            r#"42704 role "bob" does not exist"#,
        ),
        (
            set_role("ann", "", Some("1")),
            r#"42602 invalid setting name "": it is empty"#,
        ),
        (drop_role("bob"), r#"42704 role "bob" does not exist"#),
        (
            drop_role(BOSS),
            "2BP01 cannot drop role boss because it is required by the database system",
        ),
        (
            drop_role("ann"),
            "2BP01 cannot drop role ann because other objects depend on it | owner of schema s\nowner of view s.v \
             | Drop the objects that it owns, or give them to another role, first.",
        ),
        (
            set_system("", None),
            r#"42602 invalid setting name "": it is empty"#,
        ),
        (
            create_schema("s", BOSS),
            r#"42P06 schema "s" already exists"#,
        ),
        (
            create_schema("information_schema", BOSS),
            r#"42P06 schema "information_schema" already exists"#,
        ),
        (
            create_schema("pg_mine", BOSS),
            r#"42939 schema name "pg_mine" is reserved | Names that start with "pg_" belong to the system."#,
        ),
        (
            create_schema("new", "bob"),
            r#"42704 role "bob" does not exist"#,
        ),
        (
            drop_schema("new", true),
            r#"3F000 schema "new" does not exist"#,
        ),
        (
            drop_schema("public", true),
            "2BP01 cannot drop schema public because it is required by the database system",
        ),
        (
            drop_schema("pg_catalog", true),
            "2BP01 cannot drop schema pg_catalog because it is required by the database system",
        ),
        (
            drop_schema("s", false),
            "2BP01 cannot drop schema s because other objects depend on it | view s.v depends on schema s \
             | Use DROP ... CASCADE to drop the dependent objects too.",
        ),
        (
            create(view("public", "t", BOSS, "SELECT 1")),
            r#"42P07 relation "t" already exists"#,
        ),
        (
            create(table("s", "v", BOSS, "/v")),
            r#"42P07 relation "s.v" already exists"#,
        ),
        (
            replace(view("public", "t", BOSS, "SELECT 1")),
            r#"42809 "t" is not a view"#,
        ),
        (
            replace(table("s", "v", BOSS, "/v")),
            r#"42809 "s.v" is not a table"#,
        ),
        (
            create(table("new", "x", BOSS, "/x")),
            r#"3F000 schema "new" does not exist"#,
        ),
        (
            create(table("public", "x", "bob", "/x")),
            r#"42704 role "bob" does not exist"#,
        ),
        (
            create(table("public", "", BOSS, "/x")),
            r#"42602 invalid relation name "": it is empty"#,
        ),
        (
            create(twice),
            r#"42701 column "id" specified more than once"#,
        ),
        (
            drop_relation("public", "x"),
            r#"42P01 relation "x" does not exist"#,
        ),
        (
            drop_relation("s", "x"),
            r#"42P01 relation "s.x" does not exist"#,
        ),
        (
            drop_relation("new", "x"),
            r#"3F000 schema "new" does not exist"#,
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(shown(&refused(&change)), expected, "{change:?}");
    }
}

#[test]
fn the_bootstrap_role_must_be_a_possible_role() {
    assert_eq!(
        Snapshot::bootstrap("pg_me").unwrap_err().sqlstate(),
        "42939"
    );
    assert_eq!(Snapshot::bootstrap("").unwrap_err().sqlstate(), "42602");
}

#[test]
fn only_the_given_attributes_change() {
    let change = RoleChange {
        login: Some(true),
        password: Some(Some("SCRAM-SHA-256$x".into())),
        connection_limit: Some(3),
        ..RoleChange::default()
    };
    let altered = start().apply(&alter_role("ann", change)).unwrap();
    let role = altered.role("ann").unwrap();
    assert!(role.login && role.inherit && !role.superuser);
    assert_eq!(
        (role.password.as_deref(), role.connection_limit),
        (Some("SCRAM-SHA-256$x"), 3)
    );
    let change = RoleChange {
        password: Some(None),
        ..RoleChange::default()
    };
    let altered = altered.apply(&alter_role("ann", change)).unwrap();
    assert_eq!(altered.role("ann").unwrap().password, None);
    assert!(altered.role("ann").unwrap().login);
}

#[test]
fn a_renamed_role_keeps_what_it_owns() {
    let before = start();
    let after = before.apply(&rename_role("ann", "anna")).unwrap();
    assert!(after.role("ann").is_none());
    assert_eq!(
        after.role("anna").unwrap().oid,
        before.role("ann").unwrap().oid
    );
    assert_eq!(after.schema("s").unwrap().owner, "anna");
    let (old, new) = (
        before.relation("s", "v").unwrap(),
        after.relation("s", "v").unwrap(),
    );
    assert_eq!(new.owner, "anna");
    assert_eq!(new.version, old.version, "its plans still hold");
    assert_eq!(after.relation("public", "t").unwrap().owner, BOSS);
}

#[test]
fn a_replaced_relation_keeps_oid_and_owner_and_has_a_new_version() {
    let catalog = start();
    let old = catalog.relation("s", "v").unwrap();
    let after = catalog
        .apply(&replace(view("s", "v", BOSS, "SELECT 3, 4")))
        .unwrap();
    let new = after.relation("s", "v").unwrap();
    assert_eq!((new.oid, new.owner.as_str()), (old.oid, "ann"));
    assert_ne!(new.definition, old.definition);
    assert_eq!(new.version, catalog.version() + 1);
}

#[test]
fn a_relation_keeps_all_but_its_name_when_it_is_renamed() {
    let catalog = start();
    let old = catalog.relation("s", "v").unwrap().clone();
    let rename = |name: &str, schema: &str, new_name: &str| Change::RenameRelation {
        name: relation_name("s", name),
        new_name: relation_name(schema, new_name),
    };
    let after = catalog.apply(&rename("v", "public", "w")).unwrap();
    assert!(after.relation("s", "v").is_none());
    let new = after.relation("public", "w").unwrap();
    assert_eq!((new.oid, &new.owner), (old.oid, &old.owner));
    assert_eq!(new.definition, old.definition);
    assert_eq!(new.version, catalog.version() + 1);
    let taken = after
        .apply(&create(view("s", "x", BOSS, "SELECT 1")))
        .unwrap();
    for (name, schema, new_name, sqlstate) in [
        ("x", "public", "w", "42P07"),
        ("v", "s", "y", "42P01"),
        ("x", "nowhere", "x", "3F000"),
        ("x", "s", "", "42602"),
    ] {
        let error = taken.apply(&rename(name, schema, new_name)).unwrap_err();
        assert_eq!(error.sqlstate(), sqlstate, "{name} to {schema}.{new_name}");
    }
}

#[test]
fn views_may_stay_behind_and_find_what_comes_again() {
    let table = create(table("public", "t", BOSS, "/t/"));
    let reader = create(reading("v", &[("public", "t")], &["id"]));
    let catalog = Snapshot::bootstrap(BOSS).unwrap();
    let catalog = catalog.apply(&table).unwrap().apply(&reader).unwrap();
    assert!(catalog.apply(&drop_relation("public", "t")).is_err());
    let leave = Change::DropRelations {
        relations: vec![relation_name("public", "t")],
        dependents: DependentViews::Leave,
    };
    let without = catalog.apply(&leave).unwrap();
    assert!(without.relation("public", "v").is_some());
    assert!(without.apply(&table).is_ok());
    // A view in the place of what it reads would read itself.
    let rename = Change::RenameRelation {
        name: relation_name("public", "v"),
        new_name: relation_name("public", "t"),
    };
    assert!(without.apply(&rename).is_err());
}

#[test]
fn cascade_takes_the_relations_along() {
    let after = start().apply(&drop_schema("s", true)).unwrap();
    assert!(after.schema("s").is_none());
    assert_eq!(after.relations("s").count(), 0);
    assert!(
        after.apply(&drop_role("ann")).is_ok(),
        "nothing is left that she owns"
    );
}

#[test]
fn settings_have_one_spelling_and_can_be_taken_away() {
    let set = start()
        .apply(&set_role("ann", "TimeZone", Some("UTC")))
        .unwrap();
    let set = set
        .apply(&set_system("Statement_Timeout", Some("1min")))
        .unwrap();
    assert_eq!(set.role("ann").unwrap().settings["timezone"], "UTC");
    assert_eq!(set.system_settings()["statement_timeout"], "1min");
    let reset = set.apply(&set_role("ann", "TIMEZONE", None)).unwrap();
    let reset = reset.apply(&set_system("STATEMENT_TIMEOUT", None)).unwrap();
    assert_eq!(reset, start());
}

#[test]
fn object_ids_are_not_used_twice() {
    let start = Snapshot::bootstrap(BOSS).unwrap();
    let first = start.apply(&create_role("a")).unwrap();
    assert_eq!(first.role("a").unwrap().oid, FIRST_USER_OID);
    let second = first
        .apply(&drop_role("a"))
        .unwrap()
        .apply(&create_role("a"))
        .unwrap();
    assert_eq!(second.role("a").unwrap().oid, FIRST_USER_OID + 1);
    assert_eq!(second.role_by_oid(FIRST_USER_OID + 1).unwrap().name, "a");
    assert!(second.role_by_oid(FIRST_USER_OID).is_none());
}

#[test]
fn secrets_are_not_printed() {
    let secret = "SCRAM-SHA-256$4096:salt";
    let new = NewRole {
        password: Some(secret.into()),
        ..NewRole::new("ann")
    };
    let change = RoleChange {
        password: Some(Some(secret.into())),
        ..RoleChange::default()
    };
    let snapshot = Snapshot::bootstrap(BOSS)
        .unwrap()
        .apply(&Change::CreateRole(new.clone()))
        .unwrap();
    for printed in [
        format!("{new:?}"),
        format!("{change:?}"),
        format!("{snapshot:?}"),
    ] {
        assert!(!printed.contains("SCRAM"), "{printed}");
        assert!(printed.contains("(hidden)"), "{printed}");
    }
}

#[test]
fn a_long_list_of_dependents_is_cut() {
    let mut snapshot = start();
    for n in 0..MAX_DEPENDENTS_LISTED + 4 {
        snapshot = snapshot
            .apply(&create(view("s", &format!("v{n}"), BOSS, "SELECT 1")))
            .unwrap();
    }
    let error = snapshot.apply(&drop_schema("s", false)).unwrap_err();
    let detail = error.detail().unwrap();
    assert_eq!(detail.lines().count(), MAX_DEPENDENTS_LISTED + 1);
    assert!(detail.ends_with("and 5 more"), "{detail}");
}

#[test]
fn an_old_snapshot_stays_as_it_was() {
    let before = start();
    let kept = before.clone();
    let mut after = before.clone();
    for change in [
        drop_schema("s", true),
        drop_role("ann"),
        drop_relation("public", "t"),
    ] {
        after = after.apply(&change).unwrap();
    }
    assert_eq!(before, kept);
    assert!(before.relation("s", "v").is_some() && after.relation("s", "v").is_none());
}

#[test]
fn what_a_view_reads_stays() {
    let mut catalog = Snapshot::bootstrap(BOSS).unwrap();
    for change in [
        create(table("public", "t", BOSS, "/t")),
        create(reading("a", &[("public", "t")], &["x"])),
        create(reading("b", &[("public", "a"), ("public", "t")], &["x"])),
        create(reading("c", &[("public", "b")], &["x"])),
    ] {
        catalog = catalog.apply(&change).unwrap();
    }
    let refused = |change: &Change| {
        let error = catalog.apply(change).unwrap_err();
        (error.sqlstate(), error.to_string(), error.detail())
    };
    let detail = "view a depends on table t\nview b depends on table t\nview c depends on view b";
    assert_eq!(
        refused(&drop_relation("public", "t")),
        (
            "2BP01",
            "cannot drop table t because other objects depend on it".to_owned(),
            Some(detail.to_owned())
        )
    );
    // Together they can go, in any order; the rest needs CASCADE.
    let (b, c) = (("public", "b"), ("public", "c"));
    let without = catalog.apply(&drop_relations(&[b, c], false)).unwrap();
    assert_eq!(without.relations("public").count(), 2);
    let emptied = catalog
        .apply(&drop_relations(&[("public", "t")], true))
        .unwrap();
    assert_eq!(emptied.relations("public").count(), 0);
    // Nobody can make a view of what has gone meanwhile.
    let late = without.apply(&create(reading("d", &[("public", "b")], &["x"])));
    assert_eq!(late.unwrap_err().sqlstate(), "42P01");
}

#[test]
fn dropping_a_schema_takes_views_elsewhere_along() {
    let mut catalog = Snapshot::bootstrap(BOSS).unwrap();
    for change in [
        Change::CreateSchema {
            name: "s".into(),
            owner: BOSS.into(),
        },
        create(table("s", "t", BOSS, "/t")),
        create(reading("v", &[("s", "t")], &["x"])),
    ] {
        catalog = catalog.apply(&change).unwrap();
    }
    let cascade = Change::DropSchema {
        name: "s".into(),
        cascade: true,
    };
    let after = catalog.apply(&cascade).unwrap();
    assert!(after.schema("s").is_none());
    assert!(after.relation("public", "v").is_none());
}

#[test]
fn a_replaced_view_keeps_its_columns_and_does_not_read_itself() {
    let mut catalog = Snapshot::bootstrap(BOSS).unwrap();
    for change in [
        create(reading("a", &[], &["x", "y"])),
        create(reading("b", &[("public", "a")], &["x"])),
    ] {
        catalog = catalog.apply(&change).unwrap();
    }
    let mut other_type = reading("a", &[], &["x", "y"]);
    if let RelationDefinition::View(view) = &mut other_type.definition {
        view.output[1].data_type = "text".into();
    }
    let cases = [
        (
            reading("a", &[], &["x"]),
            "42P16 cannot drop columns from view",
        ),
        (
            reading("a", &[], &["x", "z"]),
            "42P16 cannot change name of view column \"y\" to \"z\"",
        ),
        (
            other_type,
            "42P16 cannot change data type of view column \"y\" from bigint to text",
        ),
        (
            reading("a", &[("public", "b")], &["x", "y"]),
            "42P17 infinite recursion detected in rules for relation \"a\"",
        ),
        (
            reading("a", &[("public", "a")], &["x", "y"]),
            "42P17 infinite recursion detected in rules for relation \"a\"",
        ),
    ];
    for (view, expected) in cases {
        let error = catalog.apply(&replace(view)).unwrap_err();
        assert_eq!(format!("{} {error}", error.sqlstate()), expected);
    }
    let more = replace(reading("a", &[], &["x", "y", "z"]));
    assert!(catalog.apply(&more).is_ok());
}
