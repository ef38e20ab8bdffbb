//! Sizes for people.

/// Formats a size in units of 1000: `812 B`, `1.4 kB`, `3.1 MB`.
pub fn size(bytes: u64) -> String {
    // In tenths, so that no float is needed.
    let (tenths, unit) = match bytes {
        0..1000 => return format!("{bytes} B"),
        1000..999_950 => ((bytes + 50) / 100, "kB"),
        _ => ((bytes + 50_000) / 100_000, "MB"),
    };
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_for_people() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (126_502, "126.5 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (2_667_490, "2.7 MB"),
            (1_234_567_890, "1234.6 MB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
