//! Sentry's envelopes: `Headers {"\n" Headers "\n" Payload} ["\n"]`.
//!
//! Based on Sentry's developer documentation, "Envelopes". Deliberately does not use the SDK's own parser: the service
//! sends with it, and it fails on unknown item types, which the documentation forbids.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

/// A parsed envelope.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) headers: Map<String, Value>,
    pub(crate) items: Vec<Item>,
}

/// One item of any type.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) kind: String,
    pub(crate) payload: Vec<u8>,
}

/// The parts of an event that a rehearsal checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// 32 hexadecimal digits without dashes.
    pub id: String,
    /// The release that the client reports.
    pub release: Option<String>,
    /// The environment that the client reports.
    pub environment: Option<String>,
    /// The message, else the last exception as `Type: value`.
    pub message: Option<String>,
    /// The tags, as text.
    pub tags: BTreeMap<String, String>,
}

/// Parses an envelope. Keeps items of unknown types.
pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Envelope> {
    let (headers, mut rest) = line(bytes);
    let headers = object(headers).context("the envelope's headers are not a JSON object")?;
    let mut items = Vec::new();
    // One empty line may follow the last item.
    while !rest.is_empty() && rest != b"\n" {
        let (item_headers, after) = line(rest);
        let item_headers = object(item_headers).context("an item's headers are not a JSON object")?;
        let kind =
            item_headers.get("type").and_then(Value::as_str).context("an item has no type")?.to_owned();
        let (payload, after) = match item_headers.get("length") {
            None => line(after),
            Some(length) => {
                let length = length.as_u64().and_then(|length| usize::try_from(length).ok());
                exactly(after, length.context("an item's length is not a whole number")?)?
            }
        };
        items.push(Item { kind, payload: payload.to_owned() });
        rest = after;
    }
    Ok(Envelope { headers, items })
}

/// Parses the payload of an item of type `event`.
pub(crate) fn event(item: &Item) -> anyhow::Result<Event> {
    let event = object(&item.payload).context("an event is not a JSON object")?;
    let text = |name| event.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = text("event_id").context("an event has no id")?.replace('-', "").to_ascii_lowercase();
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("an event's id is not a UUID");
    }
    let formatted =
        || event.get("logentry")?.get("formatted").or(event.get("logentry")?.get("message"))?.as_str();
    let message =
        text("message").or_else(|| formatted().map(str::to_owned)).or_else(|| last_exception(&event));
    let tags = event.get("tags").and_then(Value::as_object).into_iter().flatten();
    let tags = tags
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    Ok(Event {
        id,
        release: text("release"),
        environment: text("environment"),
        message,
        tags: tags.collect(),
    })
}

/// `exception` is `{"values": […]}` or the list itself; the last one is the one that was thrown.
fn last_exception(event: &Map<String, Value>) -> Option<String> {
    let exception = event.get("exception")?;
    let last = exception.get("values").unwrap_or(exception).as_array()?.last()?;
    let part = |name| last.get(name).and_then(Value::as_str).unwrap_or_default();
    Some(format!("{}: {}", part("type"), part("value")))
}

/// The bytes up to the next line feed, and those after it.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

/// A payload of known length, which must be followed by a line feed or the end.
fn exactly(bytes: &[u8], length: usize) -> anyhow::Result<(&[u8], &[u8])> {
    let (payload, rest) = bytes.split_at_checked(length).context("an item is shorter than its length")?;
    match rest {
        [] => Ok((payload, rest)),
        [b'\n', rest @ ..] => Ok((payload, rest)),
        _ => bail!("an item is longer than its length"),
    }
}

fn object(bytes: &[u8]) -> anyhow::Result<Map<String, Value>> {
    Ok(serde_json::from_slice(bytes)?)
}
