use super::*;
use crate::server::loopback_client;

const ID: &str = "0123456789abcdef0123456789abcdef";

fn client() -> reqwest::Client {
    loopback_client().unwrap()
}

/// An envelope as the Rust SDK 0.49 writes it: a dashed id in front, an undashed one in the payload.
fn envelope(event: &Value) -> String {
    let event = event.to_string();
    let header = json!({ "event_id": "01234567-89ab-cdef-0123-456789abcdef" });
    format!("{header}\n{}\n{event}\n", json!({ "type": "event", "length": event.len() }))
}

async fn send(sentry: &FakeSentry, path: &str, key: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let request = client().post(format!("http://{}{path}", sentry.address())).body(body);
    let auth = format!("Sentry sentry_key={key}, sentry_version=7, sentry_client=sentry.rust/0.49.5");
    let response = request.header("x-sentry-auth", auth).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn an_event_arrives_with_its_release_and_environment() {
    let sentry = FakeSentry::start().await.unwrap();
    assert_eq!(sentry.dsn(), format!("http://{}@{}/1", sentry.project.key, sentry.address()));
    let event = json!({
        "event_id": ID,
        "release": "app@abc",
        "environment": "PROD",
        "exception": { "values": [{ "type": "Cause", "value": "x" }, { "type": "Boom", "value": "it broke" }] },
        "tags": { "probe": "17", "tries": 3 },
    });
    let waiting = sentry
        .wait_for(|event| event.tags.get("probe").is_some_and(|run| run == "17"), Duration::from_secs(10));
    let (found, answer) =
        tokio::join!(waiting, send(&sentry, "/api/1/envelope/", &sentry.project.key, envelope(&event)));
    assert_eq!(answer, (200, json!({ "id": ID })));
    let found = found.unwrap();
    assert_eq!(found.id, ID);
    assert_eq!(found.release.as_deref(), Some("app@abc"));
    assert_eq!(found.environment.as_deref(), Some("PROD"));
    assert_eq!(found.message.as_deref(), Some("Boom: it broke"));
    assert_eq!(found.tags["tries"], "3");
    assert_eq!(sentry.events(), [found]);
    assert_eq!(sentry.transcript().len(), 1);
    assert_eq!(sentry.wait_for(|event| event.id == "other", Duration::ZERO).await, None);
}

#[tokio::test]
async fn what_is_not_for_this_project_is_refused() {
    let sentry = FakeSentry::start().await.unwrap();
    let key = sentry.project.key.clone();
    let good = envelope(&json!({ "event_id": ID }));
    let url = format!("http://{}/api/1/envelope/", sentry.address());
    assert_eq!(send(&sentry, "/api/1/envelope/", "wrong", good.clone()).await.0, 403);
    assert_eq!(send(&sentry, "/api/2/envelope/", &key, good.clone()).await.0, 400);
    // Sentry's own path ends with a slash.
    assert_eq!(send(&sentry, "/api/1/envelope", &key, good.clone()).await.0, 404);
    assert_eq!(send(&sentry, "/api/1/envelope/", &key, "not an envelope").await.0, 400);
    assert_eq!(send(&sentry, "/api/1/envelope/", &key, vec![b' '; (20 << 20) + 1]).await.0, 413);
    assert_eq!(client().post(&url).body(good).send().await.unwrap().status(), 403);
    assert_eq!(client().get(&url).send().await.unwrap().status(), 405);
    assert!(sentry.events().is_empty());
}

#[test]
fn envelopes_are_read_as_the_grammar_says() {
    let kinds = |text: &str| {
        let envelope = envelope::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        let items = envelope.items.into_iter();
        Ok(items
            .map(|item| format!("{}={}", item.kind, String::from_utf8_lossy(&item.payload)))
            .collect::<Vec<_>>())
    };
    let ok = |items: &[&str]| Ok::<_, String>(items.iter().map(|item| (*item).to_owned()).collect());
    let err = |message: &str| Err(message.to_owned());
    let table: [(&str, Result<Vec<String>, String>); 15] = [
        ("{}", ok(&[])),
        ("{}\n", ok(&[])),
        ("{}\n\n", ok(&[])),
        ("{}\n{\"type\":\"a\"}\nline", ok(&["a=line"])),
        ("{}\n{\"type\":\"a\"}\nline\n", ok(&["a=line"])),
        ("{}\n{\"type\":\"a\",\"length\":3}\nx\ny\n{\"type\":\"b\"}\nz\n", ok(&["a=x\ny", "b=z"])),
        ("{}\n{\"type\":\"a\",\"length\":0}\n\n{\"type\":\"b\"}\nz", ok(&["a=", "b=z"])),
        ("{}\n{\"type\":\"a\",\"length\":0}", ok(&["a="])),
        ("{}\n{\"type\":\"never seen\"}\n?\n", ok(&["never seen=?"])),
        ("", err("the envelope's headers are not a JSON object")),
        ("[]\n", err("the envelope's headers are not a JSON object")),
        ("{}\nnonsense\n", err("an item's headers are not a JSON object")),
        ("{}\n{\"length\":1}\nx", err("an item has no type")),
        ("{}\n{\"type\":\"a\",\"length\":5}\nx", err("an item is shorter than its length")),
        ("{}\n{\"type\":\"a\",\"length\":1}\nxy", err("an item is longer than its length")),
    ];
    for (text, expected) in table {
        assert_eq!(kinds(text), expected, "{text:?}");
    }
    assert_eq!(kinds("{}\n{\"type\":\"a\",\"length\":-1}\nx"), err("an item's length is not a whole number"));
}

#[test]
fn an_event_is_known_by_its_message_in_whatever_form() {
    let event = |value: Value| {
        let item = envelope::Item { kind: "event".to_owned(), payload: value.to_string().into_bytes() };
        envelope::event(&item).map_err(|error| error.to_string())
    };
    let message = |value: Value| event(value).unwrap().message;
    let dashed = "01234567-89AB-CDEF-0123-456789ABCDEF";
    assert_eq!(event(json!({ "event_id": dashed })).unwrap().id, ID);
    assert_eq!(message(json!({ "event_id": ID, "message": "m" })).as_deref(), Some("m"));
    assert_eq!(
        message(json!({ "event_id": ID, "logentry": { "formatted": "f", "message": "m" } })).as_deref(),
        Some("f")
    );
    assert_eq!(message(json!({ "event_id": ID, "logentry": { "message": "m" } })).as_deref(), Some("m"));
    assert_eq!(
        message(json!({ "event_id": ID, "exception": [{ "type": "T", "value": "v" }] })).as_deref(),
        Some("T: v")
    );
    assert_eq!(message(json!({ "event_id": ID })), None);
    assert_eq!(event(json!({})), Err("an event has no id".to_owned()));
    assert_eq!(event(json!({ "event_id": "short" })), Err("an event's id is not a UUID".to_owned()));
    assert_eq!(event(json!([])), Err("an event is not a JSON object".to_owned()));
}

#[tokio::test]
async fn items_that_are_not_events_are_counted() {
    let sentry = FakeSentry::start().await.unwrap();
    let body = "{}\n{\"type\":\"session\"}\n{}\n{\"type\":\"log\",\"item_count\":1}\n{}\n";
    let answer = send(&sentry, "/api/1/envelope/", &sentry.project.key, body).await;
    assert_eq!(answer, (200, json!({ "id": null })));
    assert_eq!((sentry.events().len(), sentry.other_items()), (0, 2));
}

async fn ask(sentry: &FakeSentry, method: &str, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/api/0/organizations/{path}", sentry.url());
    let request = client().request(method.parse().unwrap(), url).bearer_auth(sentry.token()).json(&body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The calls in the order of sentry-cli.
#[tokio::test]
async fn a_release_is_made_finalized_and_deployed() {
    let sentry = FakeSentry::start().await.unwrap();
    let (version, path) = ("app@0.3.0+abc1234", "rehearsal/releases/app@0.3.0%2Babc1234");
    let deploys = format!("{path}/deploys/");
    let live = json!({ "environment": "production", "name": "run-42" });
    assert_eq!(ask(&sentry, "POST", &deploys, live.clone()).await.0, 404);
    assert_eq!(ask(&sentry, "PUT", &format!("{path}/"), json!({})).await.0, 404);

    let new = json!({ "version": version, "projects": ["app"] });
    let make = async |body: &Value| ask(&sentry, "POST", "rehearsal/releases/", body.clone()).await.0;
    assert_eq!((make(&new).await, make(&new).await), (201, 208));
    let commits = json!({ "refs": [{ "repository": "acme/app", "commit": "abc1234" }] });
    assert_eq!(ask(&sentry, "PUT", &format!("{path}/"), commits).await.1["commitCount"], 1);
    let finalized = json!({ "projects": ["app"], "dateReleased": "2026-01-01T00:00:00Z" });
    assert_eq!(ask(&sentry, "PUT", &format!("{path}/"), finalized).await.0, 200);
    assert_eq!(ask(&sentry, "POST", &deploys, live).await.0, 201);
    let release = sentry.release(version).unwrap();
    assert_eq!((release.commits.len(), release.environments), (1, vec!["production".to_owned()]));
    assert_eq!(release.released.as_deref(), Some("2026-01-01T00:00:00Z"));
    assert_eq!(ask(&sentry, "GET", &format!("{path}/"), json!({})).await.1["deployCount"], 1);

    for bad in [
        json!({ "version": version, "projects": ["other"] }),
        json!({ "version": "a/b", "projects": ["app"] }),
    ] {
        assert_eq!(make(&bad).await, 400, "{bad}");
    }
    assert_eq!(ask(&sentry, "POST", &deploys, json!({ "environment": "none" })).await.0, 400);
    assert_eq!(ask(&sentry, "POST", "other/releases/", new.clone()).await.0, 404);
    let url = format!("{}/api/0/organizations/rehearsal/releases/", sentry.url());
    assert_eq!(client().post(url).bearer_auth("wrong").json(&new).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn it_can_fail_or_say_nothing() {
    let sentry = FakeSentry::start().await.unwrap();
    let new = json!({ "version": "app@1", "projects": ["app"] });
    sentry.set_mode(Mode::Fails);
    assert_eq!(ask(&sentry, "POST", "rehearsal/releases/", new.clone()).await.0, 500);
    sentry.set_mode(Mode::Silent);
    let asked = ask(&sentry, "POST", "rehearsal/releases/", new.clone());
    assert!(tokio::time::timeout(Duration::from_millis(100), asked).await.is_err());
    sentry.set_mode(Mode::Works);
    assert_eq!(ask(&sentry, "POST", "rehearsal/releases/", new).await.0, 201);
}
