//! Resource queues: what they may be, who belongs to them, and that they last.

mod support;

use std::sync::{Arc, Mutex};

use forebay_catalog::{
    CatalogError, Change, DEFAULT_QUEUE, DEFAULT_QUEUE_OID, NewRole, Priority, QueueAttribute,
    QueueAttributes, QueueChange, QueueError, RoleChange, Snapshot,
};
use support::*;
use tempfile::TempDir;

fn change(settings: &[(&str, Option<&str>)]) -> Result<QueueChange, QueueError> {
    let mut change = QueueChange::default();
    for (name, value) in settings {
        change.add(name, *value)?;
    }
    Ok(change)
}

fn create(name: &str, settings: &[(&str, Option<&str>)]) -> Change {
    Change::CreateQueue {
        name: name.into(),
        change: change(settings).unwrap(),
    }
}

fn alter(name: &str, settings: &[(&str, Option<&str>)]) -> Change {
    Change::AlterQueue {
        name: name.into(),
        change: change(settings).unwrap(),
    }
}

fn drop_queue(name: &str) -> Change {
    Change::DropQueue { name: name.into() }
}

fn to_queue(role: &str, queue: &str) -> Change {
    alter_role(
        role,
        RoleChange {
            resource_queue: Some(queue.into()),
            ..RoleChange::default()
        },
    )
}

fn start() -> Snapshot {
    Snapshot::bootstrap(BOSS).unwrap()
}

/// The snapshot after the changes.
fn after(changes: &[Change]) -> Snapshot {
    changes.iter().fold(start(), |snapshot, change| {
        snapshot
            .apply(change)
            .unwrap_or_else(|error| panic!("{change:?}: {error}"))
    })
}

fn refusal(snapshot: &Snapshot, change: &Change) -> (&'static str, String) {
    let error = snapshot.apply(change).expect_err("it must be refused");
    (error.sqlstate(), error.to_string())
}

fn attributes(snapshot: &Snapshot, name: &str) -> QueueAttributes {
    snapshot.resource_queue(name).unwrap().attributes
}

const ONE: &[(&str, Option<&str>)] = &[("active_statements", Some("1"))];

#[test]
fn the_default_queue_is_always_there() {
    let snapshot = start();
    let queue = snapshot.resource_queue(DEFAULT_QUEUE).unwrap();
    assert_eq!(queue.oid, DEFAULT_QUEUE_OID);
    assert_eq!(queue.attributes.active_statements, Some(20));
    assert_eq!(queue.attributes.priority, Priority::Medium);
    assert_eq!(
        refusal(&snapshot, &drop_queue(DEFAULT_QUEUE)),
        (
            "0A000",
            "cannot drop default resource queue \"pg_default\"".into()
        )
    );
    let altered = snapshot
        .apply(&alter(DEFAULT_QUEUE, &[("ACTIVE_STATEMENTS", Some("2"))]))
        .unwrap();
    assert_eq!(
        attributes(&altered, DEFAULT_QUEUE).active_statements,
        Some(2)
    );
    assert_eq!(
        snapshot.role(BOSS).unwrap().resource_queue,
        DEFAULT_QUEUE_OID
    );
}

#[test]
fn values_as_sql_spells_them() {
    let snapshot = after(&[create(
        "q",
        &[
            ("Active_Statements", Some("2e1")),
            ("max_cost", Some("4e+3")),
            ("COST_OVERCOMMIT", Some("TRUE")),
            ("min_cost", Some("0.5")),
            ("memory_limit", Some("2000MB")),
            ("priority", Some("MeDiUm")),
            ("max_queued", Some("0")),
            ("queue_timeout", Some("90 s")),
        ],
    )]);
    let expected = QueueAttributes {
        active_statements: Some(20),
        max_cost: Some(4000.0),
        cost_overcommit: true,
        min_cost: 0.5,
        memory_limit_kb: Some(2_048_000),
        priority: Priority::Medium,
        max_queued: Some(0),
        queue_timeout_ms: Some(90_000),
    };
    assert_eq!(attributes(&snapshot, "q"), expected);
    let settings = QueueAttribute::ALL.map(|attribute| expected.setting(attribute));
    assert_eq!(
        settings,
        ["20", "4000", "0.5", "1", "medium", "2000MB", "0", "90s"]
    );
}

#[test]
fn a_setting_reads_back_as_itself() {
    let snapshot = after(&[create(
        "q",
        &[
            ("active_statements", Some("7")),
            ("memory_limit", Some("10241kB")),
            ("queue_timeout", Some("1500")),
        ],
    )]);
    let first = attributes(&snapshot, "q");
    let again = QueueAttribute::ALL.map(|a| (a.name(), first.setting(a)));
    let again: Vec<_> = again.iter().map(|(n, v)| (*n, Some(v.as_str()))).collect();
    let copied = after(&[create("copy", &again)]);
    assert_eq!(attributes(&copied, "copy"), first);
}

#[test]
fn minus_one_and_without_take_limits_away() {
    let full = create(
        "q",
        &[
            ("active_statements", Some("3")),
            ("max_cost", Some("10")),
            ("cost_overcommit", Some("on")),
            ("min_cost", Some("1")),
            ("memory_limit", Some("1GB")),
            ("max_queued", Some("5")),
            ("queue_timeout", Some("1min")),
        ],
    );
    let names = [
        "max_cost",
        "min_cost",
        "memory_limit",
        "max_queued",
        "queue_timeout",
    ];
    let plain = QueueAttributes {
        active_statements: Some(3),
        ..QueueAttributes::default()
    };
    for gone in [Some("-1"), None] {
        let mut settings: Vec<_> = names.iter().map(|name| (*name, gone)).collect();
        settings.push(("cost_overcommit", gone.map(|_| "off")));
        let snapshot = after(&[full.clone(), alter("q", &settings)]);
        assert_eq!(attributes(&snapshot, "q"), plain);
    }
}

#[test]
fn what_an_attribute_cannot_be() {
    for (name, values) in [
        (
            "active_statements",
            &["0", "-2", "1.5", "two", "", "1e10", "nan"][..],
        ),
        ("max_cost", &["0", "-1000.00", "inf", "nan", "much"]),
        ("min_cost", &["-10", "inf", "x"]),
        ("cost_overcommit", &["maybe", "2", ""]),
        ("priority", &["funky", "", "5"]),
        (
            "memory_limit",
            &[
                "0",
                "1gB",
                "1024mb",
                "1024Kb",
                "10239kB",
                "9MB",
                "1.5GB",
                "-2",
                "GB",
                "99999999999999GB",
            ],
        ),
        ("max_queued", &["-2", "0.5", "all"]),
        ("queue_timeout", &["0", "-2", "30 parsecs", "s", "1.5s"]),
    ] {
        for value in values {
            let error = change(&[(name, Some(value))]).expect_err(value);
            assert_eq!(error.sqlstate(), "22023", "{name} = {value}");
            assert!(error.hint().is_some());
        }
    }
    let unknown = change(&[("overcommit", None)]).unwrap_err();
    assert_eq!(
        (unknown.sqlstate(), unknown.to_string().as_str()),
        (
            "22023",
            "option \"overcommit\" is not a valid resource type"
        )
    );
    let fixed = change(&[("priority", None)]).unwrap_err();
    assert_eq!(
        (fixed.sqlstate(), fixed.to_string().as_str()),
        ("22023", "option \"priority\" cannot be disabled")
    );
    let twice = change(&[("max_cost", Some("20")), ("MAX_COST", None)]).unwrap_err();
    assert_eq!(
        (twice.sqlstate(), twice.to_string().as_str()),
        ("42601", "conflicting or redundant options")
    );
}

#[test]
fn a_queue_limits_something() {
    let snapshot = after(&[create("q", ONE)]);
    for (change, state) in [
        (create("r", &[]), "42601"),
        (create("r", &[("memory_limit", Some("1GB"))]), "42601"),
        (create("r", &[("max_cost", Some("-1"))]), "22023"),
        (alter("q", &[]), "42601"),
        (alter("q", &[("active_statements", None)]), "22023"),
        (alter("nowhere", ONE), "42704"),
        (create("none", ONE), "42939"),
        (create("q", ONE), "42710"),
        (create(DEFAULT_QUEUE, ONE), "42710"),
        (create("", ONE), "42602"),
        (drop_queue("nowhere"), "42704"),
    ] {
        assert_eq!(refusal(&snapshot, &change).0, state, "{change:?}");
    }
    let exchanged = alter("q", &[("active_statements", None), ("max_cost", Some("5"))]);
    let snapshot = snapshot.apply(&exchanged).unwrap();
    assert_eq!(attributes(&snapshot, "q").max_cost, Some(5.0));
}

#[test]
fn a_queue_with_roles_stays() {
    let role = NewRole {
        resource_queue: "q".into(),
        ..NewRole::new("ann")
    };
    let snapshot = after(&[create("q", ONE), Change::CreateRole(role.clone())]);
    let oid = snapshot.resource_queue("q").unwrap().oid;
    assert_eq!(snapshot.role("ann").unwrap().resource_queue, oid);
    let error = snapshot.apply(&drop_queue("q")).unwrap_err();
    assert_eq!(error.sqlstate(), "2BP01");
    assert_eq!(
        error.to_string(),
        "resource queue \"q\" is used by at least one role"
    );
    assert_eq!(error.detail().as_deref(), Some("role ann"));

    let moved = snapshot.apply(&to_queue("ann", DEFAULT_QUEUE)).unwrap();
    assert!(moved.apply(&drop_queue("q")).is_ok());
    let gone = snapshot.apply(&drop_role("ann")).unwrap();
    assert!(gone.apply(&drop_queue("q")).is_ok());
    // A role's new name is no new queue.
    let renamed = snapshot.apply(&rename_role("ann", "bob")).unwrap();
    assert_eq!(renamed.role("bob").unwrap().resource_queue, oid);

    assert_eq!(refusal(&start(), &Change::CreateRole(role)).0, "42704");
    assert_eq!(refusal(&snapshot, &to_queue("ann", "nowhere")).0, "42704");
    assert_eq!(refusal(&snapshot, &to_queue("nobody", "q")).0, "42704");
}

#[tokio::test]
async fn queues_last() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    catalog
        .commit(&[
            create_role("ann"),
            create(
                "q",
                &[
                    ("max_cost", Some("1e17")),
                    ("memory_limit", Some("8796093022207GB")),
                    ("priority", Some("max")),
                    ("queue_timeout", Some("1d")),
                ],
            ),
            to_queue("ann", "q"),
            Change::CommentOnQueue {
                name: "q".into(),
                comment: Some("for the night".into()),
            },
        ])
        .await
        .unwrap();
    catalog
        .commit(&[alter("q", &[("max_queued", Some("9"))])])
        .await
        .unwrap();
    let before = catalog.snapshot();
    let reopened = reopened(catalog, &directory).await;
    assert_eq!(reopened, *before);
    assert_eq!(
        reopened.resource_queue("q").unwrap().comment.as_deref(),
        Some("for the night")
    );
}

/// A catalog from before resource queues: everybody is in the default queue.
#[tokio::test]
async fn an_old_catalog_gets_the_default_queue() {
    use sqlx::Connection;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("catalog.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let mut connection = sqlx::sqlite::SqliteConnection::connect_with(&options)
        .await
        .unwrap();
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.migrations.to_mut().truncate(1);
    migrator.run(&mut connection).await.unwrap();
    for statement in [
        "INSERT INTO role VALUES (10, 'boss', 1, 1, 1, 1, 1, 1, -1, NULL, NULL)",
        "INSERT INTO role VALUES (16384, 'ann', 0, 1, 0, 0, 1, 0, -1, NULL, NULL)",
        "INSERT INTO role_setting VALUES (16384, 'timezone', 'UTC')",
    ] {
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();

    let catalog = open(&directory).await;
    let snapshot = catalog.snapshot();
    assert!(
        snapshot
            .roles()
            .all(|role| role.resource_queue == DEFAULT_QUEUE_OID)
    );
    assert_eq!(
        attributes(&snapshot, DEFAULT_QUEUE),
        attributes(&start(), DEFAULT_QUEUE)
    );
    assert_eq!(snapshot.role("ann").unwrap().settings["timezone"], "UTC");
    catalog.close().await;
}

/// Whoever keeps something in step with the catalog sees every commit once, in order.
#[tokio::test]
async fn observers_see_each_commit_in_order() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    catalog
        .observe(move |snapshot| {
            let queues = snapshot.resource_queues().count();
            log.lock().unwrap().push((snapshot.version(), queues));
        })
        .await;
    let first = catalog.snapshot().version();
    let names: Vec<String> = (0..20).map(|n| format!("q{n}")).collect();
    let mut commits = tokio::task::JoinSet::new();
    for name in names {
        let catalog = catalog.clone();
        commits.spawn(async move { catalog.commit(&[create(&name, ONE)]).await.map(|_| ()) });
    }
    let done: Result<Vec<()>, CatalogError> = commits.join_all().await.into_iter().collect();
    done.unwrap();
    assert!(catalog.commit(&[create("q0", ONE)]).await.is_err());
    let expected: Vec<_> = (0..=20).map(|n| (first + n, 1 + n as usize)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
    catalog.close().await;
}
