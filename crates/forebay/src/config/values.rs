//! Reading the values of settings as they are written.

use std::net::{Ipv4Addr, SocketAddr};

/// Puts a value that could be read into its field; false if it could not.
pub(super) fn put<T>(field: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *field = value;
            true
        }
        None => false,
    }
}

/// The value, if there is exactly one.
pub(super) fn single(values: &[String]) -> Option<&str> {
    match values {
        [value] => Some(value),
        _ => None,
    }
}

/// A switch.
pub(super) fn on_or_off(values: &[String]) -> Option<bool> {
    match single(values)? {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// A whole number within bounds.
pub(super) fn whole_number(values: &[String], least: usize, most: usize) -> Option<usize> {
    let number = single(values)?.parse().ok()?;
    (least..=most).contains(&number).then_some(number)
}

/// An IP address and a port.
pub(super) fn parse_address(text: &str) -> Option<SocketAddr> {
    // No name but this one: others would need a look-up that can fail later.
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?)));
    }
    text.parse().ok()
}

/// Puts an address to listen on, or `off`, into its field.
pub(super) fn put_listener(field: &mut Option<SocketAddr>, values: &[String]) -> bool {
    let text = single(values).map(str::trim);
    *field = text.and_then(parse_address);
    field.is_some() || text.is_some_and(|text| text.is_empty() || text == "off")
}

/// Reads a size; units are powers of 1024 as in PostgreSQL, in any letter case.
pub(super) fn parse_size_bytes(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: usize = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

/// Whether `tracing` takes it.
pub(super) fn is_log_filter(text: &str) -> bool {
    tracing_subscriber::EnvFilter::builder().parse(text).is_ok()
}

/// Cores that this process may use.
pub(super) fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
