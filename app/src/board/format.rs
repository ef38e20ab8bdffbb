//! Formats numbers and times for people. Times are UTC.

use std::time::Duration;

use launchway_report::{Coverage, Time};

/// Converts a number for charts and rounded figures.
#[expect(clippy::cast_precision_loss, reason = "reports hold nothing above 2^53")]
pub(super) fn real(number: u64) -> f64 {
    number as f64
}

/// Converts a count for charts and rounded figures.
pub(super) fn count(number: usize) -> f64 {
    real(u64::try_from(number).unwrap_or(u64::MAX))
}

/// `2026-01-02 03:04`.
pub(super) fn minute(time: Time) -> String {
    let text = time.to_string();
    // A year has four digits, so the positions are fixed.
    format!("{} {}", &text[..10], &text[11..16])
}

/// `2 Jan 2026`.
pub(super) fn day(time: Time) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = time.to_string();
    let month = text[5..7].parse().ok().and_then(|month: usize| MONTHS.get(month.checked_sub(1)?));
    format!("{} {} {}", text[8..10].trim_start_matches('0'), month.unwrap_or(&"?"), &text[..4])
}

/// `0.4 s`, `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let pair = |large: u64, name: &str, small: u64, unit: &str| match small {
        0 => format!("{large} {name}"),
        _ => format!("{large} {name} {small} {unit}"),
    };
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3600..86400 => pair(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => pair(seconds / 86400, "d", seconds % 86400 / 3600, "h"),
    }
}

/// Covered lines in percent; 100 if there are no lines.
pub(super) fn percent(coverage: &Coverage) -> f64 {
    if coverage.lines == 0 { 100.0 } else { real(coverage.covered) / real(coverage.lines) * 100.0 }
}

/// `93.4 %`. Rounded down: a value below the threshold never looks as if it reached it.
pub(super) fn shown_percent(percent: f64) -> String {
    format!("{:.1} %", (percent * 10.0).floor() / 10.0)
}

/// `3.1 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", real(bytes) / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", real(bytes) / 1e6),
        _ => format!("{:.1} GB", real(bytes) / 1e9),
    }
}

/// `10 321`, with a narrow space between groups of digits.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            // A narrow no-break space.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// The first twelve digits of a commit or digest, as the pipeline shows them.
pub(super) fn short(hash: &str) -> &str {
    let hash = hash.strip_prefix("sha256:").unwrap_or(hash);
    hash.get(..12).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        let time = Time::from_milliseconds(1_767_323_045_678);
        assert_eq!((minute(time), day(time)), ("2026-01-02 03:04".to_owned(), "2 Jan 2026".to_owned()));
        let shown = [0, 400, 9_949, 42_000, 60_000, 200_000, 7_500_000, 273_600_000]
            .map(|milliseconds| duration(Duration::from_millis(milliseconds)));
        assert_eq!(shown, ["0.0 s", "0.4 s", "9.9 s", "42 s", "1 min", "3 min 20 s", "2 h 5 min", "3 d 4 h"]);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([bytes(999), bytes(3_140_000), bytes(2_000_000_000)], ["1.0 kB", "3.1 MB", "2.0 GB"]);
        assert_eq!(
            [number(7), number(1000), number(1_234_567)],
            ["7", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
        assert_eq!(shown_percent(79.99), "79.9 %");
        let nothing = Coverage { covered: 0, lines: 0, threshold: 80 };
        assert!((percent(&nothing) - 100.0).abs() < f64::EPSILON);
        assert_eq!(
            [short("sha256:0123456789abcdef"), short("unknown"), short("é")],
            ["0123456789ab", "unknown", "é"]
        );
    }
}
