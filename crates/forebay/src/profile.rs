//! `forebay profile`: prints profiles out of a profile log.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use forebay_lifecycle::profile::{FrozenProfile, Profile};
use forebay_lifecycle::{ArchiveFiles, ProfileEntry, ProfileReader, QueryId};

use crate::cli::{ProfileFormat, ShowProfile};

/// Prints what was asked for.
///
/// # Errors
/// When there is no such log or query, or nothing in the log can be read.
pub fn run(options: &ShowProfile) -> anyhow::Result<()> {
    let (log, wanted) = source(options)?;
    let mut out = Output {
        format: options.format,
        to: BufWriter::new(io::stdout().lock()),
        printed: 0,
    };
    let printed = match wanted {
        Some(id) => out.one(&log, id),
        None => out.all(&log),
    };
    match printed.and_then(|()| Ok(out.to.flush()?)) {
        // Whoever reads has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        printed => printed,
    }
}

/// The log to read, and the query to look for.
fn source(options: &ShowProfile) -> anyhow::Result<(PathBuf, Option<QueryId>)> {
    let path = Path::new(&options.source);
    let is_file = path.exists();
    let id = options.source.parse::<QueryId>();
    match (is_file, id) {
        (false, Ok(id)) => {
            if options.query_id.is_some_and(|other| other != id) {
                bail!("{id} was asked for, and --query-id names another query");
            }
            Ok((ArchiveFiles::profile_log(&options.data_dir), Some(id)))
        }
        (false, Err(_)) if !options.source.contains(['/', '.']) && options.source.contains(':') => {
            bail!(
                "\"{}\" is neither a file nor a query id, which is two times 16 hexadecimal digits \
                 with a colon between them",
                options.source
            )
        }
        _ => Ok((path.to_path_buf(), options.query_id)),
    }
}

struct Output<W: Write> {
    format: ProfileFormat,
    to: W,
    printed: u64,
}

impl<W: Write> Output<W> {
    /// Prints the profile of one query.
    fn one(&mut self, log: &Path, id: QueryId) -> anyhow::Result<()> {
        match open(log)?.find(id)? {
            Some(entry) => self.print(&profile(&entry)?),
            None => bail!(
                "query {id} is not in {}: it has not ended yet, or its file was removed",
                log.display()
            ),
        }
    }

    /// Prints every profile of a log, oldest first. What is no profile is told of at the end.
    fn all(&mut self, log: &Path) -> anyhow::Result<()> {
        let mut reader = open(log)?;
        let mut unreadable = 0;
        for entry in reader.by_ref() {
            let entry = entry.with_context(|| format!("cannot read {}", log.display()))?;
            match profile(&entry) {
                Ok(profile) => self.print(&profile)?,
                Err(error) => {
                    unreadable += 1;
                    eprintln!("forebay: {error:#}");
                }
            }
        }
        let broken = reader.broken() + unreadable;
        if broken > 0 && self.printed == 0 {
            bail!(
                "{} is not a profile log: none of its {broken} lines is a profile",
                log.display()
            );
        }
        if broken > 0 {
            eprintln!(
                "forebay: {broken} lines of {} are no profiles",
                log.display()
            );
        }
        if self.printed == 0 {
            eprintln!("forebay: {} is empty", log.display());
        }
        Ok(())
    }

    /// Texts have an empty line between them; of JSON each is a line.
    fn print(&mut self, profile: &Profile) -> anyhow::Result<()> {
        match self.format {
            ProfileFormat::Text => {
                if self.printed > 0 {
                    writeln!(self.to)?;
                }
                write!(self.to, "{}", profile.to_text())?;
            }
            ProfileFormat::Json => writeln!(self.to, "{}", profile.to_json())?,
        }
        self.printed += 1;
        Ok(())
    }
}

fn open(log: &Path) -> anyhow::Result<ProfileReader> {
    if log.is_dir() {
        bail!(
            "{} is a folder; a server writes its profile log into profiles/profile.log of its data directory",
            log.display()
        );
    }
    ProfileReader::open(log).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("there is no profile log {}", log.display()),
        _ => anyhow::Error::new(error).context(format!("cannot read {}", log.display())),
    })
}

fn profile(entry: &ProfileEntry) -> anyhow::Result<Profile> {
    let profile = FrozenProfile::decode(&entry.payload);
    profile.with_context(|| format!("the profile of query {} cannot be read", entry.query_id))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
