//! Lengths of time, as they are typed.

use std::time::Duration;

/// Longest time, days.
const DAYS_MAX: u64 = 3650;

/// Reads a length of time.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let end = text.find(|it: char| !it.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 0,
    };
    let number = number.parse().ok().filter(|_| seconds > 0);
    match number.and_then(|number: u64| number.checked_mul(seconds)) {
        Some(seconds) if seconds <= DAYS_MAX * 86_400 => Ok(Duration::from_secs(seconds)),
        _ => Err(format!(
            "a time is a number with s, m, h or d behind it, of at most {DAYS_MAX} days"
        )),
    }
}

/// Reads one that something is given for.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => {
            Err("a time is a number with s, m, h or d behind it, and not 0".to_owned())
        }
        time => Ok(time),
    }
}
