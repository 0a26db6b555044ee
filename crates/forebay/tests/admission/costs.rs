//! Charges: statements that cost much.

use super::common::failure;
use super::*;

#[tokio::test]
async fn what_costs_less_than_min_cost_never_waits() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1, MIN_COST=100").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run(&format!("BEGIN; DECLARE one CURSOR FOR {COSTLY}"))
        .await;
    two.run("SELECT * FROM region").await;
    let sum = format!("SELECT sum(x) FROM ({COSTLY}) AS rows");
    let step = two.waits("ResourceQueue", &sum).await;
    one.run("COMMIT").await;
    goes_on(step).await;
    server.stop();
}

#[tokio::test]
async fn cost_is_charged_and_waited_for() {
    let (server, admin) = queues("MAX_COST=2100").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run(&format!("BEGIN; DECLARE one CURSOR FOR {COSTLY}"))
        .await;
    let sum = format!("SELECT sum(x) FROM ({COSTLY}) AS rows");
    let step = two.waits("ResourceQueue", &sum).await;
    // It has stepped aside: somebody behind it keeps his place there.
    let three = actor(&server, &admin, "c").await;
    three.run("SELECT * FROM region").await;
    one.run("COMMIT").await;
    goes_on(step).await;
    run(&admin, "ALTER RESOURCE QUEUE narrow WITH (MAX_COST=100)").await;
    let error = failure(&two.client, &sum).await;
    assert_eq!(error.code(), "53400");
    run(
        &admin,
        "ALTER RESOURCE QUEUE narrow WITH (COST_OVERCOMMIT=TRUE)",
    )
    .await;
    two.run(&sum).await;
    server.stop();
}

/// A statement that stepped aside plans again if the catalog has changed while it waited.
#[tokio::test]
async fn a_plan_from_before_a_wait_is_made_anew_when_the_catalog_changed() {
    let (server, admin) = queues("MAX_COST=2100").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    run(
        &admin,
        &format!("CREATE VIEW v AS SELECT x + 1 AS y FROM ({COSTLY}) AS rows"),
    )
    .await;
    one.run(&format!("BEGIN; DECLARE one CURSOR FOR {COSTLY}"))
        .await;
    let client = Arc::clone(&two.client);
    let step = tokio::spawn(async move { value(&client, "SELECT max(y) FROM v").await });
    eventually("it waits", async || {
        two.wait().await == "ResourceQueue narrow"
    })
    .await;
    // Its locks went back with its slot, so the view can be replaced meanwhile.
    run(
        &admin,
        &format!("CREATE OR REPLACE VIEW v AS SELECT x + 2 AS y FROM ({COSTLY}) AS rows"),
    )
    .await;
    one.run("COMMIT").await;
    assert_eq!(step.await.expect("it runs"), "26");
    server.stop();
}
