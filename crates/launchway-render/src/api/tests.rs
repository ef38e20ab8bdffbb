use reqwest::header::HeaderMap;

use super::*;
use crate::exchange::retry_after;
use launchway_core::http::NetworkPolicy;
use launchway_fakes::render::{Fault, Options, Script, ScriptedImage, ScriptedRender};

const KEY: &str = "rnd_key-of-the-test";
const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const IMAGE: &str = "docker.io/acme/app:latest";

fn render_with(variables: Vec<(String, String)>) -> ScriptedRender {
    let image = ScriptedImage::new("c0ffee", DIGEST);
    let script = Script { images: [(DIGEST.to_owned(), image)].into(), ..Script::default() };
    let options = Options { variables, ..Options::new("srv-1", KEY, IMAGE) };
    ScriptedRender::start(options, script, &std::env::temp_dir()).unwrap()
}

fn render() -> ScriptedRender {
    render_with(Vec::new())
}

fn api_with(render: &ScriptedRender, key: &str, id: &str) -> Result<Api> {
    let account = Account { root: render.api_url().parse()?, key: Secret::new(key), service: id.to_owned() };
    let http = Http::new(NetworkPolicy::Only(vec![render.address()]))?;
    Api::new(account, http, Interrupt::default(), Duration::from_millis(1))
}

fn api(render: &ScriptedRender) -> Api {
    api_with(render, KEY, "srv-1").unwrap()
}

fn reported(error: ApiError) -> (Exit, String) {
    let error = anyhow::Error::from(error);
    (Exit::of(&error), format!("{error:#}"))
}

#[test]
fn every_page_is_read() {
    for count in [0, 21, 100, 101, 205] {
        let variable = |n| (format!("NAME_{n}"), format!("hidden-{n}"));
        let render = render_with((0..count).map(variable).collect());
        let found = api(&render).variables().unwrap();
        let mut names: Vec<String> = found.iter().map(|found| found.key.clone()).collect();
        let mut wanted: Vec<String> = (0..count).map(|n| variable(n).0).collect();
        names.sort();
        wanted.sort();
        assert_eq!(names, wanted);
        assert!(!format!("{found:?}").contains("hidden"));
    }
}

#[test]
fn a_list_without_an_end_is_given_up() {
    let render = render();
    // Its cursors lead in a circle.
    for cursor in ["one", "two"].repeat(50) {
        let item = format!(r#"{{"envVar":{{"key":"A","value":"x"}},"cursor":"{cursor}"}}"#);
        let page = format!("[{}]", vec![item; 100].join(","));
        render.fault(Fault::once("GET", "/env-vars", 200, &page));
    }
    let (_, said) = reported(api(&render).variables().unwrap_err());
    let expected = "its list at /v1/services/srv-1/env-vars has more than 10000 entries";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_refusal_names_the_variable_to_correct() {
    let render = render();
    let refused = |key: &str, id: &str| reported(api_with(&render, key, id).unwrap().service().unwrap_err());
    let (exit, said) = refused("wrong-key-of-the-test", "srv-1");
    assert_eq!(exit, Exit::Missing);
    assert!(said.contains("`RENDER_API_KEY` (401 Unauthorized: Unauthorized)"), "{said}");
    let (exit, said) = refused(KEY, "srv-2");
    assert_eq!(exit, Exit::Missing);
    assert!(said.contains("`RENDER_SERVICE_ID`") && said.contains("not found: srv-2"), "{said}");
    render.fault(Fault::once("GET", "srv-1", 403, ""));
    let (exit, said) = refused(KEY, "srv-1");
    assert_eq!(exit, Exit::Missing);
    assert!(said.contains("`RENDER_API_KEY` may not"), "{said}");
}

#[test]
fn what_cannot_be_a_key_or_an_id_is_not_sent() {
    let render = render();
    for (key, id) in [("two\nlines", "srv-1"), (KEY, ".."), (KEY, "srv-/1"), (KEY, "srv-"), (KEY, "xyz")] {
        let error = api_with(&render, key, id).err().unwrap();
        assert_eq!(Exit::of(&error), Exit::Missing);
        assert!(!format!("{error:#}").contains("two"), "{error:#}");
    }
    assert!(render.transcript().is_empty());
}

#[test]
fn a_reading_is_retried_and_a_refusal_is_not() {
    let render = render();
    let api = api(&render);
    for (status, body) in [(429, "{}"), (502, "<html>bad gateway</html>"), (200, "<html>hello</html>")] {
        render.fault(Fault::once("GET", "srv-1", status, body));
    }
    assert_eq!(api.service().unwrap().name, "fake");
    assert_eq!(render.count("GET", "srv-1"), 4);
    render.fault(Fault::often("GET", "srv-1", 503, "no", 6));
    let (exit, said) = reported(api.service().unwrap_err());
    assert_eq!(exit, Exit::DeployFailed);
    assert_eq!(said, "the Render API is not available: 503 Service Unavailable: no");
    assert_eq!(render.count("GET", "srv-1"), 4 + 6);
    render.fault(Fault::once("GET", "srv-1", 402, r#"{"id":null,"message":"pay\n first"}"#));
    let (exit, said) = reported(api.service().unwrap_err());
    assert_eq!(exit, Exit::DeployFailed);
    assert_eq!(said, "Render refused: 402 Payment Required: pay first");
}

#[test]
fn calls_can_share_a_time_limit() {
    let requests = |time: Duration| {
        let render = render();
        let api = api(&render);
        render.fault(Fault::often("GET", "srv-1", 503, "no", 12));
        api.within(time, || [api.service().unwrap_err(), api.service().unwrap_err()]);
        let requests = render.count("GET", "srv-1");
        if requests == 12 {
            render.fault(Fault::once("GET", "srv-1", 503, "no"));
            api.service().unwrap();
        }
        requests
    };
    assert_eq!([requests(Duration::ZERO), requests(Duration::from_secs(60))], [2, 12]);
}

#[test]
fn a_long_message_is_cut_after_the_secrets_in_it_are_redacted() {
    let render = render();
    let api = api(&render);
    let long = format!("hunter2-hunter2 {KEY} {}", "é".repeat(500));
    render.fault(Fault::once("PUT", "NAME", 400, &long));
    let error = api.put_variable("NAME", &Secret::new("hunter2-hunter2")).unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"));
    let (_, said) = reported(error);
    assert!(said.starts_with("`NAME`: Render refused: 400 Bad Request: <redacted> <redacted> é"), "{said}");
    assert!(said.chars().count() < 260 && said.ends_with('…'), "{said}");
    // A secret across the cut would no longer be found behind it.
    api.hide([Secret::new("correct-horse-battery-staple")]);
    let across = format!("{}correct-horse-battery-staple", "-".repeat(190));
    render.fault(Fault::once("GET", "srv-1", 400, &across));
    let (_, said) = reported(api.service().unwrap_err());
    assert!(!said.contains("correct") && said.ends_with("-<redacted>"), "{said}");
}

#[test]
fn a_request_for_a_deploy_is_retried_only_after_the_limit() {
    let render = render();
    let api = api(&render);
    let image = format!("docker.io/acme/app@{DIGEST}");
    render.fault(Fault::often("POST", "/deploys", 429, "{}", 2));
    let requested = api.create_deploy(&image).unwrap();
    assert!(matches!(requested, Requested::Created(deploy) if deploy.sha() == Some(DIGEST)));
    assert_eq!(render.count("POST", "/deploys"), 3);
    render.fault(Fault::once("POST", "/deploys", 500, ""));
    assert!(matches!(api.create_deploy(&image), Err(ApiError::Unavailable { untouched: false, .. })));
    assert_eq!(render.count("POST", "/deploys"), 4);
    render.fault(Fault::Accepted);
    assert!(matches!(api.create_deploy(&image).unwrap(), Requested::Queued));
}

#[test]
fn without_a_connection_nothing_was_requested() {
    let render = render();
    let api = api(&render);
    drop(render);
    let requested = api.create_deploy("x");
    assert!(matches!(requested, Err(ApiError::Unavailable { untouched: true, .. })), "{requested:?}");
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
    assert_eq!(retry_after(StatusCode::BAD_GATEWAY, &headers), None);
    assert_eq!(retry_after(StatusCode::TOO_MANY_REQUESTS, &headers), Some(Duration::from_secs(45)));
    headers.insert("retry-after", HeaderValue::from_static("86400"));
    assert_eq!(retry_after(StatusCode::BAD_GATEWAY, &headers), Some(Api::LONGEST_WAIT));
    headers.insert("retry-after", HeaderValue::from_static("3"));
    assert_eq!(retry_after(StatusCode::TOO_MANY_REQUESTS, &headers), Some(Duration::from_secs(3)));
}
