//! Two generations of the app at once: a switch that no request notices.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;

use super::*;

/// Requests through the front for as long as it lives, a new one every five milliseconds.
struct Visitors {
    going: tokio::task::JoinHandle<()>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    answered: AtomicU64,
}

impl Visitors {
    fn come(rig: &Rig) -> Self {
        let counts = Arc::new(Counts::default());
        let (client, url, own) = (rig.client.clone(), rig.render.url(), Arc::clone(&counts));
        let going = tokio::spawn(async move {
            let mut under_way = JoinSet::new();
            let mut clock = tokio::time::interval(Duration::from_millis(5));
            loop {
                clock.tick().await;
                own.sent.fetch_add(1, Ordering::Relaxed);
                let (request, own) = (client.get(&url).send(), Arc::clone(&own));
                under_way.spawn(async move {
                    if request.await.is_ok_and(|answer| answer.status() == 200) {
                        own.answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
                while under_way.try_join_next().is_some() {}
            }
        });
        Self { going, counts }
    }

    /// How many were sent, and how many answered by an instance.
    async fn leave(self) -> (u64, u64) {
        // Those under way may finish: what is sent last is not what is lost.
        let sent = self.counts.sent.load(Ordering::Relaxed);
        let end = tokio::time::Instant::now() + Duration::from_secs(5);
        while self.counts.answered.load(Ordering::Relaxed) < sent && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.going.abort();
        let answered = self.counts.answered.load(Ordering::Relaxed);
        (sent, answered.min(sent))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_releases_come_and_go() {
    let limits = Limits { reads: 10_000, deploys: 100, writes: 100, window: Duration::from_mins(1) };
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
    assert_eq!(answered, sent);
    let traffic = rig.render.traffic();
    assert!(traffic.requests >= sent, "{traffic:?}");
    assert_eq!(traffic.lost, 0);
    rig.until_pids(1).await;
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
