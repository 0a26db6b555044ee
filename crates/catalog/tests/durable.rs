//! What is on disk: real files, opened again.

mod support;

use std::fs;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use forebay_catalog::{
    BOOTSTRAP_ROLE_OID, Catalog, CatalogError, Change, FIRST_TRANSIENT_OID, NewRole, RoleChange,
};
use support::*;
use tempfile::TempDir;

#[tokio::test]
async fn every_change_is_there_after_reopening() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    let everything = RoleChange {
        superuser: Some(true),
        login: Some(true),
        create_db: Some(true),
        create_role: Some(true),
        inherit: Some(false),
        replication: Some(true),
        connection_limit: Some(7),
        password: Some(Some("SCRAM-SHA-256$4096:salt$stored:server".into())),
        valid_until: Some(Some("2031-01-01 00:00:00+00".into())),
        resource_queue: Some("pg_default".into()),
    };
    let steps: Vec<Vec<Change>> = vec![
        vec![
            create_role("ann"),
            Change::CreateRole(NewRole::superuser("root")),
        ],
        vec![alter_role("ann", everything)],
        vec![
            set_role("ann", "search_path", Some("s, public")),
            set_role("ann", "timezone", Some("UTC")),
        ],
        vec![
            set_system("statement_timeout", Some("1min")),
            set_system("work_mem", Some("4MB")),
        ],
        vec![create_schema("s", "ann"), create_schema("empty", BOSS)],
        vec![
            create(table("s", "t", "ann", "s3://bucket/t/")),
            create(view("public", "v", BOSS, "SELECT 1, 2")),
        ],
        vec![replace(table("s", "t", "ann", "s3://bucket/t2/"))],
        vec![rename_role("ann", "anna")],
        vec![
            set_role("anna", "timezone", None),
            set_system("work_mem", None),
        ],
        vec![
            drop_relation("public", "v"),
            drop_schema("empty", false),
            drop_role("root"),
        ],
    ];
    let mut catalog = catalog;
    for step in &steps {
        let committed = catalog.commit(step).await.unwrap();
        assert_eq!(*catalog.snapshot(), *committed);
        assert_eq!(reopened(catalog, &directory).await, *committed, "{step:?}");
        catalog = open(&directory).await;
    }
    let end = catalog.snapshot();
    assert_eq!(
        end.version(),
        1 + steps.len() as u64,
        "opening again is no commit"
    );
    assert_eq!(end.role("anna").unwrap().settings.len(), 1);
    assert_eq!(end.relation("s", "t").unwrap().owner, "anna");
}

#[tokio::test]
async fn names_can_change_hands_within_one_commit() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    let start = [
        create_role("a"),
        create_role("b"),
        create_schema("s", "a"),
        create(view("s", "v", "b", "SELECT 1")),
    ];
    catalog.commit(&start).await.unwrap();
    let swap = [
        rename_role("a", "swap"),
        rename_role("b", "a"),
        rename_role("swap", "b"),
    ];
    let again = [
        drop_schema("s", true),
        create_schema("s", "a"),
        create(table("s", "v", "b", "/v")),
        drop_relation("s", "v"),
        create(view("s", "v", "a", "SELECT 2")),
    ];
    let swapped = catalog.commit(&swap).await.unwrap();
    assert_eq!(swapped.schema("s").unwrap().owner, "b");
    assert_eq!(swapped.relation("s", "v").unwrap().owner, "a");
    let committed = catalog.commit(&again).await.unwrap();
    assert_eq!(reopened(catalog, &directory).await, *committed);
}

#[tokio::test]
async fn a_commit_is_all_or_nothing() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    let before = catalog.snapshot();
    let error = catalog
        .commit(&[
            create_role("ann"),
            create_schema("s", "ann"),
            set_system("a", Some("1")),
            create_role("ann"),
        ])
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), "42710");
    assert_eq!(*catalog.snapshot(), *before);
    assert_eq!(reopened(catalog, &directory).await, *before);
}

#[tokio::test]
async fn nothing_is_no_commit() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    let before = catalog.snapshot().version();
    assert_eq!(catalog.commit(&[]).await.unwrap().version(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_take_turns() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    let before = catalog.snapshot().version();
    let writers = (0..20).map(|n| {
        let catalog = catalog.clone();
        // Two writers want each name.
        tokio::spawn(async move {
            catalog
                .commit(&[create_role(&format!("r{}", n / 2))])
                .await
                .is_ok()
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut succeeded = 0;
    for writer in writers {
        succeeded += u64::from(writer.await.unwrap());
    }
    assert_eq!(succeeded, 10);
    assert_eq!(catalog.snapshot().version(), before + 10);
    assert_eq!(catalog.snapshot().roles().count(), 11);
    let last = catalog.snapshot();
    assert_eq!(reopened(catalog, &directory).await, *last);
}

#[tokio::test]
async fn a_cancelled_commit_leaves_memory_and_disk_the_same() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    {
        let changes = [create_role("ann")];
        let mut commit = pin!(catalog.commit(&changes));
        let waiting = commit
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(
            waiting.is_pending(),
            "a commit waits for the disk at least once"
        );
    }
    // The next commit waits for the one that nobody waits for any more.
    let last = catalog.commit(&[create_role("bob")]).await.unwrap();
    assert!(last.role("ann").is_some());
    assert_eq!(reopened(catalog, &directory).await, *last);
}

#[tokio::test]
async fn a_closed_catalog_can_be_read_but_not_changed() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    catalog.close().await;
    catalog.close().await;
    assert!(catalog.snapshot().role(BOSS).is_some());
    assert_eq!(
        catalog
            .commit(&[create_role("ann")])
            .await
            .unwrap_err()
            .sqlstate(),
        "57P01"
    );
    let results = catalog
        .register_transient(vec![table("public", "t", BOSS, "/t")])
        .await;
    assert!(matches!(results[..], [Err(CatalogError::Closed)]));
}

#[tokio::test]
async fn another_bootstrap_role_is_added_and_the_first_stays() {
    let directory = TempDir::new().unwrap();
    open(&directory).await.close().await;
    let catalog = Catalog::open(directory.path(), "carol").await.unwrap();
    let snapshot = catalog.snapshot();
    let carol = snapshot.role("carol").unwrap();
    assert!(carol.superuser && carol.login && carol.oid != BOOTSTRAP_ROLE_OID);
    assert_eq!(snapshot.role(BOSS).unwrap().oid, BOOTSTRAP_ROLE_OID);
    let weaker = RoleChange {
        superuser: Some(false),
        login: Some(false),
        ..RoleChange::default()
    };
    catalog
        .commit(&[alter_role("carol", weaker)])
        .await
        .unwrap();
    catalog.close().await;
    let catalog = Catalog::open(directory.path(), "carol").await.unwrap();
    let carol = catalog.snapshot().role("carol").cloned().unwrap();
    assert!(carol.superuser && carol.login);
}

#[tokio::test]
async fn transient_relations_end_with_the_server() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    catalog
        .commit(&[create(view("public", "v", BOSS, "SELECT 1"))])
        .await
        .unwrap();
    let before = catalog.snapshot();
    let results = catalog
        .register_transient(vec![
            table("public", "t", BOSS, "/t"),
            table("public", "v", BOSS, "/v"),
            table("public", "t", BOSS, "/t again"),
            table("nowhere", "t", BOSS, "/t"),
            table("public", "u", BOSS, "/u"),
        ])
        .await;
    let states: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().map_err(CatalogError::sqlstate))
        .collect();
    assert_eq!(
        states,
        [Ok(&()), Err("42P07"), Err("42P07"), Err("3F000"), Ok(&())]
    );
    let snapshot = catalog.snapshot();
    assert_eq!(snapshot.version(), before.version() + 1);
    let t = snapshot.relation("public", "t").unwrap();
    assert!(t.transient && t.oid >= FIRST_TRANSIENT_OID);

    // Neither a new table nor a replacement takes its name.
    for change in [
        create(table("public", "t", BOSS, "/t")),
        replace(table("public", "t", BOSS, "/t")),
    ] {
        assert_eq!(
            catalog.commit(&[change]).await.unwrap_err().sqlstate(),
            "42P07"
        );
    }
    // But once dropped, the name is free.
    catalog
        .commit(&[drop_relation("public", "t")])
        .await
        .unwrap();
    catalog
        .commit(&[create(view("public", "t", BOSS, "SELECT 2"))])
        .await
        .unwrap();
    let last = catalog.snapshot();
    let again = reopened(catalog, &directory).await;
    assert_eq!(again.version(), last.version());
    assert!(again.relation("public", "u").is_none());
    assert_eq!(again.relation("public", "t"), last.relation("public", "t"));
    assert_eq!(again.relations("public").count(), 2);
}

#[tokio::test]
async fn a_second_server_is_refused_with_the_reason() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    let error = Catalog::open(directory.path(), BOSS).await.unwrap_err();
    assert_eq!(error.sqlstate(), "55006");
    let message = error.to_string();
    assert!(
        message.contains(&directory.path().display().to_string()),
        "{message}"
    );
    assert!(
        message.contains(&format!("process {}", std::process::id())),
        "{message}"
    );
    assert!(error.hint().unwrap().contains("--data-dir"));
    catalog.close().await;
    open(&directory).await;
}

#[tokio::test]
async fn garbage_is_reported_with_file_and_remedy() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("catalog.db");
    fs::write(&file, b"this is no database ".repeat(1000)).unwrap();
    let error = Catalog::open(directory.path(), BOSS).await.unwrap_err();
    assert_eq!(error.sqlstate(), "XX001");
    assert!(
        error.to_string().contains(&file.display().to_string()),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("backup"));
}

#[tokio::test]
async fn damage_in_the_middle_is_found_when_opening() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    let views = (0..200).map(|n| create(view("public", &format!("v{n}"), BOSS, "SELECT 1")));
    catalog.commit(&views.collect::<Vec<_>>()).await.unwrap();
    catalog.close().await;
    let file = directory.path().join("catalog.db");
    let good = fs::read(&file).unwrap();
    // The header stays, the pages behind it do not.
    let mut bad = good.clone();
    bad[4096..].fill(0xa5);
    fs::write(&file, &bad).unwrap();
    let error = Catalog::open(directory.path(), BOSS).await.unwrap_err();
    assert_eq!(error.sqlstate(), "XX001", "{error}");
    fs::write(&file, &good[..good.len() / 2]).unwrap();
    let error = Catalog::open(directory.path(), BOSS).await.unwrap_err();
    assert_eq!(error.sqlstate(), "XX001", "{error}");
    fs::write(&file, &good).unwrap();
    assert_eq!(
        open(&directory)
            .await
            .snapshot()
            .relations("public")
            .count(),
        200
    );
}

#[tokio::test]
async fn an_impossible_data_directory_is_named() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Catalog::open(&file, BOSS).await.unwrap_err();
    assert_eq!(error.sqlstate(), "58030");
    assert!(
        error.to_string().contains(&file.display().to_string()),
        "{error}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn secrets_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let data_dir = directory.path().join("a/b");
    let _catalog = Catalog::open(&data_dir, BOSS).await.unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(data_dir.clone()), 0o700);
    for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        assert_eq!(mode(data_dir.join(file)), 0o600, "{file}");
    }
}
