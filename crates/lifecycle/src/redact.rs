//! What must not be in logs is taken out of a statement's text, and a long text is cut.

use regex::{NoExpand, Regex, RegexBuilder};
use serde::Deserialize;
use std::borrow::Cow;
use std::path::Path;

/// What stands at the end of a text that was cut.
const CUT_MARK: &str = "...";

/// How large a compiled rule may be.
const MAX_RULE_BYTES: usize = 4 << 20;

/// How many rules there may be: each one reads every statement.
const MAX_RULES: usize = 1000;

/// The word PASSWORD and a literal behind it: `'…'` in each of its forms, several of them on successive
/// lines, or `$tag$…$tag$`. Comments may be between. A literal without its end, which is a syntax error
/// but is logged all the same, reaches to the end of the text.
const PASSWORD: &str = r"(?isx)
    \b (?P<word>password)
    (?: (?: \s | --[^\n]*(?:\n|\z) | /\*.*?(?:\*/|\z) )* )
    (?:
        e ' (?: [^'\\] | '' | \\. )* (?: '|\\?\z )
          (?: (?: \s | --[^\n]*(?:\n|\z) )* ' (?: [^'\\] | '' | \\. )* (?: '|\\?\z ) )*
        | (?: n | u& | b | x )? ' (?: [^'] | '' )* (?: '|\z )
          (?: (?: \s | --[^\n]*(?:\n|\z) )* ' (?: [^'] | '' )* (?: '|\z ) )*
        | \$ (?: [^\s$'] )* \$ (?: .* \$ [^\s$']* \$ | .* )
    )";

/// What a password is replaced by.
const PASSWORD_REPLACEMENT: &str = "${word} '***'";

/// Takes secrets out of statements by rules, and cuts what is too long.
///
/// Passwords (`CREATE ROLE … PASSWORD '…'`) are always taken out.
#[derive(Debug, Clone)]
pub struct Redactor {
    rules: Vec<Rule>,
    max_bytes: usize,
}

#[derive(Debug, Clone)]
struct Rule {
    /// A text without which the rule has nothing to do, in the rule's own care for letter case.
    trigger: Option<Regex>,
    search: Regex,
    replace: String,
    /// Whether `$1` and `${name}` in `replace` mean groups of `search`.
    expands: bool,
}

/// A file of rules. Its form is Impala's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    version: u64,
    rules: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RuleText {
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    trigger: Option<String>,
    search: String,
    replace: String,
    #[serde(default = "yes")]
    case_sensitive: bool,
}

fn yes() -> bool {
    true
}

/// Rules that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedactionError {
    /// The file cannot be read.
    #[error("cannot read the redaction rules {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a list of rules.
    #[error(
        "the redaction rules are not as expected: {0}; the form is \
         {{\"version\": 1, \"rules\": [{{\"search\": \"regular expression\", \"replace\": \"text\"}}]}}"
    )]
    Form(String),
    /// One rule is wrong.
    #[error("redaction rule {number}: {reason}")]
    Rule {
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl Redactor {
    /// A redactor with the built-in rule only, that cuts texts to `max_bytes`; zero means no bound.
    pub fn new(max_bytes: usize) -> Self {
        let search = Regex::new(PASSWORD).expect("the built-in rule is a regular expression");
        let passwords = Rule {
            trigger: None,
            search,
            replace: PASSWORD_REPLACEMENT.to_owned(),
            expands: true,
        };
        Redactor {
            rules: vec![passwords],
            max_bytes,
        }
    }

    /// Adds rules, which come after those that are there. The text is JSON:
    ///
    /// ```json
    /// {"version": 1, "rules": [
    ///   {"description": "card numbers", "trigger": "-", "caseSensitive": false,
    ///    "search": "\\d{4}-\\d{4}-\\d{4}-(\\d{4})", "replace": "XXXX-XXXX-XXXX-$1"}]}
    /// ```
    ///
    /// `search` and `replace` are needed. `$1` in `replace` is a group of `search`, and so is `\1`, as
    /// Impala writes it; `$$` is a dollar. A rule with a `trigger` leaves texts alone that do not contain
    /// it. `caseSensitive` is for both, and true unless it says otherwise.
    ///
    /// # Errors
    ///
    /// [`RedactionError::Form`] or [`RedactionError::Rule`] with the place and the reason.
    pub fn with_rules(mut self, json: &str) -> Result<Self, RedactionError> {
        let file: RuleFile =
            serde_json::from_str(json).map_err(|error| RedactionError::Form(error.to_string()))?;
        if file.version != 1 {
            let text = format!("version {} is not known", file.version);
            return Err(RedactionError::Form(text));
        }
        if file.rules.len() > MAX_RULES {
            let text = format!("there are more than {MAX_RULES} rules");
            return Err(RedactionError::Form(text));
        }
        for (index, text) in file.rules.into_iter().enumerate() {
            let rule = compile(text).map_err(|reason| RedactionError::Rule {
                number: index + 1,
                reason,
            })?;
            self.rules.push(rule);
        }
        Ok(self)
    }

    /// Adds the rules in a file.
    ///
    /// # Errors
    ///
    /// [`RedactionError::Read`] if it cannot be read, and those of [`Redactor::with_rules`].
    pub fn with_rules_of(self, path: &Path) -> Result<Self, RedactionError> {
        let json = std::fs::read_to_string(path).map_err(|source| RedactionError::Read {
            path: path.display().to_string(),
            source,
        })?;
        self.with_rules(&json)
    }

    /// The text without what the rules take out, cut to the bound. A text that needs neither is not
    /// copied.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut redacted = Cow::Borrowed(text);
        for rule in &self.rules {
            if let Some(changed) = rule.apply(&redacted) {
                redacted = Cow::Owned(changed);
            }
        }
        // Only then: a secret that is cut in two may no longer look like one.
        self.cut(redacted)
    }

    fn cut<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        if self.max_bytes == 0 || text.len() <= self.max_bytes {
            return text;
        }
        let kept = &text[..text.floor_char_boundary(self.max_bytes.saturating_sub(CUT_MARK.len()))];
        let mark = &CUT_MARK[..CUT_MARK.len().min(self.max_bytes)];
        Cow::Owned(format!("{kept}{mark}"))
    }
}

impl Rule {
    /// The text after this rule, if it changes.
    fn apply(&self, text: &str) -> Option<String> {
        if self
            .trigger
            .as_ref()
            .is_some_and(|trigger| !trigger.is_match(text))
        {
            return None;
        }
        let changed = if self.expands {
            self.search.replace_all(text, self.replace.as_str())
        } else {
            self.search.replace_all(text, NoExpand(&self.replace))
        };
        match changed {
            Cow::Borrowed(_) => None,
            Cow::Owned(changed) => Some(changed),
        }
    }
}

fn compile(text: RuleText) -> Result<Rule, String> {
    if text.search.is_empty() {
        return Err("\"search\" is empty".to_owned());
    }
    let compiled = |pattern: &str| {
        RegexBuilder::new(pattern)
            .case_insensitive(!text.case_sensitive)
            .size_limit(MAX_RULE_BYTES)
            .build()
            .map_err(|error| error.to_string())
    };
    let trigger = text.trigger.as_deref().filter(|t| !t.is_empty());
    let replace = replacement(&text.replace);
    Ok(Rule {
        trigger: trigger.map(|t| compiled(&regex::escape(t))).transpose()?,
        search: compiled(&text.search)?,
        expands: replace.contains('$'),
        replace,
    })
}

/// The text that stands for what was found, with each `\1` as `${1}` and each `\\` as `\`.
fn replacement(written: &str) -> String {
    let mut text = String::with_capacity(written.len());
    let mut rest = written.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek().copied()) {
            ('\\', Some(digit @ '0'..='9')) => {
                rest.next();
                text.extend(['$', '{', digit, '}']);
            }
            ('\\', Some('\\')) => {
                rest.next();
                text.push('\\');
            }
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redact(text: &str) -> String {
        Redactor::new(0).redact(text).into_owned()
    }

    #[test]
    fn passwords_are_taken_out_in_all_their_forms() {
        for statement in [
            "CREATE ROLE ada PASSWORD 'geheim'",
            "alter user ada with encrypted password\n\t'geheim' valid until 'tomorrow'",
            "ALTER ROLE ada PASSWORD E'a\\'geheim' LOGIN",
            "ALTER ROLE ada PASSWORD 'a''geheim' LOGIN",
            "ALTER ROLE ada PASSWORD 'a\\'\n'geheim' LOGIN",
            "ALTER ROLE ada PASSWORD e'a'\n'\\'geheim' LOGIN",
            "ALTER ROLE ada PASSWORD U&'\\0041geheim'",
            "ALTER ROLE ada PASSWORD 'a'\n'geheim'\n -- more\n 'geheim' LOGIN",
            "ALTER ROLE ada PASSWORD /* a 'comment' */ -- and 'one'\n 'geheim'",
            "ALTER ROLE ada PASSWORD $$geheim$$ LOGIN",
            "ALTER ROLE ada PASSWORD $a$gehe$$geheim$b$im$a$ LOGIN",
            "ALTER ROLE ada PASSWORD 'geheim",
            "ALTER ROLE ada PASSWORD 'geheim\\",
            "ALTER ROLE ada PASSWORD $a$geheim",
            "ALTER ROLE ada PASSWORD'geheim'",
            "ALTER ROLE a PASSWORD 'geheim'; ALTER ROLE b PASSWORD 'geheim'",
        ] {
            let redacted = redact(statement);
            assert!(!redacted.contains("geheim"), "{statement}: {redacted}");
            assert!(
                redacted.to_lowercase().contains("password '***'"),
                "{redacted}"
            );
        }
        assert_eq!(
            redact("ALTER ROLE ada PASSWORD 'x' LOGIN"),
            "ALTER ROLE ada PASSWORD '***' LOGIN"
        );
    }

    #[test]
    fn everything_else_stays_and_is_not_copied() {
        for statement in [
            "SELECT password FROM users WHERE name = 'ada'",
            "SELECT * FROM t WHERE password = 'x'",
            "ALTER ROLE ada PASSWORD NULL",
            "SELECT 1",
            "",
        ] {
            assert!(
                matches!(Redactor::new(0).redact(statement), Cow::Borrowed(text) if text == statement)
            );
        }
    }

    #[test]
    fn rules_come_from_json() {
        let rules = r#"{"version": 1, "rules": [
            {"description": "cards", "trigger": "-", "search": "\\d{4}-(\\d{4})", "replace": "X-$1"},
            {"search": "secret", "replace": "$$", "caseSensitive": false},
            {"search": "(t)wo", "replace": "\\1, not \\0, \\\\1"}]}"#;
        let redactor = Redactor::new(0).with_rules(rules).unwrap();
        let redacted = redactor.redact("1234-5678 SeCrEt two Two PASSWORD 'x'");
        assert_eq!(redacted, "X-5678 $ t, not two, \\1 Two PASSWORD '***'");
    }

    #[test]
    fn a_trigger_cares_for_letter_case_as_its_rule_does() {
        let rules = r#"{"version": 1, "rules": [
            {"trigger": "Key.", "search": "key.=\\w+", "replace": "K", "caseSensitive": false},
            {"trigger": "Pin", "search": "pin=\\d+", "replace": "P"}]}"#;
        let redactor = Redactor::new(0).with_rules(rules).unwrap();
        assert_eq!(redactor.redact("KEY.=abc pin=12"), "K pin=12");
        assert_eq!(redactor.redact("Pin pin=12 keys=abc"), "Pin P keys=abc");
    }

    #[test]
    fn wrong_rules_are_told_with_their_place() {
        for (json, expected) in [
            ("", "the redaction rules are not as expected: EOF"),
            (r#"{"version": 2, "rules": []}"#, "version 2 is not known"),
            (
                r#"{"version": 1, "rules": [{"search": "a"}]}"#,
                "missing field `replace`",
            ),
            (
                r#"{"version": 1, "rules": [{"search": "a", "replace": "", "sarch": ""}]}"#,
                "unknown field `sarch`",
            ),
            (
                r#"{"version": 1, "rules": [{"search": "a", "replace": ""}, {"search": "(", "replace": ""}]}"#,
                "redaction rule 2: ",
            ),
            (
                r#"{"version": 1, "rules": [{"search": "", "replace": ""}]}"#,
                "redaction rule 1: \"search\" is empty",
            ),
        ] {
            let error = Redactor::new(0).with_rules(json).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let missing = Path::new("/nowhere/rules.json");
        let error = Redactor::new(0)
            .with_rules_of(missing)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with("cannot read the redaction rules /nowhere/rules.json: "),
            "{error}"
        );
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "añ日🙂".repeat(3);
        for max_bytes in 1..=text.len() + 1 {
            let cut = Redactor::new(max_bytes).redact(&text).into_owned();
            assert!(cut.len() <= max_bytes, "{max_bytes}: {cut}");
            assert_eq!(cut == text, max_bytes >= text.len(), "{max_bytes}: {cut}");
            let kept = cut.strip_suffix(CUT_MARK).unwrap_or(&cut);
            assert!(
                max_bytes < 3 || text.starts_with(kept),
                "{max_bytes}: {cut}"
            );
        }
        assert_eq!(Redactor::new(0).redact(&text), text);
    }

    #[test]
    fn a_secret_across_the_cut_is_taken_out_before() {
        let text = "ALTER ROLE ada PASSWORD 'geheim'";
        for max_bytes in 1..text.len() {
            let cut = Redactor::new(max_bytes).redact(text).into_owned();
            assert!(!cut.contains('g'), "{max_bytes}: {cut}");
        }
    }

    #[test]
    fn a_megabyte_of_hostile_text_is_read_once() {
        let text = format!("password {}", "'".repeat(1 << 20));
        assert!(redact(&text).len() < 100);
        let text = "password ".repeat(100_000);
        assert_eq!(redact(&text), text);
    }
}
