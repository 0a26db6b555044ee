//! All that noise has found before, and every call as clients send it.

use std::fs;
use std::path::Path;

#[test]
fn every_file_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = 0;
    for name in ["corpus", "seeds"] {
        for entry in fs::read_dir(folder.join(name)).expect("the folder is there") {
            let input = fs::read(entry.expect("an entry").path()).expect("a file");
            forebay_hs2_fuzz::check(&input);
            files += 1;
        }
    }
    assert!(files > 20, "{files} files");
}

#[test]
fn the_beginnings_of_every_file_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let input = fs::read(entry.expect("an entry").path()).expect("a file");
        for end in 0..input.len() {
            forebay_hs2_fuzz::check(&input[..end]);
        }
    }
}
