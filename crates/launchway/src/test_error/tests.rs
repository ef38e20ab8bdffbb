use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::testing::registry::scripted;
use launchway_core::http::NetworkPolicy;
use launchway_fakes::Reply;

const KEY: &str = "correct horse battery staple correct horse battery staple";

/// Second 1767225600.
fn at() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(490_896 * 3600)
}

#[test]
fn a_response_has_words() {
    let server =
        scripted(|request, _| Some(Reply::new(request.path().strip_prefix("/answer/")?.parse().ok()?)));
    let http = Http::new(NetworkPolicy::Only(vec![server.host().parse().unwrap()])).unwrap();
    let raise = |path: &str, id: &str| {
        let url = Url::parse(&format!("http://{}{path}", server.host())).unwrap();
        raise(&http, &url, &Secret::new(KEY), id, at()).map_err(|error| error.to_string())
    };
    raise("/answer/500", "rehearsal-1").unwrap();
    let request = server.requests().pop().unwrap();
    assert_eq!(
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| request.header(name)),
        ["rehearsal-1", "1767225600", "v1,pFJI7vdIorqi6zZdpg25zp0mjO3zFBBGvRy46b5R/cc="]
    );
    assert!(request.is("POST", "/answer/500") && request.body.is_empty());
    for (path, said) in [
        ("/answer/401", "rejected the test error's signature"),
        ("/answer/404", "has no test error"),
        ("/answer/204", "204"),
        ("/answer/503", "503"),
    ] {
        let error = raise(path, "rehearsal-1").unwrap_err();
        assert!(error.contains(said) && !error.contains(KEY), "{error}");
    }
    for id in ["", "a/b", &"a".repeat(65)] {
        assert!(raise("/answer/500", id).unwrap_err().contains("not a valid message id"), "{id}");
    }
}
