use super::*;
use crate::error::{NOT_SUPPORTED, SYNTAX_ERROR};

fn read(text: &str) -> ImpalaStatement {
    match parse_impala(text, "") {
        Ok((_, statement)) => statement,
        Err(error) => panic!("{text}: {error}"),
    }
}

fn sql_of(text: &str) -> String {
    let all = tokens(text).unwrap();
    let all = one_statement(all).unwrap();
    translated(&Words::new(&all), 0).text
}

#[test]
fn statements_are_written_in_postgresqls_spelling() {
    for (text, expected) in [
        ("select `a` from default.t;", "select \"a\" from public.t"),
        ("select * from `default`.`T`", "select * from public.\"t\""),
        (
            "create database if not exists d",
            "create SCHEMA if not exists d",
        ),
        ("drop table t purge", "drop table t "),
        (
            "insert into table t values (\"x\")",
            "insert into  t values ('x')",
        ),
        (
            "select cast(a as string), string from t",
            "select cast(a as text), string from t",
        ),
        (
            "create table t (a string, b int)",
            "create table t (a text, b int)",
        ),
        ("select x.default.y", "select x.default.y"),
    ] {
        assert_eq!(sql_of(text), expected);
    }
}

#[test]
fn errors_are_where_the_client_wrote_what_is_wrong() {
    for (text, place) in [
        ("selec 1", 1),
        ("select `ä`, \"x\" from default.t wher a = 1", 37),
        // Where something is missing at the end, the last word is shown.
        ("  -- one\nselect a from t where", 26),
        ("create view v as select a fro t", 31),
        ("create table t (a nonsense)", 19),
        ("create table t (a int", 22),
    ] {
        let error = parse_impala(text, "").unwrap_err();
        assert_eq!(error.position, Some(place), "{text}: {error}");
    }
}

#[test]
fn texts_are_the_clients() {
    let (text, statement) = parse_impala("  /* hint */ show tables ;\n", "").unwrap();
    assert_eq!(&*text, "/* hint */ show tables");
    let ImpalaStatement::Catalog { query, .. } = statement else {
        panic!("{statement:?}");
    };
    assert_eq!(query.text, text);
}

#[test]
fn options_are_set_and_shown() {
    assert!(matches!(read("set"), ImpalaStatement::ShowOptions));
    assert!(matches!(read("SET all;"), ImpalaStatement::ShowOptions));
    for (text, name, value) in [
        ("set mem_limit=2g", "MEM_LIMIT", "2g"),
        ("SET `request_pool` = \"a b\";", "REQUEST_POOL", "a b"),
        ("set x=", "X", ""),
        ("set x = -1", "X", "-1"),
    ] {
        match read(text) {
            ImpalaStatement::SetOption { name: n, value: v } => {
                assert_eq!((n.as_str(), v.as_str()), (name, value));
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_impala_has_alone_is_read() {
    assert!(matches!(read("use `Default`"), ImpalaStatement::Use(name) if name == "default"));
    assert!(matches!(read("desc t"), ImpalaStatement::Describe { .. }));
    assert!(matches!(
        read("invalidate metadata"),
        ImpalaStatement::Nothing { .. }
    ));
    assert!(matches!(
        read("refresh d.t"),
        ImpalaStatement::Nothing { .. }
    ));
    assert!(matches!(
        read("compute stats t"),
        ImpalaStatement::ComputeStats(_)
    ));
    assert!(matches!(read("kill query 'a:b'"), ImpalaStatement::KillQuery(id) if id == "a:b"));
    for (text, within) in [
        ("show databases like 'a*|b'", None),
        ("show tables in d 'x*'", Some("d")),
        ("show views in `Default`", Some("public")),
        ("show schemas", None),
        ("show roles", None),
        ("show functions", None),
        ("show functions in d", Some("d")),
        ("show functions in _impala_builtins like 'a*'", None),
        ("describe database d", Some("d")),
    ] {
        match read(text) {
            ImpalaStatement::Catalog { schema, .. } => {
                assert_eq!(schema.as_deref(), within, "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn views_are_kept_in_postgresqls_spelling() {
    let ImpalaStatement::Sql(parsed) = read("create view v as select a / 2, `b` from t") else {
        panic!("no statement");
    };
    let Statement::CreateView(view) = &parsed.statement else {
        panic!("no view");
    };
    assert_eq!(view.original.as_deref(), Some("select a / 2, `b` from t"));
    assert_eq!(
        view.query,
        r#"SELECT impala_divide(a, 2) AS "_c0", "b" FROM t"#
    );
}

#[test]
fn what_is_shown_of_a_relation() {
    for (text, expected, parts) in [
        (
            "show create table default.t",
            RelationView::Create,
            &["public", "t"][..],
        ),
        ("SHOW CREATE VIEW `V`", RelationView::Create, &["v"]),
        ("show table stats t", RelationView::TableStats, &["t"]),
        (
            "show column stats d.t;",
            RelationView::ColumnStats,
            &["d", "t"],
        ),
        ("show partitions t", RelationView::Partitions, &["t"]),
        ("show files in d.t", RelationView::Files, &["d", "t"]),
        ("describe extended t", RelationView::Formatted, &["t"]),
        ("desc formatted d.t", RelationView::Formatted, &["d", "t"]),
    ] {
        match read(text) {
            ImpalaStatement::ShowRelation { view, name } => {
                assert_eq!(
                    (view, name.as_slice()),
                    (
                        expected,
                        &parts.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>()[..]
                    ),
                    "{text}"
                );
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    // A table may have such a name.
    assert!(matches!(
        read("describe extended"),
        ImpalaStatement::Describe { .. }
    ));
}

#[test]
fn what_is_wrong_is_refused() {
    for (text, sqlstate) in [
        ("", SYNTAX_ERROR),
        (" ; ", SYNTAX_ERROR),
        ("select 1; select 2", SYNTAX_ERROR),
        ("use", SYNTAX_ERROR),
        ("use a b", SYNTAX_ERROR),
        ("set x", SYNTAX_ERROR),
        ("selec 1", SYNTAX_ERROR),
        ("show grant user x", NOT_SUPPORTED),
        ("show partitions", SYNTAX_ERROR),
        ("show create table a.b.c", SYNTAX_ERROR),
        ("kill query 5", SYNTAX_ERROR),
        ("describe", SYNTAX_ERROR),
    ] {
        match parse_impala(text, "") {
            Err(error) => assert_eq!(error.sqlstate, sqlstate, "{text}: {error}"),
            Ok(read) => panic!("{text}: {read:?}"),
        }
    }
}
