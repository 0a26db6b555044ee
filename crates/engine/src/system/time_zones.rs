//! `pg_timezone_names` and `pg_timezone_abbrevs`.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Offset, Utc};
use chrono_tz::{OffsetComponents, OffsetName, TZ_VARIANTS, Tz};
use datafusion::arrow::datatypes::IntervalMonthDayNanoType;
use datafusion::common::ScalarValue;

use super::directory::Relations;
use super::relation::{Row, boolean, relation, text};

pub(super) fn all(relations: &mut Relations) {
    relations.add(
        "pg_timezone_names",
        relation(
            "name text, abbrev text, utc_offset interval, is_dst bool",
            |_| {
                TZ_VARIANTS
                    .iter()
                    .map(|zone| zone_row(*zone, Utc::now()))
                    .collect()
            },
        ),
    );
    relations.add(
        "pg_timezone_abbrevs",
        relation("abbrev text, utc_offset interval, is_dst bool", |_| {
            abbreviation_rows()
        }),
    );
}

fn zone_row(zone: Tz, now: DateTime<Utc>) -> Row {
    let offset = *now.with_timezone(&zone).offset();
    let seconds = offset.fix().local_minus_utc();
    vec![
        text(zone.name()),
        text(offset.abbreviation().unwrap_or_default()),
        interval(seconds),
        boolean(!offset.dst_offset().is_zero()),
    ]
}

/// The abbreviations that are in use somewhere this year. Where several zones share one, one of
/// them is listed, as in PostgreSQL.
fn abbreviation_rows() -> Vec<Row> {
    let now = Utc::now();
    let mut found = BTreeMap::new();
    for time in [now, now + Duration::days(182)] {
        for zone in TZ_VARIANTS {
            let offset = *time.with_timezone(&zone).offset();
            let name = offset.abbreviation().unwrap_or_default().to_owned();
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic());
            if is_name {
                let seconds = offset.fix().local_minus_utc();
                let is_dst = !offset.dst_offset().is_zero();
                found.entry(name).or_insert((seconds, is_dst));
            }
        }
    }
    let row = |(name, (seconds, is_dst)): (String, (i32, bool))| {
        vec![text(name), interval(seconds), boolean(is_dst)]
    };
    found.into_iter().map(row).collect()
}

fn interval(seconds: i32) -> ScalarValue {
    let nanos = i64::from(seconds) * 1_000_000_000;
    let value = IntervalMonthDayNanoType::make_value(0, 0, nanos);
    ScalarValue::IntervalMonthDayNano(Some(value))
}
