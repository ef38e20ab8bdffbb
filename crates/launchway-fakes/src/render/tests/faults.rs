//! Every fault, as a client sees it.

use super::*;

/// A rig with one live release of a tag `latest`, whose digest is the second value.
async fn live(adapt: impl FnOnce(&mut Options)) -> (Rig, String) {
    let rig = Rig::start(adapt).await;
    let digest = rig.push("latest", run_config()).await;
    rig.until(&rig.deploy(json!({})).await, &["live"]).await;
    (rig, digest)
}

async fn status(rig: &Rig, method: &str, path: &str) -> u16 {
    let body = (method != "GET").then(|| json!({ "value": "x" }));
    rig.call(method, &format!("/services/{SERVICE}{path}"), body).await.status().as_u16()
}

#[tokio::test]
async fn calls_are_refused_once_or_for_ever() {
    let rig = Rig::start(|_| {}).await;
    rig.render.fault(Fault::TooManyRequests(Call::Service));
    let refused = rig.call("GET", &format!("/services/{SERVICE}"), None).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    assert_eq!(status(&rig, "GET", "").await, 200);

    rig.render.fault(Fault::BadGateway { call: Call::Variables, times: 2 });
    for _ in 0..2 {
        let page = rig.call("GET", &format!("/services/{SERVICE}/env-vars"), None).await;
        assert_eq!(page.status(), 502);
        assert!(page.text().await.unwrap().starts_with("<html>"));
    }
    assert_eq!(status(&rig, "GET", "/env-vars").await, 200);

    // Not before a write was answered, and from then on for every one.
    rig.render.fault(Fault::After(Call::Write, Box::new(Fault::Broken(Call::Write))));
    assert_eq!(status(&rig, "PUT", "/env-vars/A").await, 200);
    assert_eq!(status(&rig, "PUT", "/env-vars/B").await, 500);
    assert_eq!(status(&rig, "DELETE", "/env-vars/A").await, 500);
    rig.render.fault(Fault::Forbidden(Call::Watch));
    assert_eq!(status(&rig, "GET", "/deploys/dep-1").await, 403);
    assert_eq!(rig.render.variables().keys().collect::<Vec<_>>(), ["A"]);

    rig.render.fault(Fault::Unauthorized);
    assert_eq!(status(&rig, "GET", "").await, 401);
    assert_eq!(status(&rig, "GET", "/env-vars").await, 401);
}

#[tokio::test]
async fn a_lost_answer_is_that_of_a_deploy_that_was_begun() {
    let (rig, _) = live(|_| {}).await;
    rig.render.fault(Fault::Lost(Call::Deploy));
    let url = format!("{}/services/{SERVICE}/deploys", rig.render.api_url());
    let request = rig.client.post(url).bearer_auth(KEY).json(&json!({}));
    // How far it comes before it breaks off is a matter of luck.
    let answer = async { request.send().await?.bytes().await };
    answer.await.unwrap_err();
    assert_eq!(rig.get("/deploys").await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn somebody_else_deploys_before_or_after_us() {
    let (rig, digest) = live(|_| {}).await;
    let image = rig.image(&format!("@{digest}"));
    rig.render.fault(Fault::Queued { image: image.clone() });
    assert_eq!(rig.service("POST", "/deploys", Some(json!({}))).await, (202, Value::Null));
    let ours = rig.get("/deploys?limit=1").await[0]["deploy"].clone();
    rig.until(&ours, &["live"]).await;
    assert_eq!(rig.get("/deploys").await.as_array().unwrap().len(), 3);

    rig.render.fault(Fault::Superseded { image: image.clone() });
    let ours = rig.deploy(json!({})).await;
    assert_eq!(rig.until_over(&ours).await["status"], "canceled");
    let newer = rig.get("/deploys?limit=1").await[0]["deploy"].clone();
    let ended = rig.get("/events?type=deploy_ended").await;
    let ends = ended.as_array().unwrap().iter().map(|item| &item["event"]["details"]);
    let ours_ended = ends.clone().find(|details| details["deployId"] == ours["id"]).unwrap();
    assert_eq!(ours_ended["reason"]["newDeploy"]["id"], newer["id"]);
    rig.until(&newer, &["live"]).await;

    rig.render.fault(Fault::Overtaken { image });
    let ours = rig.deploy(json!({})).await;
    rig.until(&ours, &["deactivated"]).await;
}

#[tokio::test]
async fn somebody_else_sets_a_variable_when_they_were_read() {
    let rig = Rig::start(|_| {}).await;
    rig.render.fault(Fault::VariableChanged { key: "A".to_owned(), value: "theirs".to_owned() });
    assert_eq!(rig.get("/env-vars").await, json!([]));
    assert_eq!(rig.get("/env-vars/A").await["value"], "theirs");
}

#[tokio::test]
async fn a_faulty_image_fails_in_its_own_way_and_no_other_does() {
    for (image_fault, event, field, expected) in [
        (ImageFault::NotPulled, "image_pull_failed", "/evicted", json!(false)),
        (ImageFault::Crashes, "server_failed", "/nonZeroExit", json!(1)),
        (ImageFault::OutOfMemory, "server_failed", "/oomKilled/memoryLimit", json!("512Mi")),
        (ImageFault::NeverHealthy, "server_failed", "/timedOutSeconds", json!(1)),
    ] {
        let (rig, _) = live(|options| options.health_deadline = Duration::from_secs(1)).await;
        let faulty = rig.push("latest", json!({ "Entrypoint": ["/app/app", "faulty"] })).await;
        rig.render.fault(Fault::Image(faulty.clone(), image_fault));
        let deploy = rig.deploy(json!({})).await;
        assert_eq!(rig.until_over(&deploy).await["status"], "update_failed", "{image_fault:?}");
        let ended = rig.get("/events?type=deploy_ended&limit=1").await;
        let reason = &ended[0]["event"]["details"]["reason"]["failure"];
        assert_eq!(reason.pointer(field), Some(&expected), "{image_fault:?}: {reason}");
        let before = rig.get(&format!("/events?type={event}&limit=1")).await;
        assert_eq!(before[0]["event"]["type"], event, "{image_fault:?}");
        assert_ne!(rig.render.live(), Some(faulty));
        rig.until_pids(1).await;
    }
}

#[tokio::test]
async fn a_live_image_can_be_another_one_or_fail_later() {
    let (rig, digest) = live(|_| {}).await;
    rig.render.fault(Fault::Image(digest, ImageFault::OtherCommit));
    let other = "{\"commit\":\"0000000000000000000000000000000000000000\"}";
    assert_eq!(rig.front("/version").await, (200, other.to_owned()));
    assert!(rig.front("/other").await.1.starts_with("GET /other"));

    let later = rig.push("latest", json!({ "Entrypoint": ["/app/app", "later"] })).await;
    rig.render.fault(Fault::Image(later, ImageFault::FailsLater));
    rig.until(&rig.deploy(json!({})).await, &["live"]).await;
    for _ in 0..6 {
        assert_eq!(rig.front("/version").await.0, 200);
    }
    assert_eq!(rig.front("/version").await.0, 503);
    assert_eq!(rig.front("/").await.0, 503);
}

#[tokio::test]
async fn the_clock_stops_at_a_call_and_goes_on() {
    let rig = Rig::start(|_| {}).await;
    rig.render.stop_at(Call::Write);
    assert_eq!(status(&rig, "GET", "").await, 200);
    assert!(!rig.render.stopped(Duration::from_millis(10)).await);
    let (written, ()) = tokio::join!(status(&rig, "PUT", "/env-vars/A"), async {
        assert!(rig.render.stopped(Duration::from_secs(10)).await);
        assert_eq!(rig.render.variables().len(), 0);
        rig.render.go_on();
    });
    assert_eq!((written, rig.render.variables().len()), (200, 1));

    // The version counts from a deploy on.
    rig.render.stop_at(Call::Version);
    rig.front("/version").await;
    assert!(!rig.render.stopped(Duration::ZERO).await);
    rig.service("POST", "/deploys", Some(json!({}))).await;
    let asked = tokio::join!(rig.front("/version"), async {
        let stopped = rig.render.stopped(Duration::from_secs(10)).await;
        rig.render.go_on();
        stopped
    });
    assert!(asked.1);
}
