//! Words that cannot be names unless they are quoted.

use sqlparser::keywords::{
    ALL_KEYWORDS, ALL_KEYWORDS_INDEX, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_TABLE_ALIAS,
};

/// Names of types, which begin no column's name without quotes.
const TYPES: [&str; 6] = ["DATE", "TIMESTAMP", "INTERVAL", "CASE", "CAST", "NOT"];

/// Whether a name must be quoted because it is a word of the language.
#[must_use]
pub fn is_impala_word(name: &str) -> bool {
    let upper = name.to_uppercase();
    if TYPES.contains(&upper.as_str()) {
        return true;
    }
    let Ok(index) = ALL_KEYWORDS.binary_search(&upper.as_str()) else {
        return false;
    };
    let keyword = ALL_KEYWORDS_INDEX[index];
    RESERVED_FOR_COLUMN_ALIAS.contains(&keyword) || RESERVED_FOR_TABLE_ALIAS.contains(&keyword)
}

#[cfg(test)]
mod tests {
    use super::is_impala_word;

    #[test]
    fn words_are_told_from_names() {
        for word in ["select", "From", "group", "limit", "date"] {
            assert!(is_impala_word(word), "{word}");
        }
        for name in ["id", "name", "n_name", "year", "comment"] {
            assert!(!is_impala_word(name), "{name}");
        }
    }
}
