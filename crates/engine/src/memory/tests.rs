//! What spills stays inside; what cannot is told so; neighbours do not notice; nothing is left.

use std::path::Path;
use std::thread;

use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::joins::SortMergeJoinExec;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::SessionContext;

use super::*;
use crate::EngineError;

const MB: usize = 1 << 20;

fn grant(source: MemorySource, limit_mb: Option<usize>) -> MemoryGrant {
    MemoryGrant {
        limit_bytes: limit_mb.map(|mb| (mb * MB) as u64),
        source,
        temp_file_limit_bytes: None,
    }
}

fn server(limit_mb: usize) -> ServerMemory {
    ServerMemory::new(Some(limit_mb * MB), None).unwrap()
}

fn consumer(pool: &Arc<dyn MemoryPool>, name: &str, can_spill: bool) -> MemoryReservation {
    MemoryConsumer::new(name)
        .with_can_spill(can_spill)
        .register(pool)
}

fn refusal(result: Result<()>) -> EngineError {
    EngineError::from(result.expect_err("refused"))
}

#[test]
fn a_grant_is_set_aside_and_never_refused_inside() {
    let server = server(100);
    let rest = server.statement_pool(&grant(MemorySource::Rest, None));
    let greedy = consumer(&rest, "Greedy", false);
    greedy.try_grow(80 * MB).unwrap();
    // Later than the greedy one, and in spite of it.
    let own = server.statement_pool(&grant(MemorySource::Granted, Some(60)));
    assert_eq!(server.status().granted, 60 * MB);
    let modest = consumer(&own, "Modest", false);
    modest.try_grow(60 * MB).unwrap();
    assert!(modest.try_grow(1).is_err(), "not beyond its limit");
    assert!(
        greedy.try_grow(1).is_err(),
        "what is set aside is not to be had"
    );
    drop((modest, own));
    assert_eq!(server.status().granted, 0);
    greedy.try_grow(10 * MB).unwrap();
    assert!(
        greedy.try_grow(1).is_err(),
        "the last tenth is for superusers"
    );
    let reserve = server.statement_pool(&grant(MemorySource::Reserve, None));
    let boss = consumer(&reserve, "Boss", false);
    boss.try_grow(10 * MB).unwrap();
    assert!(boss.try_grow(1).is_err());
}

#[test]
fn superusers_get_their_part_whatever_is_granted() {
    let server = server(100);
    let pools: Vec<_> = (0..3)
        .map(|_| server.statement_pool(&grant(MemorySource::Granted, Some(50))))
        .collect();
    let reserve = server.statement_pool(&grant(MemorySource::Reserve, None));
    consumer(&reserve, "Boss", false).try_grow(10 * MB).unwrap();
    let rest = server.statement_pool(&grant(MemorySource::Rest, None));
    assert!(consumer(&rest, "Other", false).try_grow(1).is_err());
    // A cheap statement of a queue with a limit is not refused either.
    let exempt = server.statement_pool(&grant(MemorySource::Exempt, Some(5)));
    consumer(&exempt, "Cheap", false).try_grow(5 * MB).unwrap();
    assert!(consumer(&exempt, "Cheap", false).try_grow(6 * MB).is_err());
    drop(pools);
    assert_eq!(server.status().granted, 0);
}

#[test]
fn those_who_can_spill_share_fairly() {
    let server = server(100);
    let pool = server.statement_pool(&grant(MemorySource::Granted, Some(40)));
    let [one, two] = ["One", "Two"].map(|name| consumer(&pool, name, true));
    let fixed = consumer(&pool, "Fixed", false);
    one.try_grow(20 * MB).unwrap();
    assert!(one.try_grow(1).is_err(), "the other half is for the other");
    // A second reservation of the same operator is no way around.
    assert!(one.new_empty().try_grow(1).is_err());
    two.try_grow(10 * MB).unwrap();
    fixed.try_grow(10 * MB).unwrap();
    assert!(fixed.try_grow(1).is_err(), "all is taken");
    assert!(two.try_grow(6 * MB).is_err(), "its share is 15 MB now");
    two.try_grow(5 * MB).unwrap();
    drop(one);
    two.try_grow(15 * MB).unwrap();
    assert_eq!(pool.reserved(), 40 * MB);
}

#[test]
fn what_cannot_fail_is_counted() {
    let server = server(100);
    let pool = server.statement_pool(&grant(MemorySource::Granted, Some(10)));
    let operator = consumer(&pool, "Operator", true);
    operator.grow(30 * MB);
    assert_eq!(
        (pool.reserved(), server.status().granted_used),
        (30 * MB, 30 * MB)
    );
    assert!(operator.try_grow(1).is_err());
    operator.free();
    assert_eq!((pool.reserved(), server.status().granted_used), (0, 0));
}

#[test]
fn a_refusal_tells_operator_request_limit_and_remedy() {
    let server = server(100);
    let pool = server.statement_pool(&grant(MemorySource::Granted, Some(40)));
    let table = consumer(&pool, "HashJoinInput[1]", false);
    table.try_grow(32 * MB).unwrap();
    let error = refusal(table.try_grow(16 * MB));
    assert_eq!(error.sqlstate, "53200");
    assert_eq!(
        error.message,
        "out of memory: HashJoinInput[1] asked for 16.0 MB, but the statement may use 40.0 MB \
         and 8.0 MB are left for it"
    );
    let detail = "The statement uses 32.0 MB, the most in HashJoinInput[1] 32.0 MB.";
    assert_eq!(error.detail.as_deref(), Some(detail));
    assert!(error.hint.unwrap().contains("MEMORY_LIMIT"));
    let rest = server.statement_pool(&grant(MemorySource::Rest, None));
    let error = refusal(consumer(&rest, "TopK[0]", false).try_grow(60 * MB));
    assert_eq!(
        error.message,
        "out of memory: TopK[0] asked for 60.0 MB, but the server has 100.0 MB and 40.0 MB of it \
         are granted to others and 50.0 MB are left for it"
    );
    assert!(error.hint.unwrap().contains("--memory-limit"));
}

/// Threads that take and give back at random, and stop at different moments.
#[test]
fn nothing_is_lost_or_counted_twice() {
    let server = server(64);
    let sources = [
        (MemorySource::Granted, Some(8)),
        (MemorySource::Exempt, Some(8)),
        (MemorySource::Rest, None),
        (MemorySource::Rest, Some(4)),
        (MemorySource::Reserve, None),
    ];
    thread::scope(|threads| {
        for (seed, (source, limit_mb)) in sources.into_iter().cycle().take(20).enumerate() {
            let server = server.clone();
            threads.spawn(move || {
                let mut random = seed as u64 + 1;
                for _ in 0..50 {
                    let pool = server.statement_pool(&grant(source, limit_mb));
                    let operators = [true, false].map(|spills| consumer(&pool, "Any", spills));
                    let mut held = 0;
                    for _ in 0..40 {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        let operator = &operators[usize::from(random & 1 == 0)];
                        let bytes = (random >> 8) as usize % MB;
                        match random % 5 {
                            0 => {
                                operator.grow(bytes);
                                held += bytes;
                            }
                            1 => held -= operator.free(),
                            _ => held += operator.try_grow(bytes).map_or(0, |()| bytes),
                        }
                        assert_eq!(pool.reserved(), held);
                    }
                }
            });
        }
    });
    let status = server.status();
    assert_eq!(
        (status.granted, status.granted_used, status.rest_used),
        (0, 0, 0)
    );
}

#[test]
fn the_machine_is_read() {
    let text = "MemFree: 1 kB\nMemTotal:       16 kB\n";
    assert_eq!(machine::total_bytes(text), Some(16 << 10));
    assert_eq!(machine::total_bytes(""), None);
    let paths = |groups: &str| -> Vec<String> {
        let files = machine::limit_files(groups);
        files.iter().map(|f| f.display().to_string()).collect()
    };
    assert_eq!(
        paths("1:cpu:/x\n0::/a/b\n"),
        [
            "/sys/fs/cgroup/a/b/memory.max",
            "/sys/fs/cgroup/a/memory.max",
            "/sys/fs/cgroup/memory.max"
        ]
    );
    assert_eq!(
        paths("4:memory:/a\n"),
        [
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes"
        ]
    );
    let available = machine::available_bytes().unwrap();
    assert!(available > MB && machine::default_limit_bytes() < available);
}

#[test]
fn little_memory_makes_fewer_partitions_and_smaller_batches() {
    let config = crate::EngineConfig {
        target_partitions: Some(4),
        ..crate::EngineConfig::default()
    };
    let config = config.session_config();
    let partitions = |mb: u64| planned(&config, mb << 20, 8.0).target_partitions();
    assert_eq!([1024, 130, 80, 1].map(partitions), [4, 2, 1, 1]);
    let rows = |mb: u64, width| planned(&config, mb << 20, width).batch_size();
    assert_eq!([rows(1024, 200.0), rows(32, 16.0)], [8192, 8192]);
    assert_eq!([rows(32, 1024.0), rows(1, 1024.0)], [1024, 64]);
    let reserve = |mb: u64| {
        let tuned = tuned(&config, mb << 20).unwrap_or_else(|| config.clone());
        tuned.options().execution.sort_spill_reservation_bytes
    };
    assert_eq!(reserve(1024), 10 * MB);
    assert_eq!(reserve(32), 4 * MB);
}

#[tokio::test]
async fn small_statements_are_not_planned_twice() {
    let join = "SELECT * FROM a JOIN b ON a.k = b.k WHERE a.k < 100 ORDER BY a.t";
    let config = SessionConfig::new().with_target_partitions(2);
    for (text, mb, suitable) in [
        (join, 1024, true),
        (join, 4, false),
        ("SELECT 1", 1, true),
        (
            "SELECT a.k, b.k FROM (VALUES (1)) AS a(k) JOIN (VALUES (1)) AS b(k) ON a.k = b.k",
            1,
            true,
        ),
    ] {
        let plan = planned_query(text, 1 << 40).await;
        let footers = RuntimeEnv::default()
            .cache_manager
            .get_file_metadata_cache();
        let constants = crate::CostConstants::default();
        let estimates = crate::cost::estimate(plan.as_ref(), &constants, 8192, footers.as_ref());
        let suits = suits(&plan, &config, &estimates, mb << 20);
        assert_eq!(suits, suitable, "{text}");
    }
}

/// Statements on a server with this much memory for operators.
struct World {
    memory: ServerMemory,
    context: SessionContext,
}

impl World {
    fn new(server_mb: usize, folder: Option<&Path>) -> Self {
        let config = crate::EngineConfig {
            memory_limit_bytes: Some(server_mb * MB),
            temp_folder: folder.map(Path::to_owned),
            target_partitions: Some(2),
            ..crate::EngineConfig::default()
        };
        let memory = config.server_memory().unwrap();
        let environment = config.runtime_environment().unwrap();
        let context = SessionContext::new_with_config_rt(config.session_config(), environment);
        Self { memory, context }
    }

    /// Runs `text` with `grant`: its rows, and how often operators spilled.
    async fn run(&self, text: &str, grant: MemoryGrant) -> Result<(usize, usize), EngineError> {
        let plan = self.context.sql(text).await?.create_physical_plan().await?;
        let environment = self.memory.environment(&self.context.runtime_env(), &grant);
        let config = self.context.copied_config();
        let limit = grant.limit_bytes.unwrap_or(u64::MAX);
        let config = tuned(&config, limit).unwrap_or(config);
        let task = TaskContext::default().with_runtime(environment);
        let task = Arc::new(task.with_session_config(config));
        let rows = collect(Arc::clone(&plan), task).await?;
        Ok((rows.iter().map(|b| b.num_rows()).sum(), spills(&plan)))
    }

    /// Waits until no statement holds anything: tasks of a plan that failed end a moment later.
    async fn all_given_back(&self) {
        let empty = MemoryStatus {
            limit: self.memory.status().limit,
            ..MemoryStatus::default()
        };
        let given_back = async {
            while self.memory.status() != empty {
                tokio::task::yield_now().await;
            }
        };
        let deadline = std::time::Duration::from_secs(30);
        let waited = tokio::time::timeout(deadline, given_back).await;
        assert!(waited.is_ok(), "{:?}", self.memory.status());
    }
}

fn spills(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan.metrics().and_then(|m| m.spill_count()).unwrap_or(0);
    own + plan.children().into_iter().map(spills).sum::<usize>()
}

const SORT: &str =
    "SELECT value, repeat('x', 20) AS t FROM generate_series(1, 1000000) ORDER BY -value";
const GROUP: &str = "SELECT value % 700000, count(*) FROM generate_series(1, 1000000) GROUP BY 1";
const JOIN: &str = "SELECT a.value FROM generate_series(1, 1000000) AS a \
     JOIN generate_series(1, 1000000) AS b ON a.value = b.value";

#[tokio::test]
async fn sorts_and_aggregations_spill_inside_their_limit() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(1024, Some(folder.path()));
    for (text, rows) in [(SORT, 1_000_000), (GROUP, 700_000)] {
        let small = world
            .run(text, grant(MemorySource::Granted, Some(16)))
            .await;
        let (found, spilled) = small.unwrap();
        assert_eq!(found, rows, "{text}");
        assert!(spilled > 0, "{text}");
        let ample = world
            .run(text, grant(MemorySource::Granted, Some(512)))
            .await;
        assert_eq!(ample.unwrap(), (rows, 0), "{text}");
        world.all_given_back().await;
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_hash_join_that_does_not_fit_is_told_what_to_set() {
    let world = World::new(1024, None);
    let small = world.run(JOIN, grant(MemorySource::Granted, Some(4))).await;
    let error = small.unwrap_err();
    assert_eq!(error.sqlstate, "53200");
    let message = &error.message;
    assert!(
        message.starts_with("out of memory: HashJoinInput"),
        "{message}"
    );
    assert!(message.contains("may use 4.0 MB"), "{message}");
    assert!(
        error.hint.as_ref().unwrap().contains("statement_mem"),
        "{error:?}"
    );
    assert!(
        error.detail.as_ref().unwrap().contains("HashJoinInput"),
        "{error:?}"
    );
    world.all_given_back().await;
    let ample = world
        .run(JOIN, grant(MemorySource::Granted, Some(512)))
        .await;
    assert_eq!(ample.unwrap().0, 1_000_000);
}

#[tokio::test]
async fn a_neighbour_with_a_grant_does_not_notice() {
    let world = World::new(64, None);
    let (greedy, modest) = tokio::join!(
        world.run(JOIN, grant(MemorySource::Rest, None)),
        world.run(SORT, grant(MemorySource::Granted, Some(60)))
    );
    let error = greedy.unwrap_err();
    assert_eq!(error.sqlstate, "53200");
    assert!(
        error.message.contains("the server has 64.0 MB"),
        "{}",
        error.message
    );
    assert_eq!(modest.unwrap().0, 1_000_000);
    world.all_given_back().await;
}

#[tokio::test]
async fn spilled_data_has_a_limit_and_goes_with_its_statement() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(1024, Some(folder.path()));
    let limited = MemoryGrant {
        temp_file_limit_bytes: Some(MB as u64),
        ..grant(MemorySource::Granted, Some(8))
    };
    let error = world.run(SORT, limited).await.unwrap_err();
    assert_eq!(error.sqlstate, "53400");
    assert_eq!(
        error.message,
        "temporary file size exceeds temp_file_limit (1024kB)"
    );
    assert!(error.hint.unwrap().contains("temp_file_limit"));
    world.all_given_back().await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // Its folder gone, a statement that must spill says so.
    drop(folder);
    let error = world
        .run(SORT, grant(MemorySource::Granted, Some(8)))
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate, "58030");
    assert!(
        error.message.starts_with("could not create temporary file"),
        "{}",
        error.message
    );
}

#[test]
fn the_folder_is_emptied_and_only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("a").join("temp");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::write(folder.join("7.spill"), "left behind").unwrap();
    let memory = ServerMemory::new(Some(MB), Some(folder.clone())).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    let file = memory.spill.manager(None).create_tmp_file("test").unwrap();
    let mode = std::fs::metadata(file.path().unwrap())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(memory.status().temp_files, 1);
    drop(file);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    assert_eq!(memory.status().temp_files, 0);
}

#[tokio::test]
async fn a_file_reads_as_it_was_written() {
    use futures::TryStreamExt;
    let memory = server(1);
    let disk = memory.spill.manager(None);
    let file = disk.create_tmp_file("test").unwrap();
    let data: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut writer = file.open_writer().unwrap();
    for part in data.chunks(70_001) {
        writer.write_all(part).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    assert_eq!(file.size(), Some(data.len() as u64));
    assert_eq!(memory.status().temp_bytes, data.len() as u64);
    let stream = file.read_stream().unwrap();
    drop(file);
    let read: Vec<_> = stream.try_collect().await.unwrap();
    assert!(read.concat() == data);
    assert_eq!(
        (memory.status().temp_files, memory.status().temp_bytes),
        (0, 0)
    );
}

/// A world whose plans are made as the server makes them.
async fn planned_query(text: &str, limit_bytes: u64) -> Arc<dyn ExecutionPlan> {
    let snapshot = forebay_catalog::Snapshot::bootstrap("boss").unwrap();
    let vantage = crate::Vantage::nobodys(Arc::new(snapshot)).unwrap();
    let vantage = vantage.within(limit_bytes, 60.0);
    let mut config = SessionConfig::new().with_target_partitions(2);
    config.options_mut().extensions = vantage.config.options().extensions.clone();
    let state = datafusion::execution::SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_physical_optimizer_rules(MergeLargeJoins::among_rules(&RuntimeEnv::default()))
        .build();
    let context = SessionContext::new_with_state(state);
    for name in ["a", "b"] {
        let rows = "SELECT value AS k, repeat('x', 50) AS t FROM generate_series(1, 200000)";
        let rows = context.sql(rows).await.unwrap().collect().await.unwrap();
        let table = datafusion::datasource::MemTable::try_new(rows[0].schema(), vec![rows]);
        context
            .register_table(name, Arc::new(table.unwrap()))
            .unwrap();
    }
    context
        .sql(text)
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap()
}

fn merge_joins(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let inputs: usize = plan.children().into_iter().map(merge_joins).sum();
    usize::from(plan.is::<SortMergeJoinExec>()) + inputs
}

#[tokio::test]
async fn joins_that_would_not_fit_are_merged() {
    let join = "SELECT * FROM a JOIN b ON a.k = b.k";
    for (text, little) in [
        (join, 1),
        ("SELECT * FROM a LEFT JOIN b ON a.k = b.k AND a.t < b.t", 1),
        ("SELECT * FROM a WHERE k IN (SELECT k FROM b)", 1),
        (
            "SELECT * FROM a WHERE k NOT IN (SELECT nullif(k, 5) FROM b)",
            0,
        ),
        ("SELECT * FROM a JOIN b ON a.k::double = b.k::double", 0),
        ("SELECT * FROM a JOIN b ON a.k < b.k", 0),
    ] {
        let plan = planned_query(text, (4 * MB) as u64).await;
        assert_eq!(
            merge_joins(&plan),
            little,
            "{}",
            displayable(plan.as_ref()).indent(false)
        );
        let plan = planned_query(text, (4096 * MB) as u64).await;
        assert_eq!(merge_joins(&plan), 0, "{text}");
    }
}
