//! The folders of tables that have files of their own, below the data directory.
//!
//! Each has a name that is never used twice, so a table that is dropped and made again in one
//! transaction, or renamed, needs no file moved. What a folder is for is said by the catalog alone: at
//! the start, folders that no table names are what a crash or a cancelled commit has left, and go.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use forebay_catalog::{Change, NewRelation, Relation, RelationDefinition, Snapshot};
use forebay_lifecycle::QueryId;

use crate::{Error, Result};

/// The folder's name in the data directory.
const FOLDER: &str = "warehouse";

/// Where the folders of tables are.
#[derive(Debug)]
pub(crate) struct Warehouse {
    root: PathBuf,
}

impl Warehouse {
    /// Opens the warehouse, and removes what no table of `snapshot` names.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub(crate) fn open(data_dir: &Path, snapshot: &Snapshot) -> Result<Self> {
        // One path, by whatever detour the server is told of it.
        let root = fs::canonicalize(data_dir)
            .map_err(|error| unusable(data_dir, &error))?
            .join(FOLDER);
        let warehouse = Self { root };
        warehouse
            .sweep(snapshot)
            .map_err(|error| unusable(&warehouse.root, &error))?;
        Ok(warehouse)
    }

    fn sweep(&self, snapshot: &Snapshot) -> io::Result<()> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        // By its name, which is never used twice: the data directory may have been moved, and no table's
        // files may go for that.
        let named: HashSet<OsString> = owners(snapshot)
            .filter_map(|(_, folder)| folder.file_name().map(OsString::from))
            .collect();
        for entry in entries {
            let entry = entry?;
            if !named.contains(&entry.file_name()) {
                let path = entry.path();
                tracing::warn!(folder = %path.display(), "removing a folder that no table has");
                remove(&path);
            }
        }
        Ok(())
    }

    /// What makes the tables of `snapshot` find their folders again, where the data directory has been
    /// moved since they were made.
    pub(crate) fn moved(&self, snapshot: &Snapshot) -> Vec<Change> {
        let moved = owners(snapshot).filter_map(|(relation, was)| {
            let is = self.root.join(was.file_name()?);
            let RelationDefinition::Table(table) = &relation.definition else {
                return None;
            };
            if is == was || !is.is_dir() {
                return None;
            }
            tracing::info!(folder = %is.display(), was = %was.display(), "a table's files were moved");
            let mut table = table.clone();
            table.location = location(&is);
            Some(Change::CreateRelation {
                relation: NewRelation {
                    schema: relation.schema.clone(),
                    name: relation.name.clone(),
                    owner: relation.owner.clone(),
                    definition: RelationDefinition::Table(table),
                },
                or_replace: true,
            })
        });
        moved.collect()
    }

    /// Makes an empty folder for a table.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(crate) fn new_folder(&self, schema: &str, name: &str) -> Result<NewFolder> {
        let plain = |text: &str| -> String {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
            text.chars().take(64).map(plain).collect()
        };
        let unique = QueryId::random().to_string().replace(':', "");
        let folder = format!("{}.{}-{unique}", plain(schema), plain(name));
        let path = self.root.join(folder);
        fs::create_dir_all(&path).map_err(|error| unusable(&path, &error))?;
        Ok(NewFolder { path: Some(path) })
    }
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    Error::new(
        "58030",
        format!("could not use folder \"{}\": {error}", path.display()),
    )
}

/// A folder that no committed table names yet. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct NewFolder {
    path: Option<PathBuf>,
}

impl NewFolder {
    /// The place of a table's files.
    pub(crate) fn location(&self) -> String {
        location(self.path.as_deref().unwrap_or(Path::new("")))
    }

    /// Leaves the folder to the catalog: whether a table names it is being decided.
    pub(crate) fn leave(mut self) -> PathBuf {
        self.path.take().unwrap_or_default()
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            remove_later(vec![path]);
        }
    }
}

/// Removes folders on a thread that may block.
pub(crate) fn remove_later(folders: Vec<PathBuf>) {
    if folders.is_empty() {
        return;
    }
    let remove_all = move || folders.iter().for_each(|folder| remove(folder));
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(remove_all)),
        Err(_) => remove_all(),
    }
}

/// What cannot be removed now is removed at the next start.
fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "could not remove a table's folder");
        }
        _ => {}
    }
}

/// A folder as the place of a table's files.
fn location(folder: &Path) -> String {
    format!("{}/", folder.display())
}

/// The tables that have folders, with these.
fn owners(snapshot: &Snapshot) -> impl Iterator<Item = (&Relation, PathBuf)> {
    let relations = snapshot.schemas().flat_map(|s| s.relations.values());
    relations.filter_map(|relation| Some((&**relation, folder(&relation.definition)?)))
}

/// The folder that belongs to a table.
fn folder(definition: &RelationDefinition) -> Option<PathBuf> {
    match definition {
        RelationDefinition::Table(table) if table.managed => {
            Some(PathBuf::from(table.location.trim_end_matches('/')))
        }
        _ => None,
    }
}

/// The folders that no table has any more once `change` has made `after` of `before`.
pub(crate) fn lost(before: &Snapshot, after: &Snapshot, change: &Change) -> Vec<PathBuf> {
    let changes_files = matches!(
        change,
        Change::DropRelations { .. } | Change::DropSchema { .. } | Change::CreateRelation { .. }
    );
    if !changes_files {
        return Vec::new();
    }
    owners(before)
        .filter_map(|(old, had)| {
            let now = after.relation(&old.schema, &old.name);
            let has = now.and_then(|now| folder(&now.definition));
            (has.as_ref() != Some(&had)).then_some(had)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use forebay_catalog::{NewRelation, TableDefinition};

    use super::*;

    fn table(schema: &str, location: String) -> Change {
        Change::CreateRelation {
            relation: NewRelation {
                schema: schema.to_owned(),
                name: "t".to_owned(),
                owner: "boss".to_owned(),
                definition: RelationDefinition::Table(TableDefinition {
                    format: "PARQUET".to_owned(),
                    location,
                    managed: true,
                    ..TableDefinition::default()
                }),
            },
            or_replace: true,
        }
    }

    #[test]
    fn what_no_table_names_is_removed_at_the_start() {
        let data_dir = tempfile::tempdir().unwrap();
        let empty = Snapshot::bootstrap("boss").unwrap();
        let warehouse = Warehouse::open(data_dir.path(), &empty).unwrap();
        let folder = warehouse.new_folder("public", "a/../b").unwrap();
        let location = folder.location();
        assert!(location.contains("/warehouse/public.a____b-"), "{location}");
        let kept = folder.leave();
        let lost = warehouse.new_folder("public", "u").unwrap().leave();
        fs::write(lost.join("x.parquet"), b"x").unwrap();
        let snapshot = empty.apply(&table("public", location)).unwrap();
        Warehouse::open(data_dir.path(), &snapshot).unwrap();
        assert!(kept.is_dir());
        assert!(!lost.exists());
        // Elsewhere, and by a detour.
        let moved = data_dir.path().join("moved");
        fs::create_dir(&moved).unwrap();
        fs::rename(data_dir.path().join(FOLDER), moved.join(FOLDER)).unwrap();
        let detour = moved.join("..").join("moved");
        let warehouse = Warehouse::open(&detour, &snapshot).unwrap();
        let now = moved.join(FOLDER).join(kept.file_name().unwrap());
        assert!(now.is_dir());
        let changes = warehouse.moved(&snapshot);
        assert_eq!(changes, [table("public", super::location(&now))]);
        let snapshot = snapshot.apply(&changes[0]).unwrap();
        assert_eq!(warehouse.moved(&snapshot), []);
    }

    #[test]
    fn a_folder_that_is_not_left_to_a_table_goes() {
        let data_dir = tempfile::tempdir().unwrap();
        let empty = Snapshot::bootstrap("boss").unwrap();
        let warehouse = Warehouse::open(data_dir.path(), &empty).unwrap();
        let folder = warehouse.new_folder("public", "t").unwrap();
        let path = PathBuf::from(folder.location());
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn folders_are_lost_by_dropping_and_by_replacing() {
        let create = Change::CreateSchema {
            name: "s".to_owned(),
            owner: "boss".to_owned(),
        };
        let empty = Snapshot::bootstrap("boss").unwrap();
        let empty = empty.apply(&create).unwrap();
        let create = table("s", "/w/one/".to_owned());
        let one = empty.apply(&create).unwrap();
        assert!(lost(&empty, &one, &create).is_empty());
        let replace = table("s", "/w/two/".to_owned());
        let two = one.apply(&replace).unwrap();
        assert_eq!(lost(&one, &two, &replace), [PathBuf::from("/w/one")]);
        let drop = Change::DropSchema {
            name: "s".to_owned(),
            cascade: true,
        };
        let none = two.apply(&drop).unwrap();
        assert_eq!(lost(&two, &none, &drop), [PathBuf::from("/w/two")]);
    }
}
