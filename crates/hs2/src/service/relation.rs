//! `SHOW` and `DESCRIBE` of one relation, with Impala's columns.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use forebay_server::{Error, RelationDefinition, RelationFacts, TableFile};
use forebay_sql::RelationView;

use super::ddl_text;
use crate::rows::types;
use crate::session::database_of;

/// Impala's word for a number that nobody knows.
const UNKNOWN: i64 = -1;

/// What `SHOW … t` and `DESCRIBE FORMATTED t` answer.
///
/// # Errors
/// `42809` for what a relation of its kind has not.
pub(super) fn shown(view: RelationView, facts: &RelationFacts) -> Result<RecordBatch, Error> {
    let is_view = matches!(facts.relation.definition, RelationDefinition::View(_));
    let has_files = |statement: &str| match is_view {
        true => Err(Error::new(
            "42809",
            format!("{statement} not applicable to a view: {}", full_name(facts)),
        )),
        false => Ok(()),
    };
    match view {
        RelationView::Create => Ok(create(facts)),
        RelationView::TableStats => has_files("SHOW TABLE STATS").map(|()| table_stats(facts)),
        RelationView::Partitions => {
            has_files("SHOW PARTITIONS")?;
            if facts.partition_columns.is_empty() {
                let message = format!("Table is not partitioned: {}", full_name(facts));
                return Err(Error::new("42809", message));
            }
            Ok(table_stats(facts))
        }
        RelationView::ColumnStats => has_files("SHOW COLUMN STATS").map(|()| column_stats(facts)),
        RelationView::Files => has_files("SHOW FILES").map(|()| files(facts)),
        RelationView::Formatted => Ok(formatted(facts)),
    }
}

/// `database.relation`.
fn full_name(facts: &RelationFacts) -> String {
    let relation = &facts.relation;
    format!("{}.{}", database_of(&relation.schema), relation.name)
}

/// One line of `CREATE …` that makes the relation again.
fn create(facts: &RelationFacts) -> RecordBatch {
    batch([("result", texts([ddl_text::of(facts)]))])
}

/// A row for each partition and one for all; for a table without partitions, one row.
fn table_stats(facts: &RelationFacts) -> RecordBatch {
    let format = match &facts.relation.definition {
        RelationDefinition::Table(table) => ddl_text::format_of(table),
        RelationDefinition::View(_) => "",
    };
    let all: Vec<&TableFile> = facts.files.iter().collect();
    let mut stats = Stats::default();
    for partition in partitions(facts) {
        let keys = partition[0].partition.iter();
        let keys = keys.map(|key| key.clone().unwrap_or_else(|| "NULL".to_owned()));
        let place = folder_of(&partition[0].location);
        stats.add(keys.collect(), &partition, format, place);
    }
    let key_count = facts.partition_columns.len();
    if key_count == 0 {
        let place = match &facts.relation.definition {
            RelationDefinition::Table(table) => &table.location,
            RelationDefinition::View(_) => "",
        };
        stats = Stats::default();
        stats.add(Vec::new(), &all, format, place);
    } else {
        let mut keys = vec![String::new(); key_count];
        "Total".clone_into(&mut keys[0]);
        stats.total(keys, &all);
    }
    stats.into_batch(&facts.partition_columns)
}

/// The columns of `SHOW TABLE STATS`, row by row.
#[derive(Default)]
struct Stats {
    keys: Vec<Vec<String>>,
    rows: Vec<i64>,
    files: Vec<i64>,
    sizes: Vec<String>,
    cached: Vec<&'static str>,
    formats: Vec<String>,
    incremental: Vec<&'static str>,
    places: Vec<String>,
    erasure: Vec<&'static str>,
}

impl Stats {
    fn add(&mut self, keys: Vec<String>, files: &[&TableFile], format: &str, place: &str) {
        self.count(keys, files);
        self.cached.push("NOT CACHED");
        self.formats.push(format.to_owned());
        self.incremental.push("false");
        self.places.push(place.to_owned());
        self.erasure.push("NONE");
    }

    fn total(&mut self, keys: Vec<String>, files: &[&TableFile]) {
        self.count(keys, files);
        self.cached.push("");
        self.formats.push(String::new());
        self.incremental.push("");
        self.places.push(String::new());
        self.erasure.push("");
    }

    fn count(&mut self, keys: Vec<String>, files: &[&TableFile]) {
        let rows: Option<u64> = files.iter().map(|file| file.rows).sum();
        self.keys.push(keys);
        self.rows.push(number(rows));
        self.files.push(number(u64::try_from(files.len()).ok()));
        let bytes = files.iter().map(|file| file.bytes).sum();
        self.sizes.push(size(bytes));
    }

    fn into_batch(self, partition_columns: &[String]) -> RecordBatch {
        let keys = partition_columns.iter().enumerate().map(|(i, name)| {
            let values = self.keys.iter().map(|keys| keys[i].clone());
            (name.as_str(), texts(values))
        });
        let facts = [
            ("#Rows", numbers(self.rows.clone())),
            ("#Files", numbers(self.files.clone())),
            ("Size", texts(self.sizes.iter())),
            ("Bytes Cached", texts(self.cached.iter())),
            ("Cache Replication", texts(self.cached.iter())),
            ("Format", texts(self.formats.iter())),
            ("Incremental stats", texts(self.incremental.iter())),
            ("Location", texts(self.places.iter())),
            ("EC Policy", texts(self.erasure.iter())),
        ];
        batch(keys.chain(facts))
    }
}

/// The files of each partition, in the order of their values.
fn partitions(facts: &RelationFacts) -> Vec<Vec<&TableFile>> {
    let mut files: Vec<&TableFile> = facts.files.iter().collect();
    files.sort_by(|a, b| a.partition.cmp(&b.partition));
    let same = |a: &&TableFile, b: &&TableFile| a.partition == b.partition;
    files.chunk_by(same).map(<[_]>::to_vec).collect()
}

/// A row for each column. Impala, too, knows the sizes of types that have one.
fn column_stats(facts: &RelationFacts) -> RecordBatch {
    let fields = facts.schema.fields();
    let sizes: Vec<Option<i64>> = fields
        .iter()
        .map(|f| types::fixed_bytes(f.data_type()))
        .collect();
    let nulls = (0..fields.len()).map(|i| match is_partition(facts, i) {
        true => number(partition_nulls(facts, i)),
        false => number(facts.nulls(i)),
    });
    let distinct = (0..fields.len()).map(|i| match is_partition(facts, i) {
        true => number(u64::try_from(distinct_keys(facts, i)).ok()),
        false => UNKNOWN,
    });
    let unknown = || numbers(fields.iter().map(|_| UNKNOWN));
    let average = sizes.iter().map(|size| size.unwrap_or(UNKNOWN) as f64);
    batch([
        ("Column", texts(fields.iter().map(|f| f.name()))),
        (
            "Type",
            texts(
                fields
                    .iter()
                    .map(|f| types::name(f.data_type()).to_uppercase()),
            ),
        ),
        ("#Distinct Values", numbers(distinct)),
        ("#Nulls", numbers(nulls)),
        (
            "Max Size",
            numbers(sizes.iter().map(|s| s.unwrap_or(UNKNOWN))),
        ),
        (
            "Avg Size",
            Arc::new(Float64Array::from_iter_values(average)),
        ),
        ("#Trues", unknown()),
        ("#Falses", unknown()),
    ])
}

/// Columns of partitions come last.
fn is_partition(facts: &RelationFacts, column: usize) -> bool {
    key_index(facts, column).is_some()
}

fn key_index(facts: &RelationFacts, column: usize) -> Option<usize> {
    let first = facts.schema.fields().len() - facts.partition_columns.len();
    column.checked_sub(first)
}

fn keys_of(facts: &RelationFacts, column: usize) -> impl Iterator<Item = &Option<String>> {
    let index = key_index(facts, column).unwrap_or(usize::MAX);
    facts
        .files
        .iter()
        .filter_map(move |file| file.partition.get(index))
}

fn distinct_keys(facts: &RelationFacts, column: usize) -> usize {
    let keys: std::collections::BTreeSet<_> = keys_of(facts, column).collect();
    keys.len()
}

/// Partitions, not rows, whose value is NULL: as Impala counts them.
fn partition_nulls(facts: &RelationFacts, column: usize) -> Option<u64> {
    let has_null = keys_of(facts, column).any(Option::is_none);
    Some(u64::from(has_null))
}

fn files(facts: &RelationFacts) -> RecordBatch {
    let partition = |file: &TableFile| {
        let keys = facts.partition_columns.iter().zip(&file.partition);
        let keys = keys.map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => format!("{name}=__HIVE_DEFAULT_PARTITION__"),
        });
        keys.collect::<Vec<_>>().join("/")
    };
    batch([
        (
            "Path",
            texts(facts.files.iter().map(|f| f.location.as_str())),
        ),
        ("Size", texts(facts.files.iter().map(|f| size(f.bytes)))),
        ("Partition", texts(facts.files.iter().map(partition))),
        ("EC Policy", texts(facts.files.iter().map(|_| "NONE"))),
    ])
}

/// `DESCRIBE FORMATTED`: the columns, and what Hive's users know to find below them.
fn formatted(facts: &RelationFacts) -> RecordBatch {
    let mut lines = Lines::default();
    let fields = facts.schema.fields();
    let own = fields.len() - facts.partition_columns.len();
    let column = |index: usize| {
        let field = &fields[index];
        (
            field.name().clone(),
            types::name(field.data_type()),
            facts.relation.comment_on(field.name()),
        )
    };
    lines.head("# col_name", "data_type", "comment");
    for index in 0..own {
        lines.column(column(index));
    }
    if own < fields.len() {
        lines.blank();
        lines.title("# Partition Information");
        lines.head("# col_name", "data_type", "comment");
        for index in own..fields.len() {
            lines.column(column(index));
        }
    }
    lines.blank();
    lines.title("# Detailed Table Information");
    lines.fact("Database:", database_of(&facts.relation.schema));
    lines.fact("OwnerType:", "USER");
    lines.fact("Owner:", &facts.relation.owner);
    match &facts.relation.definition {
        RelationDefinition::Table(table) => {
            lines.fact("Location:", &table.location);
            lines.fact("Table Type:", ddl_text::table_type(table));
            lines.title("Table Parameters:");
            for (name, value) in ddl_text::parameters(facts, table) {
                lines.parameter(&name, &value);
            }
            lines.blank();
            lines.title("# Storage Information");
            lines.fact("Format:", ddl_text::format_of(table));
        }
        RelationDefinition::View(view) => {
            lines.fact("Table Type:", "VIRTUAL_VIEW");
            lines.blank();
            lines.title("# View Information");
            lines.fact("View Original Text:", ddl_text::query_of(view));
            lines.fact("View Expanded Text:", &view.query);
        }
    }
    lines.into_batch()
}

/// Rows of three texts, of which the last two may be NULL.
#[derive(Default)]
struct Lines {
    name: Vec<String>,
    kind: Vec<Option<String>>,
    comment: Vec<Option<String>>,
}

impl Lines {
    fn push(&mut self, name: &str, kind: Option<&str>, comment: Option<&str>) {
        self.name.push(name.to_owned());
        self.kind.push(kind.map(ToOwned::to_owned));
        self.comment.push(comment.map(ToOwned::to_owned));
    }

    fn head(&mut self, name: &str, kind: &str, comment: &str) {
        self.push(name, Some(kind), Some(comment));
        self.blank();
    }

    fn column(&mut self, (name, kind, comment): (String, String, Option<&str>)) {
        self.push(&name, Some(&kind), comment);
    }

    fn blank(&mut self) {
        self.push("", None, None);
    }

    fn title(&mut self, title: &str) {
        self.push(title, None, None);
    }

    fn fact(&mut self, name: &str, value: &str) {
        self.push(name, Some(value), None);
    }

    fn parameter(&mut self, name: &str, value: &str) {
        self.push("", Some(name), Some(value));
    }

    fn into_batch(self) -> RecordBatch {
        batch([
            ("name", texts(self.name)),
            ("type", Arc::new(StringArray::from(self.kind))),
            ("comment", Arc::new(StringArray::from(self.comment))),
        ])
    }
}

fn folder_of(location: &str) -> &str {
    location.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn number(number: Option<u64>) -> i64 {
    number.map_or(UNKNOWN, |number| i64::try_from(number).unwrap_or(i64::MAX))
}

/// A size as Impala writes it: `338B`, `2.09KB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.2}{}", UNITS[unit])
}

fn texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

fn numbers(numbers: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(numbers))
}

fn batch<'a>(columns: impl IntoIterator<Item = (&'a str, ArrayRef)>) -> RecordBatch {
    let (names, columns): (Vec<_>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let fields = names.iter().zip(&columns).map(|(name, column)| {
        let data_type: DataType = column.data_type().clone();
        Field::new(*name, data_type, true)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns).expect("columns of one length")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_written_as_impala_writes_them() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00KB"),
            (2143, "2.09KB"),
            (24 << 20, "24.00MB"),
            (3 << 50, "3.00PB"),
            (u64::MAX, "16384.00PB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
