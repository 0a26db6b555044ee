//! What the tests with clients and with a browser need: programs from Debian, Python packages in a
//! virtual environment, packages of Node.js in a folder, Hive's JDBC driver in another.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::run;

/// Debian packages, and how to see that one is there.
const PACKAGES: &[(&str, Needed)] = &[
    ("postgresql-client", Needed::Program("psql")),
    ("openssl", Needed::Program("openssl")),
    ("default-jdk-headless", Needed::Program("javac")),
    (
        "libpostgresql-jdbc-java",
        Needed::File("/usr/share/java/postgresql.jar"),
    ),
    (
        "python3-venv",
        Needed::Command("python3", &["-c", "import ensurepip, venv"]),
    ),
    // To build what impala-shell needs.
    ("libsasl2-dev", Needed::File("/usr/include/sasl/sasl.h")),
    ("libkrb5-dev", Needed::Program("krb5-config")),
    ("chromium", Needed::Program("chromium")),
    ("nodejs", Needed::Program("node")),
    ("npm", Needed::Program("npm")),
    // Last, because the client's package may already have brought it.
    (
        "postgresql-contrib",
        Needed::Command("pgbench", &["--version"]),
    ),
];

enum Needed {
    Program(&'static str),
    File(&'static str),
    /// A command that ends well.
    Command(&'static str, &'static [&'static str]),
}

impl Needed {
    fn is_there(&self) -> bool {
        match self {
            Self::Program(name) => is_on_path(name),
            Self::File(path) => Path::new(path).exists(),
            Self::Command(program, arguments) => Command::new(program)
                .args(*arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success()),
        }
    }
}

/// Installs what is missing, and returns the Python that has the test clients.
pub fn everything(target_dir: &Path, clients_dir: &Path) -> Result<PathBuf> {
    debian_packages()?;
    virtual_environment(
        &target_dir.join("dbt-venv"),
        &clients_dir.join("requirements-dbt.txt"),
    )?;
    let python = virtual_environment(
        &target_dir.join("test-venv"),
        &clients_dir.join("requirements.txt"),
    )?;
    hive_driver(&python, &target_dir.join("test-jars"))?;
    Ok(python)
}

/// Where Hive's JDBC driver comes from: Debian has none, and PyPI has it inside of Spark. This is
/// the smallest release that has the driver of Hive 2: 209 MB, of which 8 are kept.
const SPARK: &str = "pyspark==3.0.3";

/// The driver and what it needs. Its Thrift classes are in Spark's own server.
const HIVE_JARS: [&str; 14] = [
    "commons-codec-1.10",
    "commons-lang-2.6",
    "commons-logging-1.1.3",
    "guava-14.0.1",
    "hive-common-2.3.7",
    "hive-jdbc-2.3.7",
    "hive-serde-2.3.7",
    "httpclient-4.5.6",
    "httpcore-4.4.12",
    "libthrift-0.12.0",
    "log4j-1.2.17",
    "slf4j-api-1.7.30",
    "slf4j-log4j12-1.7.30",
    "spark-hive-thriftserver_2.12-3.0.3",
];

/// Puts Hive's JDBC driver into a folder, unless it is there.
fn hive_driver(python: &Path, folder: &Path) -> Result<()> {
    let stamp = folder.join("made-from");
    let wanted = format!("{SPARK}: {}", HIVE_JARS.join(" "));
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(());
    }
    println!("Making {} (209 MB to download)", folder.display());
    let download = folder.join("download");
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(&download)?;
    let arguments =
        "-m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all:";
    run(Command::new(python)
        .args(arguments.split(' '))
        .arg("--dest")
        .arg(&download)
        .arg(SPARK))?;
    let archive = fs::read_dir(&download)?
        .next()
        .context("pip has downloaded nothing")??
        .path();
    let release = SPARK.replace("==", "-");
    run(Command::new("tar")
        .arg("--extract")
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(folder)
        .arg("--strip-components=3")
        .args(HIVE_JARS.map(|jar| format!("{release}/deps/jars/{jar}.jar"))))?;
    fs::remove_dir_all(download)?;
    // Last, so that a folder that was left half made is made again.
    fs::write(stamp, wanted)?;
    Ok(())
}

/// Puts the browser test and the packages that it needs into a folder, and returns that: Node.js
/// looks for packages beside a program, and nothing is installed among the sources.
pub fn browser_test(target_dir: &Path, sources: &Path) -> Result<PathBuf> {
    let folder = target_dir.join("test-browser");
    fs::create_dir_all(&folder)?;
    let lock = fs::read_to_string(sources.join("package-lock.json"))?;
    let stamp = folder.join("made-from");
    for name in ["package.json", "package-lock.json", "pages.mjs"] {
        fs::copy(sources.join(name), folder.join(name))
            .with_context(|| format!("cannot copy {name} to {}", folder.display()))?;
    }
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == lock) {
        return Ok(folder);
    }
    println!("Making {}", folder.display());
    let arguments = [
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ];
    run(Command::new("npm").args(arguments).current_dir(&folder))?;
    // Last, so that a folder that was left half made is made again.
    fs::write(stamp, lock)?;
    Ok(folder)
}

fn missing_packages() -> Vec<&'static str> {
    let missing = PACKAGES.iter().filter(|(_, needed)| !needed.is_there());
    missing.map(|(package, _)| *package).collect()
}

fn debian_packages() -> Result<()> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !is_on_path("apt-get") {
        bail!(
            "the tests need programs that are missing here. On Debian or Ubuntu:\n  \
             sudo apt-get install {}",
            missing.join(" ")
        );
    }
    println!("Installing {}", missing.join(" "));
    make_no_cluster()?;
    run(apt_get().arg("update"))?;
    // One after the other: the client's package brings pgbench on some releases and not on
    // others, and the server's is large.
    for (package, needed) in PACKAGES {
        if !needed.is_there() {
            run(apt_get().args(["install", "--yes", "--no-install-recommends", package]))?;
        }
    }
    match missing_packages()[..] {
        [] => Ok(()),
        ref missing => bail!("installed, and still missing: {}", missing.join(" ")),
    }
}

/// Keeps Debian from making and starting a database with the package: nobody wants a PostgreSQL
/// server to take port 5432.
fn make_no_cluster() -> Result<()> {
    let folder = Path::new("/etc/postgresql-common/createcluster.d");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(folder.join("forebay.conf"), "create_main_cluster = false\n"))
        .with_context(|| format!("cannot write to {}", folder.display()))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    command.arg("-qq");
    command
}

/// Makes the virtual environment anew when the requirements or the Python have changed.
fn virtual_environment(venv: &Path, requirements: &Path) -> Result<PathBuf> {
    let python = venv.join("bin").join("python");
    let stamp = venv.join("made-from");
    let version = Command::new("python3")
        .arg("--version")
        .output()
        .context("cannot start python3")?;
    let wanted = fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?
        + &String::from_utf8_lossy(&version.stdout);
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(python);
    }
    println!("Making {}", venv.display());
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(venv))?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(requirements))?;
    // Last, so that an environment that was left half made is made again.
    fs::write(stamp, wanted)?;
    Ok(python)
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
