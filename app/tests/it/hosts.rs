//! Hosts: Django's results, and where ours differ on purpose.

use app::settings::hosts::{AllowedHosts, HostPattern};
use serde_json::Value;

/// Patterns that Django accepts and that are an error here, because they can never match.
const INVALID_PATTERNS: [&str; 2] = ["bad_under.com", "port.com:8000"];

/// Hosts whose result differs from Django's, with ours.
const DIFFERENCES: [(&str, bool); 7] = [
    // A port is at most 65535.
    ("example.com:99999", false),
    // An empty label is invalid.
    (".multi.com", false),
    ("..multi.com", false),
    // A pattern's final dot is ignored too.
    ("trail.com", true),
    ("trail.com.", true),
    // Another spelling of the same IP address.
    ("[2001:19f0:feee:0:0:dead:beef:cafe]", true),
    // Spaces around a pattern are ignored.
    ("spaced.com", true),
];

fn vectors() -> Value {
    serde_json::from_str(include_str!("django.json")).unwrap()
}

fn allowed(patterns: &[&str]) -> AllowedHosts {
    AllowedHosts::new(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect())
}

#[test]
fn hosts_are_matched_as_in_django_except_for_the_listed_ones() {
    let vectors = vectors();
    let (mut patterns, mut invalid) = (Vec::new(), Vec::new());
    for pattern in vectors["allowed_hosts"].as_array().unwrap() {
        // `HOSTS` is read likewise: entries trimmed, empty ones skipped.
        let pattern = pattern.as_str().unwrap().trim();
        match pattern.parse::<HostPattern>() {
            _ if pattern.is_empty() => {}
            Ok(parsed) => patterns.push(parsed),
            Err(_) => invalid.push(pattern),
        }
    }
    assert_eq!(invalid, INVALID_PATTERNS);
    let hosts = AllowedHosts::new(patterns);

    let mut differing = Vec::new();
    for vector in vectors["hosts"].as_array().unwrap() {
        let host = vector["host"].as_str().unwrap();
        let ours = hosts.allow(host);
        if ours != vector["allowed"].as_bool().unwrap() {
            differing.push((host, ours));
        }
    }
    differing.sort_unstable();
    let mut expected = DIFFERENCES;
    expected.sort_unstable();
    assert_eq!(differing, expected);
}

#[test]
fn a_star_allows_every_well_formed_host() {
    let hosts = allowed(&["*"]);
    for vector in vectors()["star"].as_array().unwrap() {
        let host = vector["host"].as_str().unwrap();
        assert_eq!(hosts.allow(host), vector["allowed"].as_bool().unwrap(), "{host:?}");
    }
}

#[test]
fn suffixes_end_at_a_dot() {
    let hosts = allowed(&[".multi.com"]);
    for (host, allowed) in
        [("multi.com", true), ("a.multi.com.:80", true), ("xmulti.com", false), ("com", false)]
    {
        assert_eq!(hosts.allow(host), allowed, "{host}");
    }
}

#[test]
fn names_are_not_addresses_and_ports_are_digits() {
    let hosts = allowed(&["example.com", "12.34.56.78", "[::1]"]);
    for host in ["12.34.56.78.", "[::1]", "[0:0::1]:80", "example.com:0", "example.com:00080"] {
        assert!(hosts.allow(host), "{host}");
    }
    for host in
        ["example.com:+80", "example.com:", "12.34.56", "::1", "[::1", "[::1]x:80", "[example.com]", "-"]
    {
        assert!(!hosts.allow(host), "{host}");
    }
    let long = format!("{}.com", "a".repeat(64));
    assert!(!allowed(&["*"]).allow(&long));
    assert!(!allowed(&["*"]).allow(&"a.".repeat(127).repeat(2)));
}
