//! Settings: all errors at once, none of which reveals a secret.

use std::time::Duration;

use app::settings::secret_key::{SecretKey, Weakness};
use app::settings::{Problem, ServerType, Settings};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

use crate::support::{COMMIT, PROD, SECRET};

fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
    let environment =
        |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
    Settings::read(&environment).map_err(|problems| problems.to_string())
}

fn lines_of(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// PROD with some variables added or replaced.
fn prod<'a>(changes: &[(&'a str, &'a str)]) -> Result<Settings, String> {
    let kept = PROD.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| name != changed));
    read(&kept.chain(changes).copied().collect::<Vec<_>>())
}

#[test]
fn an_empty_environment_lists_all_that_a_prod_server_needs() {
    assert_eq!(
        read(&[]).unwrap_err(),
        "the settings cannot be used:\n  \
         SERVER_TYPE is not set; set it to TEST, or to PROD for a public server\n  \
         HOSTS lists no hosts; list the hosts that requests may name, separated by commas\n  \
         SECRET_KEY is not set; use 50 or more random characters, for example from `cargo xtask secrets generate`\n"
    );
}

#[test]
fn all_problems_are_listed_at_once_without_secrets() {
    let message = read(&[
        ("SERVER_TYPE", "prod"),
        ("HOSTS", "https://a.com/,*.b.com,c.com:80,d_d.com,::1,e..com,.1.2.3.4"),
        ("SECRET_KEY", "django-insecure-hunter2"),
        ("SECRET_KEY_FALLBACKS", "hunter2, hunter2"),
        ("DRAIN", "1h"),
        ("DATABASE", "postgres://app:hunter2@db/board"),
        ("SENTRY_DSN", "https://hunter2@sentry.example/abc"),
        ("PORT", "65536"),
        ("LISTEN", "localhost"),
        ("APP_COMMIT", "a/b"),
        ("APP_IMAGE_DIGEST", "sha256:beef"),
        ("RENDER_EXTERNAL_HOSTNAME", "https://x.onrender.com"),
    ])
    .unwrap_err();
    assert!(!message.contains("hunter2"), "{message}");
    let said = [
        "SERVER_TYPE: `prod` is not a server type",
        "HOSTS: `https://a.com/` would never match: it is a URL, not a host",
        "HOSTS: `*.b.com` would never match: `*` matches a whole host only; write `.example.com`",
        "HOSTS: `c.com:80` would never match: it has a port",
        "HOSTS: `d_d.com` would never match: host names contain no underscore",
        "HOSTS: `::1` would never match: an IPv6 address needs brackets",
        "HOSTS: `e..com` would never match: it is not a host name",
        "HOSTS: `.1.2.3.4` would never match: it is not a host name",
        "RENDER_EXTERNAL_HOSTNAME: `https://x.onrender.com` is not a host",
        "SECRET_KEY has fewer than 50 characters",
        "SECRET_KEY has less than 128 bits of entropy",
        "SECRET_KEY starts with `django-insecure-`",
        "SECRET_KEY_FALLBACKS has a key 1 that has fewer than 50 characters",
        "SECRET_KEY_FALLBACKS has a key 1 that has less than 128 bits of entropy",
        "SECRET_KEY_FALLBACKS has spaces around key 2; separate the keys with commas alone",
        "SECRET_KEY_FALLBACKS has a key 2 that has fewer than 50 characters",
        "SECRET_KEY_FALLBACKS has a key 2 that has less than 128 bits of entropy",
        "SENTRY_DSN does not end in a project number",
        "LISTEN: `localhost` is not an IP address",
        "PORT: `65536` is not a port; use a number from 0 to 65535",
        "DATABASE is a URL, but the board is kept in a file",
        "DRAIN: `1h` is not a duration from 1 to 300 s; write it as `20s`, or remove it",
        "APP_COMMIT: `a/b` is not a commit",
        "APP_IMAGE_DIGEST: `sha256:beef` is not a digest",
    ];
    let lines: Vec<_> = message.lines().skip(1).map(str::trim).collect();
    assert_eq!(lines.len(), said.len(), "{message}");
    for (line, said) in lines.iter().zip(said) {
        assert!(line.starts_with(said), "{line}\nis not\n{said}");
    }
}

#[test]
fn shown_values_are_escaped_and_cut() {
    let message = prod(&[("PORT", &format!("\u{1b}[31m{}", "9".repeat(500)))]).unwrap_err();
    assert!(message.contains("PORT: `\\u{1b}[31m999") && message.len() < 250, "{message}");
}

#[test]
fn a_test_server_needs_nothing_else() {
    let settings = read(&[("SERVER_TYPE", "TEST"), ("SECRET_KEY", " "), ("SENTRY_DSN", "")]).unwrap();
    assert_eq!(settings.server_type, ServerType::Test);
    assert_eq!(settings.server_type.to_string(), "TEST");
    assert_eq!(settings.listen.to_string(), "0.0.0.0:8000");
    assert_eq!((settings.commit.as_str(), settings.image_digest), ("unknown", None));
    for host in ["localhost", "127.0.0.1:8000", "[::1]:8000"] {
        assert!(settings.hosts.allow(host), "{host}");
    }
    assert!(!settings.hosts.allow("example.com"));
    assert_eq!(
        lines_of(&settings.warnings),
        [
            "SECRET_KEY is not set, so a key was generated for this process; set it to keep signatures valid across restarts"
        ]
    );
    assert!(settings.database.as_os_str().is_empty() && settings.secret_key_fallbacks.is_empty());
    assert_eq!(settings.drain, Duration::from_secs(20));
    assert_eq!(settings.secret_key.weaknesses(), []);
}

#[test]
fn generated_keys_differ() {
    assert_ne!(SecretKey::random().unwrap().expose(), SecretKey::random().unwrap().expose());
}

#[test]
fn a_prod_server_reads_all_variables() {
    let digest = format!("sha256:{}", "0f".repeat(32));
    let earlier = format!("{SECRET}1,{SECRET}2,");
    let settings = prod(&[
        ("HOSTS", " a.com, .b.com ,,a.com"),
        ("SENTRY_DSN", "https://hunter2@o1.ingest.sentry.io/42"),
        ("SECRET_KEY_FALLBACKS", &earlier),
        ("DATABASE", "/var/data/board.sqlite"),
        ("DRAIN", "1min 30s"),
        ("PORT", " 0 "),
        ("LISTEN", "127.0.0.1"),
        ("APP_IMAGE_DIGEST", &digest),
        ("RENDER_EXTERNAL_HOSTNAME", "app.onrender.com"),
    ])
    .unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:0");
    assert_eq!((settings.commit.as_str(), settings.image_digest.as_deref()), (COMMIT, Some(digest.as_str())));
    assert_eq!(settings.warnings, []);
    let keys: Vec<_> = settings.secret_key_fallbacks.iter().map(SecretKey::expose).collect();
    assert_eq!(keys, [format!("{SECRET}1").as_bytes(), format!("{SECRET}2").as_bytes()]);
    assert_eq!(settings.database.to_str(), Some("/var/data/board.sqlite"));
    assert_eq!(settings.drain, Duration::from_secs(90));
    for host in ["a.com", "x.b.com", "app.onrender.com"] {
        assert!(settings.hosts.allow(host), "{host}");
    }
    let shown = format!("{settings:?}");
    assert_eq!(shown.matches("<redacted>").count(), 4, "{shown}");
    assert!(!shown.contains(SECRET) && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_prod_server_is_warned_of_questionable_settings() {
    let warnings = lines_of(&prod(&[("HOSTS", "*"), ("APP_COMMIT", "")]).unwrap().warnings);
    let said =
        ["HOSTS contains `*`", "SENTRY_DSN is not set", "DATABASE is not set", "APP_COMMIT is not set"];
    assert_eq!(warnings.len(), said.len(), "{warnings:?}");
    for (warning, said) in warnings.iter().zip(said) {
        assert!(warning.starts_with(said), "{warning}\nis not\n{said}");
    }
}

#[test]
fn the_drain_has_bounds() {
    for (text, seconds) in [("1s", 1), ("300s", 300), ("5min", 300), ("1500ms", 1)] {
        assert_eq!(prod(&[("DRAIN", text)]).unwrap().drain.as_secs(), seconds, "{text}");
    }
    for text in ["0s", "999ms", "301s", "20", "soon", "-1s"] {
        let message = prod(&[("DRAIN", text)]).unwrap_err();
        assert!(message.contains(&format!("DRAIN: `{text}` is not a duration")), "{message}");
    }
}

#[test]
fn a_weak_key_stops_a_prod_server_and_warns_a_test_server() {
    let message = prod(&[("SECRET_KEY", &"ab".repeat(40))]).unwrap_err();
    assert!(message.contains("SECRET_KEY has fewer than 5 different characters"), "{message}");
    let warnings = lines_of(&read(&[("SERVER_TYPE", "TEST"), ("SECRET_KEY", "hunter2")]).unwrap().warnings);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings.iter().all(|warning| warning.starts_with("SECRET_KEY has") && !warning.contains("hunter2"))
    );
}

#[test]
fn keys_are_checked_by_djangos_rules_and_their_entropy() {
    let vectors: Value = serde_json::from_str(include_str!("django.json")).unwrap();
    for vector in vectors["secret_key_check"].as_array().unwrap() {
        let key = vector["key"].as_str().unwrap();
        let mut weaknesses = SecretKey::new(key.to_owned()).weaknesses();
        // Django accepts `abcde` ten times over.
        weaknesses.retain(|weakness| *weakness != Weakness::Predictable);
        assert_eq!(weaknesses.is_empty(), vector["ok"].as_bool().unwrap(), "{key}: {weaknesses:?}");
    }
    let weaknesses = |key: &str| SecretKey::new(key.to_owned()).weaknesses();
    // 63 characters, 6 different ones: 170 bits by their frequencies alone.
    assert_eq!(weaknesses(&"hunter2".repeat(9)), [Weakness::Predictable]);
    assert_eq!(weaknesses(SECRET), []);
    assert_eq!(weaknesses(&format!("{SECRET}\u{fffd}")), [Weakness::NotUtf8]);
    assert_eq!(Weakness::NotUtf8.to_string(), "is not UTF-8");
}

#[test]
fn typed_and_repeated_patterns_are_no_keys() {
    for key in [
        "abcde".repeat(10),
        "abcdefghij".repeat(5),
        "Xk9#mQ2$vL".repeat(5),
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".to_owned(),
        "zyxwvutsrqponmlkjihgfedcba9876543210ZYXWVUTSRQPONMLKJIHGFEDCBA".to_owned(),
        "qwertyuiopasdfghjklzxcvbnm1234567890QWERTYUIOPASDFGHJKLZXCVBNM".to_owned(),
        "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/!QAZ2WSX3EDC4RFV5TGB".to_owned(),
        "acegikmoqsuwybdfhjlnprtvxz13579024680ACEGIKMOQSUWY".to_owned(),
        "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0u1v2w3x4y5z6".to_owned(),
        format!("secret{}", "0".repeat(60)),
    ] {
        let weaknesses = SecretKey::new(key.clone()).weaknesses();
        assert!(weaknesses.contains(&Weakness::Predictable), "{key}: {weaknesses:?}");
    }
}

#[test]
fn generated_keys_are_accepted() {
    let random = |length: usize, alphabet: &[u8]| -> String {
        let mut bytes = vec![0; length];
        SystemRandom::new().fill(&mut bytes).unwrap();
        bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
    };
    for _ in 0..2000 {
        for key in [
            // Django's `get_random_secret_key`, `secrets generate`, `openssl rand -hex 32`.
            random(50, b"abcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*(-_=+)"),
            random(50, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
            random(64, b"0123456789abcdef"),
        ] {
            assert_eq!(SecretKey::new(key.clone()).weaknesses(), [], "{key}");
        }
    }
}

#[test]
fn a_key_that_cannot_become_a_fallback_is_a_warning() {
    for key in [format!("{SECRET},x"), format!(" {SECRET}"), format!("{SECRET}\n")] {
        let warnings = lines_of(&prod(&[("SECRET_KEY", &key)]).unwrap().warnings);
        assert!(warnings.iter().any(|warning| warning.contains("cannot move to `SECRET_KEY_FALLBACKS`")));
        assert!(warnings.iter().all(|warning| !warning.contains(SECRET)), "{warnings:?}");
    }
    // A space inside a key is part of it.
    let inner = format!("{SECRET} {SECRET}");
    let settings = prod(&[("SECRET_KEY", &inner), ("SECRET_KEY_FALLBACKS", &inner)]).unwrap();
    assert!(lines_of(&settings.warnings).iter().all(|warning| !warning.contains("SECRET_KEY")));
    assert_eq!(settings.secret_key_fallbacks[0].expose(), inner.as_bytes());
}

#[test]
fn only_working_dsns_are_accepted() {
    let dsn = |dsn: &str| prod(&[("SENTRY_DSN", dsn)]).map(|settings| assert!(settings.sentry_dsn.is_some()));
    for good in [
        "https://abc123@o1.ingest.de.sentry.io/42",
        "https://k@sentry.example.com:9000/some/where/7",
        "http://k@127.0.0.1:9000/1",
        "http://k@localhost/1",
        "http://k@[::1]:9000/1",
    ] {
        assert_eq!(dsn(good), Ok(()), "{good}");
    }
    for (bad, why) in [
        ("o1.ingest.sentry.io/42", "does not start with `https://`"),
        ("ftp://k@h/1", "does not start with `https://`"),
        ("http://k@sentry.io/1", "over plain `http`"),
        ("http://k@localhost.sentry.io/1", "over plain `http`"),
        ("https://h/1", "no public key"),
        ("https://@h/1", "no public key"),
        ("https://k%20@h/1", "no public key"),
        ("https://k:s@h/1", "secret part"),
        ("https://k@/1", "no valid host"),
        ("https://k@h:99999/1", "no valid host"),
        ("https://k@h@evil/1", "no valid host"),
        ("https://k@h", "project number"),
        ("https://k@h/", "project number"),
        ("https://k@h/abc", "project number"),
        ("https://k@h/+1", "project number"),
        ("https://k@h/a//1", "invalid path"),
        ("https://k@h/../1", "invalid path"),
        ("https://k@h/1?x=2", "query or a fragment"),
        ("https://k@h/1#f", "query or a fragment"),
    ] {
        let message = dsn(bad).unwrap_err();
        assert!(message.contains(why) && !message.contains(bad), "{bad}: {message}");
        // A TEST server rejects it too.
        assert!(read(&[("SERVER_TYPE", "TEST"), ("SENTRY_DSN", bad)]).is_err(), "{bad}");
    }
}
