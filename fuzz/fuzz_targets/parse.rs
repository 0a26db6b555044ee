//! Whatever text a client sends, parsing it ends with statements or an error.
//!
//! How to run it is in CONTRIBUTING.md; seeds are in `seeds/parse`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The wire turns whatever is not UTF-8 into replacement characters.
    let text = String::from_utf8_lossy(bytes);
    let Ok(statements) = forebay_sql::parse(&text) else {
        return;
    };
    for parsed in statements {
        // The text of a statement is a slice of the input, at its position in characters.
        let rest: String = text.chars().skip(parsed.position).collect();
        assert!(
            rest.starts_with(&*parsed.text),
            "{:?} is not at {}",
            parsed.text,
            parsed.position
        );
        let _ = parsed.statement.classify();
        let _ = parsed.statement.parameters();
    }
});
