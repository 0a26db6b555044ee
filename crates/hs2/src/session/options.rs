//! Impala's query options: which there are, which have an effect, and what they become.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use forebay_server::{PARQUET_COMPRESSION, Session, Statement};
use forebay_sql::{CreateTable, ImpalaStatement};

use crate::error::Error;

/// What an option does here.
#[derive(Debug, Clone, Copy)]
enum Effect {
    /// It is a setting of the session: of this name, with its value as this function writes it.
    Setting(&'static str, fn(&str) -> Option<String>),
    /// The front end looks at it itself.
    Ours(Check),
    /// None. Clients send it, so it is taken and shown.
    None,
}

/// What values an option takes that the front end looks at itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// A whole number, not negative.
    Number,
    Text,
    /// A format of files.
    Format,
    /// How much `EXPLAIN` tells.
    Level,
}

struct Definition {
    name: &'static str,
    /// As Impala shows it when nobody has set it.
    default: &'static str,
    level: &'static str,
    effect: Effect,
}

const fn option(
    name: &'static str,
    default: &'static str,
    level: &'static str,
    effect: Effect,
) -> Definition {
    Definition {
        name,
        default,
        level,
        effect,
    }
}

/// An option without effect.
const fn accepted(name: &'static str, default: &'static str) -> Definition {
    option(name, default, "ADVANCED", Effect::None)
}

pub(crate) const REQUEST_POOL: &str = "REQUEST_POOL";
pub(crate) const QUERY_TIMEOUT: &str = "QUERY_TIMEOUT_S";
pub(crate) const IDLE_SESSION_TIMEOUT: &str = "IDLE_SESSION_TIMEOUT";
pub(crate) const FETCH_ROWS_TIMEOUT: &str = "FETCH_ROWS_TIMEOUT_MS";
pub(crate) const LONG_POLLING_TIME: &str = "LONG_POLLING_TIME_MS";
pub(crate) const ROWS_LIMIT: &str = "NUM_ROWS_PRODUCED_LIMIT";
pub(crate) const STATEMENT_LENGTH: &str = "MAX_STATEMENT_LENGTH_BYTES";
const FILE_FORMAT: &str = "DEFAULT_FILE_FORMAT";
const EXPLAIN_LEVEL: &str = "EXPLAIN_LEVEL";
pub(crate) const CLIENT_IDENTIFIER: &str = "CLIENT_IDENTIFIER";

/// Hue asks with this key for a result that can be fetched again from its beginning.
pub(crate) const RESULT_CACHE: &str = "impala.resultset.cache.size";

/// Every option, in alphabetical order.
#[rustfmt::skip]
const DEFINITIONS: &[Definition] = &[
    accepted("ABORT_ON_ERROR", "0"),
    accepted("ALLOW_ERASURE_CODED_FILES", "0"),
    accepted("APPX_COUNT_DISTINCT", "0"),
    option("BATCH_SIZE", "0", "DEVELOPMENT", Effect::Setting("datafusion.execution.batch_size", positive)),
    accepted("BUFFER_POOL_LIMIT", ""),
    option(CLIENT_IDENTIFIER, "", "ADVANCED", Effect::Setting("application_name", as_it_is)),
    option("COMPRESSION_CODEC", "", "REGULAR", Effect::Setting(PARQUET_COMPRESSION, codec)),
    accepted("COMPUTE_STATS_MIN_SAMPLE_SIZE", "1073741824"),
    option("CPU_LIMIT_S", "0", "REGULAR", Effect::Setting("cpu_limit", seconds)),
    accepted("DEBUG_ACTION", ""),
    accepted("DECIMAL_V2", "1"),
    option(FILE_FORMAT, "PARQUET", "REGULAR", Effect::Ours(Check::Format)),
    accepted("DEFAULT_JOIN_DISTRIBUTION_MODE", "0"),
    accepted("DEFAULT_ORDER_BY_LIMIT", "-1"),
    accepted("DEFAULT_SPILLABLE_BUFFER_SIZE", "2097152"),
    accepted("DISABLE_CODEGEN", "0"),
    accepted("DISABLE_ROW_RUNTIME_FILTERING", "0"),
    accepted("DISABLE_UNSAFE_SPILLS", "0"),
    accepted("ENABLED_RUNTIME_FILTER_TYPES", "ALL"),
    accepted("EXEC_SINGLE_NODE_ROWS_THRESHOLD", "100"),
    option("EXEC_TIME_LIMIT_S", "0", "ADVANCED", Effect::Setting("exec_time_limit", seconds)),
    option(EXPLAIN_LEVEL, "1", "REGULAR", Effect::Ours(Check::Level)),
    option(FETCH_ROWS_TIMEOUT, "10000", "ADVANCED", Effect::Ours(Check::Number)),
    accepted("HBASE_CACHE_BLOCKS", "0"),
    accepted("HBASE_CACHING", "0"),
    option(IDLE_SESSION_TIMEOUT, "0", "REGULAR", Effect::Ours(Check::Number)),
    option(LONG_POLLING_TIME, "0", "ADVANCED", Effect::Ours(Check::Number)),
    accepted("MAX_ERRORS", "100"),
    accepted("MAX_ROW_SIZE", "524288"),
    accepted("MAX_SCAN_RANGE_LENGTH", "0"),
    option(STATEMENT_LENGTH, "16777216", "ADVANCED", Effect::Ours(Check::Number)),
    option("MEM_LIMIT", "0", "REGULAR", Effect::Setting("statement_mem", bytes)),
    accepted("MEM_LIMIT_EXECUTORS", "0"),
    option("MT_DOP", "", "REGULAR", Effect::Setting("datafusion.execution.target_partitions", positive)),
    accepted("NUM_NODES", "0"),
    option(ROWS_LIMIT, "0", "ADVANCED", Effect::Ours(Check::Number)),
    accepted("NUM_SCANNER_THREADS", "0"),
    accepted("OPTIMIZE_PARTITION_KEY_SCANS", "0"),
    accepted("PARQUET_ANNOTATE_STRINGS_UTF8", "0"),
    accepted("PARQUET_ARRAY_RESOLUTION", "THREE_LEVEL"),
    accepted("PARQUET_DICTIONARY_FILTERING", "1"),
    accepted("PARQUET_FALLBACK_SCHEMA_RESOLUTION", "0"),
    accepted("PARQUET_FILE_SIZE", "0"),
    accepted("PARQUET_READ_STATISTICS", "1"),
    accepted("PREFETCH_MODE", "1"),
    option(QUERY_TIMEOUT, "0", "REGULAR", Effect::Ours(Check::Number)),
    accepted("REPLICA_PREFERENCE", "0"),
    option(REQUEST_POOL, "", "REGULAR", Effect::Ours(Check::Text)),
    accepted("RESOURCE_TRACE_RATIO", "0"),
    accepted("RETRY_FAILED_QUERIES", "0"),
    accepted("RUNTIME_BLOOM_FILTER_SIZE", "1048576"),
    accepted("RUNTIME_FILTER_MAX_SIZE", "16777216"),
    accepted("RUNTIME_FILTER_MIN_SIZE", "1048576"),
    accepted("RUNTIME_FILTER_MODE", "GLOBAL"),
    accepted("RUNTIME_FILTER_WAIT_TIME_MS", "0"),
    accepted("S3_SKIP_INSERT_STAGING", "1"),
    option("SCAN_BYTES_LIMIT", "0", "ADVANCED", Effect::Setting("scan_bytes_limit", exact_bytes)),
    accepted("SCHEDULE_RANDOM_REPLICA", "0"),
    option("SCRATCH_LIMIT", "-1", "REGULAR", Effect::Setting("temp_file_limit", kilobytes)),
    accepted("SHUFFLE_DISTINCT_EXPRS", "1"),
    accepted("SPOOL_ALL_RESULTS_FOR_RETRIES", "1"),
    accepted("SPOOL_QUERY_RESULTS", "1"),
    accepted("STRICT_MODE", "0"),
    accepted("SUPPORT_START_OVER", "false"),
    accepted("SYNC_DDL", "0"),
    accepted("THREAD_RESERVATION_AGGREGATE_LIMIT", "0"),
    accepted("THREAD_RESERVATION_LIMIT", "3000"),
    option("TIMEZONE", "", "ADVANCED", Effect::Setting("timezone", as_it_is)),
    accepted("TOPN_BYTES_LIMIT", "536870912"),
    accepted("UTF8_MODE", "0"),
];

/// Options that have been set, by their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct QueryOptions(BTreeMap<&'static str, String>);

/// Whether there is such an option, in any letter case.
pub(crate) fn is_known(name: &str) -> bool {
    definition(name).is_some()
}

fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS
        .iter()
        .find(|definition| definition.name.eq_ignore_ascii_case(name))
}

impl QueryOptions {
    /// Sets an option. An empty value takes back what was set.
    ///
    /// # Errors
    /// There is no such option, or it does not take this value.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let Some(definition) = definition(name) else {
            return Err(Error::new(format!("Invalid query option: {name}\n")));
        };
        let value = unquoted(value.trim());
        if value.is_empty() {
            self.0.remove(definition.name);
            return Ok(());
        }
        let fits = match definition.effect {
            Effect::Setting(_, write) => write(value).is_some(),
            Effect::Ours(Check::Number) => value.parse::<u64>().is_ok(),
            Effect::Ours(Check::Format) => file_format(value).is_some(),
            Effect::Ours(Check::Level) => explain_level(value).is_some(),
            Effect::Ours(Check::Text) | Effect::None => true,
        };
        if !fits {
            let name = definition.name;
            return Err(Error::new(format!(
                "Invalid value for query option {name}: '{value}'\n"
            )));
        }
        self.0.insert(definition.name, value.to_owned());
        Ok(())
    }

    /// Gives the session the settings that the options stand for.
    ///
    /// # Errors
    /// A value that the setting does not take, or that the role may not set.
    pub(crate) fn apply(&self, session: &mut Session) -> Result<(), Error> {
        for (name, value) in &self.0 {
            let Some(Effect::Setting(setting, write)) = definition(name).map(|d| d.effect) else {
                continue;
            };
            // Zero is Impala's word for no limit of its own.
            if let Some(value) = write(value).filter(|value| !value.is_empty()) {
                session.put_setting(setting, &value)?;
            }
        }
        Ok(())
    }

    /// The options that were set: `NAME=value`, separated by commas.
    pub(crate) fn shown(&self) -> String {
        let options: Vec<String> = self.0.iter().map(|(n, v)| format!("{n}={v}")).collect();
        options.join(",")
    }

    /// The statement with what the options say and it does not say itself: the format of a table's
    /// files, and how much `EXPLAIN` tells.
    pub(crate) fn settle(&self, statement: ImpalaStatement) -> ImpalaStatement {
        let ImpalaStatement::Sql(parsed) = statement else {
            return statement;
        };
        let mut parsed = Arc::unwrap_or_clone(parsed);
        match &mut parsed.statement {
            Statement::CreateTable(table) => self.settle_table(table),
            Statement::Explain(explain) => match explain_level(self.get(EXPLAIN_LEVEL)) {
                Some(0) => explain.costs = false,
                Some(2 | 3) => explain.verbose = true,
                _ => {}
            },
            _ => {}
        }
        ImpalaStatement::Sql(Arc::new(parsed))
    }

    fn settle_table(&self, table: &mut CreateTable) {
        let usual = file_format(self.get(FILE_FORMAT)).unwrap_or("PARQUET");
        table.format.get_or_insert_with(|| usual.to_owned());
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(value) => value,
            None => definition(name).map_or("", |definition| definition.default),
        }
    }

    /// A number that was checked when it was set.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }

    /// The time of an option in seconds; `None` for no limit.
    pub(crate) fn seconds(&self, name: &str) -> Option<Duration> {
        Some(Duration::from_secs(self.number(name))).filter(|time| !time.is_zero())
    }

    /// The time of an option in milliseconds; `None` for 0.
    pub(crate) fn milliseconds(&self, name: &str) -> Option<Duration> {
        Some(Duration::from_millis(self.number(name))).filter(|time| !time.is_zero())
    }

    /// Every option with its value and its level.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &str, &'static str)> {
        DEFINITIONS
            .iter()
            .map(|definition| (definition.name, self.get(definition.name), definition.level))
    }
}

/// Whether setting it changes anything.
pub(crate) fn has_effect(name: &str) -> bool {
    definition(name).is_some_and(|definition| !matches!(definition.effect, Effect::None))
}

fn unquoted(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// DataFusion's name of a format. Of text files a table says more than the format.
fn file_format(value: &str) -> Option<&'static str> {
    match value.to_uppercase().as_str() {
        "PARQUET" => Some("PARQUET"),
        "JSON" | "JSONFILE" => Some("JSON"),
        _ => None,
    }
}

/// MINIMAL, STANDARD, EXTENDED and VERBOSE, or their numbers.
fn explain_level(value: &str) -> Option<u8> {
    match value.to_uppercase().as_str() {
        "0" | "MINIMAL" => Some(0),
        "1" | "STANDARD" => Some(1),
        "2" | "EXTENDED" => Some(2),
        "3" | "VERBOSE" => Some(3),
        _ => None,
    }
}

/// A way to compress Parquet files, with its level where there may be one, as DataFusion writes it.
/// The levels that Impala leaves to its libraries are those that they take themselves.
fn codec(value: &str) -> Option<String> {
    let (name, level) = match value.split_once(':') {
        Some((name, level)) => (name.trim(), Some(level.trim().parse::<u8>().ok()?)),
        None => (value, None),
    };
    Some(match (name.to_uppercase().as_str(), level) {
        ("NONE", None) => "uncompressed".to_owned(),
        ("SNAPPY", None) => "snappy".to_owned(),
        ("LZ4", None) => "lz4".to_owned(),
        ("GZIP", None) => "gzip(6)".to_owned(),
        ("ZSTD", level) if (1..=22).contains(&level.unwrap_or(3)) => {
            format!("zstd({})", level.unwrap_or(3))
        }
        _ => return None,
    })
}

fn as_it_is(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// Nothing for 0, which leaves the choice to the server.
fn positive(value: &str) -> Option<String> {
    let number: u32 = value.parse().ok()?;
    Some(match number {
        0 => String::new(),
        number => number.to_string(),
    })
}

fn seconds(value: &str) -> Option<String> {
    let seconds: u64 = value.parse().ok()?;
    Some(match seconds {
        0 => String::new(),
        seconds => format!("{seconds}s"),
    })
}

/// A size in Impala's spelling: bytes, or a number with `k`, `m`, `g` or `t` and perhaps a `b`.
fn size(value: &str) -> Option<u64> {
    let lower = value.trim().to_lowercase();
    let number = lower.strip_suffix('b').unwrap_or(&lower);
    let units = [
        ('k', 1 << 10),
        ('m', 1 << 20),
        ('g', 1 << 30),
        ('t', 1_u64 << 40),
    ];
    let (number, unit) = units
        .iter()
        .find_map(|(letter, unit)| Some((number.strip_suffix(*letter)?, *unit)))
        .unwrap_or((number, 1));
    let number: f64 = number.trim().parse().ok()?;
    let bytes = number * unit as f64;
    (number.is_finite() && (0.0..=9.2e18).contains(&bytes)).then_some(bytes as u64)
}

fn exact_bytes(value: &str) -> Option<String> {
    Some(match size(value)? {
        0 => String::new(),
        bytes => format!("{bytes}B"),
    })
}

/// Rounded up to kilobytes.
fn bytes(value: &str) -> Option<String> {
    Some(match size(value)? {
        0 => String::new(),
        bytes => format!("{}kB", bytes.div_ceil(1024)),
    })
}

/// As [`bytes`], where -1 is no limit.
fn kilobytes(value: &str) -> Option<String> {
    match value {
        "-1" => Some("-1".to_owned()),
        value => Some(format!("{}kB", size(value)?.div_ceil(1024))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_in_order_so_that_set_all_is() {
        assert!(DEFINITIONS.is_sorted_by_key(|definition| definition.name));
    }

    #[test]
    fn names_are_found_in_any_case_and_unknown_ones_refused() {
        let mut options = QueryOptions::default();
        options.set("mem_limit", "2g").unwrap();
        assert_eq!(options.get("MEM_LIMIT"), "2g");
        let error = options.set("mem_limits", "2g").unwrap_err();
        assert_eq!(error.message, "Invalid query option: mem_limits\n");
        options.set("MEM_LIMIT", "").unwrap();
        assert_eq!(options.get("MEM_LIMIT"), "0");
    }

    #[test]
    fn values_are_checked() {
        let mut options = QueryOptions::default();
        for (name, value) in [
            ("MEM_LIMIT", "much"),
            ("FETCH_ROWS_TIMEOUT_MS", "-1"),
            ("EXEC_TIME_LIMIT_S", "1m"),
            ("EXPLAIN_LEVEL", "4"),
            ("DEFAULT_FILE_FORMAT", "ORC"),
            ("SCAN_BYTES_LIMIT", "-1"),
            ("CPU_LIMIT_S", "1.5"),
            ("COMPRESSION_CODEC", "BZIP2"),
            ("COMPRESSION_CODEC", "SNAPPY:1"),
            ("COMPRESSION_CODEC", "ZSTD:0"),
            ("COMPRESSION_CODEC", "ZSTD:23"),
            ("COMPRESSION_CODEC", "ZSTD:"),
            ("COMPRESSION_CODEC", "ZSTD:1:1"),
        ] {
            assert!(options.set(name, value).is_err(), "{name}={value}");
        }
        options.set("request_pool", "\"root.default\"").unwrap();
        assert_eq!(options.get(REQUEST_POOL), "root.default");
    }

    #[test]
    fn statements_get_what_they_do_not_say_themselves() {
        let mut options = QueryOptions::default();
        let table = |text: &str, options: &QueryOptions| {
            let (_, statement) = forebay_sql::parse_impala(text, "").unwrap();
            let ImpalaStatement::Sql(parsed) = options.settle(statement) else {
                panic!("{text}");
            };
            match &parsed.statement {
                Statement::CreateTable(table) => CreateTable::clone(table),
                other => panic!("{other:?}"),
            }
        };
        let made = table("create table t (a int)", &options);
        assert_eq!(made.format.as_deref(), Some("PARQUET"));
        options.set("DEFAULT_FILE_FORMAT", "json").unwrap();
        assert_eq!(
            table("create table t (a int)", &options).format.as_deref(),
            Some("JSON")
        );
    }

    #[test]
    fn codecs_are_those_of_impalas_parquet() {
        for (option, expected) in [
            ("none", "uncompressed"),
            ("Snappy", "snappy"),
            ("LZ4", "lz4"),
            ("gzip", "gzip(6)"),
            ("ZSTD", "zstd(3)"),
            ("zstd:1", "zstd(1)"),
            ("ZSTD : 22", "zstd(22)"),
        ] {
            assert_eq!(codec(option).as_deref(), Some(expected), "{option}");
        }
    }

    #[test]
    fn sizes_are_read_as_impala_reads_them() {
        let cases = [
            ("1024", Some(1024)),
            ("2k", Some(2048)),
            ("1.5MB", Some(3 << 19)),
            ("2gb", Some(2 << 30)),
            ("1T", Some(1 << 40)),
            ("x", None),
            ("-1", None),
            ("1e400", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}
