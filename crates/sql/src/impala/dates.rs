//! Impala's functions of dates and times.

use sqlparser::ast::{DateTimeField, Expr, Interval, Value, ValueWithSpan};

use super::functions::{filled, literal, text};

/// Patterns of Impala when none is given.
const USUAL_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

/// What stands for a call.
pub(super) fn function(name: &str, arguments: &[Expr]) -> Option<Expr> {
    if let Some(template) = template(name, arguments.len()) {
        return filled(template, arguments);
    }
    if let [moment, amount] = arguments
        && let Some(sum) = sum(name, moment, amount)
    {
        return Some(sum);
    }
    match (name, arguments) {
        ("trunc", [moment, unit]) => {
            let unit = text(truncated_to(literal(unit)?)?);
            filled(
                "date_trunc($2, cast($1 as timestamp))",
                &[moment.clone(), unit],
            )
        }
        ("from_unixtime", [seconds, pattern @ ..]) if pattern.len() < 2 => {
            let pattern = pattern.first().map_or(Some(USUAL_PATTERN), literal)?;
            let template =
                "to_char(to_timestamp(cast($1 as double precision)) AT TIME ZONE 'UTC', $2)";
            filled(template, &[seconds.clone(), text(&postgresqls(pattern)?)])
        }
        ("from_timestamp" | "date_format", [moment, pattern]) => {
            let pattern = text(&postgresqls(literal(pattern)?)?);
            filled(
                "to_char(cast($1 as timestamp), $2)",
                &[moment.clone(), pattern],
            )
        }
        ("unix_timestamp", [moment, pattern]) => {
            let pattern = text(&postgresqls(literal(pattern)?)?);
            let template = "cast(extract(epoch from cast(to_timestamp($1, $2) AT TIME ZONE current_setting('TimeZone') as timestamp)) as bigint)";
            filled(template, &[moment.clone(), pattern])
        }
        ("to_timestamp", [moment, pattern]) => {
            let pattern = text(&postgresqls(literal(pattern)?)?);
            let template =
                "cast(to_timestamp($1, $2) AT TIME ZONE current_setting('TimeZone') as timestamp)";
            filled(template, &[moment.clone(), pattern])
        }
        _ => None,
    }
}

fn template(name: &str, arguments: usize) -> Option<&'static str> {
    Some(match (name, arguments) {
        ("now" | "current_timestamp" | "localtimestamp", 0) => "cast(now() as timestamp)",
        ("utc_timestamp", 0) => "now() AT TIME ZONE 'UTC'",
        ("current_date", 0) => "cast(now() as date)",
        ("unix_timestamp", 0) => "cast(floor(extract(epoch from now())) as bigint)",
        ("unix_timestamp", 1) => "cast(floor(extract(epoch from cast($1 as timestamp))) as bigint)",
        ("to_timestamp", 1) => "to_timestamp(cast($1 as double precision)) AT TIME ZONE 'UTC'",
        ("year", 1) => "cast(extract(year from cast($1 as timestamp)) as integer)",
        ("quarter", 1) => "cast(extract(quarter from cast($1 as timestamp)) as integer)",
        ("month", 1) => "cast(extract(month from cast($1 as timestamp)) as integer)",
        ("week" | "weekofyear", 1) => "cast(extract(week from cast($1 as timestamp)) as integer)",
        ("day" | "dayofmonth", 1) => "cast(extract(day from cast($1 as timestamp)) as integer)",
        ("dayofyear", 1) => "cast(extract(doy from cast($1 as timestamp)) as integer)",
        // Sunday is the first.
        ("dayofweek", 1) => "cast(extract(dow from cast($1 as timestamp)) as integer) + 1",
        ("hour", 1) => "cast(extract(hour from cast($1 as timestamp)) as integer)",
        ("minute", 1) => "cast(extract(minute from cast($1 as timestamp)) as integer)",
        ("second", 1) => "cast(floor(extract(second from cast($1 as timestamp))) as integer)",
        ("millisecond", 1) => {
            "cast(floor(extract(milliseconds from cast($1 as timestamp))) as integer) % 1000"
        }
        ("dayname", 1) => "to_char(cast($1 as timestamp), 'FMDay')",
        ("monthname", 1) => "to_char(cast($1 as timestamp), 'FMMonth')",
        ("to_date", 1) => "cast(cast($1 as timestamp) as date)",
        ("last_day", 1) => {
            "cast(date_trunc('month', cast($1 as timestamp)) + interval '1 month' - interval '1 day' as date)"
        }
        ("datediff", 2) => {
            "cast(cast(cast($1 as timestamp) as date) - cast(cast($2 as timestamp) as date) as integer)"
        }
        _ => return None,
    })
}

/// `date_add(moment, amount)` and its many relatives. The amount is a number of units, or an interval.
fn sum(name: &str, moment: &Expr, amount: &Expr) -> Option<Expr> {
    let (unit, adds) = match name {
        "date_add" | "adddate" => ("day", true),
        "date_sub" | "subdate" => ("day", false),
        "add_months" => ("month", true),
        name => {
            let (units, how) = name.rsplit_once('_')?;
            let adds = match how {
                "add" => true,
                "sub" => false,
                _ => return None,
            };
            (unit_of(units)?, adds)
        }
    };
    let sign = if adds { "+" } else { "-" };
    let template = match is_interval(amount) {
        true => format!("cast($1 as timestamp) {sign} $2"),
        false => format!("cast($1 as timestamp) {sign} impala_interval($2, '{unit}')"),
    };
    filled(&template, &[moment.clone(), amount.clone()])
}

/// Intervals were rewritten before what is around them.
fn is_interval(expression: &Expr) -> bool {
    match expression {
        Expr::Interval(_) => true,
        Expr::Nested(inner) => is_interval(inner),
        Expr::Function(call) => call.name.to_string() == "impala_interval",
        _ => false,
    }
}

fn unit_of(units: &str) -> Option<&'static str> {
    Some(match units {
        "years" => "year",
        "months" => "month",
        "weeks" => "week",
        "days" => "day",
        "hours" => "hour",
        "minutes" => "minute",
        "seconds" => "second",
        "milliseconds" => "millisecond",
        "microseconds" => "microsecond",
        _ => return None,
    })
}

/// `INTERVAL 3 DAYS`, which PostgreSQL writes `INTERVAL '3 days'`.
pub(super) fn interval(interval: &Interval) -> Option<Expr> {
    let unit = interval.leading_field.as_ref()?;
    let unit = match unit {
        DateTimeField::Year | DateTimeField::Years => "year",
        DateTimeField::Month | DateTimeField::Months => "month",
        DateTimeField::Week(None) | DateTimeField::Weeks => "week",
        DateTimeField::Day | DateTimeField::Days => "day",
        DateTimeField::Hour | DateTimeField::Hours => "hour",
        DateTimeField::Minute | DateTimeField::Minutes => "minute",
        DateTimeField::Second | DateTimeField::Seconds => "second",
        DateTimeField::Millisecond | DateTimeField::Milliseconds => "millisecond",
        DateTimeField::Microsecond | DateTimeField::Microseconds => "microsecond",
        _ => return None,
    };
    match interval.value.as_ref() {
        Expr::Value(ValueWithSpan {
            value: Value::Number(number, _),
            ..
        }) => filled(&format!("interval '{number} {unit}'"), &[]),
        Expr::Value(_) => None,
        amount => {
            let template = format!("impala_interval($1, '{unit}')");
            filled(&template, std::slice::from_ref(amount))
        }
    }
}

/// To what `trunc(moment, 'unit')` truncates.
fn truncated_to(unit: &str) -> Option<&'static str> {
    Some(match unit.to_uppercase().as_str() {
        "SYYYY" | "YYYY" | "YEAR" | "SYEAR" | "YYY" | "YY" | "Y" => "year",
        "Q" => "quarter",
        "MONTH" | "MON" | "MM" | "RM" => "month",
        // Monday is the first.
        "DAY" | "DY" | "D" => "week",
        "DDD" | "DD" | "J" => "day",
        "HH" | "HH12" | "HH24" => "hour",
        "MI" => "minute",
        _ => return None,
    })
}

/// A pattern of Java, which Impala has, as `to_char` has it; `None` where it has a letter that is
/// not known.
fn postgresqls(pattern: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c| c != first).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(length);
        rest = behind;
        out.push_str(match run {
            "yyyy" => "YYYY",
            "yy" => "YY",
            "MMMM" => "FMMonth",
            "MMM" => "Mon",
            "MM" => "MM",
            "M" => "FMMM",
            "dd" => "DD",
            "d" => "FMDD",
            "HH" => "HH24",
            "H" => "FMHH24",
            "hh" => "HH12",
            "mm" => "MI",
            "ss" => "SS",
            "SSS" => "MS",
            "SSSSSS" => "US",
            "a" => "AM",
            run if !first.is_alphabetic() && first != '"' && first != '\'' => run,
            _ => return None,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::postgresqls;

    #[test]
    fn patterns_are_those_of_to_char() {
        for (pattern, expected) in [
            ("yyyy-MM-dd HH:mm:ss", Some("YYYY-MM-DD HH24:MI:SS")),
            ("dd/MMM/yy", Some("DD/Mon/YY")),
            ("HH:mm:ss.SSS", Some("HH24:MI:SS.MS")),
            ("yyyyMMdd", Some("YYYYMMDD")),
            ("EEE", None),
            ("yyyy'x'", None),
        ] {
            assert_eq!(postgresqls(pattern).as_deref(), expected, "{pattern}");
        }
    }
}
