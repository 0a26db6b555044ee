use super::definitions::{Context, DEFINITIONS, Kind};
use super::*;

fn set(name: &str, values: &[&str]) -> Result<String, &'static str> {
    let mut settings = Settings::new();
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    settings.set(name, &values, false).map_err(|e| e.sqlstate)?;
    Ok(settings.get(name).unwrap().to_owned())
}

#[test]
fn values_are_checked_and_shown_as_postgresql_shows_them() {
    let cases = [
        ("statement_timeout", &["90000"][..], Ok("90s")),
        ("Statement_Timeout", &["2min"], Ok("2min")),
        ("statement_timeout", &["1.5s"], Ok("1500ms")),
        ("statement_timeout", &["-1"], Err("22023")),
        ("statement_timeout", &["1 fortnight"], Err("22023")),
        (
            "search_path",
            &["$user", "a b", "c"],
            Ok("\"$user\", \"a b\", c"),
        ),
        ("timezone", &["europe/berlin"], Ok("Europe/Berlin")),
        ("timezone", &["-3:30"], Ok("-03:30")),
        ("timezone", &["Mars/Olympus"], Err("22023")),
        ("datestyle", &["ISO", "dmy"], Ok("ISO, DMY")),
        ("client_encoding", &["utf-8"], Ok("UTF8")),
        ("client_encoding", &["latin1"], Err("22023")),
        ("client_min_messages", &["WARNING"], Ok("warning")),
        ("server_version", &["16"], Err("55P02")),
        ("no_such_thing", &["1"], Err("42704")),
        ("my.own", &["1"], Ok("1")),
        ("max_session_kept_size", &["2048"], Ok("2MB")),
        ("max_session_kept_size", &["3 GB"], Ok("3GB")),
        ("max_session_kept_size", &["0"], Ok("0kB")),
        ("max_session_kept_size", &["1mb"], Err("22023")),
        (
            "max_session_kept_size",
            &["9999999999999999TB"],
            Err("22023"),
        ),
        ("scan_bytes_limit", &["0"], Ok("0")),
        ("scan_bytes_limit", &["1536"], Ok("1536B")),
        ("scan_bytes_limit", &["1536 kB"], Ok("1536kB")),
        ("scan_bytes_limit", &["8192B"], Ok("8kB")),
        ("scan_bytes_limit", &["5000TB"], Ok("5000TB")),
        ("scan_bytes_limit", &["-1"], Err("22023")),
        ("scan_bytes_limit", &["9000000TB"], Err("22023")),
        ("cpu_limit", &["1500"], Ok("1500ms")),
        ("temp_file_limit", &["-1"], Ok("-1")),
        ("temp_file_limit", &["1GB"], Ok("1GB")),
        ("temp_file_limit", &["-2"], Err("22023")),
        ("max_portals", &["0"], Err("22023")),
        ("extra_float_digits", &["4"], Err("22023")),
        ("row_security", &["maybe"], Err("22023")),
        ("seq_page_cost", &["0.000012345678"], Ok("1.23457e-05")),
        ("seq_page_cost", &["1234567"], Ok("1.23457e+06")),
        ("seq_page_cost", &["1.50"], Ok("1.5")),
        ("seq_page_cost", &["100000"], Ok("100000")),
        ("seq_page_cost", &["0"], Ok("0")),
        ("seq_page_cost", &["-0.5"], Err("22023")),
        ("seq_page_cost", &["inf"], Err("22023")),
        ("seq_page_cost", &["NaN"], Err("22023")),
        ("seq_page_cost", &["cheap"], Err("22023")),
    ];
    for (name, values, expected) in cases {
        let expected = expected.map(ToOwned::to_owned);
        assert_eq!(set(name, values), expected, "{name} {values:?}");
    }
}

#[test]
fn local_values_end_with_the_transaction() {
    let mut settings = Settings::new();
    let value = |s: &Settings| s.get("application_name").unwrap().to_owned();
    settings
        .set("application_name", &["a".into()], false)
        .unwrap();
    settings
        .set("application_name", &["b".into()], true)
        .unwrap();
    settings
        .set("application_name", &["c".into()], true)
        .unwrap();
    assert_eq!(value(&settings), "c");
    settings.end_transaction();
    assert_eq!(value(&settings), "a");
    settings
        .set("application_name", &["b".into()], true)
        .unwrap();
    settings
        .set("application_name", &["d".into()], false)
        .unwrap();
    settings.end_transaction();
    assert_eq!(value(&settings), "d");
}

#[test]
fn definitions_are_in_order_and_have_valid_defaults() {
    for pair in DEFINITIONS.windows(2) {
        assert!(
            pair[0].name.to_lowercase() < pair[1].name.to_lowercase(),
            "{}",
            pair[1].name
        );
    }
    for d in DEFINITIONS
        .iter()
        .filter(|d| d.context != Context::Internal)
    {
        let values = if d.kind == Kind::Identifiers {
            split_identifiers(d.default)
        } else {
            vec![d.default.to_owned()]
        };
        assert_eq!(canonical(d.name, &values).unwrap(), d.default, "{}", d.name);
    }
}

#[test]
fn costs_have_the_defaults_of_the_engine() {
    let settings = Settings::new();
    let constants = forebay_engine::CostConstants::of_settings(settings.all());
    assert_eq!(constants, forebay_engine::CostConstants::default());
    let costs = DEFINITIONS.iter().filter(|d| d.kind == Kind::Cost);
    let doubled = costs.map(|d| {
        let number: f64 = d.default.parse().unwrap();
        (d.name.to_owned(), (number * 2.0).to_string())
    });
    let doubled = forebay_engine::CostConstants::of_settings(&doubled.collect());
    assert_eq!(doubled.cpu_operator_cost, constants.cpu_operator_cost * 2.0);
    assert_eq!(doubled.random_page_cost, constants.random_page_cost * 2.0);
    assert_eq!(
        doubled.parallel_tuple_cost,
        constants.parallel_tuple_cost * 2.0
    );
    assert_eq!(
        doubled.cpu_index_tuple_cost,
        constants.cpu_index_tuple_cost * 2.0
    );
}

#[test]
fn quoted_names_split_again() {
    assert_eq!(
        split_identifiers("\"$user\", public,\"a,b\""),
        ["$user", "public", "a,b"]
    );
}
