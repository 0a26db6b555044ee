//! Snippet in, class out.

use crate::{Class, LockMode, parse};

fn class(text: &str) -> Class {
    let parsed = parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    parsed[0].statement.classify()
}

/// `t: ACCESS SHARE, u: ROW EXCLUSIVE`.
fn relations(class: &Class) -> String {
    let relations: Vec<String> = class
        .relations
        .iter()
        .map(|r| format!("{}: {}", r.name.join("."), r.mode))
        .collect();
    relations.join(", ")
}

#[test]
fn relations_and_modes() {
    for (text, statement_type, expected) in [
        ("select 1", "SELECT", ""),
        ("show tables from s", "SHOW", ""),
        (
            "select * from T, \"U\", s.v",
            "SELECT",
            "U: ACCESS SHARE, s.v: ACCESS SHARE, t: ACCESS SHARE",
        ),
        ("table t", "SELECT", "t: ACCESS SHARE"),
        ("select * from generate_series(1, 2) g", "SELECT", ""),
        (
            "select * from t where a in (select b from u)",
            "SELECT",
            "t: ACCESS SHARE, u: ACCESS SHARE",
        ),
        ("select * from t for update", "SELECT", "t: ROW SHARE"),
        (
            "select * from t, u x for share of x",
            "SELECT",
            "t: ACCESS SHARE, u: ROW SHARE",
        ),
        (
            "select * from (select * from t) x for update",
            "SELECT",
            "t: ROW SHARE",
        ),
        ("(select * from t) for update", "SELECT", "t: ROW SHARE"),
        (
            "with w as (select * from u) select * from w, t for update",
            "SELECT",
            "t: ROW SHARE, u: ACCESS SHARE",
        ),
        (
            "select a into n from t",
            "SELECT INTO",
            "n: ACCESS EXCLUSIVE, t: ACCESS SHARE",
        ),
        (
            "create table n as select * from t",
            "CREATE TABLE AS",
            "n: ACCESS EXCLUSIVE, t: ACCESS SHARE",
        ),
        (
            "create table n as table t",
            "CREATE TABLE AS",
            "n: ACCESS EXCLUSIVE, t: ACCESS SHARE",
        ),
        (
            "create table n (a int)",
            "CREATE TABLE",
            "n: ACCESS EXCLUSIVE",
        ),
        (
            "insert into t select * from u",
            "INSERT",
            "t: ROW EXCLUSIVE, u: ACCESS SHARE",
        ),
        (
            "insert into t table u",
            "INSERT",
            "t: ROW EXCLUSIVE, u: ACCESS SHARE",
        ),
        (
            "insert into t select * from t",
            "INSERT",
            "t: ROW EXCLUSIVE",
        ),
        (
            "with t as (select * from u) insert into t select * from t",
            "INSERT",
            "t: ROW EXCLUSIVE, u: ACCESS SHARE",
        ),
        (
            "update t x set a = 1 from u where x.b = u.b",
            "UPDATE",
            "t: ROW EXCLUSIVE, u: ACCESS SHARE",
        ),
        (
            "delete from t using u where t.a = u.a",
            "DELETE",
            "t: ROW EXCLUSIVE, u: ACCESS SHARE",
        ),
        (
            "truncate t, u",
            "TRUNCATE TABLE",
            "t: ACCESS EXCLUSIVE, u: ACCESS EXCLUSIVE",
        ),
        (
            "alter table t add column a int",
            "ALTER TABLE",
            "t: ACCESS EXCLUSIVE",
        ),
        ("describe t", "DESCRIBE", "t: ACCESS SHARE"),
        (
            "create view v as select * from t",
            "CREATE VIEW",
            "t: ACCESS SHARE, v: ACCESS EXCLUSIVE",
        ),
        (
            "create external table t stored as csv location 'x'",
            "CREATE EXTERNAL TABLE",
            "t: ACCESS EXCLUSIVE",
        ),
        (
            "drop table a, b",
            "DROP TABLE",
            "a: ACCESS EXCLUSIVE, b: ACCESS EXCLUSIVE",
        ),
        ("drop schema s", "DROP SCHEMA", ""),
        ("lock t in row share mode", "LOCK TABLE", "t: ROW SHARE"),
        ("copy t to stdout", "COPY", "t: ACCESS SHARE"),
        (
            "copy (select * from t) to stdout",
            "COPY",
            "t: ACCESS SHARE",
        ),
        ("copy t from stdin", "COPY", "t: ROW EXCLUSIVE"),
        (
            "declare c cursor for select * from t",
            "DECLARE CURSOR",
            "t: ACCESS SHARE",
        ),
        (
            "explain analyze insert into t select * from u",
            "EXPLAIN",
            "t: ROW EXCLUSIVE, u: ACCESS SHARE",
        ),
        ("prepare p as select * from t", "PREPARE", ""),
    ] {
        let class = class(text);
        assert_eq!(class.statement_type, statement_type, "{text}");
        assert_eq!(relations(&class), expected, "{text}");
    }
}

#[test]
fn names_of_with_queries_are_relations_only_out_of_scope() {
    for (text, expected) in [
        ("with w as (select * from t) select * from w", "t"),
        ("with t as (select * from t) select * from t", "t"),
        (
            "with recursive t as (select 1 union select * from t) select * from t",
            "",
        ),
        (
            "with a as (select * from b), b as (select * from a) select * from a, b",
            "b",
        ),
        (
            "(with t as (select 1) select * from t) union (select * from t)",
            "t",
        ),
        (
            "select * from (with t as (select 1) select * from t) x, t",
            "t",
        ),
        (
            "with w as (select 1) select (select max(a) from w) from s.w",
            "s.w",
        ),
        ("with \"W\" as (select 1) select * from w, \"W\"", "w"),
        ("with W as (select 1) select * from \"w\"", ""),
    ] {
        let names: Vec<String> = class(text)
            .relations
            .iter()
            .map(|r| r.name.join("."))
            .collect();
        assert_eq!(names.join(", "), expected, "{text}");
    }
}

#[test]
fn governed_or_not() {
    for (text, governed, dml, system_only) in [
        ("select 1", true, false, false),
        ("values (1)", true, false, false),
        ("select * from t", true, false, false),
        ("select * into n from t", true, false, false),
        ("create table n as select 1", true, false, false),
        (
            "create table n as select * from pg_class",
            true,
            false,
            false,
        ),
        ("declare c cursor for select 1", true, false, false),
        ("copy (select 1) to stdout", true, false, false),
        ("copy t to stdout", true, false, false),
        ("copy pg_class to stdout", true, false, true),
        ("copy t from stdin", false, true, false),
        ("explain select * from t", false, false, false),
        ("explain analyze select * from t", true, false, false),
        ("explain analyze select * from pg_class", true, false, true),
        (
            "explain analyze insert into t values (1)",
            false,
            true,
            false,
        ),
        ("insert into t values (1)", false, true, false),
        ("with a as (select 1) delete from t", false, true, false),
        ("select * from pg_class", true, false, true),
        (
            "select * from pg_catalog.pg_class, information_schema.tables",
            true,
            false,
            true,
        ),
        ("select * from forebay.queries", true, false, true),
        (
            "select * from db.gp_toolkit.gp_resqueue_status",
            true,
            false,
            true,
        ),
        ("select * from forebay.public.t", true, false, false),
        ("select * from pg_class, t", true, false, false),
        (
            "declare c cursor for select * from pg_class",
            true,
            false,
            true,
        ),
        ("show tables", false, false, true),
        ("show work_mem", false, false, false),
        ("begin", false, false, false),
    ] {
        let class = class(text);
        assert_eq!(
            (class.governed, class.dml, class.system_only),
            (governed, dml, system_only),
            "{text}"
        );
    }
}

#[test]
fn transactions_and_rows() {
    let flags = |text: &str| {
        let class = class(text);
        let mut flags = Vec::new();
        for (flag, name) in [
            (class.returns_rows, "rows"),
            (class.ends_failed_transaction, "ends"),
            (class.needs_transaction_block, "needs"),
            (class.forbidden_in_transaction_block, "forbidden"),
        ] {
            if flag {
                flags.push(name);
            }
        }
        flags.join(" ")
    };
    for (text, expected) in [
        ("select 1", "rows"),
        ("select 1 into t", ""),
        ("insert into t values (1)", ""),
        ("insert into t values (1) returning a", "rows"),
        (
            "with a as (select 1) update t set b = 1 returning b",
            "rows",
        ),
        ("explain insert into t values (1)", "rows"),
        ("show all", "rows"),
        ("show tables", "rows"),
        ("describe t", "rows"),
        ("execute p", "rows"),
        ("fetch c", "rows"),
        ("move c", ""),
        ("copy t to stdout", ""),
        ("commit", "ends"),
        ("rollback", "ends"),
        ("rollback to a", "ends"),
        // They need a block that was begun, which the server checks.
        ("savepoint a", ""),
        ("release a", ""),
        ("lock t", "needs"),
        ("declare c cursor for select 1", "needs"),
        ("declare c cursor with hold for select 1", ""),
        ("discard all", "forbidden"),
        ("discard plans", ""),
        ("vacuum t", "forbidden"),
    ] {
        assert_eq!(flags(text), expected, "{text}");
    }
}

#[test]
fn parameters_are_counted_by_the_highest() {
    for (text, expected) in [
        ("select 1", 0),
        ("select $1 + $3", 3),
        ("select * from t limit $2 offset $1", 2),
        ("select * from f($4)", 4),
        ("insert into t values ($1, $2)", 2),
        ("with a as (select $5) select * from a", 5),
        ("declare c cursor for select $1", 1),
        ("explain select $2", 2),
        ("copy (select $1) to stdout", 1),
        ("execute p ($2)", 2),
        ("prepare p as select $9", 0),
        ("select '$7'", 0),
    ] {
        let parsed = parse(text).unwrap();
        assert_eq!(parsed[0].statement.parameters(), expected, "{text}");
    }
}

#[test]
fn modes_are_ordered_by_strength() {
    assert!(LockMode::AccessShare < LockMode::RowShare);
    assert!(LockMode::Share < LockMode::ShareRowExclusive);
    assert!(LockMode::Exclusive < LockMode::AccessExclusive);
    assert_eq!(
        LockMode::ShareUpdateExclusive.to_string(),
        "SHARE UPDATE EXCLUSIVE"
    );
}
