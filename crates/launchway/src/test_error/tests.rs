use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::testing::stub::Stub;
use launchway_core::http::Reach;

const KEY: &str = "correct horse battery staple correct horse battery staple";

/// Second 1767225600.
fn at() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(490_896)
}

#[test]
fn an_answer_is_told_in_words() {
    let stub = Stub::start();
    let http = Http::new(Reach::Only(vec![stub.address])).unwrap();
    let raise = |path: &str, id: &str| {
        raise(&http, &stub.url(path), &Secret::new(KEY), id, at()).map_err(|error| error.to_string())
    };
    raise("/answer/500", "rehearsal-1").unwrap();
    let line = stub.state().transcript.pop().unwrap();
    assert_eq!(
        line,
        "POST /answer/500  rehearsal-1 1767225600 v1,pFJI7vdIorqi6zZdpg25zp0mjO3zFBBGvRy46b5R/cc="
    );
    for (path, said) in [
        ("/answer/401", "rejected the signature"),
        ("/answer/404", "has no test error"),
        ("/answer/204", "204"),
        ("/answer/503", "503"),
    ] {
        let error = raise(path, "rehearsal-1").unwrap_err();
        assert!(error.contains(said) && !error.contains(KEY), "{error}");
    }
    for id in ["", "a/b", &"a".repeat(65)] {
        assert!(raise("/answer/500", id).unwrap_err().contains("not the id"), "{id}");
    }
}
