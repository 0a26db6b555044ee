//! `CREATE`, `ALTER` and `DROP RESOURCE QUEUE`, and comments on resource queues.
//!
//! Attributes are passed on as text: which there are and what they may be is the catalog's to say.

use sqlparser::tokenizer::Token;

use super::tokens::StatementParser;
use crate::error::ParseError;
use crate::statement::{QueueOption, Statement};

impl StatementParser<'_> {
    pub(super) fn at_queue(&self, verb: &str) -> bool {
        self.ahead(&[verb, "RESOURCE", "QUEUE"])
    }

    pub(super) fn create_queue(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["CREATE", "RESOURCE", "QUEUE"])?;
        let name = self.name()?;
        let mut options = self.thresholds()?;
        if self.eat(&["WITH"]) {
            options.extend(self.queue_options()?);
        }
        Ok(Statement::CreateResourceQueue { name, options })
    }

    pub(super) fn alter_queue(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["ALTER", "RESOURCE", "QUEUE"])?;
        let name = self.name()?;
        let mut options = self.thresholds()?;
        if self.eat(&["WITH"]) {
            options.extend(self.queue_options()?);
        }
        if self.eat(&["WITHOUT"]) {
            let names = self.names_in_parens()?;
            options.extend(names.into_iter().map(|name| option(&name, None)));
        }
        Ok(Statement::AlterResourceQueue { name, options })
    }

    pub(super) fn drop_queue(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["DROP", "RESOURCE", "QUEUE"])?;
        let if_exists = self.eat(&["IF", "EXISTS"]);
        let name = self.name()?;
        Ok(Statement::DropResourceQueue { name, if_exists })
    }

    pub(super) fn comment(&mut self) -> Result<Statement, ParseError> {
        if !self.ahead(&["COMMENT", "ON", "RESOURCE", "QUEUE"]) {
            return self.plan().map(Statement::Plan);
        }
        self.expect(&["COMMENT", "ON", "RESOURCE", "QUEUE"])?;
        let name = self.name()?;
        self.expect(&["IS"])?;
        let comment = match self.eat(&["NULL"]) {
            true => None,
            false => Some(self.string()?),
        };
        Ok(Statement::CommentOnResourceQueue { name, comment })
    }

    /// The queue of a role; `None` is `NONE`.
    pub(super) fn role_queue(&mut self) -> Result<Option<String>, ParseError> {
        self.expect(&["RESOURCE", "QUEUE"])?;
        match self.eat(&["NONE"]) {
            true => Ok(None),
            false => self.name().map(Some),
        }
    }

    /// The old spellings, as many as there are.
    fn thresholds(&mut self) -> Result<Vec<QueueOption>, ParseError> {
        let mut options = Vec::new();
        loop {
            let attribute = if self.eat(&["ACTIVE", "THRESHOLD"]) {
                "active_statements"
            } else if self.eat(&["COST", "THRESHOLD"]) {
                "max_cost"
            } else if self.eat(&["IGNORE", "THRESHOLD"]) {
                "min_cost"
            } else if self.eat(&["OVERCOMMIT"]) {
                options.push(option("cost_overcommit", Some("true")));
                continue;
            } else if self.eat(&["NOOVERCOMMIT"]) {
                options.push(option("cost_overcommit", Some("false")));
                continue;
            } else {
                return Ok(options);
            };
            let Some(number) = self.eat_number() else {
                return self.unexpected("a number");
            };
            options.push(option(attribute, Some(&number)));
        }
    }

    fn queue_options(&mut self) -> Result<Vec<QueueOption>, ParseError> {
        self.expect_token(&Token::LParen)?;
        let options = self.list(Self::queue_option)?;
        self.expect_token(&Token::RParen)?;
        Ok(options)
    }

    /// `name = value`; a name alone means `true`, as in all lists of definitions.
    fn queue_option(&mut self) -> Result<QueueOption, ParseError> {
        let name = self.name()?;
        if !self.eat_token(&Token::Eq) {
            return Ok(option(&name, Some("true")));
        }
        let value = match self.eat_string().or_else(|| self.eat_number()) {
            Some(value) => value,
            None => match self.leading_word() {
                Some(word) => {
                    self.next();
                    word.to_ascii_lowercase()
                }
                None => return self.unexpected("a value"),
            },
        };
        Ok(option(&name, Some(&value)))
    }
}

fn option(name: &str, value: Option<&str>) -> QueueOption {
    QueueOption {
        name: name.to_ascii_lowercase(),
        value: value.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn read(text: &str) -> String {
        let parsed = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        format!("{:?}", parsed[0].statement)
    }

    fn options(text: &str) -> Vec<(String, Option<String>)> {
        use crate::Statement::{AlterResourceQueue, CreateResourceQueue};
        let parsed = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        match &parsed[0].statement {
            CreateResourceQueue { options, .. } | AlterResourceQueue { options, .. } => options
                .iter()
                .map(|o| (o.name.clone(), o.value.clone()))
                .collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    fn pairs(expected: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)))
            .collect()
    }

    #[test]
    fn attributes_in_any_case_quoted_and_with_exponents() {
        assert_eq!(
            options(
                "create resource queue Q with (Active_Statements = 20, MAX_COST=4e+3, \
                 cost_overcommit=TRUE, min_cost = '5E2', \"MEMORY_LIMIT\"='2000MB', \
                 priority=High, max_queued=-1, queue_timeout='30s')"
            ),
            pairs(&[
                ("active_statements", Some("20")),
                ("max_cost", Some("4e+3")),
                ("cost_overcommit", Some("true")),
                ("min_cost", Some("5E2")),
                ("memory_limit", Some("2000MB")),
                ("priority", Some("high")),
                ("max_queued", Some("-1")),
                ("queue_timeout", Some("30s")),
            ])
        );
        assert_eq!(
            options("alter resource queue q with (cost_overcommit)"),
            pairs(&[("cost_overcommit", Some("true"))])
        );
    }

    #[test]
    fn old_spellings_mix_with_lists() {
        assert_eq!(
            options(
                "ALTER RESOURCE QUEUE q COST THRESHOLD 3000.00 NOOVERCOMMIT ACTIVE THRESHOLD -10 \
                 IGNORE THRESHOLD 1 OVERCOMMIT WITH (priority='MeDiUm') WITHOUT (Memory_Limit, x)"
            ),
            pairs(&[
                ("max_cost", Some("3000.00")),
                ("cost_overcommit", Some("false")),
                ("active_statements", Some("-10")),
                ("min_cost", Some("1")),
                ("cost_overcommit", Some("true")),
                ("priority", Some("MeDiUm")),
                ("memory_limit", None),
                ("x", None),
            ])
        );
        // Without any attribute: the catalog refuses it, the grammar does not.
        assert_eq!(options("create resource queue q"), []);
        assert_eq!(options("alter resource queue q"), []);
    }

    #[test]
    fn drop_and_comment() {
        assert_eq!(
            read("drop resource queue if exists \"My Queue\""),
            "DropResourceQueue { name: \"My Queue\", if_exists: true }"
        );
        assert_eq!(
            read("COMMENT ON RESOURCE QUEUE q IS 'it''s'"),
            "CommentOnResourceQueue { name: \"q\", comment: Some(\"it's\") }"
        );
        assert_eq!(
            read("comment on resource queue q is null"),
            "CommentOnResourceQueue { name: \"q\", comment: None }"
        );
    }

    #[test]
    fn a_role_has_a_queue_or_none() {
        use crate::Statement::{AlterRole, CreateRole};
        let queue = |text: &str| match &parse(text).unwrap()[0].statement {
            CreateRole { options, .. } | AlterRole { options, .. } => {
                options.resource_queue.clone()
            }
            other => panic!("{other:?}"),
        };
        let named = |name: &str| Some(Some(name.to_owned()));
        assert_eq!(
            queue("create user u login resource queue Adhoc"),
            named("adhoc")
        );
        assert_eq!(queue("alter role r resource queue none"), Some(None));
        assert_eq!(queue("alter role r resource queue \"none\""), named("none"));
        assert_eq!(queue("alter role r nologin"), None);
    }

    #[test]
    fn what_is_no_statement() {
        for text in [
            "create resource queue",
            "create resource queue q active threshold",
            "create resource queue q active threshold two",
            "create resource queue q with ()",
            "create resource queue q with (max_cost=)",
            "create resource queue q with (max_cost=1",
            "create resource queue q without (max_cost)",
            "alter resource queue q without max_cost",
            "drop resource queue a, b",
            "comment on resource queue q is 5",
            "create role r resource queue",
            "create role r resource queue a resource queue b",
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.sqlstate, "42601", "{text}");
        }
    }

    #[test]
    fn never_in_a_transaction_block() {
        for (text, tag) in [
            (
                "create resource queue q active threshold 1",
                "CREATE RESOURCE QUEUE",
            ),
            (
                "alter resource queue q active threshold 1",
                "ALTER RESOURCE QUEUE",
            ),
            ("drop resource queue q", "DROP RESOURCE QUEUE"),
        ] {
            let class = parse(text).unwrap()[0].statement.classify();
            assert_eq!(class.statement_type, tag);
            assert!(class.forbidden_in_transaction_block, "{text}");
            assert!(!class.governed, "{text}");
        }
        let class = parse("comment on resource queue q is ''").unwrap()[0]
            .statement
            .classify();
        assert_eq!(class.statement_type, "COMMENT");
        assert!(!class.forbidden_in_transaction_block);
    }
}
