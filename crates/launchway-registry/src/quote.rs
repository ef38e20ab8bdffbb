//! Quotes a registry: the body of a response in one line, whatever its type.

use reqwest::blocking::Response;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

/// How much of a body is read for its words, in bytes.
pub(crate) const LONGEST_BODY: u64 = 64 << 10;
/// The longest line, in characters: more would hide what matters.
const LONGEST: usize = 300;

/// The media type of a response, without parameters.
pub(crate) fn media_type(response: &Response) -> &str {
    let header = response.headers().get(CONTENT_TYPE).and_then(|header| header.to_str().ok());
    header.and_then(|header| header.split(';').next()).unwrap_or_default().trim()
}

/// Whether a response is a web page, which no registry sends: a login, a captive portal, or a host that is not a
/// registry.
pub(crate) fn is_page(response: &Response) -> bool {
    matches!(media_type(response).to_ascii_lowercase().as_str(), "text/html" | "application/xhtml+xml")
}

/// The words of a body: those of its errors if it is JSON, the title of a web page, or the text itself.
pub(crate) fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return one_line(&json(&value));
    }
    if text.starts_with('<') {
        return one_line(&title(text).unwrap_or_else(|| without_tags(text)));
    }
    one_line(text)
}

/// `CODE: message: detail` for each error of the OCI distribution spec ("Error codes"), and the different field names
/// of token servers and gateways.
fn json(body: &Value) -> String {
    let errors = body.get("errors").and_then(Value::as_array).into_iter().flatten();
    let errors: Vec<String> = errors
        .map(|error| {
            let parts = ["code", "message", "detail"].into_iter().filter_map(|key| shown(error.get(key)?));
            shown(error).filter(|_| error.is_string()).into_iter().chain(parts).collect::<Vec<_>>().join(": ")
        })
        .filter(|error| !error.is_empty())
        .collect();
    if !errors.is_empty() {
        return errors.join("; ");
    }
    let named = ["details", "message", "error_description", "error", "detail"];
    let named = named.into_iter().find_map(|key| match body.get(key)? {
        nested @ Value::Object(_) => shown(nested.get("message")?),
        value => shown(value),
    });
    named.or_else(|| shown(body)).unwrap_or_default()
}

/// A value with content.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(values) if values.is_empty() => None,
        Value::Object(values) if values.is_empty() => None,
        other => Some(other.to_string()),
    }
    .filter(|text| !text.trim().is_empty())
}

fn title(page: &str) -> Option<String> {
    // Of the same length, so that offsets apply to both.
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower.get(start..)?.find('>')? + 1;
    let end = start + lower.get(start..)?.find("</title")?;
    page.get(start..end).map(entities).filter(|title| !title.trim().is_empty())
}

fn without_tags(page: &str) -> String {
    let pieces = page.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    entities(&pieces.collect::<Vec<_>>().join(" "))
}

fn entities(text: &str) -> String {
    let known =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")];
    known.into_iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

/// One line, without characters that a terminal would interpret or not show.
fn one_line(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}')
    };
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|&c| !hidden(c)).collect()
}

/// The first [`LONGEST`] characters. Redact secrets first: half of one would otherwise be shown.
pub(crate) fn cut(words: &str) -> String {
    let mut characters = words.chars();
    let mut line: String = characters.by_ref().take(LONGEST).collect();
    if characters.next().is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_become_one_line() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"access denied","detail":[1]}]}"#,
                "DENIED: access denied: [1]",
            ),
            (r#"{"errors":[{"code":"A","message":"b\nc","detail":{"d":1}}]}"#, r#"A: b c: {"d":1}"#),
            (
                r#"{"errors":[{"code":"A","detail":null},{"code":"D"},{"message":"e","detail":{}},{}]}"#,
                "A; D; e",
            ),
            (r#"{"errors":["quota exceeded"]}"#, "quota exceeded"),
            (r#"{"errors":[{"status":404,"message":"no such page"}]}"#, "no such page"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"message":"slow down"}"#, "slow down"),
            (r#"{"error":"invalid_grant","error_description":"token expired"}"#, "token expired"),
            (r#"{"error":{"code":7,"message":"permission denied"}}"#, "permission denied"),
            (r#"{"reason":"quota"}"#, r#"{"reason":"quota"}"#),
            ("You have reached your pull rate limit.\n", "You have reached your pull rate limit."),
            ("\u{feff}a\tb\r\n\r\nc", "a b c"),
            ("<html><head><title>502 Bad\nGateway</title></head>", "502 Bad Gateway"),
            ("<!doctype html><TITLE lang=en>Fish &amp; chips</TITLE>", "Fish & chips"),
            ("<html><h1>Not <b>here</b></h1></html>", "Not here"),
            ("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "AccessDenied"),
            ("<title>", ""),
            ("a\u{1b}[31mb\u{7}\u{202e}c", "a[31mbc"),
            ("{}", ""),
            ("null", ""),
            ("", ""),
        ] {
            assert_eq!(words(body.as_bytes()), expected, "of `{body}`");
        }
        assert_eq!(words(b"\xff\xfe\x00a"), "a");
        let long = format!(r#"{{"message":"{}"}}"#, "ä".repeat(1000));
        assert_eq!(cut(&words(long.as_bytes())).chars().count(), LONGEST + 1);
    }
}
