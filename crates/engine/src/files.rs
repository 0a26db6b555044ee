//! Which tables a path on the command line stands for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use forebay_catalog::TableDefinition;

use crate::EngineError;

/// Folders below a table's own that are looked into for its files.
const MAX_DEPTH: usize = 16;

/// A table found at a path.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoveredTable {
    /// The table's name, made from the file's or folder's.
    pub name: String,
    /// Where and in which format its files are.
    pub definition: TableDefinition,
}

/// The tables at `path`: a file is a table, a folder is a table of all its files (with Hive
/// partitions `key=value/` as columns), and a folder that holds nothing but other folders is
/// one table for each of them.
///
/// Each element of the answer is a table, or the reason why this file or folder is none.
///
/// # Errors
/// When `path` itself cannot be read.
pub fn discover(path: &Path) -> Result<Vec<Result<DiscoveredTable, EngineError>>, EngineError> {
    let path = fs::canonicalize(path).map_err(|e| unreadable(path, &e))?;
    if path.is_file() || !is_collection(&path)? {
        return Ok(vec![table_at(&path)]);
    }
    Ok(entries(&path)?.iter().map(|p| table_at(p)).collect())
}

/// Whether a folder is no table itself but holds a folder for each of several.
fn is_collection(folder: &Path) -> Result<bool, EngineError> {
    let entries = entries(folder)?;
    let is_table_folder = |p: &PathBuf| p.is_dir() && !is_partition(p);
    Ok(!entries.is_empty() && entries.iter().all(is_table_folder))
}

fn table_at(path: &Path) -> Result<DiscoveredTable, EngineError> {
    let (format, options) = if path.is_file() {
        format_of(path).ok_or_else(|| unknown_format(path))?
    } else {
        format_of_folder(path, MAX_DEPTH)?.ok_or_else(|| unknown_format(path))?
    };
    let mut location = path.display().to_string();
    if path.is_dir() {
        location.push('/');
    }
    Ok(DiscoveredTable {
        name: table_name(path)?,
        definition: TableDefinition {
            format: format.to_owned(),
            location,
            options,
            ..TableDefinition::default()
        },
    })
}

type Format = (&'static str, BTreeMap<String, String>);

fn format_of(file: &Path) -> Option<Format> {
    let name = file.file_name()?.to_str()?.to_lowercase();
    let (stem, compression) = [
        ("gz", "gzip"),
        ("bz2", "bzip2"),
        ("xz", "xz"),
        ("zst", "zstd"),
    ]
    .iter()
    .find_map(|(suffix, kind)| Some((name.strip_suffix(&format!(".{suffix}"))?, Some(*kind))))
    .unwrap_or((&name, None));
    let (format, delimiter) = match stem.rsplit_once('.')?.1 {
        "parquet" | "parq" | "pq" => ("PARQUET", None),
        "csv" => ("CSV", None),
        "tsv" => ("CSV", Some("\t")),
        "json" | "ndjson" | "jsonl" => ("JSON", None),
        _ => return None,
    };
    let mut options = BTreeMap::new();
    if let Some(kind) = compression.filter(|_| format != "PARQUET") {
        options.insert("format.compression".to_owned(), kind.to_owned());
    }
    if let Some(delimiter) = delimiter {
        options.insert("format.delimiter".to_owned(), delimiter.to_owned());
    }
    Some((format, options))
}

/// The format of the first data file below `folder`, in name order.
fn format_of_folder(folder: &Path, depth: usize) -> Result<Option<Format>, EngineError> {
    for entry in entries(folder)? {
        let found = if entry.is_file() {
            format_of(&entry)
        } else if depth > 0 {
            format_of_folder(&entry, depth - 1)?
        } else {
            None
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// What a folder holds, in name order, without hidden files and writers' markers (`_SUCCESS`).
fn entries(folder: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| unreadable(folder, &e))? {
        let path = entry.map_err(|e| unreadable(folder, &e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(['.', '_']) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_partition(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().contains('='))
}

/// `Line Items-2.csv.gz` is table `line_items_2`.
fn table_name(path: &Path) -> Result<String, EngineError> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = if path.is_dir() {
        &*file
    } else {
        file.split('.').next().unwrap_or_default()
    };
    let mut name: String = stem
        .to_lowercase()
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect();
    if name.is_empty() {
        return Err(EngineError::new(
            "42602",
            format!("\"{}\" gives no table name", path.display()),
        ));
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    Ok(name)
}

fn unknown_format(path: &Path) -> EngineError {
    EngineError::new(
        "58P01",
        format!(
            "\"{}\" is no table: no file that ends in .parquet, .csv, .tsv, .json, .ndjson or .jsonl",
            path.display()
        ),
    )
}

fn unreadable(path: &Path, error: &std::io::Error) -> EngineError {
    EngineError::new(
        "58P01",
        format!("cannot read \"{}\": {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, name: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }

    fn names(path: &Path) -> Vec<String> {
        let tables = discover(path).unwrap();
        tables
            .into_iter()
            .map(|t| t.map_or_else(|e| format!("error {}", e.sqlstate), |t| t.name))
            .collect()
    }

    #[test]
    fn a_path_is_one_table_or_a_folder_of_tables() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        touch(root, "one/Line Items-2.csv.gz");
        touch(root, "parted/year=2024/month=1/a.parquet");
        touch(root, "tables/orders/part-0.parquet");
        touch(root, "tables/notes/readme.txt");
        touch(root, "tables/.hidden/x.parquet");
        assert_eq!(
            names(&root.join("one/Line Items-2.csv.gz")),
            ["line_items_2"]
        );
        assert_eq!(names(&root.join("one")), ["one"]);
        assert_eq!(names(&root.join("parted")), ["parted"]);
        assert_eq!(names(&root.join("tables")), ["error 58P01", "orders"]);
        assert!(discover(&root.join("absent")).is_err());
    }

    #[test]
    fn compression_and_delimiter_follow_from_the_name() {
        let options = |name: &str| format_of(Path::new(name)).unwrap().1;
        assert_eq!(options("a.csv.gz")["format.compression"], "gzip");
        assert_eq!(options("a.tsv")["format.delimiter"], "\t");
        assert!(options("a.parquet").is_empty());
        assert!(format_of(Path::new("a.txt")).is_none());
    }
}
