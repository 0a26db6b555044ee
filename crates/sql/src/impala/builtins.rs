//! The functions that Impala's clients are told of, as `SHOW FUNCTIONS IN _impala_builtins` lists them.

use super::show::{like, literal};
use super::words::Words;
use crate::error::ParseError;

/// Where Impala keeps its own functions.
const DATABASE: &str = "_impala_builtins";

/// What is given, and name and arguments, by name. Functions that PostgreSQL's clients have beside
/// these can be called too.
#[rustfmt::skip]
pub(super) const BUILTINS: &[(&str, &str)] = &[
    ("DOUBLE", "abs(DOUBLE)"), ("BIGINT", "abs(BIGINT)"), ("DOUBLE", "acos(DOUBLE)"),
    ("TIMESTAMP", "add_months(TIMESTAMP, BIGINT)"), ("TIMESTAMP", "adddate(TIMESTAMP, BIGINT)"),
    ("DOUBLE", "appx_median(BIGINT)"), ("INT", "ascii(STRING)"), ("DOUBLE", "asin(DOUBLE)"),
    ("DOUBLE", "atan(DOUBLE)"), ("DOUBLE", "atan2(DOUBLE, DOUBLE)"), ("DECIMAL", "avg(BIGINT)"),
    ("DOUBLE", "avg(DOUBLE)"), ("STRING", "base64encode(STRING)"), ("BIGINT", "bitand(BIGINT, BIGINT)"),
    ("BIGINT", "bitnot(BIGINT)"), ("BIGINT", "bitor(BIGINT, BIGINT)"), ("BIGINT", "bitxor(BIGINT, BIGINT)"),
    ("STRING", "btrim(STRING)"), ("DOUBLE", "ceil(DOUBLE)"), ("DOUBLE", "ceiling(DOUBLE)"),
    ("INT", "char_length(STRING)"), ("STRING", "chr(INT)"), ("BIGINT", "coalesce(BIGINT, BIGINT)"),
    ("STRING", "concat(STRING, STRING)"), ("STRING", "concat_ws(STRING, STRING, STRING)"),
    ("DOUBLE", "cos(DOUBLE)"), ("DOUBLE", "cot(DOUBLE)"), ("BIGINT", "count(BIGINT)"),
    ("STRING", "current_database()"), ("DATE", "current_date()"), ("STRING", "current_session()"),
    ("TIMESTAMP", "current_timestamp()"), ("TIMESTAMP", "date_add(TIMESTAMP, BIGINT)"),
    ("TIMESTAMP", "date_sub(TIMESTAMP, BIGINT)"), ("INT", "datediff(TIMESTAMP, TIMESTAMP)"),
    ("INT", "day(TIMESTAMP)"), ("STRING", "dayname(TIMESTAMP)"), ("INT", "dayofmonth(TIMESTAMP)"),
    ("INT", "dayofweek(TIMESTAMP)"), ("INT", "dayofyear(TIMESTAMP)"),
    ("TIMESTAMP", "days_add(TIMESTAMP, BIGINT)"), ("TIMESTAMP", "days_sub(TIMESTAMP, BIGINT)"),
    ("BIGINT", "decode(BIGINT, BIGINT, BIGINT)"), ("DOUBLE", "degrees(DOUBLE)"), ("DOUBLE", "e()"),
    ("STRING", "effective_user()"), ("DOUBLE", "exp(DOUBLE)"), ("DOUBLE", "floor(DOUBLE)"),
    ("DOUBLE", "fmod(DOUBLE, DOUBLE)"), ("BIGINT", "fnv_hash(STRING)"),
    ("STRING", "from_timestamp(TIMESTAMP, STRING)"), ("STRING", "from_unixtime(BIGINT)"),
    ("STRING", "from_unixtime(BIGINT, STRING)"), ("BIGINT", "greatest(BIGINT, BIGINT)"),
    ("STRING", "group_concat(STRING)"), ("STRING", "group_concat(STRING, STRING)"),
    ("STRING", "hex(BIGINT)"), ("STRING", "hex(STRING)"), ("INT", "hour(TIMESTAMP)"),
    ("TIMESTAMP", "hours_add(TIMESTAMP, BIGINT)"), ("TIMESTAMP", "hours_sub(TIMESTAMP, BIGINT)"),
    ("BIGINT", "if(BOOLEAN, BIGINT, BIGINT)"), ("BIGINT", "ifnull(BIGINT, BIGINT)"), ("STRING", "initcap(STRING)"),
    ("INT", "instr(STRING, STRING)"), ("BOOLEAN", "isfalse(BOOLEAN)"), ("BOOLEAN", "isnotfalse(BOOLEAN)"),
    ("BOOLEAN", "isnottrue(BOOLEAN)"), ("BIGINT", "isnull(BIGINT, BIGINT)"), ("BOOLEAN", "istrue(BOOLEAN)"),
    ("DATE", "last_day(TIMESTAMP)"), ("STRING", "lcase(STRING)"), ("BIGINT", "least(BIGINT, BIGINT)"),
    ("INT", "length(STRING)"), ("DOUBLE", "ln(DOUBLE)"), ("INT", "locate(STRING, STRING)"),
    ("INT", "locate(STRING, STRING, INT)"), ("DOUBLE", "log10(DOUBLE)"), ("STRING", "lower(STRING)"),
    ("STRING", "lpad(STRING, INT, STRING)"), ("STRING", "ltrim(STRING)"), ("BIGINT", "max(BIGINT)"),
    ("INT", "millisecond(TIMESTAMP)"), ("BIGINT", "min(BIGINT)"), ("INT", "minute(TIMESTAMP)"),
    ("TIMESTAMP", "minutes_add(TIMESTAMP, BIGINT)"), ("TIMESTAMP", "minutes_sub(TIMESTAMP, BIGINT)"),
    ("BIGINT", "mod(BIGINT, BIGINT)"), ("INT", "month(TIMESTAMP)"), ("STRING", "monthname(TIMESTAMP)"),
    ("TIMESTAMP", "months_add(TIMESTAMP, BIGINT)"), ("TIMESTAMP", "months_sub(TIMESTAMP, BIGINT)"),
    ("BIGINT", "ndv(BIGINT)"), ("BIGINT", "negative(BIGINT)"), ("BOOLEAN", "nonnullvalue(BIGINT)"),
    ("TIMESTAMP", "now()"), ("BIGINT", "nullif(BIGINT, BIGINT)"), ("BIGINT", "nullifzero(BIGINT)"),
    ("BOOLEAN", "nullvalue(BIGINT)"), ("BIGINT", "nvl(BIGINT, BIGINT)"),
    ("BIGINT", "nvl2(BIGINT, BIGINT, BIGINT)"), ("STRING", "parse_url(STRING, STRING)"),
    ("STRING", "parse_url(STRING, STRING, STRING)"), ("DOUBLE", "pi()"), ("INT", "pid()"),
    ("BIGINT", "pmod(BIGINT, BIGINT)"), ("BIGINT", "positive(BIGINT)"), ("DOUBLE", "pow(DOUBLE, DOUBLE)"),
    ("DOUBLE", "power(DOUBLE, DOUBLE)"), ("INT", "quarter(TIMESTAMP)"), ("BIGINT", "quotient(BIGINT, BIGINT)"),
    ("DOUBLE", "radians(DOUBLE)"), ("DOUBLE", "rand()"), ("DOUBLE", "random()"),
    ("STRING", "regexp_extract(STRING, STRING, BIGINT)"), ("BOOLEAN", "regexp_like(STRING, STRING)"),
    ("STRING", "regexp_replace(STRING, STRING, STRING)"), ("STRING", "repeat(STRING, BIGINT)"),
    ("STRING", "replace(STRING, STRING, STRING)"), ("STRING", "reverse(STRING)"), ("DOUBLE", "round(DOUBLE)"),
    ("STRING", "rpad(STRING, INT, STRING)"), ("STRING", "rtrim(STRING)"), ("INT", "second(TIMESTAMP)"),
    ("TIMESTAMP", "seconds_add(TIMESTAMP, BIGINT)"), ("TIMESTAMP", "seconds_sub(TIMESTAMP, BIGINT)"),
    ("BIGINT", "shiftleft(BIGINT, INT)"), ("BIGINT", "shiftright(BIGINT, INT)"), ("DOUBLE", "sin(DOUBLE)"),
    ("BOOLEAN", "sleep(INT)"), ("STRING", "space(BIGINT)"), ("STRING", "split_part(STRING, STRING, BIGINT)"),
    ("DOUBLE", "sqrt(DOUBLE)"), ("DOUBLE", "stddev(DOUBLE)"), ("STRING", "strleft(STRING, INT)"),
    ("STRING", "strright(STRING, INT)"), ("TIMESTAMP", "subdate(TIMESTAMP, BIGINT)"),
    ("STRING", "substr(STRING, INT)"), ("STRING", "substr(STRING, INT, INT)"), ("DECIMAL", "sum(BIGINT)"),
    ("DOUBLE", "sum(DOUBLE)"), ("DOUBLE", "tan(DOUBLE)"), ("DATE", "to_date(TIMESTAMP)"),
    ("TIMESTAMP", "to_timestamp(BIGINT)"), ("TIMESTAMP", "to_timestamp(STRING, STRING)"),
    ("STRING", "translate(STRING, STRING, STRING)"), ("STRING", "trim(STRING)"), ("TIMESTAMP", "trunc(TIMESTAMP, STRING)"),
    ("DOUBLE", "truncate(DOUBLE)"), ("STRING", "typeof(BIGINT)"), ("STRING", "ucase(STRING)"),
    ("BIGINT", "unix_timestamp()"), ("BIGINT", "unix_timestamp(STRING, STRING)"),
    ("BIGINT", "unix_timestamp(TIMESTAMP)"), ("STRING", "upper(STRING)"), ("STRING", "user()"),
    ("TIMESTAMP", "utc_timestamp()"), ("STRING", "uuid()"), ("DOUBLE", "variance(DOUBLE)"),
    ("STRING", "version()"), ("INT", "weekofyear(TIMESTAMP)"), ("TIMESTAMP", "weeks_add(TIMESTAMP, BIGINT)"),
    ("TIMESTAMP", "weeks_sub(TIMESTAMP, BIGINT)"), ("INT", "year(TIMESTAMP)"),
    ("TIMESTAMP", "years_add(TIMESTAMP, BIGINT)"), ("TIMESTAMP", "years_sub(TIMESTAMP, BIGINT)"),
    ("BIGINT", "zeroifnull(BIGINT)"),
];

/// The query of `SHOW FUNCTIONS`, of which the words up to `next` were read, and the schema that must
/// be there. Schemas have no functions: there are none of users.
pub(super) fn show(
    words: &Words<'_, '_>,
    next: usize,
) -> Result<(String, Option<String>), ParseError> {
    let (within, next) = words.within(next)?;
    let like = like(words, next, "split_part(column2, '(', 1)")?;
    let known = within.as_deref() == Some(DATABASE);
    let rows = BUILTINS
        .iter()
        .map(|(gives, signature)| format!("({}, {})", literal(gives), literal(signature)));
    let rows: Vec<String> = rows.collect();
    let sql = format!(
        "SELECT column1 AS \"return type\", column2 AS signature, 'BUILTIN' AS \"binary type\", \
         'true' AS \"is persistent\" FROM (VALUES {}) f WHERE {known} AND {like} ORDER BY 2",
        rows.join(", ")
    );
    Ok((sql, within.filter(|_| !known)))
}

/// The functions that Impala's clients are told of, by name: each once.
pub fn impala_functions() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<&str> = BUILTINS
        .iter()
        .filter_map(|(_, signature)| signature.split('(').next())
        .collect();
    names.dedup();
    names.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_in_order() {
        let signatures = BUILTINS
            .iter()
            .map(|(_, signature)| signature.split('(').next());
        assert!(signatures.is_sorted());
        assert!(impala_functions().any(|name| name == "nvl"));
    }
}
