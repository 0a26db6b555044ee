//! Random changes over few names: the catalog does what a plain fold over snapshots does, and the disk agrees.

mod support;

use forebay_catalog::{Change, DEFAULT_QUEUE, NewRole, QueueChange, RoleChange, Snapshot};
use proptest::collection::vec;
use proptest::prelude::*;
use support::*;
use tempfile::TempDir;

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec![BOSS, "a", "b", "c", "public", "Ü\"'"]).prop_map(String::from)
}

fn value() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-z'\"\u{e9}]{0,4}")
}

fn queue() -> impl Strategy<Value = String> {
    prop::sample::select(vec![DEFAULT_QUEUE, "a", "b", "none"]).prop_map(String::from)
}

/// Changes that are allowed on their own, and such that leave no limit.
fn queue_change() -> impl Strategy<Value = QueueChange> {
    let settings = [
        ("active_statements", ["3", "-1", "20"]),
        ("max_cost", ["0.001", "-1", "1e+17"]),
        ("cost_overcommit", ["true", "off", "1"]),
        ("min_cost", ["0", "1.5", "-1"]),
        ("memory_limit", ["10MB", "-1", "8796093022207GB"]),
        ("priority", ["MIN", "high", "Max"]),
        ("max_queued", ["0", "-1", "2147483647"]),
        ("queue_timeout", ["1ms", "-1", "30s"]),
    ];
    vec((0..settings.len(), prop::option::of(0..3usize)), 0..5).prop_map(move |chosen| {
        let mut change = QueueChange::default();
        for (attribute, value) in chosen {
            let (name, values) = settings[attribute];
            // What is said twice, and PRIORITY taken away, is refused here already.
            let _ = change.add(name, value.map(|value| values[value]));
        }
        change
    })
}

fn new_role() -> impl Strategy<Value = NewRole> {
    let flags = any::<(bool, bool, bool, bool, bool, bool)>();
    (name(), flags, -2..3i32, value(), value(), queue()).prop_map(
        |(name, flags, connection_limit, password, valid_until, resource_queue)| {
            let (superuser, login, create_db, create_role, inherit, replication) = flags;
            NewRole {
                name,
                superuser,
                login,
                create_db,
                create_role,
                inherit,
                replication,
                connection_limit,
                password,
                valid_until,
                resource_queue,
            }
        },
    )
}

fn role_change() -> impl Strategy<Value = RoleChange> {
    let flags = any::<(Option<bool>, Option<bool>, Option<bool>)>();
    let values = (prop::option::of(value()), prop::option::of(value()));
    (flags, values, prop::option::of(queue())).prop_map(
        |(flags, (password, valid_until), resource_queue)| {
            let (superuser, login, inherit) = flags;
            RoleChange {
                superuser,
                login,
                inherit,
                password,
                valid_until,
                resource_queue,
                ..RoleChange::default()
            }
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let relation = (name(), name(), name(), "[a-z]{1,3}", any::<bool>());
    let relation = relation.prop_map(|(schema, name, owner, text, is_view)| match is_view {
        true => view(&schema, &name, &owner, &text),
        false => table(&schema, &name, &owner, &text),
    });
    prop_oneof![
        2 => new_role().prop_map(Change::CreateRole),
        2 => (name(), role_change()).prop_map(|(name, change)| Change::AlterRole { name, change }),
        2 => (name(), name()).prop_map(|(name, new_name)| Change::RenameRole { name, new_name }),
        2 => (name(), name(), value()).prop_map(|(role, name, value)| Change::SetRoleSetting { role, name, value }),
        1 => name().prop_map(|name| Change::DropRole { name }),
        1 => (name(), value()).prop_map(|(name, value)| Change::SetSystemSetting { name, value }),
        2 => (name(), name()).prop_map(|(name, owner)| Change::CreateSchema { name, owner }),
        1 => (name(), any::<bool>()).prop_map(|(name, cascade)| Change::DropSchema { name, cascade }),
        5 => (relation, any::<bool>()).prop_map(|(relation, or_replace)| Change::CreateRelation { relation, or_replace }),
        2 => (name(), name()).prop_map(|(schema, name)| drop_relation(&schema, &name)),
        2 => (queue(), queue_change()).prop_map(|(name, change)| Change::CreateQueue { name, change }),
        2 => (queue(), queue_change()).prop_map(|(name, change)| Change::AlterQueue { name, change }),
        1 => (queue(), value()).prop_map(|(name, comment)| Change::CommentOnQueue { name, comment }),
        1 => queue().prop_map(|name| Change::DropQueue { name }),
    ]
}

/// Applies the list and says where it ends, or with which SQLSTATE it is refused.
fn model(start: &Snapshot, changes: &[Change]) -> Result<Snapshot, &'static str> {
    let mut snapshot = start.clone();
    for change in changes {
        snapshot = snapshot.apply(change).map_err(|error| error.sqlstate())?;
    }
    Ok(snapshot)
}

/// Equal apart from the version, which only a commit advances.
fn same_content(left: &Snapshot, right: &Snapshot) -> bool {
    left.roles().eq(right.roles())
        && left.schemas().eq(right.schemas())
        && left.resource_queues().eq(right.resource_queues())
        && left.system_settings() == right.system_settings()
}

async fn check(commits: Vec<Vec<Change>>) {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    for changes in &commits {
        let before = catalog.snapshot();
        let expected = model(&before, changes);
        match catalog.commit(changes).await {
            Ok(after) => {
                assert_eq!(after.version(), before.version() + 1);
                assert!(same_content(
                    &after,
                    &expected.expect("the model refuses what was committed")
                ));
            }
            Err(error) => {
                assert_eq!(expected.map(|_| ()), Err(error.sqlstate()));
                assert_eq!(*catalog.snapshot(), *before);
            }
        }
        assert_sound(&catalog.snapshot());
    }
    let last = catalog.snapshot();
    assert_eq!(reopened(catalog, &directory).await, *last);
}

/// What always holds, whatever was committed.
fn assert_sound(snapshot: &Snapshot) {
    assert!(snapshot.roles().any(|role| role.superuser && role.login));
    assert!(snapshot.schema("public").is_some());
    assert!(snapshot.resource_queue(DEFAULT_QUEUE).is_some());
    for queue in snapshot.resource_queues() {
        assert!(
            queue.attributes.active_statements.is_some() || queue.attributes.max_cost.is_some()
        );
    }
    for role in snapshot.roles() {
        assert!(
            snapshot
                .resource_queue_by_oid(role.resource_queue)
                .is_some()
        );
    }
    for schema in snapshot.schemas() {
        assert!(snapshot.role(&schema.owner).is_some());
        for relation in schema.relations.values() {
            assert!(snapshot.role(&relation.owner).is_some());
            assert_eq!(relation.schema, schema.name);
            assert!(relation.version <= snapshot.version());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_disk_agree(commits in vec(vec(change(), 1..4), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(commits));
    }
}
