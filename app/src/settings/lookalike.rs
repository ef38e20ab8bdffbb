//! Misspelt variables: `SENTRY_DNS`, `HOST`, `SECRETKEY`.
//!
//! A misspelt variable is a setting that is silently missing. Only near misses are reported; the rest of the environment
//! is none of our business.

use super::problem::{Problem, id, shown};

/// Every variable that the service reads.
const NAMES: [&str; 14] = [
    "SERVER_TYPE",
    "HOSTS",
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
    "SENTRY_DSN",
    "PORT",
    "LISTEN",
    "DATABASE",
    "DRAIN",
    "APP_COMMIT",
    "APP_IMAGE_DIGEST",
    "RENDER_EXTERNAL_HOSTNAME",
    "RENDER_SERVICE_ID",
    "SSL_VERIFY",
];

/// Reports each name that probably misspells one of ours.
pub fn lookalikes<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Problem> {
    let mut problems: Vec<Problem> = names
        .into_iter()
        .filter_map(|name| {
            let meant = meant(name)?;
            Some(Problem {
                id: id::LOOKALIKE,
                variable: shown(name),
                wrong: "is not a variable of this program".to_owned(),
                hint: format!("rename it to `{meant}` if you meant that, or remove it"),
            })
        })
        .collect();
    // The environment has no order of its own.
    problems.sort_by(|one, other| one.variable.cmp(&other.variable));
    problems
}

/// The variable that this name probably misspells; `None` for ours and for unrelated names.
fn meant(name: &str) -> Option<&'static str> {
    if NAMES.contains(&name) || name.len() > 64 {
        return None;
    }
    let letters = letters(name);
    let near = |ours: &&&str| {
        // One letter is a large part of a short name.
        let slips = if ours.len() < 8 { 1 } else { 2 };
        letters == self::letters(ours) || distance(name, ours) <= slips
    };
    NAMES.iter().filter(near).min_by_key(|ours| distance(name, ours)).copied()
}

/// The name in capitals without separators.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect()
}

/// The edit distance: letters left out, inserted, replaced, or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // The rows of the table for the prefixes of `one` that end two letters ago, one letter ago, and here.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut here = vec![row + 1];
        for (column, against) in other.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != against);
            let mut slips = replaced.min(last[column + 1] + 1).min(here[column] + 1);
            let swapped = row > 0 && column > 0 && *letter == other[column - 1] && one[row - 1] == *against;
            if swapped {
                slips = slips.min(before[column - 1] + 1);
            }
            here.push(slips);
        }
        before = std::mem::replace(&mut last, here);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_reported_with_the_right_name() {
        for (name, ours) in [
            ("SENTRY_DNS", "SENTRY_DSN"),
            ("SENTRY_DSN_", "SENTRY_DSN"),
            ("HOST", "HOSTS"),
            ("SECRETKEY", "SECRET_KEY"),
            ("secret_key", "SECRET_KEY"),
            ("SECRET_KEYS", "SECRET_KEY"),
            ("SECRET_KEY_FALLBACK", "SECRET_KEY_FALLBACKS"),
            ("PROT", "PORT"),
            ("SERVERTYPE", "SERVER_TYPE"),
            ("DATABSE", "DATABASE"),
            ("DRAINS", "DRAIN"),
        ] {
            assert_eq!(meant(name), Some(ours), "{name}");
        }
        let problems = lookalikes(["PATH", "PROT", "HOST"]);
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "HOST is not a variable of this program; rename it to `HOSTS` if you meant that, or remove it",
                "PROT is not a variable of this program; rename it to `PORT` if you meant that, or remove it",
            ]
        );
    }

    #[test]
    fn known_and_unrelated_names_are_ignored() {
        let unrelated = [
            "PATH",
            "HOSTNAME",
            "HOME",
            "TERM",
            "LISTEN_FDS",
            "DATABASE_URL",
            "SENTRY_ORG",
            "RENDER",
            "SSL_CERT_FILE",
            "RUST_LOG",
            "PS1",
            "",
        ];
        for name in NAMES.into_iter().chain(unrelated) {
            assert_eq!(meant(name), None, "{name}");
        }
    }

    #[test]
    fn a_swap_is_one_slip() {
        for (one, other, slips) in
            [("", "ab", 2), ("ab", "ab", 0), ("ab", "ba", 1), ("abc", "axc", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!((distance(one, other), distance(other, one)), (slips, slips), "{one} {other}");
        }
    }
}
