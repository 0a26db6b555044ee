//! Writes into an `.slt` file what Forebay answers where that is not what PostgreSQL answers.
//!
//! A record that Forebay fails becomes two, and they go back to one when it no longer fails:
//!
//! ```text
//! # differs from PostgreSQL: any words about why
//! onlyif postgres
//! query
//! SELECT …
//! ----
//! what PostgreSQL answers
//!
//! onlyif forebay
//! query
//! SELECT …
//! ----
//! what Forebay answers
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use sqllogictest::{
    AsyncDB, Condition, Connection, DefaultColumnType, ExpectedError, MakeConnection, QueryExpect,
    Record, RecordOutput, Runner, StatementExpect,
};

/// How the comment above such a pair begins.
const MARK: &str = "# differs from PostgreSQL";
const ONLY_POSTGRES: &str = "onlyif postgres";
const ONLY_FOREBAY: &str = "onlyif forebay";
const DELIMITER: &str = "----";

/// What was changed in a file.
#[derive(Default)]
pub struct Changes {
    /// Records that are pairs now.
    pub paired: usize,
    /// Pairs that are one record again.
    pub mended: usize,
    /// Pairs with another answer of Forebay's.
    pub changed: usize,
    /// Where Forebay's own records (without a partner) have another answer.
    pub own: Vec<u32>,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} new differences, {} mended, {} changed",
            self.paired, self.mended, self.changed
        )?;
        if !self.own.is_empty() {
            write!(f, "; Forebay's own records changed, lines {:?}", self.own)?;
        }
        Ok(())
    }
}

/// Runs a file and rewrites it.
pub async fn record<D, M>(runner: &mut Runner<D, M>, path: &Path) -> Changes
where
    D: AsyncDB<ColumnType = DefaultColumnType>,
    M: MakeConnection<Conn = D>,
{
    let text = std::fs::read_to_string(path).expect("a file of records");
    let blocks = blocks(&text);
    let records = sqllogictest::parse_file::<DefaultColumnType>(path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut edits: BTreeMap<usize, String> = BTreeMap::new();
    let mut changes = Changes::default();
    let mut before: Option<Step> = None;
    for record in records {
        let Some(step) = Step::new(&record, &blocks) else {
            runner.apply_record(record).await;
            continue;
        };
        if step.only_for == Some("postgres") {
            before = Some(step);
            continue;
        }
        let partner = before.take().filter(|p| p.is_partner_of(&step));
        let answer = Answer::new(runner.apply_record(record.clone()).await)
            .unwrap_or_else(|| panic!("{} has no answer", step.line));
        let block = &blocks[step.block];
        match partner {
            Some(postgres) if postgres.expected.agrees(&answer) => {
                edits.insert(postgres.block, blocks[postgres.block].alone());
                edits.insert(step.block, String::new());
                changes.mended += 1;
            }
            _ if step.expected.agrees(&answer) => {}
            Some(postgres) => {
                let text = block.forebay(&answer, &postgres.expected);
                edits.insert(step.block, block.with_comments(&text));
                changes.changed += 1;
            }
            None if step.only_for == Some("forebay") => {
                let text = block.forebay(&answer, &step.expected);
                edits.insert(step.block, block.with_comments(&text));
                changes.own.push(step.line);
            }
            None => {
                edits.insert(step.block, block.pair(&answer, &step.expected));
                changes.paired += 1;
            }
        }
    }
    let now = blocks.iter().enumerate().map(|(i, block)| {
        let edited = edits.get(&i);
        edited.cloned().unwrap_or_else(|| block.lines.join("\n"))
    });
    let now: Vec<String> = now.filter(|block| !block.is_empty()).collect();
    std::fs::write(path, now.join("\n\n") + "\n").expect("the file written again");
    changes
}

/// What is wrong with the pairs of a file.
pub fn misshapen(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("a file of records");
    let blocks = blocks(&text);
    let mut wrong = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        let at = format!("{}:{}", path.display(), block.first);
        let marked = block.comments.iter().any(|c| c.starts_with(MARK));
        let postgres = block.has(ONLY_POSTGRES);
        if postgres != marked {
            wrong.push(format!("{at}: `{MARK}` and `{ONLY_POSTGRES}` go together"));
        }
        let partner = blocks.get(i + 1);
        if postgres && !partner.is_some_and(|b| b.has(ONLY_FOREBAY) && b.sql == block.sql) {
            wrong.push(format!("{at}: what does Forebay answer?"));
        }
    }
    wrong
}

/// A statement or query of the file.
struct Step {
    line: u32,
    block: usize,
    only_for: Option<&'static str>,
    connection: Connection,
    sql: String,
    expected: Expected,
}

/// What a record demands.
enum Expected {
    Statement(StatementExpect),
    Query(QueryExpect<DefaultColumnType>),
}

impl Step {
    fn new(record: &Record<DefaultColumnType>, blocks: &[Block<'_>]) -> Option<Self> {
        let (loc, conditions, connection, sql, expected) = match record.clone() {
            Record::Statement {
                loc,
                conditions,
                connection,
                sql,
                expected,
                ..
            } => {
                let expected = Expected::Statement(expected);
                (loc, conditions, connection, sql, expected)
            }
            Record::Query {
                loc,
                conditions,
                connection,
                sql,
                expected,
                ..
            } => (loc, conditions, connection, sql, Expected::Query(expected)),
            _ => return None,
        };
        let line = loc.line();
        let only_for = match conditions.as_slice() {
            [] => None,
            [Condition::OnlyIf { label }] if label == "postgres" => Some("postgres"),
            [Condition::OnlyIf { label }] if label == "forebay" => Some("forebay"),
            other => panic!("line {line}: cannot record under {other:?}"),
        };
        Some(Self {
            line,
            block: blocks.partition_point(|block| block.first <= line) - 1,
            only_for,
            connection,
            sql,
            expected,
        })
    }

    fn is_partner_of(&self, forebay: &Self) -> bool {
        forebay.only_for == Some("forebay")
            && self.block + 1 == forebay.block
            && self.sql == forebay.sql
            && self.connection == forebay.connection
    }
}

/// What Forebay says.
enum Answer {
    Rows(Vec<String>),
    Done(u64),
    Error(String),
}

impl Answer {
    fn new(output: RecordOutput<DefaultColumnType>) -> Option<Self> {
        match output {
            RecordOutput::Query { error: Some(e), .. }
            | RecordOutput::Statement { error: Some(e), .. } => Some(Self::Error(e.to_string())),
            RecordOutput::Query { rows, .. } => Some(Self::Rows(
                rows.iter().map(|row| super::line(row)).collect(),
            )),
            RecordOutput::Statement { count, .. } => Some(Self::Done(count)),
            _ => None,
        }
    }
}

impl Expected {
    /// As the runner would judge.
    fn agrees(&self, answer: &Answer) -> bool {
        match (self.error(), answer) {
            (Some(error), Answer::Error(text)) => match error {
                ExpectedError::Empty => true,
                ExpectedError::Inline(regex) => regex.is_match(text),
                ExpectedError::Multiline(wanted) => wanted.trim() == text.trim(),
                ExpectedError::SqlState(code) => text.starts_with(&format!("{code}: ")),
            },
            (Some(_), _) | (None, Answer::Error(_)) => false,
            (None, Answer::Rows(rows)) => match self {
                Self::Statement(StatementExpect::Count(n)) => usize::try_from(*n) == Ok(rows.len()),
                Self::Query(QueryExpect::Results { results, .. }) => {
                    rows.iter().eq(results.iter().map(|line| line.trim_end()))
                }
                _ => true,
            },
            (None, Answer::Done(count)) => match self {
                Self::Statement(StatementExpect::Count(n)) => n == count,
                Self::Query(QueryExpect::Results { results, .. }) => results.is_empty(),
                _ => true,
            },
        }
    }

    fn error(&self) -> Option<&ExpectedError> {
        match self {
            Self::Statement(StatementExpect::Error(error))
            | Self::Query(QueryExpect::Error(error)) => Some(error),
            _ => None,
        }
    }

    /// A pattern for an error that is not what was demanded. The SQLSTATE is enough, unless that is
    /// as it should be.
    fn pattern_of(&self, text: &str) -> String {
        let (code, message) = text.split_once(": ").unwrap_or_default();
        assert!(code.len() == 5, "only answers are recorded, not {text}");
        let code = format!("^{code}:");
        let same_code = matches!(
            self.error(),
            Some(ExpectedError::Inline(regex)) if regex.as_str().starts_with(&code)
        );
        if !same_code {
            return code;
        }
        let message = message.lines().next().unwrap_or_default();
        let message = message.split(" (").next().unwrap_or_default();
        match ExpectedError::from_actual_error(None, message) {
            ExpectedError::Inline(regex) => format!("{code} {}", regex.as_str()),
            _ => code,
        }
    }
}

/// Lines between blank lines: comments, or a record with its comments and conditions.
struct Block<'a> {
    /// Counted from 1.
    first: u32,
    lines: Vec<&'a str>,
    comments: Vec<&'a str>,
    /// `onlyif …`, `connection …`.
    directives: Vec<&'a str>,
    /// `statement ok` and such.
    head: &'a str,
    sql: Vec<&'a str>,
    /// From the delimiter on.
    results: Vec<&'a str>,
}

fn is_directive(line: &str) -> bool {
    matches!(
        line.split_whitespace().next(),
        Some("onlyif" | "skipif" | "connection")
    )
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    let mut first = 1;
    for lines in lines.split(|line| line.is_empty()) {
        if !lines.is_empty() {
            blocks.push(Block::new(first, lines));
        }
        first += u32::try_from(lines.len()).expect("a file of records") + 1;
    }
    blocks
}

impl<'a> Block<'a> {
    fn new(first: u32, lines: &[&'a str]) -> Self {
        let comments = lines
            .iter()
            .take_while(|line| line.starts_with('#'))
            .count();
        let (comments, rest) = lines.split_at(comments);
        let directives = rest.iter().take_while(|line| is_directive(line)).count();
        let (directives, rest) = rest.split_at(directives);
        let (head, rest) = rest.split_first().map_or(("", rest), |(h, r)| (*h, r));
        let end = rest.iter().position(|line| *line == DELIMITER);
        let (sql, results) = rest.split_at(end.unwrap_or(rest.len()));
        Self {
            first,
            lines: lines.to_vec(),
            comments: comments.to_vec(),
            directives: directives.to_vec(),
            head,
            sql: sql.to_vec(),
            results: results.to_vec(),
        }
    }

    fn has(&self, directive: &str) -> bool {
        self.directives.contains(&directive)
    }

    /// The directives, but for the conditions.
    fn connection(&self) -> impl Iterator<Item = &'a str> {
        let directives = self.directives.iter().copied();
        directives.filter(|line| line.starts_with("connection "))
    }

    /// For PostgreSQL and for Forebay.
    fn pair(&self, answer: &Answer, expected: &Expected) -> String {
        let mut lines = self.comments.clone();
        lines.extend([MARK, ONLY_POSTGRES]);
        self.push_record(&mut lines);
        format!("{}\n\n{}", lines.join("\n"), self.forebay(answer, expected))
    }

    /// For everybody, after having been PostgreSQL's half of a pair.
    fn alone(&self) -> String {
        let comments = self.comments.iter().copied();
        let mut lines = comments.filter(|c| !c.starts_with(MARK)).collect();
        self.push_record(&mut lines);
        lines.join("\n")
    }

    fn push_record(&self, lines: &mut Vec<&'a str>) {
        lines.extend(self.connection());
        lines.push(self.head);
        lines.extend(&self.sql);
        lines.extend(&self.results);
    }

    /// The statement with Forebay's answer.
    fn forebay(&self, answer: &Answer, expected: &Expected) -> String {
        let head = match answer {
            Answer::Error(text) => format!("statement error {}", expected.pattern_of(text)),
            Answer::Done(count) if self.head.starts_with("statement count") => {
                format!("statement count {count}")
            }
            Answer::Done(_) => "statement ok".to_owned(),
            // With the order that is asked for there.
            Answer::Rows(_) if self.head.starts_with("query") && expected.error().is_none() => {
                self.head.to_owned()
            }
            Answer::Rows(_) => "query".to_owned(),
        };
        let mut lines = vec![ONLY_FOREBAY];
        lines.extend(self.connection());
        lines.push(&head);
        lines.extend(&self.sql);
        if let Answer::Rows(rows) = answer {
            lines.push(DELIMITER);
            for row in rows {
                assert!(
                    !row.is_empty(),
                    "a blank row cannot be written: {}",
                    self.first
                );
                lines.push(row);
            }
        }
        lines.join("\n")
    }

    fn with_comments(&self, text: &str) -> String {
        let mut lines = self.comments.clone();
        lines.push(text);
        lines.join("\n")
    }
}
