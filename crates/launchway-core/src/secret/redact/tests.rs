use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::*;

/// With everything in it that somebody escapes.
const VALUE: &str = "pa ss/w\"ö\\rd&<?>+~😀='1%41";

fn redact(values: &[&str], text: &str) -> String {
    Redactor::new(values.iter().map(|value| Secret::new(*value))).redact(text)
}

#[test]
fn a_value_is_found_as_others_write_it() {
    let percent = |keep: &dyn Fn(u8) -> bool, lower: bool| -> String {
        let encode = |byte: u8| match byte {
            byte if keep(byte) => char::from(byte).to_string(),
            byte if lower => format!("%{byte:02x}"),
            byte => format!("%{byte:02X}"),
        };
        VALUE.bytes().map(encode).collect()
    };
    let json = serde_json::to_string(VALUE).unwrap();
    let ascii: String = VALUE
        .encode_utf16()
        .map(|unit| match char::from_u32(unit.into()) {
            Some(c @ ('"' | '\\' | '/')) => format!("\\{c}"),
            Some(c) if c.is_ascii() => c.to_string(),
            _ => format!("\\u{unit:04x}"),
        })
        .collect();
    let forms = [
        VALUE.to_owned(),
        json[1..json.len() - 1].to_owned(),
        ascii,
        VALUE.escape_debug().to_string(),
        format!("{}", format!("{VALUE:?}").escape_debug())[2..].trim_end_matches("\\\"").to_owned(),
        serde_json::to_string(&json).unwrap()[3..].trim_end_matches("\\\"\"").to_owned(),
        VALUE.escape_default().to_string(),
        VALUE.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"),
        VALUE.chars().flat_map(|c| ["&#".to_owned(), u32::from(c).to_string(), ";".to_owned()]).collect(),
        percent(&|_| false, true),
        percent(&|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte), false),
        percent(&|byte| byte.is_ascii_graphic() && !b"%\"<>".contains(&byte), true),
        percent(&|byte| byte.is_ascii_alphanumeric() || b"*-._ ".contains(&byte), false).replace(' ', "+"),
    ];
    for form in forms {
        assert_eq!(redact(&[VALUE], &format!("x={form}&y")), "x=<redacted>&y", "{form}");
    }
}

#[test]
fn a_value_is_found_inside_base64() {
    let engines = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
    for value in [VALUE, "hunter2", "?>?>?>~~~", "0123456789abcdef"] {
        for before in ["", "u", "us", "usr", "user:"] {
            for after in ["", ":", "::", "more"] {
                for engine in &engines {
                    let encoded = engine.encode(format!("{before}{value}{after}"));
                    let shown = redact(&[value], &format!("Basic {encoded}"));
                    let left = shown.strip_prefix("Basic ").unwrap().replace("<redacted>", "|");
                    let own = engine.encode(value);
                    assert!(left.contains('|'), "{value} in {encoded}");
                    // No more than the characters that the value shares with its neighbours, and the others' own.
                    let rest = encoded.len() - own.trim_end_matches('=').len();
                    assert!(left.len() <= rest + 4, "{value}: {shown}");
                }
            }
        }
    }
}

#[test]
fn the_password_in_a_url_is_found_alone() {
    let url = "postgres://app:p%40ss+w%26rd@db.example.com/app";
    assert_eq!(
        redact(&[url], &format!("{url} p@ss+w&rd p%40ss%2Bw%26rd app")),
        "<redacted> <redacted> <redacted> app"
    );
    for url in
        ["postgres://app:application@localhost/app", "redis://:correct@127.0.0.1", "amqp://guest:guest@mq"]
    {
        assert_eq!(redact(&[url], "application correct guest"), "application correct guest");
    }
}

#[test]
fn a_value_is_found_as_bytes() {
    let value = "hunter2-hunter2";
    let bytes = value.as_bytes();
    for form in [
        format!("{bytes:?}"),
        serde_json::to_string(bytes).unwrap(),
        format!("[{:x}]", u128::from_be_bytes([&[1], bytes].concat().try_into().unwrap()))
            .replacen('1', "", 1),
        "[68756E746572322D68756E74657232]".to_owned(),
    ] {
        assert_eq!(redact(&[value], &form), "[<redacted>]", "{form}");
    }
}

#[test]
fn of_values_that_overlap_no_rest_stays() {
    assert_eq!(redact(&["12345678", "x12345678x"], "a x12345678x b 12345678"), "a <redacted> b <redacted>");
    assert_eq!(redact(&["abcdef", "defghi"], "_abcdefghi_"), "_<redacted>_");
    assert_eq!(redact(&["redacted", "hunter2"], "hunter2 redacted"), "<redacted> <redacted>");
}

#[test]
fn a_value_of_many_lines_is_found_line_by_line() {
    let key = "-----BEGIN-----\nhunter2-hunter2\n{\n";
    assert_eq!(redact(&[key], "key: hunter2-hunter2"), "key: <redacted>");
    assert_eq!(redact(&[key], "a\\n{"), "a\\n{");
    assert_eq!(redact(&["line end\n"], "line end"), "<redacted>");
}

#[test]
fn a_value_in_every_other_line_stays() {
    assert_eq!(redact(&["1", "on", "yes", " "], "1 on yes"), "1 on yes");
    for setting in ["info", "8000", "127.0.0.1", "127.0.0.1:8000", "localhost", "100000000", "/usr/bin"] {
        assert!(Redactor::is_ordinary(setting), "{setting}");
    }
    for secret in ["correcthorse", "/correct/horse/battery"] {
        assert!(!Redactor::is_ordinary(secret), "{secret}");
    }
}
