//! Makes Rust of the IDL.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    make(Path::new("."));
}

/// Makes `hs2.rs` of the IDL of this crate, which is in `folder`.
pub(crate) fn make(folder: &Path) {
    let idl = folder.join("idl/hs2.thrift");
    println!("cargo:rerun-if-changed={}", idl.display());
    println!(
        "cargo:rerun-if-changed={}",
        folder.join("build.rs").display()
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder")).join("hs2.rs");
    pilota_build::Builder::thrift()
        .ignore_unused(false)
        .compile([&idl], pilota_build::Output::File(out.clone()));
    let made = fs::read_to_string(&out).expect("pilota-build writes the file");
    fs::write(&out, without_unsafe(&made)).expect("the file can be written again");
}

/// pilota fills a list that it reads by pointers, to save the checks of `push`. Nothing here reads
/// long lists, and this crate is to be without `unsafe`.
fn without_unsafe(made: &str) -> String {
    const WRITE: &str = ".write(";
    let mut safe = String::with_capacity(made.len());
    let mut rest = made;
    while let Some(at) = rest.find("val.as_mut_ptr()") {
        safe += &rest[..at];
        rest = &rest[at..];
        let write = rest.find(WRITE).expect("a pointer is written to");
        safe += "val.push(";
        rest = &rest[write + WRITE.len()..];
    }
    safe += rest;
    let safe = safe
        .replace("val.set_len(list_ident.size);", "")
        .replace("unsafe {", "{");
    assert!(
        !safe.contains("unsafe"),
        "pilota-build makes other unsafe code than it did"
    );
    safe
}
