use crate::error::ParseError;
use crate::impala::{ImpalaStatement, parse_impala};
use crate::statement::Statement;

fn read(text: &str) -> Result<String, ParseError> {
    let (_, ImpalaStatement::Sql(parsed)) = parse_impala(text, "1:2")? else {
        panic!("{text}: no query");
    };
    let Statement::Plan(statement) = &parsed.statement else {
        panic!("{text}: no plan");
    };
    Ok(statement.to_string())
}

fn written(text: &str) -> String {
    read(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What an expression becomes.
fn expression(text: &str) -> String {
    let sql = written(&format!("select {text} as x"));
    sql["SELECT ".len()..sql.len() - " AS x".len()].to_owned()
}

#[test]
fn columns_are_named_after_their_expressions() {
    assert_eq!(
        written("select a, count(*), 1 + 1 as two, Max(b), 1 / 2 from t"),
        r#"SELECT a, count(*) AS "count(*)", 1 + 1 AS two, Max(b) AS "max(b)", impala_divide(1, 2) AS "1 / 2" FROM t"#
    );
}

#[test]
fn functions_are_replaced_wherever_they_are() {
    let sql = written("select version() from t where sleep(10)");
    assert!(sql.contains("'impalad version"), "{sql}");
    assert!(sql.contains("pg_sleep"), "{sql}");
    assert!(sql.contains("AS \"version()\""), "{sql}");
    let sql = written("select user(), effective_user()");
    assert!(sql.contains("session_user"), "{sql}");
    assert!(sql.contains("AS \"user()\""), "{sql}");
    let sql = written("select * from (select nvl(a, 1) b from t) s order by ifnull(b, 0)");
    assert_eq!(sql.matches("coalesce(").count(), 2, "{sql}");
}

#[test]
fn operators_keep_their_precedence() {
    for (text, expected) in [
        ("a + b / c * d", "a + impala_divide(b, c) * d"),
        ("a / b / c", "impala_divide(impala_divide(a, b), c)"),
        ("a + b DIV c - d", "a + impala_div(b, c) - d"),
        ("a * b div c", "impala_div((a * b), c)"),
        ("-a % (b + 1)", "((-a) % nullif((b + 1), 0))"),
        ("a ^ b", "(a # b)"),
        ("not a rlike 'x'", "NOT (a ~ 'x')"),
        ("a not regexp 'x' and b", "(a !~ 'x') AND b"),
        ("a <=> b or c", "(a IS NOT DISTINCT FROM b) OR c"),
    ] {
        assert_eq!(expression(text), expected, "{text}");
    }
    // It is an ordinary name elsewhere.
    assert_eq!(written("select div from t"), "SELECT div FROM t");
    assert_eq!(
        written("select `a b`, 'div' from div"),
        "SELECT \"a b\", 'div' AS \"'div'\" FROM div"
    );
}

#[test]
fn arguments_stay_whole_in_what_stands_for_a_call() {
    for (text, expected) in [
        ("nvl(a + 1, b)", "coalesce((a + 1), b)"),
        (
            "if(a > 1, 'x', 'y')",
            "CASE WHEN (a > 1) THEN 'x' ELSE 'y' END",
        ),
        ("bitand(a + 1, b) = 2", "((a + 1) & b) = 2"),
        ("concat(a, 1)", "(cast(a as text) || cast(1 as text))"),
        ("instr('abc', x)", "strpos('abc', x)"),
        ("locate('b', x)", "strpos(x, 'b')"),
        (
            "decode(a, 1, 'x', null, 'y', 'z')",
            "CASE WHEN a IS NOT DISTINCT FROM 1 THEN 'x' WHEN a IS NOT DISTINCT FROM null THEN 'y' ELSE 'z' END",
        ),
        ("substr(a, 2, 3)", "substr(a, 2, 3)"),
        (
            "substr(a, n)",
            "CASE WHEN n = 0 THEN '' WHEN n < 0 THEN right(a, -(n)) ELSE SUBSTR(a, n) END",
        ),
        ("variance(distinct a)", "var_samp(DISTINCT a)"),
        (
            "group_concat(distinct a, '|')",
            "string_agg(DISTINCT cast(a as text), '|')",
        ),
        ("ndv(a)", "cast(approx_distinct(a) as bigint)"),
        (
            "trunc(a, 'MM')",
            "date_trunc('month', cast(a as timestamp))",
        ),
        ("trunc(a, 2)", "trunc(a, 2)"),
        ("current_session()", "'1:2'"),
    ] {
        assert_eq!(
            expression(text).to_lowercase(),
            expected.to_lowercase(),
            "{text}"
        );
    }
}

#[test]
fn dates_are_moved_by_numbers_and_by_intervals() {
    for (text, expected) in [
        (
            "date_add(a, 3)",
            "(cast(a as timestamp) + impala_interval(3, 'day'))",
        ),
        (
            "date_sub(a, interval 2 months)",
            "(cast(a as timestamp) - interval '2 month')",
        ),
        ("a + interval 1 day", "a + interval '1 day'"),
        ("a - interval n hours", "a - impala_interval(n, 'hour')"),
        (
            "months_add(a, n)",
            "(cast(a as timestamp) + impala_interval(n, 'month'))",
        ),
    ] {
        assert_eq!(expression(text).to_lowercase(), expected, "{text}");
    }
}

/// Each level of these says its argument twice.
#[test]
fn what_would_grow_without_end_is_refused() {
    let deep = |depth: usize| {
        format!(
            "select {}a{}",
            "locate(b, ".repeat(depth),
            ", 2)".repeat(depth)
        )
    };
    assert!(read(&deep(3)).is_ok());
    let error = read(&deep(40)).unwrap_err();
    assert_eq!(error.sqlstate, crate::error::TOO_COMPLEX);
}
