use reqwest::header::HeaderMap;

use super::*;
use crate::render::exchange::patience;
use crate::render::stub::{DIGEST, KEY, Stub};
use launchway_core::environment::Environment;
use launchway_core::http::Reach;

fn api(stub: &Stub, key: &str, id: &str) -> Result<Api> {
    let environment = Environment::of([
        ("RENDER_API_KEY", key.to_owned()),
        ("RENDER_SERVICE_ID", id.to_owned()),
        ("RENDER_API_URL", stub.url("/v1/").to_string()),
    ]);
    let mut ctx = Context::for_test(std::path::Path::new("/nowhere"), environment);
    ctx.reach = Reach::Only(vec![stub.address]);
    Api::new(&ctx, Duration::from_millis(1))
}

fn told(error: ApiError) -> (Exit, String) {
    let error = anyhow::Error::from(error);
    (Exit::of(&error), format!("{error:#}"))
}

#[test]
fn every_page_is_read() {
    let stub = Stub::start();
    let api = api(&stub, KEY, "srv-1").unwrap();
    for count in [0, 21, 100, 101, 205] {
        stub.state().variables = (0..count).map(|n| (format!("NAME_{n}"), format!("hidden-{n}"))).collect();
        let found = api.variables().unwrap();
        assert_eq!(found.len(), count);
        assert!(found.iter().enumerate().all(|(n, variable)| variable.key == format!("NAME_{n}")));
        assert!(!format!("{found:?}").contains("hidden"));
    }
}

#[test]
fn a_list_that_has_no_end_is_given_up() {
    let stub = Stub::start();
    // Its cursors lead in a circle.
    let page = |cursor| {
        let item = format!(r#"{{"envVar":{{"key":"A","value":"x"}},"cursor":"{cursor}"}}"#);
        &*format!("[{}]", vec![item; 100].join(",")).leak()
    };
    let [one, two] = ["one", "two"].map(page);
    stub.state().faults.extend([one, two].repeat(50).into_iter().map(|page| ("GET", "env-vars", 200, page)));
    let (_, said) = told(api(&stub, KEY, "srv-1").unwrap().variables().unwrap_err());
    let expected = "its list at /v1/services/srv-1/env-vars has no end after 10000 entries";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_refusal_names_the_variable_to_mend() {
    let stub = Stub::start();
    let refused = |key: &str, id: &str| told(api(&stub, key, id).unwrap().service().unwrap_err());
    let (exit, said) = refused("wrong-key-of-the-test", "srv-1");
    assert_eq!(exit, Exit::Missing);
    assert!(said.contains("`RENDER_API_KEY` (401 Unauthorized: Unauthorized)"), "{said}");
    let (exit, said) = refused(KEY, "srv-2");
    assert_eq!(exit, Exit::Missing);
    assert!(said.contains("`RENDER_SERVICE_ID`") && said.contains("not found: service"), "{said}");
    stub.state().faults.push(("GET", "srv-1", 403, ""));
    let (exit, said) = refused(KEY, "srv-1");
    assert_eq!(exit, Exit::Missing);
    assert!(said.contains("`RENDER_API_KEY` may not"), "{said}");
}

#[test]
fn what_cannot_be_a_key_or_an_id_is_not_sent() {
    let stub = Stub::start();
    for (key, id) in [("two\nlines", "srv-1"), (KEY, ".."), (KEY, "srv/1")] {
        let error = api(&stub, key, id).err().unwrap();
        assert_eq!(Exit::of(&error), Exit::Missing);
        assert!(!format!("{error:#}").contains("two"), "{error:#}");
    }
    assert!(stub.state().transcript.is_empty());
}

#[test]
fn a_reading_is_repeated_and_a_refusal_is_not() {
    let stub = Stub::start();
    let api = api(&stub, KEY, "srv-1").unwrap();
    stub.state().faults = vec![
        ("GET", "srv-1", 429, "{}"),
        ("GET", "srv-1", 502, "<html>bad gateway</html>"),
        ("GET", "srv-1", 200, "<html>hello</html>"),
    ];
    assert_eq!(api.service().unwrap().name, "app");
    assert_eq!(stub.asked("GET").len(), 4);
    stub.state().faults = vec![("GET", "srv-1", 503, "no"); 7];
    let (exit, said) = told(api.service().unwrap_err());
    assert_eq!(exit, Exit::DeployFailed);
    assert_eq!(said, "the Render API is not available: 503 Service Unavailable: no");
    assert_eq!(stub.asked("GET").len(), 4 + 6);
    stub.state().faults = vec![("GET", "srv-1", 402, r#"{"id":null,"message":"pay\n first"}"#)];
    let (exit, said) = told(api.service().unwrap_err());
    assert_eq!(exit, Exit::DeployFailed);
    assert_eq!(said, "Render refused: 402 Payment Required: pay first");
}

#[test]
fn calls_can_share_their_patience() {
    let stub = Stub::start();
    let api = api(&stub, KEY, "srv-1").unwrap();
    let asked = |time: Duration| {
        stub.state().transcript.clear();
        stub.state().faults = vec![("GET", "srv-1", 503, "no"); 12];
        api.within(time, || [api.service().unwrap_err(), api.service().unwrap_err()]);
        stub.asked("GET").len()
    };
    assert_eq!([asked(Duration::ZERO), asked(Duration::from_mins(1))], [2, 12]);
    stub.state().faults = vec![("GET", "srv-1", 503, "no")];
    api.service().unwrap();
}

#[test]
fn a_long_answer_is_cut_and_a_secret_in_it_replaced() {
    let stub = Stub::start();
    let api = api(&stub, KEY, "srv-1").unwrap();
    let long: &'static str = format!("hunter2-hunter2 {KEY} {}", "é".repeat(500)).leak();
    stub.state().faults = vec![("PUT", "NAME", 400, long)];
    let error = api.put_variable("NAME", &Secret::new("hunter2-hunter2")).unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"));
    let (_, said) = told(error);
    assert!(said.starts_with("`NAME`: Render refused: 400 Bad Request: <redacted> <redacted> é"), "{said}");
    assert!(said.chars().count() < 260 && said.ends_with('…'), "{said}");
}

#[test]
fn a_request_for_a_deploy_is_repeated_only_after_the_limit() {
    let stub = Stub::start();
    let api = api(&stub, KEY, "srv-1").unwrap();
    stub.state().asked = [(429, false), (429, false), (201, true)].into();
    assert!(
        matches!(api.create_deploy("x").unwrap(), Asked::Created(deploy) if deploy.sha() == Some(DIGEST))
    );
    assert_eq!(stub.asked("POST").len(), 3);
    stub.state().asked = [(500, false)].into();
    assert!(matches!(api.create_deploy("x"), Err(ApiError::Unavailable { untouched: false, .. })));
    assert_eq!(stub.asked("POST").len(), 4);
    stub.state().asked = [(202, false)].into();
    assert!(matches!(api.create_deploy("x").unwrap(), Asked::Queued));
}

#[test]
fn a_service_that_cannot_be_reached_was_asked_nothing() {
    let stub = Stub::start();
    let api = api(&stub, KEY, "srv-1").unwrap();
    drop(stub);
    let asked = api.create_deploy("x");
    assert!(matches!(asked, Err(ApiError::Unavailable { untouched: true, .. })), "{asked:?}");
}

#[test]
fn a_path_is_encoded_segment_by_segment() {
    let base = Url::parse("https://api.render.com/v1/").unwrap();
    let url = below(&base, &["services", "srv-1", "env-vars", "A/B ?"]).unwrap();
    assert_eq!(url.as_str(), "https://api.render.com/v1/services/srv-1/env-vars/A%2FB%20%3F");
}

#[test]
fn the_limit_says_how_long_it_lasts() {
    let mut headers = HeaderMap::new();
    headers.insert("ratelimit-reset", HeaderValue::from_static("45"));
    assert_eq!(patience(StatusCode::BAD_GATEWAY, &headers), None);
    assert_eq!(patience(StatusCode::TOO_MANY_REQUESTS, &headers), Some(Duration::from_secs(45)));
    headers.insert("retry-after", HeaderValue::from_static("86400"));
    assert_eq!(patience(StatusCode::BAD_GATEWAY, &headers), Some(Api::LONGEST_WAIT));
    headers.insert("retry-after", HeaderValue::from_static("3"));
    assert_eq!(patience(StatusCode::TOO_MANY_REQUESTS, &headers), Some(Duration::from_secs(3)));
}
