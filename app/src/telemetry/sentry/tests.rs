//! What an event reveals.

use sentry::protocol::{Event, Request, User};

use super::scrub;

#[test]
fn an_event_keeps_what_helps_and_nothing_else() {
    let headers = [
        ("Host", "example.com"),
        ("user-agent", "curl"),
        ("authorization", "Bearer s3cret"),
        ("cookie", "session=s3cret"),
        ("webhook-signature", "v1,s3cret"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-anything-else", "s3cret"),
    ];
    let event = Event {
        server_name: Some("s3cret-machine".into()),
        user: Some(User { ip_address: Some("203.0.113.7".parse().unwrap()), ..User::default() }),
        request: Some(Request {
            url: Some("https://s3cret:s3cret@example.com/test-error?token=s3cret#s3cret".parse().unwrap()),
            method: Some("POST".to_owned()),
            query_string: Some("token=s3cret".to_owned()),
            cookies: Some("session=s3cret".to_owned()),
            data: Some("s3cret".to_owned()),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            env: [("REMOTE_ADDR".to_owned(), "203.0.113.7".to_owned())].into(),
        }),
        ..Event::default()
    };
    let event = scrub(event);

    let text = format!("{event:?}");
    assert!(!text.contains("s3cret") && !text.contains("203.0.113.7"), "{text}");
    let request = event.request.unwrap();
    assert_eq!(request.url.unwrap().as_str(), "https://example.com/test-error");
    assert_eq!(request.method.as_deref(), Some("POST"));
    let kept: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(kept, [("Host", "example.com"), ("user-agent", "curl")]);
}
