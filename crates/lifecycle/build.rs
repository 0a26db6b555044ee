//! Makes the types of the profile's Thrift form from their IDL.

use std::path::PathBuf;
use std::{env, fs};

/// What is changed in the generated code, by its text. Each must be found: another version of
/// `pilota-build` may write other code, which has to be looked at again.
const CHANGES: [(&str, &str); 10] = [
    // Lists are filled through pointers, in memory that is reserved for as many elements as the
    // sender claims to send.
    ("unsafe {", "{"),
    (".as_mut_ptr()", ""),
    (".offset(i as isize)", ""),
    (".write(", ".push("),
    ("val.set_len(list_ident.size);", ""),
    ("with_capacity(list_ident.size)", "new()"),
    // A text that is longer than all that is left is an error, not a panic.
    (
        "__protocol.read_faststr()?",
        "__protocol.read_string()?.into()",
    ),
    // Lengths are added up while a struct is read, which the compact reader is not made for: it then
    // misses a boolean. But it goes back to the field that a struct is in only when asked for one.
    (
        "__protocol.field_begin_len(field_ident.field_type, field_ident.id);",
        "",
    ),
    ("__protocol.field_end_len();", ""),
    (
        "__protocol.read_struct_end()?;",
        "__protocol.read_struct_end()?; __protocol.struct_end_len();",
    ),
];

fn main() {
    const IDL: &str = "idl/runtime_profile.thrift";
    println!("cargo::rerun-if-changed={IDL}");
    println!("cargo::rerun-if-changed=build.rs");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo names a folder"));
    let path = folder.join("runtime_profile.rs");
    pilota_build::Builder::thrift()
        .ignore_unused(false)
        .compile([IDL], pilota_build::Output::File(path.clone()));
    let generated = fs::read_to_string(&path).expect("code was generated");
    let changed = CHANGES.iter().fold(generated, |code, (from, to)| {
        assert!(
            code.contains(from),
            "pilota-build does not write `{from}` any more"
        );
        code.replace(from, to)
    });
    fs::write(&path, changed).expect("the folder can be written");
}
