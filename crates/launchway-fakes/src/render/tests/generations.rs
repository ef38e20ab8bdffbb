//! Two generations of the app at once: a switch that no request notices.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::{JoinHandle, JoinSet};

use super::*;

/// Requests through the front, a new one every five milliseconds, until they are stopped.
struct Visitors {
    stop: Arc<AtomicBool>,
    going: JoinHandle<(usize, usize)>,
}

impl Visitors {
    fn come(rig: &Rig) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (client, url, told) = (rig.client.clone(), rig.render.url(), Arc::clone(&stop));
        let going = tokio::spawn(async move {
            let mut under_way = JoinSet::new();
            let mut clock = tokio::time::interval(Duration::from_millis(5));
            // A busy machine gets fewer visitors, and not a crowd of those that it made wait.
            clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while !told.load(Ordering::Relaxed) {
                clock.tick().await;
                let request = client.get(&url).send();
                under_way.spawn(async { request.await.is_ok_and(|answer| answer.status() == 200) });
            }
            let answers = under_way.join_all().await;
            (answers.len(), answers.iter().filter(|answered| **answered).count())
        });
        Self { stop, going }
    }

    /// How many requests there were, and how many of them an instance answered.
    async fn leave(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.going.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_releases_come_and_go() {
    let limits = Limits { reads: 10_000, deploys: 100, writes: 100, window: Duration::from_secs(60) };
    let rig = Rig::start(|options| {
        options.limits = limits;
        options.retire_after = Duration::from_millis(100);
    })
    .await;
    rig.push("latest", run_config()).await;
    let first = rig.deploy(json!({})).await;
    rig.until(&first, &["live"]).await;
    let visitors = Visitors::come(&rig);
    for _ in 0..10 {
        let next = rig.deploy(json!({})).await;
        assert_eq!(rig.until_over(&next).await["status"], "live");
    }
    for _ in 0..5 {
        let back = json!({ "deployId": first["id"] });
        let (status, deploy) = rig.service("POST", "/rollback", Some(back)).await;
        assert_eq!((status, rig.until_over(&deploy).await["status"].as_str()), (201, Some("live")));
    }
    let (sent, answered) = visitors.leave().await;
    assert!(sent > 100, "{sent} requests are no traffic");
    let traffic = rig.render.traffic();
    assert_eq!(answered, sent, "{traffic:?}");
    assert_eq!((traffic.requests, traffic.lost), (sent as u64, 0));
    rig.until_pids(1).await;
}

#[tokio::test]
async fn a_request_under_way_at_the_switch_is_answered() {
    let rig = Rig::start(|options| options.retire_after = Duration::ZERO).await;
    rig.push("latest", run_config()).await;
    rig.until(&rig.deploy(json!({})).await, &["live"]).await;
    let old = rig.render.instance_pids();
    let (answer, ()) = tokio::join!(rig.front("/slow"), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        rig.until(&rig.deploy(json!({})).await, &["live"]).await;
    });
    assert_eq!((answer.0, rig.render.traffic().lost), (200, 0));
    assert_ne!(rig.until_pids(1).await, old);
}

#[tokio::test]
async fn a_restart_brings_a_new_instance_of_the_same_release() {
    let rig = Rig::start(|_| {}).await;
    assert_eq!(rig.service("POST", "/restart", None).await.0, 400);
    assert_eq!(rig.get("/instances").await, json!([]));
    rig.push("latest", run_config()).await;
    rig.until(&rig.deploy(json!({})).await, &["live"]).await;
    let before = rig.get("/instances").await;
    assert!(before[0]["id"].as_str().unwrap().starts_with("srv-test-"), "{before}");
    rig.set("LATER", "yes").await;
    assert_eq!(rig.service("POST", "/restart", None).await.0, 200);
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while rig.get("/instances").await == before {
        assert!(std::time::Instant::now() < end, "the old instance stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Variables reach the app with a deploy, not with a restart.
    assert!(!rig.front("/env").await.1.contains("LATER"));
    rig.until_pids(1).await;
}
