//! A statement in, estimates out.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionConfig, SessionContext};

use super::{CostConstants, Estimate, estimate};

const ORDERS: f64 = 20_000.0;
const ITEMS: f64 = 80_000.0;

/// `orders` (two files, keys in order, one key of eight used) and `items` (four of each order,
/// with a part and a supplier), `stock` (a supplier's part), `days` and `sales` (ten of each day, in
/// their order, in row groups of 500), and `lines.csv`.
struct World {
    context: SessionContext,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = SessionConfig::new().with_target_partitions(2);
        let context = SessionContext::new_with_config(config);
        let path = |name: &str| folder.path().join(name).display().to_string();
        let files = [
            (
                "orders/a.parquet",
                "SELECT n * 8 AS o_key, n % 100 AS day, 1.5 AS price FROM generate_series(0, 9999) AS g(n)",
            ),
            (
                "orders/b.parquet",
                "SELECT n * 8 AS o_key, n % 100 AS day, 1.5 AS price FROM generate_series(10000, 19999) AS g(n)",
            ),
            (
                "items/a.parquet",
                "SELECT n / 4 * 8 AS i_order, n % 1000 AS i_part, n % 1000 % 10 * 100 + n % 7 AS i_supplier, 'comment' || n AS text, CASE n % 3 WHEN 0 THEN 'returned' WHEN 1 THEN 'accepted' ELSE 'none' END AS flag FROM generate_series(0, 79999) AS g(n)",
            ),
            (
                "stock/a.parquet",
                "SELECT n % 1000 AS s_part, n % 1000 % 10 * 100 + n / 1000 AS s_supplier FROM generate_series(0, 6999) AS g(n)",
            ),
            (
                "lines.csv",
                "SELECT n AS a, n * 2 AS b FROM generate_series(1, 50000) AS g(n)",
            ),
        ];
        for (name, query) in files {
            let copy = format!("COPY ({query}) TO '{}'", path(name));
            context.sql(&copy).await.unwrap().collect().await.unwrap();
        }
        let in_row_groups = [
            (
                "days/a.parquet",
                "SELECT n AS d_key, n / 400 AS year, n % 10 AS kind FROM generate_series(0, 3999) AS g(n)",
            ),
            (
                "sales/a.parquet",
                "SELECT n / 10 AS day, n * 7919 % 1000 AS amount FROM generate_series(0, 39999) AS g(n)",
            ),
        ];
        for (name, query) in in_row_groups {
            let options = "STORED AS PARQUET OPTIONS ('format.max_row_group_size' '500', 'format.data_page_row_count_limit' '100')";
            let copy = format!("COPY ({query} ORDER BY 1) TO '{}' {options}", path(name));
            context.sql(&copy).await.unwrap().collect().await.unwrap();
        }
        for table in ["orders", "items", "stock", "days", "sales"] {
            let options = ParquetReadOptions::default();
            context
                .register_parquet(table, path(table), options)
                .await
                .unwrap();
        }
        let options = CsvReadOptions::default();
        context
            .register_csv("lines", path("lines.csv"), options)
            .await
            .unwrap();
        Self {
            context,
            _folder: folder,
        }
    }

    async fn plan(&self, text: &str) -> Arc<dyn ExecutionPlan> {
        let query = self.context.sql(text).await.unwrap();
        query.create_physical_plan().await.unwrap()
    }

    async fn estimates(&self, text: &str) -> Vec<Estimate> {
        self.estimate(self.plan(text).await.as_ref(), &CostConstants::default())
    }

    fn estimate(&self, plan: &dyn ExecutionPlan, constants: &CostConstants) -> Vec<Estimate> {
        estimate(plan, constants, 8192, self.footers().as_ref())
    }

    fn footers(&self) -> Arc<FileMetadataCache> {
        self.context
            .runtime_env()
            .cache_manager
            .get_file_metadata_cache()
    }

    async fn root(&self, text: &str) -> Estimate {
        self.estimates(text).await[0]
    }

    async fn rows(&self, text: &str) -> f64 {
        self.root(text).await.rows
    }
}

fn about(expected: f64, found: f64) -> bool {
    (expected * 0.9..=expected * 1.1).contains(&found)
}

#[tokio::test]
async fn numbers_are_finite_whatever_the_plan_and_the_constants() {
    let world = World::new().await;
    let many: Vec<String> = (0..30).map(|i| format!("items AS i{i}")).collect();
    let huge = format!("SELECT count(*) FROM {}", many.join(" CROSS JOIN "));
    let texts = [
        huge.as_str(),
        "SELECT * FROM items ORDER BY text LIMIT 0",
        "SELECT 1 WHERE false",
        "SELECT sum(day) OVER (PARTITION BY price ORDER BY o_key) FROM orders",
        "SELECT * FROM (SELECT * FROM orders LIMIT 0) AS o LEFT JOIN items ON o_key = i_order",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 9) SELECT * FROM r, items",
        "SELECT day, count(*) FROM orders GROUP BY ROLLUP (day, price)",
        "SELECT * FROM orders o JOIN items i ON o.day < i.i_part",
        "SELECT o_key FROM orders EXCEPT SELECT i_order FROM items",
        "SELECT unnest(make_array(o_key, day)) FROM orders",
        "SELECT (SELECT max(day) FROM orders) + i_part FROM items",
        "EXPLAIN ANALYZE SELECT * FROM orders",
    ];
    for setting in [
        "0",
        "1e308",
        "1.7976931348623157e308",
        "inf",
        "NaN",
        "-1",
        "x",
        "1e-300",
    ] {
        let names = [
            "seq_page_cost",
            "random_page_cost",
            "cpu_tuple_cost",
            "cpu_index_tuple_cost",
            "cpu_operator_cost",
            "parallel_tuple_cost",
        ];
        let settings: BTreeMap<String, String> =
            names.map(|n| (n.to_owned(), setting.to_owned())).into();
        let constants = CostConstants::of_settings(&settings);
        for text in texts {
            let plan = world.plan(text).await;
            let footers = world.footers();
            for e in estimate(plan.as_ref(), &constants, 0, footers.as_ref()) {
                let all = [e.startup, e.total, e.rows, e.width];
                assert!(
                    all.iter().all(|n| n.is_finite() && *n >= 0.0),
                    "{text}: {e:?}"
                );
                assert!(e.startup <= e.total, "{text}: {e:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_row_that_refers_to_another_finds_it() {
    let world = World::new().await;
    let cases = [
        // The keys of both sides have gaps, and so has the range: that must not matter.
        (
            "SELECT price, text FROM orders JOIN items ON o_key = i_order",
            ITEMS,
        ),
        (
            "SELECT price, text FROM items JOIN orders ON o_key = i_order",
            ITEMS,
        ),
        // A condition on the orders takes its share of the items.
        (
            "SELECT price, text FROM orders JOIN items ON o_key = i_order WHERE day < 10",
            ITEMS / 10.0,
        ),
        // Two columns are a key only together.
        (
            "SELECT text FROM items JOIN stock ON i_part = s_part AND i_supplier = s_supplier",
            ITEMS,
        ),
        (
            "SELECT price FROM orders WHERE EXISTS (SELECT 1 FROM items WHERE i_order = o_key)",
            ORDERS,
        ),
        (
            "SELECT text FROM items WHERE i_order IN (SELECT o_key FROM orders WHERE day = 7)",
            ITEMS / 100.0,
        ),
        // A few groups among many keys find a few rows.
        (
            "SELECT price FROM orders JOIN (SELECT i_order, count(*) FROM items WHERE i_part < 10 GROUP BY i_order) AS g ON o_key = i_order",
            ITEMS / 100.0,
        ),
        // Keys that are used in a part of their range only, and come from two places.
        (
            "SELECT price FROM orders JOIN (SELECT i_order FROM items WHERE i_order < 1600 UNION ALL SELECT i_order FROM items WHERE i_order < 1600) AS u ON o_key = i_order",
            ITEMS / 50.0,
        ),
        // Outer joins keep what they keep.
        (
            "SELECT price, text FROM orders LEFT JOIN items ON o_key = i_order AND i_part < 0",
            ORDERS,
        ),
    ];
    for (text, rows) in cases {
        let found = world.rows(text).await;
        assert!(about(rows, found), "{text}: {found}, not {rows}");
    }
}

#[tokio::test]
async fn conditions_keep_their_share() {
    let world = World::new().await;
    let cases = [
        ("o_key >= 8000 AND o_key < 16000", 1000.0),
        ("o_key < 16000 AND 8000 <= o_key", 1000.0),
        ("day = 5", 200.0),
        ("day <> 5", 19_800.0),
        ("day IN (1, 2, 3)", 600.0),
        ("day = 1 OR day = 2", 398.0),
        ("NOT day < 50", 10_000.0),
        // No file has such rows, by its statistics.
        ("day > 1000", 0.0),
        ("o_key % 2 = 3 AND day = 5 AND day > 7", 1.0),
        ("day IS NULL", 0.0),
        ("day IS NOT NULL", 20_000.0),
        // Nearly all keys are above all days.
        ("day < o_key", 20_000.0),
        ("o_key <= day", 6.0),
    ];
    for (condition, rows) in cases {
        let text = format!("SELECT price FROM orders WHERE {condition}");
        let found = world.rows(&text).await;
        assert!(about(rows, found), "{condition}: {found}, not {rows}");
    }
    // Nothing is known of texts.
    let found = world
        .rows("SELECT i_part FROM items WHERE text = 'x'")
        .await;
    assert!(about(ITEMS * 0.005, found), "{found}");
    let found = world
        .rows("SELECT i_part FROM items WHERE text < 'x'")
        .await;
    assert!(about(ITEMS * 0.3333, found), "{found}");
}

#[tokio::test]
async fn groups_are_counted_by_their_keys() {
    let world = World::new().await;
    let cases = [
        ("SELECT count(*) FROM orders", 1.0),
        ("SELECT day, count(*) FROM orders GROUP BY day", 100.0),
        (
            "SELECT i_part, i_order, count(*) FROM items GROUP BY i_part, i_order",
            ITEMS,
        ),
        ("SELECT text, count(*) FROM items GROUP BY text", 200.0),
        // A dictionary of three needs two bits for each row.
        ("SELECT flag, count(*) FROM items GROUP BY flag", 4.0),
        ("SELECT DISTINCT day FROM orders WHERE day < 20", 20.0),
    ];
    for (text, rows) in cases {
        let found = world.rows(text).await;
        assert!(about(rows, found), "{text}: {found}, not {rows}");
    }
}

#[tokio::test]
async fn a_limit_saves_what_its_input_need_not_do() {
    let world = World::new().await;
    let scan = world.root("SELECT text FROM items").await;
    let streamed = world.root("SELECT text FROM items LIMIT 8").await;
    assert!(
        streamed.total < scan.total / 100.0,
        "{streamed:?} of {scan:?}"
    );
    assert!(streamed.rows <= 16.0, "{streamed:?}");

    let sorted = world
        .root("SELECT text FROM items ORDER BY text LIMIT 8")
        .await;
    assert!(
        sorted.total > scan.total && sorted.startup > scan.total,
        "{sorted:?}"
    );
    let all = world.root("SELECT text FROM items ORDER BY text").await;
    assert!(
        sorted.total < all.total,
        "a heap of 8 rows is cheaper: {sorted:?}, {all:?}"
    );

    let counted = world
        .root("SELECT i_part, count(*) FROM items GROUP BY i_part LIMIT 8")
        .await;
    let scan = world.root("SELECT i_part FROM items").await;
    assert!(counted.total > scan.total, "{counted:?}");
}

#[tokio::test]
async fn scans_pay_for_the_columns_and_files_that_they_read() {
    let world = World::new().await;
    let one = world.root("SELECT i_part FROM items").await;
    let two = world.root("SELECT i_part, text FROM items").await;
    assert!(one.total < two.total, "{one:?}, {two:?}");
    assert!(one.width < two.width);

    // The second file has none of these keys.
    let all = world
        .estimates("SELECT price FROM orders WHERE o_key >= 0")
        .await;
    let some = world
        .estimates("SELECT price FROM orders WHERE o_key < 80")
        .await;
    let (all, some) = (all.last().unwrap(), some.last().unwrap());
    assert!(
        about(ORDERS, all.rows) && about(ORDERS / 2.0, some.rows),
        "{all:?}, {some:?}"
    );
    assert!(some.total < all.total * 0.6, "{all:?}, {some:?}");

    // Text files are read whole; nobody has counted their rows.
    let a = world.root("SELECT a FROM lines").await;
    assert!(a.rows > 1000.0, "{a:?}");
}

#[tokio::test]
async fn row_groups_that_cannot_match_are_not_read() {
    let world = World::new().await;
    // Rows that leave the scan of sales, and those that leave the plan.
    let read = async |text: &str| {
        let estimates = world.estimates(text).await;
        (estimates.last().unwrap().rows, estimates[0].rows)
    };
    let (scanned, kept) = read("SELECT amount FROM sales WHERE day < 400").await;
    assert!(
        (4000.0..6000.0).contains(&scanned) && about(4000.0, kept),
        "{scanned}, {kept}"
    );
    let (scanned, _) = read("SELECT day FROM sales WHERE amount < 10").await;
    assert!(about(40_000.0, scanned), "amounts lie anywhere: {scanned}");

    // The days of a year are side by side, and so are their sales.
    let join = "SELECT amount FROM days JOIN sales ON d_key = day WHERE";
    let (scanned, kept) = read(&format!("{join} year = 3")).await;
    assert!(
        scanned < 12_000.0 && about(4000.0, kept),
        "{scanned}, {kept}"
    );
    let (scanned, kept) = read(&format!("{join} kind = 3")).await;
    assert!(
        about(40_000.0, scanned) && about(4000.0, kept),
        "{scanned}, {kept}"
    );
}

#[tokio::test]
async fn rows_without_a_match_are_null() {
    let world = World::new().await;
    let text = "SELECT price FROM orders LEFT JOIN (SELECT * FROM items WHERE i_part < 10) AS i ON o_key = i_order WHERE i_part IS NULL";
    let found = world.rows(text).await;
    assert!((ORDERS * 0.5..=ORDERS).contains(&found), "{found}");
    let text = "SELECT price FROM orders LEFT JOIN items ON o_key = i_order WHERE i_part IS NULL";
    let found = world.rows(text).await;
    assert!(found < ORDERS * 0.1, "{found}");
}

/// Whoever gives no number is estimated too, and more where there is more.
#[tokio::test]
async fn sources_that_cannot_tell_their_rows_have_an_estimate() {
    let world = World::new().await;
    for rows in [1.0, 5000.0, 3e8] {
        let series = world
            .root(&format!(
                "SELECT n FROM generate_series(1, {rows:.0}) AS g(n)"
            ))
            .await;
        assert!(about(rows, series.rows), "{series:?}");
        assert!(series.total >= rows * 0.01, "{series:?}");
    }
    let series = world
        .root("SELECT n FROM generate_series(10, 1, -3) AS g(n)")
        .await;
    assert!(about(4.0, series.rows), "{series:?}");
    let text = world.root("SELECT a FROM lines").await;
    let one = world.root("SELECT a FROM lines LIMIT 1").await;
    assert!(text.rows > 1000.0 && text.total > 100.0, "{text:?}");
    assert!(one.total < text.total, "{one:?}");
}

#[tokio::test]
async fn what_takes_longer_costs_more() {
    let world = World::new().await;
    let ladders: [&[&str]; 4] = [
        &[
            "SELECT 1 FROM items WHERE i_part = 5",
            "SELECT 1 FROM items WHERE text LIKE 'a%'",
            "SELECT 1 FROM items WHERE text LIKE '%a%'",
            "SELECT 1 FROM items WHERE text LIKE '%a%b%'",
        ],
        &[
            "SELECT sum(i_part) FROM items",
            "SELECT i_part, sum(i_part) FROM items GROUP BY i_part",
            "SELECT text, sum(i_part) FROM items GROUP BY text",
        ],
        &[
            "SELECT i_part FROM items",
            "SELECT row_number() OVER () FROM items",
            "SELECT sum(i_part) OVER (ORDER BY i_part) FROM items",
        ],
        &[
            "SELECT i_part FROM items ORDER BY i_part LIMIT 3",
            "SELECT i_part FROM items ORDER BY i_part",
            "SELECT i_part, i_supplier, text FROM items ORDER BY i_part",
        ],
    ];
    for ladder in ladders {
        let mut below = 0.0;
        for text in ladder {
            let found = world.root(text).await.total;
            assert!(found > below, "{text}: {found}, not above {below}");
            below = found;
        }
    }
}

#[tokio::test]
async fn estimates_are_in_the_order_of_the_plan() {
    let world = World::new().await;
    let branches: Vec<String> = (0..200)
        .map(|i| format!("SELECT day FROM orders WHERE day = {i}"))
        .collect();
    let plan = world.plan(&branches.join(" UNION ALL ")).await;
    let estimates = world.estimate(plan.as_ref(), &CostConstants::default());
    let shown = datafusion::physical_plan::displayable(plan.as_ref());
    assert_eq!(
        shown.indent(false).to_string().lines().count(),
        estimates.len()
    );

    let estimates = world.estimates("SELECT 1").await;
    assert_eq!(estimates.len(), 2);
    assert!(about(0.01, estimates[1].total), "{estimates:?}");
}

#[tokio::test]
async fn an_unknown_operator_costs_its_inputs_and_a_row_each() {
    let world = World::new().await;
    let estimates = world
        .estimates("EXPLAIN ANALYZE SELECT day FROM orders")
        .await;
    let (unknown, scan) = (estimates[0], estimates[1]);
    assert!(
        about(scan.total + scan.rows * 0.01, unknown.total),
        "{unknown:?}, {scan:?}"
    );
}

#[test]
fn constants_are_the_settings_where_those_make_sense() {
    let settings = [
        ("seq_page_cost", "2.5"),
        ("cpu_tuple_cost", "-1"),
        ("random_page_cost", "NaN"),
    ];
    let settings = settings.map(|(n, v)| (n.to_owned(), v.to_owned()));
    let found = CostConstants::of_settings(&settings.into());
    let expected = CostConstants {
        seq_page_cost: 2.5,
        ..CostConstants::default()
    };
    assert_eq!(found, expected);
}
