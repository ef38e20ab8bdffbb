//! Commits and digests, shortened alike everywhere.

/// Shortens a commit or a digest to twelve digits: `0123456789ab`, `sha256:0123456789ab…`. Keeps a commit's suffix,
/// such as `-dirty`.
pub fn short(hash: &str) -> String {
    const DIGITS: usize = 12;

    let (algorithm, digits) = hash.split_once(':').map_or(("", hash), |(name, digits)| (name, digits));
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let first = digits.get(..DIGITS).unwrap_or(digits);
    if algorithm.is_empty() { format!("{first}{rest}") } else { format!("{algorithm}:{first}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_and_digests_have_twelve_digits() {
        let digits = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(short(digits), "0123456789ab");
        assert_eq!(short(&format!("{digits}-dirty")), "0123456789ab-dirty");
        assert_eq!(short(&format!("sha256:{digits}")), "sha256:0123456789ab…");
        assert_eq!(short("abc"), "abc");
        assert_eq!(short("").as_str(), "");
    }
}
