use crate::error::{INVALID_PARAMETER, NOT_SUPPORTED, ParseError, SYNTAX_ERROR};
use crate::impala::{ImpalaStatement, parse_impala};
use crate::statement::{CreateTable, DropKind, Statement};

fn statement(text: &str) -> Result<Statement, ParseError> {
    let (_, ImpalaStatement::Sql(parsed)) = parse_impala(text, "")? else {
        panic!("{text}: no statement of this kind");
    };
    Ok(parsed.statement.clone())
}

fn table(text: &str) -> CreateTable {
    match statement(text) {
        Ok(Statement::CreateTable(table)) => *table,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn tables_over_files() {
    let read = table(
        "create external table if not exists default.`T` (
            id bigint comment 'the \\'key\\'', `date` DATE, amount decimal(10, 2), rate float,
            word varchar, code varchar(5), n decimal, r real
         )
         partitioned by (year int comment 'of sale', half tinyint)
         comment \"what's here\"
         row format delimited fields terminated by '\\t' escaped by '\\\\' lines terminated by '\\n'
         stored as textfile
         location '/data/t'
         tblproperties ('skip.header.line.count'='1', 'note'='x');",
    );
    assert_eq!(read.name, ["public", "t"]);
    assert!(read.if_not_exists && read.external && read.query.is_none());
    let types = |columns: &[crate::TableColumn]| -> Vec<String> {
        let types = columns
            .iter()
            .map(|c| format!("{} {}", c.name, c.data_type));
        types.collect()
    };
    assert_eq!(
        types(&read.columns),
        [
            "id BIGINT",
            "date DATE",
            "amount DECIMAL(10,2)",
            "rate REAL",
            "word TEXT",
            "code VARCHAR(5)",
            "n DECIMAL(9,0)",
            "r DOUBLE PRECISION",
        ]
    );
    assert_eq!(read.columns[0].comment.as_deref(), Some("the 'key'"));
    assert_eq!(
        types(&read.partition_columns),
        ["year INTEGER", "half TINYINT"]
    );
    assert_eq!(read.comment.as_deref(), Some("what's here"));
    assert_eq!(read.format.as_deref(), Some("CSV"));
    assert_eq!(read.location.as_deref(), Some("/data/t"));
    let option = |name: &str| read.options.get(name).map(String::as_str);
    assert_eq!(option("format.delimiter"), Some("\t"));
    assert_eq!(option("format.escape"), Some("\\"));
    assert_eq!(option("format.has_header"), Some("true"));
    assert_eq!(read.properties.get("note").map(String::as_str), Some("x"));
}

#[test]
fn text_files_have_impalas_form_when_nothing_is_said() {
    let read = table("create table t (a int) stored as textfile");
    assert_eq!(read.options["format.delimiter"], "\u{1}");
    assert_eq!(read.options["format.has_header"], "false");
    let delimited = table("create table t (a int) row format delimited fields terminated by ','");
    assert_eq!(delimited.format.as_deref(), Some("CSV"));
    let parquet = table("create table t (a int) stored as parquet");
    assert!(parquet.options.is_empty());
    assert_eq!(table("create table t (a int)").format, None);
}

#[test]
fn tables_of_queries() {
    let read = table(
        "create table d.t partitioned by (b) stored as parquet as
         select a / 2, nvl(a, 1) as c, `b` from default.u where x = \"y\"",
    );
    assert_eq!(
        read.query.unwrap().to_string(),
        "SELECT impala_divide(a, 2) AS \"_c0\", coalesce(a, 1) AS c, \"b\" FROM public.u WHERE x = 'y'"
    );
    assert_eq!(read.partition_columns[0].name, "b");
    let with = table("create table t as with x as (values (1)) select * from x -- end");
    assert!(with.query.is_some());
}

#[test]
fn names_and_comments_change() {
    assert!(matches!(
        statement("alter table a.b rename to `C`").unwrap(),
        Statement::RenameRelation { kind: DropKind::Table, name, new_name }
            if name == ["a", "b"] && new_name == ["c"]
    ));
    assert!(matches!(
        statement("alter view v rename to default.w").unwrap(),
        Statement::RenameRelation { kind: DropKind::View, new_name, .. } if new_name == ["public", "w"]
    ));
    assert!(matches!(
        statement("alter view v as select 1").unwrap(),
        Statement::CreateView(view) if view.or_replace && view.original.as_deref() == Some("select 1")
    ));
    assert!(matches!(
        statement("truncate table if exists a.b").unwrap(),
        Statement::Truncate { name, if_exists: true } if name == ["a", "b"]
    ));
    for (text, parts, about) in [
        ("comment on table a.b is 'x'", &["a", "b"][..], None),
        ("comment on column a.b.c is 'x'", &["a", "b"], Some("c")),
        ("comment on column b.c is 'x'", &["b"], Some("c")),
    ] {
        let Statement::CommentOnRelation {
            name,
            column,
            comment,
        } = statement(text).unwrap()
        else {
            panic!("{text}");
        };
        assert_eq!(
            (name, column.as_deref()),
            (parts.iter().map(|p| (*p).to_owned()).collect(), about)
        );
        assert_eq!(comment.as_deref(), Some("x"));
    }
}

#[test]
fn views_have_names_and_comments() {
    let Statement::CreateView(view) = statement(
        "create view if not exists v (a comment 'first', b) comment 'both' as select 1, 2;",
    )
    .unwrap() else {
        panic!("no view");
    };
    assert_eq!(view.columns, ["a", "b"]);
    assert_eq!(view.comment.as_deref(), Some("both"));
    assert_eq!(view.original.as_deref(), Some("select 1, 2"));
    assert!(view.if_not_exists);
}

#[test]
fn what_is_dropped_leaves_views() {
    assert!(matches!(
        statement("drop table if exists t purge").unwrap(),
        Statement::Drop {
            leaves_views: true,
            if_exists: true,
            ..
        }
    ));
}

#[test]
fn what_cannot_be_is_refused() {
    for (text, sqlstate) in [
        ("create table t (a array<int>)", NOT_SUPPORTED),
        ("create table t (a int, primary key (a))", NOT_SUPPORTED),
        ("create table t (a int) sort by (a)", NOT_SUPPORTED),
        ("create table t (a int) stored as orc", NOT_SUPPORTED),
        ("create table t like u", NOT_SUPPORTED),
        ("insert overwrite t select 1", NOT_SUPPORTED),
        (
            "create table t (a int) row format delimited null defined as 'N'",
            NOT_SUPPORTED,
        ),
        ("create table t (a int) row format serde 'x'", NOT_SUPPORTED),
        (
            "create table t (a int) row format delimited stored as parquet",
            NOT_SUPPORTED,
        ),
        ("alter table t add columns (a int)", NOT_SUPPORTED),
        (
            "create table t (a int) stored as textfile tblproperties ('skip.header.line.count'='2')",
            INVALID_PARAMETER,
        ),
        ("create table t (a nonsense)", SYNTAX_ERROR),
        ("create table t (a int", SYNTAX_ERROR),
        ("create table t (a int) nonsense", SYNTAX_ERROR),
        ("create table t as insert into u values (1)", SYNTAX_ERROR),
        ("create table t as", SYNTAX_ERROR),
        ("create view v", SYNTAX_ERROR),
        ("comment on column c is 'x'", SYNTAX_ERROR),
    ] {
        match statement(text) {
            Err(error) => assert_eq!(error.sqlstate, sqlstate, "{text}: {error}"),
            Ok(read) => panic!("{text}: {read:?}"),
        }
    }
}
