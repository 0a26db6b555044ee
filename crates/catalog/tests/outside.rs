//! Somebody else has had a hand in the database.

mod support;

use forebay_catalog::Catalog;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};
use support::*;
use tempfile::TempDir;

/// Runs SQL on the database with a connection of its own, as the `sqlite3` shell would.
async fn run(directory: &TempDir, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(directory.path().join("catalog.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    connection.execute(sql).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_write_that_fails_half_way_leaves_nothing_and_the_next_one_works() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    let before = catalog.snapshot();
    run(
        &directory,
        "CREATE TRIGGER no BEFORE INSERT ON relation BEGIN SELECT RAISE(ABORT, 'not today'); END",
    )
    .await;
    let changes = [
        create_role("ann"),
        create(view("public", "v", "ann", "SELECT 1")),
    ];
    let error = catalog.commit(&changes).await.unwrap_err();
    assert_eq!(error.sqlstate(), "XX000");
    assert!(
        error.to_string().contains("not today") && error.to_string().contains("catalog.db"),
        "{error}"
    );
    assert_eq!(*catalog.snapshot(), *before);
    run(&directory, "DROP TRIGGER no").await;
    let after = catalog.commit(&changes).await.unwrap();
    assert_eq!(after.version(), before.version() + 1);
    assert_eq!(reopened(catalog, &directory).await, *after);
}

#[tokio::test]
async fn a_catalog_that_moved_under_the_server_is_not_overwritten() {
    let directory = TempDir::new().unwrap();
    let catalog = open(&directory).await;
    run(&directory, "UPDATE catalog_state SET version = version + 5").await;
    let error = catalog.commit(&[create_role("ann")]).await.unwrap_err();
    assert_eq!(error.sqlstate(), "55000");
    assert!(error.hint().unwrap().contains("Restart"));
    catalog.close().await;
    let catalog = open(&directory).await;
    assert_eq!(catalog.snapshot().version(), 6);
    catalog.commit(&[create_role("ann")]).await.unwrap();
}

#[tokio::test]
async fn a_catalog_of_a_newer_forebay_is_refused() {
    let directory = TempDir::new().unwrap();
    open(&directory).await.close().await;
    run(
        &directory,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (999999, 'from the future', TRUE, x'00', 0)",
    )
    .await;
    let error = Catalog::open(directory.path(), BOSS).await.unwrap_err();
    assert_eq!(error.sqlstate(), "55000");
    assert!(error.to_string().contains("999999"), "{error}");
}

#[tokio::test]
async fn rows_that_make_no_sense_are_corruption() {
    for sql in [
        "UPDATE relation SET definition = '{\"TABLE\": 1}'",
        "PRAGMA foreign_keys = OFF; UPDATE relation SET owner_oid = 99",
        "DELETE FROM catalog_state",
    ] {
        let directory = TempDir::new().unwrap();
        let catalog = open(&directory).await;
        catalog
            .commit(&[create(view("public", "v", BOSS, "SELECT 1"))])
            .await
            .unwrap();
        catalog.close().await;
        run(&directory, sql).await;
        let error = Catalog::open(directory.path(), BOSS).await.unwrap_err();
        assert_eq!(error.sqlstate(), "XX001", "{sql}: {error}");
    }
}
