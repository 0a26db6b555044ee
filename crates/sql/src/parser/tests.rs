//! Snippet in, statement out.

use proptest::prelude::*;

use super::parse;
use crate::{FetchDirection, Statement};

/// The only statement of a text, in debug form with the noise of trees left out.
fn one(text: &str) -> Statement {
    let mut parsed = parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(parsed.len(), 1, "{text}");
    parsed.remove(0).statement
}

fn check(table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(format!("{:?}", one(text)), *expected, "{text}");
    }
}

#[test]
fn transactions() {
    check(&[
        (
            "begin",
            "Begin { start: false, modes: TransactionModes { isolation: None, read_only: None } }",
        ),
        (
            "BEGIN WORK",
            "Begin { start: false, modes: TransactionModes { isolation: None, read_only: None } }",
        ),
        (
            "start transaction isolation level serializable, read only, not deferrable",
            "Begin { start: true, modes: TransactionModes { isolation: Some(Serializable), read_only: Some(true) } }",
        ),
        (
            "begin transaction isolation level read committed read write",
            "Begin { start: false, modes: TransactionModes { isolation: Some(ReadCommitted), read_only: Some(false) } }",
        ),
        ("commit", "Commit { chain: false }"),
        ("end transaction and chain", "Commit { chain: true }"),
        ("abort and no chain", "Rollback { chain: false }"),
        ("rollback work", "Rollback { chain: false }"),
        ("rollback to a", "RollbackTo(\"a\")"),
        (
            "rollback transaction to savepoint \"A\"",
            "RollbackTo(\"A\")",
        ),
        ("savepoint Savepoint", "Savepoint(\"savepoint\")"),
        ("release savepoint a", "Release(\"a\")"),
        ("release savepoint", "Release(\"savepoint\")"),
        (
            "set transaction read only",
            "SetTransaction { modes: TransactionModes { isolation: None, read_only: Some(true) }, session: false }",
        ),
        (
            "set session characteristics as transaction isolation level repeatable read",
            "SetTransaction { modes: TransactionModes { isolation: Some(RepeatableRead), read_only: None }, session: true }",
        ),
        (
            "lock table only a.b *, \"C\" in share row exclusive mode nowait",
            "LockTable { names: [[\"a\", \"b\"], [\"C\"]], mode: ShareRowExclusive, nowait: true }",
        ),
        (
            "lock t",
            "LockTable { names: [[\"t\"]], mode: AccessExclusive, nowait: false }",
        ),
        (
            "lock t in share mode",
            "LockTable { names: [[\"t\"]], mode: Share, nowait: false }",
        ),
    ]);
}

#[test]
fn settings() {
    check(&[
        (
            "set Search_Path to Public, \"Other\", 'x y'",
            "Set { name: \"search_path\", value: Some([\"public\", \"Other\", \"x y\"]), local: false }",
        ),
        (
            "set local datafusion.execution.batch_size = -1.5",
            "Set { name: \"datafusion.execution.batch_size\", value: Some([\"-1.5\"]), local: true }",
        ),
        (
            "set session statement_timeout = default",
            "Set { name: \"statement_timeout\", value: None, local: false }",
        ),
        (
            "set x = ON",
            "Set { name: \"x\", value: Some([\"on\"]), local: false }",
        ),
        (
            "set time zone 'Europe/Berlin'",
            "Set { name: \"timezone\", value: Some([\"Europe/Berlin\"]), local: false }",
        ),
        (
            "set time zone -7",
            "Set { name: \"timezone\", value: Some([\"-7\"]), local: false }",
        ),
        (
            "set local time zone local",
            "Set { name: \"timezone\", value: None, local: true }",
        ),
        (
            "set time zone interval '-08:00' hour to minute",
            "Set { name: \"timezone\", value: Some([\"-08:00\"]), local: false }",
        ),
        (
            "set names 'utf8'",
            "Set { name: \"client_encoding\", value: Some([\"utf8\"]), local: false }",
        ),
        (
            "set schema 's'",
            "Set { name: \"search_path\", value: Some([\"s\"]), local: false }",
        ),
        (
            "set role Ann",
            "SetRole { role: Some(\"ann\"), reset: false, local: false }",
        ),
        (
            "set local role 'Ann'",
            "SetRole { role: Some(\"Ann\"), reset: false, local: true }",
        ),
        (
            "set role none",
            "SetRole { role: None, reset: false, local: false }",
        ),
        (
            "set role to bob",
            "SetRole { role: Some(\"bob\"), reset: false, local: false }",
        ),
        (
            "reset role",
            "SetRole { role: None, reset: true, local: false }",
        ),
        (
            "set session authorization ann",
            "SetSessionAuthorization { role: Some(\"ann\"), reset: false, local: false }",
        ),
        (
            "set local session authorization default",
            "SetSessionAuthorization { role: None, reset: false, local: true }",
        ),
        (
            "reset session authorization",
            "SetSessionAuthorization { role: None, reset: true, local: false }",
        ),
        ("show all", "Show(None)"),
        ("show Server_Version", "Show(Some(\"server_version\"))"),
        ("show time zone", "Show(Some(\"timezone\"))"),
        (
            "show transaction isolation level",
            "Show(Some(\"transaction_isolation\"))",
        ),
        (
            "show session authorization",
            "Show(Some(\"session_authorization\"))",
        ),
        ("show \"DateStyle\"", "Show(Some(\"datestyle\"))"),
        ("reset all", "Reset(None)"),
        ("reset a.B", "Reset(Some(\"a.b\"))"),
        ("discard all", "Discard(All)"),
        ("discard temporary", "Discard(Temp)"),
        ("unlisten *", "Unlisten"),
    ]);
    for text in ["show tables", "SHOW COLUMNS FROM t", "show functions"] {
        assert!(matches!(one(text), Statement::Plan(_)), "{text}");
    }
}

#[test]
fn roles() {
    let none = "login: None, superuser: None, create_db: None, create_role: None, inherit: None, \
                replication: None, bypass_rls: None, password: None, connection_limit: None, \
                valid_until: None, resource_queue: None";
    for (text, options) in [
        ("create role r", none.to_owned()),
        (
            "create user r",
            none.replace("login: None", "login: Some(true)"),
        ),
        (
            "create user r nologin",
            none.replace("login: None", "login: Some(false)"),
        ),
        (
            "create role r with superuser nocreatedb createrole password 'x' connection limit -1",
            none.replace("superuser: None", "superuser: Some(true)")
                .replace("create_db: None", "create_db: Some(false)")
                .replace("create_role: None", "create_role: Some(true)")
                .replace("password: None", "password: Some(Some(\"x\"))")
                .replace("connection_limit: None", "connection_limit: Some(-1)"),
        ),
        (
            "create group r encrypted password null valid until 'infinity' noinherit",
            none.replace("password: None", "password: Some(None)")
                .replace("inherit: None", "inherit: Some(false)")
                .replace("valid_until: None", "valid_until: Some(\"infinity\")"),
        ),
    ] {
        let expected = format!(
            "CreateRole {{ name: \"r\", options: RoleOptions {{ {options} }}, if_not_exists: false }}"
        );
        assert_eq!(format!("{:?}", one(text)), expected, "{text}");
    }
    check(&[
        (
            "alter user \"R\" set search_path to a, b",
            "AlterRoleSet { name: \"R\", setting: \"search_path\", value: Some([\"a\", \"b\"]) }",
        ),
        (
            "alter role r reset all",
            "AlterRoleSet { name: \"r\", setting: \"all\", value: None }",
        ),
        (
            "alter role r rename to S",
            "RenameRole { name: \"r\", new_name: \"s\" }",
        ),
        (
            "drop user if exists a, B",
            "DropRole { names: [\"a\", \"b\"], if_exists: true }",
        ),
    ]);
    assert!(matches!(
        one("alter role r login"),
        Statement::AlterRole { .. }
    ));
}

#[test]
fn cursors_and_prepared_statements() {
    for (text, direction) in [
        ("fetch c", FetchDirection::Next),
        ("fetch next", FetchDirection::Next),
        ("fetch next from c", FetchDirection::Next),
        ("fetch prior c", FetchDirection::Prior),
        ("fetch first in c", FetchDirection::First),
        ("fetch last c", FetchDirection::Last),
        ("fetch absolute -3 c", FetchDirection::Absolute(-3)),
        ("fetch relative 2 c", FetchDirection::Relative(2)),
        ("fetch 10 c", FetchDirection::Forward(10)),
        ("fetch all c", FetchDirection::ForwardAll),
        ("fetch forward from c", FetchDirection::Forward(1)),
        ("fetch forward 5 from c", FetchDirection::Forward(5)),
        ("fetch forward all from c", FetchDirection::ForwardAll),
        ("move backward c", FetchDirection::Backward(1)),
        ("move backward all in c", FetchDirection::BackwardAll),
    ] {
        let Statement::Fetch(fetch) = one(text) else {
            panic!("{text}");
        };
        assert_eq!(fetch.direction, direction, "{text}");
        assert_eq!(fetch.mv, text.starts_with("move"), "{text}");
        let cursor = text.rsplit(' ').next().unwrap();
        assert_eq!(fetch.cursor, cursor, "{text}");
    }
    check(&[
        ("close c", "Close(Some(\"c\"))"),
        ("close all", "Close(None)"),
        ("deallocate prepare p", "Deallocate(Some(\"p\"))"),
        ("deallocate prepare", "Deallocate(Some(\"prepare\"))"),
        ("deallocate all", "Deallocate(None)"),
        ("execute p", "Execute { name: \"p\", params: [] }"),
        ("execute p()", "Execute { name: \"p\", params: [] }"),
    ]);
    let Statement::Execute { params, .. } = one("execute p (1, 'a' || $2)") else {
        panic!();
    };
    assert_eq!(params.len(), 2);
}

#[test]
fn inner_statements_keep_their_text_and_place() {
    let text = "select 'ä'; prepare p (int, text[]) as select $1 -- end\n ;";
    let parsed = parse(text).unwrap();
    let Statement::Prepare {
        name,
        types,
        statement,
    } = &parsed[1].statement
    else {
        panic!();
    };
    assert_eq!((name.as_str(), types.len()), ("p", 2));
    assert_eq!((&*statement.text, statement.position), ("select $1", 39));

    let Statement::DeclareCursor {
        name,
        hold,
        scroll,
        binary,
        query,
    } = one("declare \"C\" binary insensitive no scroll cursor with hold for table t")
    else {
        panic!();
    };
    assert_eq!(
        (name.as_str(), hold, scroll, binary),
        ("C", true, Some(false), true)
    );
    assert_eq!((&*query.text, query.position), ("table t", 62));
    let Statement::Plan(tree) = &query.statement else {
        panic!();
    };
    assert_eq!(tree.to_string(), "SELECT * FROM t");
}

#[test]
fn views_schemas_and_drops() {
    let Statement::CreateView(view) =
        one("create or replace temp view s.V (a, \"B\") as select 1, 2 /* c */ -- d")
    else {
        panic!();
    };
    assert_eq!(view.name, ["s", "v"]);
    assert_eq!(view.columns, ["a", "B"]);
    assert_eq!(view.query, "select 1, 2");
    assert_eq!(
        (view.or_replace, view.if_not_exists, view.temporary),
        (true, false, true)
    );
    check(&[
        (
            "create schema if not exists S",
            "CreateSchema { name: \"s\", if_not_exists: true }",
        ),
        (
            "drop table if exists a, b.c cascade",
            "Drop { kind: Table, names: [[\"a\"], [\"b\", \"c\"]], if_exists: true, cascade: true, leaves_views: false }",
        ),
        (
            "drop external table a restrict",
            "Drop { kind: Table, names: [[\"a\"]], if_exists: false, cascade: false, leaves_views: false }",
        ),
        (
            "drop view v",
            "Drop { kind: View, names: [[\"v\"]], if_exists: false, cascade: false, leaves_views: false }",
        ),
        (
            "drop schema s",
            "Drop { kind: Schema, names: [[\"s\"]], if_exists: false, cascade: false, leaves_views: false }",
        ),
    ]);
    let Statement::CreateExternalTable(table) =
        one("create external table t stored as parquet location '/x' options ('a.b' 'c')")
    else {
        panic!();
    };
    assert_eq!(
        (table.file_type.as_str(), table.locations.len()),
        ("PARQUET", 1)
    );
}

#[test]
fn explain() {
    for (text, expected) in [
        ("explain select 1", (false, false, true, None)),
        ("explain (select 1)", (false, false, true, None)),
        ("explain table t", (false, false, true, None)),
        (
            "explain analyze verbose format tree select 1",
            (true, true, true, Some("tree")),
        ),
        (
            "explain (analyze, verbose off, format JSON, costs off) select 1",
            (true, false, false, Some("json")),
        ),
        (
            "explain (buffers, analyze 'false') table t",
            (false, false, true, None),
        ),
        (
            "explain verbose create table a as select 1",
            (false, true, true, None),
        ),
    ] {
        let Statement::Explain(explain) = one(text) else {
            panic!("{text}");
        };
        let format = explain.format.as_deref();
        let found = (explain.analyze, explain.verbose, explain.costs, format);
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn copy() {
    let none = "CopyOptions { format: None, delimiter: None, null: None, header: false, \
                quote: None, escape: None, encoding: None, force_quote: None, \
                partitioned_by: [], other: [] }";
    let csv = none.replace("format: None", "format: Some(\"csv\")");
    for (text, direction, options) in [
        ("copy t to stdout", "To(Stdout)", none.to_owned()),
        ("copy t (a, b) from stdin", "From(Stdin)", none.to_owned()),
        ("copy t from '/x'", "From(File(\"/x\"))", none.to_owned()),
        (
            "copy t to stdout with (format CSV, header, delimiter ';', null '', force_quote *)",
            "To(Stdout)",
            csv.replace("header: false", "header: true")
                .replace("delimiter: None", "delimiter: Some(\";\")")
                .replace("null: None", "null: Some(\"\")")
                .replace("force_quote: None", "force_quote: Some(All)"),
        ),
        (
            "copy t to stdout (format csv, header off)",
            "To(Stdout)",
            csv.clone(),
        ),
        (
            "copy t to stdout with csv header delimiter as ',' quote '\"' force quote a, b",
            "To(Stdout)",
            csv.replace("header: false", "header: true")
                .replace("delimiter: None", "delimiter: Some(\",\")")
                .replace("quote: None, escape", "quote: Some(\"\\\"\"), escape")
                .replace(
                    "force_quote: None",
                    "force_quote: Some(Some([\"a\", \"b\"]))",
                ),
        ),
        (
            "copy t to '/x' stored as Parquet partitioned by (a) options ('format.compression' zstd)",
            "To(File(\"/x\"))",
            none.replace("format: None", "format: Some(\"parquet\")")
                .replace("partitioned_by: []", "partitioned_by: [\"a\"]")
                .replace("other: []", "other: [(\"format.compression\", \"zstd\")]"),
        ),
        (
            "copy binary t to '/x'",
            "To(File(\"/x\"))",
            none.replace("format: None", "format: Some(\"binary\")"),
        ),
    ] {
        let Statement::Copy(copy) = one(text) else {
            panic!("{text}");
        };
        assert_eq!(format!("{:?}", copy.direction), direction, "{text}");
        assert_eq!(format!("{:?}", copy.options), options, "{text}");
    }
    assert!(matches!(
        one("copy (select 1) to stdout"),
        Statement::Copy(_)
    ));
}

#[test]
fn errors_are_worded_as_postgresql_words_them() {
    for (text, message, position) in [
        ("selec 1", "syntax error at or near \"selec\"", 1),
        ("select 1 fro t where", "syntax error at or near \"t\"", 14),
        ("select * from", "syntax error at end of input", 14),
        ("select 'ä', from t", "syntax error at or near \"from\"", 13),
        ("select * from;", "syntax error at or near \";\"", 14),
        (
            "select 1;\nselect 'ä' from xx y z",
            "syntax error at or near \"z\"",
            32,
        ),
        (
            "commit prepared 'x'",
            "syntax error at or near \"prepared\"",
            8,
        ),
        ("kill 1", "syntax error at or near \"kill\"", 1),
        (
            "explain explain select 1",
            "syntax error at or near \"explain\"",
            9,
        ),
        (
            "explain (foo) select 1",
            "unrecognized EXPLAIN option \"foo\"",
            10,
        ),
        (
            "explain (analyze maybe) select 1",
            "ANALYZE requires a Boolean value",
            18,
        ),
        (
            "create role r login nologin",
            "conflicting or redundant options",
            21,
        ),
        (
            "create role r sudo",
            "unrecognized role option \"sudo\"",
            15,
        ),
        (
            "create role r in role s",
            "membership in roles is not supported",
            15,
        ),
        (
            "drop table a.b.c.d",
            "improper qualified name (too many dotted names): a.b.c.d",
            12,
        ),
        ("fetch 1.5 c", "syntax error at or near \"1.5\"", 7),
        (
            "close \"\"",
            "zero-length delimited identifier at or near \"\"\"\"",
            7,
        ),
        (
            "copy t to program 'x'",
            "COPY with PROGRAM is not supported",
            11,
        ),
        (
            "copy t to stdout (format csv, format text)",
            "conflicting or redundant options",
            31,
        ),
        (
            "create view v as with a as (select 1) insert into t select * from a",
            "a query that changes data is not supported here",
            18,
        ),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(
            (error.message.as_str(), error.position),
            (message, Some(position)),
            "{text}"
        );
        assert!(!error.message.contains("Expected"), "{text}");
    }
    let error = parse("select * frm t").unwrap_err();
    assert_eq!(error.sqlstate, "42601");
    assert!(error.detail.unwrap().starts_with("Expected "));
}

/// Around every limit, from below.
const SIZES: &[usize] = &[
    4, 10, 15, 16, 25, 31, 40, 60, 63, 90, 120, 126, 127, 250, 498, 499, 500, 1_000, 2_498, 2_500,
];

/// Every shape that could make a tree as deep as it is long.
fn deep(n: usize) -> Vec<String> {
    let nest = |open: &str, close: &str| format!("select {}1{}", open.repeat(n), close.repeat(n));
    vec![
        nest("(", ")"),
        nest("not ", ""),
        nest("- ", ""),
        nest("(select ", ")"),
        nest("abs(", ")"),
        nest("case when true then ", " end"),
        nest("array[", "]"),
        nest("cast(", " as int)"),
        nest("1 + ", ""),
        nest("1 or ", ""),
        nest("", " is null"),
        nest("", "::int"),
        nest("", "[1]"),
        nest("", " collate c"),
        nest("", " at time zone 'x'"),
        nest("", " union all select 1"),
        format!("select * from {}t{}", "(".repeat(n), ")".repeat(n)),
        format!(
            "select * from {}t{}",
            "(select * from ".repeat(n),
            ") x".repeat(n)
        ),
        format!(
            "select * from {}t{}",
            "((select * from ".repeat(n),
            ") x join u)".repeat(n)
        ),
        format!(
            "select {}1{}",
            "1 in ((select ".repeat(n),
            ") + 1)".repeat(n)
        ),
        format!("select {}a b c", "floor(".repeat(n)),
        format!("select {}a b c", "trim(substring(ceil(".repeat(n)),
        format!("select {}a b c", "f((case when g(".repeat(n)),
        format!("select 1::{}int{}", "array<".repeat(n), ">".repeat(n)),
        format!("select 1::int{}", "[]".repeat(n)),
        format!(
            "prepare p ({}int{}) as select 1",
            "array<".repeat(n),
            ">".repeat(n)
        ),
        format!("{}select 1{}", "(".repeat(n), ")".repeat(n)),
        format!("{}select 1", "explain ".repeat(n)),
        format!("{}select 1", "describe ".repeat(n)),
        format!("{}select 1", "with a as (".repeat(n)),
    ]
}

#[test]
fn deep_statements_are_refused() {
    for text in deep(10_000) {
        let start: String = text.chars().take(40).collect();
        let error = parse(&text).expect_err(&start);
        let expected = if start.starts_with("explain") {
            "42601"
        } else {
            "54001"
        };
        assert_eq!(error.sqlstate, expected, "{start}: {error}");
    }
}

#[test]
fn what_the_limits_let_pass_is_parsed_on_a_small_stack() {
    // A test's thread has 2 MiB, as a worker thread has by default.
    for n in SIZES {
        for text in deep(*n) {
            let _ = parse(&text);
        }
    }
    let list = vec!["1"; 100_000].join(",");
    parse(&format!("select * from t where a in ({list})")).unwrap();
    let alternatives = vec!["a = 1"; 1_000].join(" or ");
    parse(&format!("select * from t where {alternatives}")).unwrap();
    let branches = vec!["select 1"; 500].join(" union all ");
    parse(&branches).unwrap();
}

#[test]
fn what_the_limits_let_pass_can_be_used_with_the_stack_that_is_asked_for() {
    let work = || {
        for text in SIZES.iter().flat_map(|n| deep(*n)) {
            if let Ok(parsed) = parse(&text) {
                let copy = parsed.clone();
                copy[0].statement.classify();
                copy[0].statement.parameters();
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(crate::STACK_BYTES);
    thread.spawn(work).unwrap().join().unwrap();
}

/// Words from which a statement-shaped text is made.
fn words() -> impl Strategy<Value = Vec<&'static str>> {
    let words = vec![
        "select",
        "from",
        "where",
        "with",
        "as",
        "t",
        "a",
        "\"B\"",
        "'x'",
        "1",
        "-",
        "$1",
        "(",
        ")",
        ",",
        ";",
        "*",
        "begin",
        "commit",
        "rollback",
        "to",
        "savepoint",
        "set",
        "local",
        "session",
        "role",
        "time",
        "zone",
        "=",
        "show",
        "reset",
        "all",
        "declare",
        "cursor",
        "for",
        "fetch",
        "forward",
        "close",
        "prepare",
        "execute",
        "deallocate",
        "copy",
        "stdout",
        "format",
        "csv",
        "explain",
        "analyze",
        "create",
        "or",
        "replace",
        "view",
        "table",
        "schema",
        "drop",
        "if",
        "not",
        "exists",
        "user",
        "password",
        "login",
        "lock",
        "in",
        "share",
        "mode",
        "insert",
        "into",
        "values",
        "update",
        "delete",
        "union",
        "array",
        "<",
        ">",
        "[",
        "]",
        "::",
        "int",
        ".",
        "and",
        "-- c\n",
        "/* d */",
        "ä",
        "$$q$$",
        "external",
        "stored",
        "location",
        "merge",
        "alter",
        "grant",
        "on",
        "truncate",
        "vacuum",
        "describe",
        "case",
        "when",
        "end",
        "null",
        "interval",
        "date",
        "cast",
        "join",
        "lateral",
        "recursive",
        "over",
        "partition",
        "by",
        "order",
        "limit",
        "discard",
        "unlisten",
        "comment",
        "is",
        "E'\\n'",
        "\n",
        "@",
        "#",
        "{",
        "}",
    ];
    prop::collection::vec(prop::sample::select(words), 0..24)
}

/// What must hold of every text: no panic, slices that are in their place, nothing lost.
fn holds(text: &str) {
    let Ok(parsed) = parse(text) else {
        return;
    };
    let mut behind = 0;
    for statement in &parsed {
        assert!(statement.position >= behind, "{text:?}");
        let rest: String = text.chars().skip(statement.position).collect();
        assert!(rest.starts_with(&*statement.text), "{text:?}");
        behind = statement.position + statement.text.chars().count();
        statement.statement.classify();
        statement.statement.parameters();
        let again = parse(&statement.text).unwrap();
        assert_eq!(again.len(), 1, "{text:?}");
        assert_eq!(
            format!("{:?}", again[0].statement.classify()),
            format!("{:?}", statement.statement.classify())
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>()) {
        holds(&text);
    }

    #[test]
    fn any_words_are_parsed_or_refused(words in words()) {
        holds(&words.join(" "));
    }

    #[test]
    fn errors_point_into_the_text(words in words()) {
        let text = words.join(" ");
        if let Err(error) = parse(&text)
            && let Some(position) = error.position
        {
            prop_assert!((1..=text.chars().count() + 1).contains(&position));
        }
    }
}

const EVERY_KIND: &[&str] = &[
    "select a, $1 from t join u using (x) where b in (select c from v) order by 1",
    "with w as (select 1) select * from w, t for update",
    "values (1), (2)",
    "table t",
    "insert into t (a) values ($2) returning a",
    "update t set a = 1 from u where t.x = u.x",
    "delete from t using u where t.x = u.x",
    "create table n as select * from t",
    "create external table t stored as csv location 'x'",
    "create view v (a) as select 1",
    "explain (analyze) select 1",
    "copy (select 1) to stdout with (format csv)",
    "declare c scroll cursor with hold for select 1",
    "prepare p (int) as select $1",
    "create role r login password 'x'",
    "set search_path to a, 'b'",
    "lock table t in exclusive mode nowait",
    "fetch backward 3 from c",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn splitting_gives_back_what_was_joined(
        picked in prop::collection::vec(prop::sample::select(EVERY_KIND), 1..6),
        between in prop::sample::select(vec![";", " ; ", ";\n-- ä\n;", "; /* ; */\t"]),
    ) {
        let text = picked.join(between);
        let parsed = parse(&text).unwrap();
        prop_assert_eq!(parsed.len(), picked.len());
        for (statement, original) in parsed.iter().zip(&picked) {
            prop_assert!(statement.text.ends_with(original));
        }
        holds(&text);
    }

    #[test]
    fn a_statement_with_a_hole_does_no_harm(
        kind in prop::sample::select(EVERY_KIND),
        from in 0usize..90,
        length in 0usize..12,
    ) {
        let kept: String = kind
            .chars()
            .enumerate()
            .filter(|(n, _)| !(from..from + length).contains(n))
            .map(|(_, c)| c)
            .collect();
        holds(&kept);
    }
}
