//! `COPY`, with the options of three ages: a list in parentheses, the words that came before it,
//! and DataFusion's `STORED AS … PARTITIONED BY … OPTIONS (…)`.

use sqlparser::tokenizer::Token;

use super::tokens::StatementParser;
use crate::error::{ParseError, SYNTAX_ERROR};
use crate::statement::{
    Copy, CopyColumns, CopyDirection, CopyInput, CopyOptions, CopySource, CopyTarget, Statement,
};

impl StatementParser<'_> {
    pub(super) fn copy(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["COPY"])?;
        let mut options = CopyOptions::default();
        if self.ahead(&["BINARY"])
            && !self.ahead(&["BINARY", "TO"])
            && !self.ahead(&["BINARY", "FROM"])
        {
            self.next();
            options.format = Some("binary".to_owned());
        }
        let source = self.copy_source()?;
        let direction = self.copy_direction(&source)?;
        self.copy_options(&mut options)?;
        Ok(Statement::Copy(Box::new(Copy {
            source,
            direction,
            options,
        })))
    }

    fn copy_source(&mut self) -> Result<CopySource, ParseError> {
        if self.eat_token(&Token::LParen) {
            let query = self.query()?;
            self.expect_token(&Token::RParen)?;
            return Ok(CopySource::Query(query));
        }
        let name = self.relation()?;
        let columns = match self.peek().token {
            Token::LParen => self.names_in_parens()?,
            _ => Vec::new(),
        };
        Ok(CopySource::Table { name, columns })
    }

    fn copy_direction(&mut self, source: &CopySource) -> Result<CopyDirection, ParseError> {
        if self.eat(&["TO"]) {
            let file = self.copy_file()?;
            return Ok(CopyDirection::To(
                file.map_or(CopyTarget::Stdout, CopyTarget::File),
            ));
        }
        if matches!(source, CopySource::Query(_)) {
            return self.unexpected("TO");
        }
        if self.eat(&["FROM"]) {
            let file = self.copy_file()?;
            return Ok(CopyDirection::From(
                file.map_or(CopyInput::Stdin, CopyInput::File),
            ));
        }
        self.unexpected("TO or FROM")
    }

    /// A file's name; `None` is the client. As in PostgreSQL, either of the two words will do.
    fn copy_file(&mut self) -> Result<Option<String>, ParseError> {
        if self.ahead(&["PROGRAM"]) {
            return self.unsupported("COPY with PROGRAM");
        }
        if self.eat_one_of(&["STDOUT", "STDIN"]).is_some() {
            return Ok(None);
        }
        self.string().map(Some)
    }

    fn copy_options(&mut self, options: &mut CopyOptions) -> Result<(), ParseError> {
        while !self.at_end() {
            self.eat(&["WITH"]);
            if self.at_left_paren() {
                self.copy_option_list(options)?;
            } else {
                self.copy_option_words(options)?;
            }
        }
        Ok(())
    }

    fn copy_option_list(&mut self, options: &mut CopyOptions) -> Result<(), ParseError> {
        self.expect_token(&Token::LParen)?;
        self.list(|p| p.copy_option(options))?;
        self.expect_token(&Token::RParen)
    }

    /// One option of the list in parentheses.
    fn copy_option(&mut self, options: &mut CopyOptions) -> Result<(), ParseError> {
        let start = self.here();
        let name = self.option_name()?;
        let fresh = match name.as_str() {
            "format" => {
                let format = self.word_or_string()?;
                options.format.replace(format).is_none()
            }
            "delimiter" => self.copy_text(&mut options.delimiter)?,
            "null" => self.copy_text(&mut options.null)?,
            "quote" => self.copy_text(&mut options.quote)?,
            "escape" => self.copy_text(&mut options.escape)?,
            "encoding" => self.copy_text(&mut options.encoding)?,
            "force_quote" => {
                let columns = self.copy_columns()?;
                options.force_quote.replace(columns).is_none()
            }
            "header" if self.ahead(&["MATCH"]) => {
                options.other.push(("header".to_owned(), self.name()?));
                true
            }
            "header" => {
                options.header = self.switch("header")?;
                true
            }
            _ => {
                let value = self.other_value()?;
                options.other.push((name, value));
                true
            }
        };
        redundant_unless(fresh, start.position())
    }

    fn copy_text(&mut self, slot: &mut Option<String>) -> Result<bool, ParseError> {
        let text = self.string()?;
        Ok(slot.replace(text).is_none())
    }

    /// An option's name: a word, a dotted word, or a string.
    fn option_name(&mut self) -> Result<String, ParseError> {
        if let Some(name) = self.eat_string() {
            return Ok(name);
        }
        let mut name = self.name()?;
        while self.eat_token(&Token::Period) {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name)
    }

    /// The value of an option that only the writer of the file knows.
    fn other_value(&mut self) -> Result<String, ParseError> {
        if matches!(self.peek().token, Token::Comma | Token::RParen) {
            return Ok("true".to_owned());
        }
        if self.eat_token(&Token::Mul) {
            return Ok("*".to_owned());
        }
        if self.at_left_paren() {
            return self.names_in_parens().map(|names| names.join(","));
        }
        if let Some(text) = self.eat_string() {
            return Ok(text);
        }
        match self.eat_number() {
            Some(number) => Ok(number),
            None => self.name(),
        }
    }

    fn copy_columns(&mut self) -> Result<CopyColumns, ParseError> {
        if self.eat_token(&Token::Mul) {
            return Ok(CopyColumns::All);
        }
        self.names_in_parens().map(CopyColumns::Some)
    }

    /// One option of the older kind, or of DataFusion's.
    fn copy_option_words(&mut self, options: &mut CopyOptions) -> Result<(), ParseError> {
        let start = self.here();
        let fresh = if self.eat(&["CSV"]) {
            options.format.replace("csv".to_owned()).is_none()
        } else if self.eat(&["BINARY"]) {
            options.format.replace("binary".to_owned()).is_none()
        } else if self.eat(&["STORED", "AS"]) {
            let format = self.word_or_string()?;
            options.format.replace(format).is_none()
        } else if self.eat(&["HEADER"]) {
            !std::mem::replace(&mut options.header, true)
        } else if self.eat(&["PARTITIONED", "BY"]) {
            options.partitioned_by = self.names_in_parens()?;
            true
        } else if self.eat(&["OPTIONS"]) {
            self.file_options(options)?;
            true
        } else {
            return self.copy_text_or_force(options);
        };
        redundant_unless(fresh, start.position())
    }

    fn copy_text_or_force(&mut self, options: &mut CopyOptions) -> Result<(), ParseError> {
        let start = self.here();
        // `USING DELIMITERS` is older still.
        self.eat(&["USING"]);
        let words = [
            "DELIMITER",
            "DELIMITERS",
            "NULL",
            "QUOTE",
            "ESCAPE",
            "ENCODING",
        ];
        let fresh = match self.eat_one_of(&words) {
            Some(word) => {
                self.eat(&["AS"]);
                let slot = match word {
                    "NULL" => &mut options.null,
                    "QUOTE" => &mut options.quote,
                    "ESCAPE" => &mut options.escape,
                    "ENCODING" => &mut options.encoding,
                    _ => &mut options.delimiter,
                };
                self.copy_text(slot)?
            }
            None => return self.force_or_where(options),
        };
        redundant_unless(fresh, start.position())
    }

    fn force_or_where(&mut self, options: &mut CopyOptions) -> Result<(), ParseError> {
        if self.eat(&["FORCE", "QUOTE"]) {
            options.force_quote = Some(match self.eat_token(&Token::Mul) {
                true => CopyColumns::All,
                false => CopyColumns::Some(self.list(Self::name)?),
            });
        } else if self.eat(&["FORCE", "NOT", "NULL"]) {
            let columns = self.list(Self::name)?.join(",");
            options.other.push(("force_not_null".to_owned(), columns));
        } else if self.eat(&["FORCE", "NULL"]) {
            let columns = self.list(Self::name)?.join(",");
            options.other.push(("force_null".to_owned(), columns));
        } else if self.eat(&["FREEZE"]) {
            options.other.push(("freeze".to_owned(), "true".to_owned()));
        } else if self.eat(&["WHERE"]) {
            let condition = self.expression()?.to_string();
            options.other.push(("where".to_owned(), condition));
        } else {
            return self.unexpected("a COPY option");
        }
        Ok(())
    }

    /// DataFusion's list: keys and values side by side, all of them for the file's writer.
    fn file_options(&mut self, options: &mut CopyOptions) -> Result<(), ParseError> {
        self.expect_token(&Token::LParen)?;
        let pairs = self.list(|p| Ok((p.option_name()?, p.other_value()?)))?;
        options.other.extend(pairs);
        self.expect_token(&Token::RParen)
    }
}

fn redundant_unless(fresh: bool, position: usize) -> Result<(), ParseError> {
    if fresh {
        Ok(())
    } else {
        Err(ParseError::new(SYNTAX_ERROR, "conflicting or redundant options").at(position))
    }
}
