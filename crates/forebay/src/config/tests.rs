//! What may be written where, and what comes of it.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Command, FromArgMatches};

use super::resolve::resolve;
use super::table::{SETTINGS, Setting, variable};
use super::values::{core_count, parse_size_bytes};
use super::{Config, Effective, Flags, Sample};

fn flags(args: &str) -> Flags {
    let command = Flags::augment_args(Command::new("serve"));
    let args = std::iter::once("serve").chain(args.split_whitespace());
    Flags::from_arg_matches(&command.try_get_matches_from(args).unwrap()).unwrap()
}

fn with_env(args: &str, variables: &[(&str, &str)]) -> Result<Effective> {
    let environment = |name: &str| {
        variables
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| OsString::from(value))
    };
    resolve(&flags(args), &environment)
}

fn error(args: &str, variables: &[(&str, &str)]) -> String {
    format!("{:#}", with_env(args, variables).unwrap_err())
}

/// A configuration file with this text, and its `--config` flag.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forebay.toml");
    fs::write(&path, text).unwrap();
    let flag = format!("--config {}", path.display());
    (folder, flag)
}

#[test]
fn defaults() {
    let config = with_env("", &[]).unwrap().config;
    let expected = Config {
        paths: vec![],
        sample: None,
        data_dir: "./forebay-data".into(),
        pg_listen: "127.0.0.1:5432".parse().unwrap(),
        hs2_listen: Some("127.0.0.1:21050".parse().unwrap()),
        hs2_http_listen: Some("127.0.0.1:28000".parse().unwrap()),
        web_listen: Some("127.0.0.1:25000".parse().unwrap()),
        tls_cert: None,
        tls_key: None,
        max_connections: 1000,
        superuser_reserved_connections: 3,
        max_pending_connections: 256,
        unregistration_thread_pool_size: 4,
        unregistration_thread_pool_queue_depth: 16,
        query_log_size: 200,
        query_log_size_in_bytes: 256 << 20,
        profile_log: true,
        audit_log: false,
        abort_on_failed_audit_event: false,
        archive_log_file_size_bytes: 100 << 20,
        archive_log_files: 10,
        redaction_rules_file: None,
        max_kept_statement_size_bytes: 2 << 20,
        query_history_days: 30,
        query_history_size_bytes: 10 << 30,
        authentication_timeout: Duration::from_secs(60),
        max_message_size_bytes: 64 << 20,
        target_partitions: core_count(),
        batch_size: 8192,
        memory_limit_bytes: None,
        shutdown_grace: Duration::from_secs(30),
        log: "info".into(),
    };
    assert_eq!(config, expected);
}

#[test]
fn flag_wins_over_environment_over_file_over_default() {
    let (_folder, from_file) = file("batch_size = 3");
    let variable = [("FOREBAY_BATCH_SIZE", "2")];
    let batch_size =
        |args: &str, variables: &[_]| with_env(args, variables).unwrap().config.batch_size;
    assert_eq!(batch_size("", &[]), 8192);
    assert_eq!(batch_size(&from_file, &[]), 3);
    assert_eq!(batch_size("", &variable), 2);
    assert_eq!(batch_size(&from_file, &variable), 2);
    assert_eq!(batch_size("--batch-size 1", &[]), 1);
    assert_eq!(batch_size(&format!("{from_file} --batch-size 1"), &[]), 1);
    assert_eq!(batch_size("--batch-size 1", &variable), 1);
    assert_eq!(
        batch_size(&format!("{from_file} --batch-size 1"), &variable),
        1
    );
}

#[test]
fn every_setting_can_come_from_each_place() {
    let written = [
        ("paths", "a.csv"),
        ("sample", "tpch"),
        ("data_dir", "/var/lib/forebay"),
        ("pg_listen", "localhost:5433"),
        ("hs2_listen", "0.0.0.0:21051"),
        ("hs2_http_listen", "off"),
        ("web_listen", "off"),
        ("tls_cert", "server.crt"),
        ("tls_key", "server.key"),
        ("max_connections", "7"),
        ("superuser_reserved_connections", "2"),
        ("max_pending_connections", "9"),
        ("unregistration_thread_pool_size", "0"),
        ("unregistration_thread_pool_queue_depth", "5"),
        ("query_log_size", "10000"),
        ("query_log_size_in_bytes", "1GB"),
        ("profile_log", "off"),
        ("audit_log", "on"),
        ("abort_on_failed_audit_event", "on"),
        ("archive_log_file_size", "1MB"),
        ("archive_log_files", "3"),
        ("redaction_rules_file", "rules.json"),
        ("max_kept_statement_size", "10kB"),
        ("query_history_days", "7"),
        ("query_history_size", "2GB"),
        ("authentication_timeout", "10s"),
        ("max_message_size", "1MB"),
        ("target_partitions", "3"),
        ("batch_size", "100"),
        ("memory_limit", "2GB"),
        ("shutdown_grace", "2min"),
        ("log", "debug,forebay_server=trace"),
    ];
    let keys: Vec<_> = SETTINGS.iter().map(Setting::key).collect();
    assert_eq!(
        written.map(|(key, _)| key).as_slice(),
        keys,
        "a setting is not tested"
    );

    let expected = Config {
        paths: vec!["a.csv".into()],
        sample: Some(Sample::Tpch),
        data_dir: "/var/lib/forebay".into(),
        pg_listen: "127.0.0.1:5433".parse().unwrap(),
        hs2_listen: Some("0.0.0.0:21051".parse().unwrap()),
        hs2_http_listen: None,
        web_listen: None,
        tls_cert: Some("server.crt".into()),
        tls_key: Some("server.key".into()),
        max_connections: 7,
        superuser_reserved_connections: 2,
        max_pending_connections: 9,
        unregistration_thread_pool_size: 0,
        unregistration_thread_pool_queue_depth: 5,
        query_log_size: 10_000,
        query_log_size_in_bytes: 1 << 30,
        profile_log: false,
        audit_log: true,
        abort_on_failed_audit_event: true,
        archive_log_file_size_bytes: 1 << 20,
        archive_log_files: 3,
        redaction_rules_file: Some("rules.json".into()),
        max_kept_statement_size_bytes: 10 << 10,
        query_history_days: 7,
        query_history_size_bytes: 2 << 30,
        authentication_timeout: Duration::from_secs(10),
        max_message_size_bytes: 1 << 20,
        target_partitions: 3,
        batch_size: 100,
        memory_limit_bytes: Some(2 << 30),
        shutdown_grace: Duration::from_secs(120),
        log: "debug,forebay_server=trace".into(),
    };
    let args = SETTINGS
        .iter()
        .zip(written)
        .map(|(setting, (_, value))| match setting.positional {
            true => value.to_owned(),
            false => format!("{} {value}", setting.flag()),
        });
    let args: Vec<_> = args.collect();
    assert_eq!(with_env(&args.join(" "), &[]).unwrap().config, expected);

    let variables = written.map(|(key, value)| (variable(key), value));
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    assert_eq!(with_env("", &variables).unwrap().config, expected);

    for spell in [
        |key: &str| key.to_owned(),
        |key: &str| key.replace('_', "-"),
    ] {
        let lines = written.map(|(key, value)| format!("{} = {value:?}\n", spell(key)));
        let (_folder, flag) = file(&lines.concat());
        assert_eq!(with_env(&flag, &[]).unwrap().config, expected);
    }
}

#[test]
fn the_file_can_be_named_by_the_environment() {
    let (folder, _) = file("batch-size = 3");
    let path = folder.path().join("forebay.toml");
    let effective = with_env("", &[("FOREBAY_CONFIG", path.to_str().unwrap())]).unwrap();
    assert_eq!(effective.config.batch_size, 3);
}

#[test]
fn lists_of_paths() {
    let paths = |args: &str, variables: &[_]| with_env(args, variables).unwrap().config.paths;
    let expected = [PathBuf::from("a.csv"), PathBuf::from("b")];
    assert_eq!(paths("a.csv --batch-size 5 b", &[]), expected);
    let joined = std::env::join_paths(&expected).unwrap();
    assert_eq!(
        paths("", &[("FOREBAY_PATHS", joined.to_str().unwrap())]),
        expected
    );
    let (_folder, flag) = file("paths = ['a.csv', 'b']");
    assert_eq!(paths(&flag, &[]), expected);
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    assert_eq!(
        with_env("", &[("FOREBAY_SAMPLE", "")])
            .unwrap()
            .config
            .sample,
        None
    );
}

#[test]
fn a_bad_value_names_setting_value_place_and_what_is_allowed() {
    assert_eq!(
        error("--batch-size 0", &[]),
        "invalid value \"0\" for batch_size (from --batch-size): \
         it must be a whole number from 1 to 1048576"
    );
    assert_eq!(
        error("", &[("FOREBAY_SAMPLE", "tpcx")]),
        "invalid value \"tpcx\" for sample (from FOREBAY_SAMPLE): it must be tpch"
    );
    let (folder, flag) = file("pg-listen = 'nowhere'");
    let path = folder.path().join("forebay.toml");
    assert_eq!(
        error(&flag, &[]),
        format!(
            "invalid value \"nowhere\" for pg_listen (from {}): it must be an IP address and \
             a port, for example 127.0.0.1:5432, 0.0.0.0:5433 or [::1]:5432",
            path.display()
        )
    );
}

#[test]
fn bad_values_are_refused() {
    for (key, values) in [
        ("data_dir", [""].as_slice()),
        (
            "pg_listen",
            &["5432", "localhost", "127.0.0.1", "127.0.0.1:66000"],
        ),
        ("hs2_listen", &["21050", "localhost", "none"]),
        ("hs2_http_listen", &["28000", "localhost", "none"]),
        ("web_listen", &["25000", "localhost", "none"]),
        ("tls_cert", &[""]),
        ("tls_key", &[""]),
        ("max_connections", &["0", "-1", "many", "1000001", "1.5"]),
        ("superuser_reserved_connections", &["-1", "few"]),
        ("max_pending_connections", &["0", "-1"]),
        ("unregistration_thread_pool_size", &["-1", "1025"]),
        ("unregistration_thread_pool_queue_depth", &["0"]),
        ("query_log_size", &["-1", "all"]),
        ("query_log_size_in_bytes", &["-1", "1XB"]),
        ("profile_log", &["", "maybe"]),
        ("audit_log", &["1"]),
        ("abort_on_failed_audit_event", &["ON "]),
        ("archive_log_file_size", &["4095", "0", "large"]),
        ("archive_log_files", &["0", "-1"]),
        ("redaction_rules_file", &[""]),
        ("max_kept_statement_size", &["1023", "all"]),
        ("query_history_days", &["-1", "36501"]),
        ("query_history_size", &["much"]),
        ("authentication_timeout", &["60", "0s", "999ms", "11min"]),
        (
            "max_message_size",
            &["", "MB", "1XB", "15kB", "2GB", "-1", "99999999999999GB"],
        ),
        ("target_partitions", &["0", "automatic", "1025"]),
        ("batch_size", &["0", "9999999"]),
        ("memory_limit", &["", "80%", "1MB", "much"]),
        (
            "shutdown_grace",
            &["30", "soon", "-1s", "8d", "9999999999999y"],
        ),
        ("log", &["nonsense=nonsense", "forebay=loud"]),
    ] {
        for value in values {
            let (_folder, flag) = file(&format!("{key} = {value:?}"));
            let message = error(&flag, &[]);
            assert!(
                message.contains(&format!("invalid value \"{value}\" for {key}")),
                "{message}"
            );
        }
    }
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    for line in [
        "batch_size = {}",
        "batch_size = [1, 2]",
        "batch_size = 1979-05-27",
        "paths = [[]]",
    ] {
        let (_folder, flag) = file(line);
        let message = error(&flag, &[]);
        assert!(message.starts_with("invalid value "), "{line}: {message}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_file() {
    let (folder, flag) = file("pg_lissten = '127.0.0.1:5432'");
    let message = error(&flag, &[]);
    let path = folder.path().join("forebay.toml");
    let start = format!(
        "unknown key \"pg_lissten\" in {}; known are paths, ",
        path.display()
    );
    assert!(message.starts_with(&start), "{message}");
}

#[test]
fn a_key_in_both_spellings_is_refused() {
    let (_folder, flag) = file("batch_size = 1\nbatch-size = 2");
    assert!(error(&flag, &[]).starts_with("batch_size is set twice in "));
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named() {
    assert!(error("--config no/such.toml", &[]).contains("no/such.toml"));
    let (_folder, flag) = file("batch_size == 1");
    assert!(error(&flag, &[]).contains("forebay.toml is not valid TOML"));
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("0", Some(0)),
        ("123", Some(123)),
        ("16kB", Some(16 << 10)),
        ("64MB", Some(64 << 20)),
        ("64 mb", Some(64 << 20)),
        ("1GB", Some(1 << 30)),
        ("", None),
        ("kB", None),
        ("1.5MB", None),
        ("1 0MB", None),
        ("18446744073709551615GB", None),
    ] {
        assert_eq!(parse_size_bytes(text), bytes, "{text:?}");
    }
}

#[test]
fn prints_each_value_with_its_origin() {
    let (folder, flag) = file("shutdown_grace = '2min'");
    let path = folder.path().join("forebay.toml");
    let args = format!("a.csv b {flag} --pg-listen 0.0.0.0:5433");
    let effective = with_env(&args, &[("FOREBAY_BATCH_SIZE", "100")]).unwrap();
    let expected = format!(
        r#"paths = ["a.csv", "b"]             # from PATH
# sample is not set                # default
data_dir = "./forebay-data"        # default
pg_listen = "0.0.0.0:5433"         # from --pg-listen
hs2_listen = "127.0.0.1:21050"     # default
hs2_http_listen = "127.0.0.1:28000" # default
web_listen = "127.0.0.1:25000"     # default
# tls_cert is not set              # default
# tls_key is not set               # default
max_connections = 1000             # default
superuser_reserved_connections = 3 # default
max_pending_connections = 256      # default
unregistration_thread_pool_size = 4 # default
unregistration_thread_pool_queue_depth = 16 # default
query_log_size = 200 # default
query_log_size_in_bytes = "256MB" # default
profile_log = "on" # default
audit_log = "off" # default
abort_on_failed_audit_event = "off" # default
archive_log_file_size = "100MB" # default
archive_log_files = 10 # default
# redaction_rules_file is not set # default
max_kept_statement_size = "2MB" # default
query_history_days = 30 # default
query_history_size = "10GB" # default
authentication_timeout = "1min"    # default
max_message_size = "64MB"          # default
target_partitions = "auto"         # default
batch_size = 100                   # from FOREBAY_BATCH_SIZE
memory_limit = "auto"              # default
shutdown_grace = "2min"            # from {}
log = "info"                       # default
"#,
        path.display()
    );
    let printed = effective.to_string();
    let squeeze = |text: &str| {
        text.split(' ')
            .filter(|s| !s.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(squeeze(&printed), squeeze(&expected));
}

#[test]
fn what_it_prints_can_be_read_back() {
    let first = with_env("a.csv --sample tpch --max-connections 5 --log=debug", &[]).unwrap();
    let (_folder, flag) = file(&first.to_string());
    assert_eq!(with_env(&flag, &[]).unwrap().config, first.config);
}
