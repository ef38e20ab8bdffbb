use super::*;

#[tokio::test]
async fn only_the_key_opens_and_only_the_service_is_there() {
    let rig = Rig::start(|_| {}).await;
    let url = format!("{}/services/{SERVICE}", rig.render.api_url());
    assert_eq!(rig.client.get(&url).send().await.unwrap().status(), 401);
    assert_eq!(rig.client.get(&url).bearer_auth("other").send().await.unwrap().status(), 401);
    let missing = rig.call("GET", "/services/srv-other", None).await;
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.json::<Value>().await.unwrap(), json!({ "message": "not found: srv-other" }));
    assert_eq!(rig.call("GET", "/nonsense", None).await.status(), 404);
    assert_eq!(rig.service("GET", "/nonsense", None).await.0, 404);
    assert_eq!(rig.service("GET", "/deploys/dep-other", None).await.1["message"], "not found: dep-other");
    assert_eq!(rig.service("POST", "/deploys/dep-other/cancel", None).await.0, 404);
    assert_eq!(rig.render.transcript()[0].status, 401);
}

#[tokio::test]
async fn the_service_is_an_image_backed_web_service() {
    let rig = Rig::start(|_| {}).await;
    let service = rig.get("").await;
    assert_eq!(service["type"], "web_service");
    assert_eq!(service["suspended"], "not_suspended");
    assert_eq!(service["imagePath"], rig.image(":latest"));
    let details = &service["serviceDetails"];
    assert_eq!((&details["runtime"], &details["env"]), (&json!("image"), &json!("image")));
    assert_eq!(details["url"], rig.render.url());
    assert_eq!(details["healthCheckPath"], "/healthz");
    assert_eq!(details["maintenanceMode"]["enabled"], false);
    assert_eq!(details.get("disk"), None);
}

#[tokio::test]
async fn variables_come_in_pages() {
    for (count, pages) in
        [(0, vec![0]), (20, vec![20, 0]), (21, vec![20, 1]), (101, vec![20, 20, 20, 20, 20, 1])]
    {
        let names: Vec<String> = (0..count).map(|n| format!("KEY_{n}")).collect();
        let variables = names.iter().map(|name| (name.clone(), format!("value of {name}"))).collect();
        let rig = Rig::start(|options| options.variables = variables).await;
        let (mut seen, mut sizes, mut cursor) = (BTreeMap::new(), Vec::new(), String::new());
        loop {
            let page = rig.get(&format!("/env-vars?cursor={cursor}")).await;
            let page = page.as_array().unwrap();
            sizes.push(page.len());
            for item in page {
                let variable = &item["envVar"];
                let (key, value) = (variable["key"].as_str().unwrap(), variable["value"].as_str().unwrap());
                seen.insert(key.to_owned(), value.to_owned());
                cursor = item["cursor"].as_str().unwrap().to_owned();
            }
            if page.len() < 20 {
                break;
            }
        }
        assert_eq!(sizes, pages);
        assert_eq!(seen.len(), count);
        assert_eq!(rig.get("/env-vars?limit=100").await.as_array().unwrap().len(), count.min(100));
        assert!(seen.iter().all(|(key, value)| *value == format!("value of {key}")));
    }
}

#[tokio::test]
async fn limits_and_cursors_are_checked() {
    let rig = Rig::start(|_| {}).await;
    for query in ["limit=0", "limit=101", "limit=many", "cursor=nowhere"] {
        assert_eq!(rig.service("GET", &format!("/env-vars?{query}"), None).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn one_variable_changes_and_the_others_stay() {
    let rig =
        Rig::start(|options| options.variables = vec![("A".into(), "1".into()), ("B".into(), "2".into())])
            .await;
    let put =
        async |key: &str, body: Value| rig.service("PUT", &format!("/env-vars/{key}"), Some(body)).await;
    assert_eq!(put("A", json!({ "value": "3" })).await, (200, json!({ "key": "A", "value": "3" })));
    assert_eq!(put("C", json!({ "value": "" })).await, (200, json!({ "key": "C", "value": "" })));
    assert_eq!(rig.get("/env-vars/A").await, json!({ "key": "A", "value": "3" }));
    assert_eq!(put("D", json!({ "generateValue": true })).await.1["value"].as_str().unwrap().len(), 64);
    assert_eq!(put("E", json!({ "generateValue": true, "value": "x" })).await.0, 400);
    assert_eq!(put("E", json!({})).await.0, 400);
    assert_eq!(put("1E", json!({ "value": "x" })).await.0, 400);
    assert_eq!(rig.service("DELETE", "/env-vars/B", None).await, (204, Value::Null));
    assert_eq!(rig.service("DELETE", "/env-vars/B", None).await.0, 404);
    assert_eq!(rig.service("GET", "/env-vars/B", None).await.0, 404);
    let keys = rig.get("/env-vars").await;
    let mut keys: Vec<&str> =
        keys.as_array().unwrap().iter().map(|item| item["envVar"]["key"].as_str().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["A", "C", "D"]);
}

#[tokio::test]
async fn a_list_that_is_put_replaces_everything() {
    let rig = Rig::start(|options| options.variables = vec![("A".into(), "1".into())]).await;
    let list = json!([{ "key": "B", "value": "2" }, { "key": "C", "generateValue": true }]);
    let (status, answer) = rig.service("PUT", "/env-vars", Some(list)).await;
    assert_eq!(
        (status, &answer[0]),
        (200, &json!({ "cursor": "B", "envVar": { "key": "B", "value": "2" } }))
    );
    // The same ones, in another order each time.
    let [first, second] = [rig.get("/env-vars").await, rig.get("/env-vars").await];
    assert_eq!((&first[0], &first[1]), (&answer[1], &answer[0]));
    assert_eq!(second, answer);
    assert_eq!(rig.service("PUT", "/env-vars", Some(json!([{ "key": "B" }]))).await.0, 400);
    assert_eq!(rig.service("PUT", "/env-vars", Some(json!({}))).await.0, 400);
    assert_eq!(rig.get("/env-vars").await, first);
    assert_eq!(rig.service("PUT", "/env-vars", Some(Value::Null)).await, (200, json!([])));
    assert_eq!(rig.get("/env-vars").await, json!([]));
}

#[tokio::test]
async fn too_many_requests_get_a_retry_after() {
    let limits = Limits { reads: 2, deploys: 1, writes: 1, window: Duration::from_secs(2) };
    let rig = Rig::start(|options| options.limits = limits).await;
    let path = format!("/services/{SERVICE}");
    let header = |response: &Response, name: &str| -> u64 {
        response.headers()[name].to_str().unwrap().parse().unwrap()
    };
    let first = rig.call("GET", &path, None).await;
    assert_eq!((header(&first, "ratelimit-limit"), header(&first, "ratelimit-remaining")), (2, 1));
    assert!(first.headers().get("retry-after").is_none());
    rig.call("GET", &path, None).await;
    let third = rig.call("GET", &path, None).await;
    assert_eq!((third.status().as_u16(), header(&third, "ratelimit-remaining")), (429, 0));
    // Seconds from now, not a moment since 1970.
    let wait = header(&third, "retry-after");
    assert!((1..=2).contains(&wait) && header(&third, "ratelimit-reset") == wait);
    // A change of the service and a deploy share one bucket; variables have another.
    assert_eq!(rig.call("PATCH", &path, Some(json!({}))).await.status(), 200);
    assert_eq!(rig.call("POST", &format!("{path}/deploys"), Some(json!({}))).await.status(), 429);
    assert_eq!(rig.call("PUT", &format!("{path}/env-vars"), Some(json!([]))).await.status(), 200);
    assert_eq!(rig.call("DELETE", &format!("{path}/env-vars/A"), None).await.status(), 429);
}

#[test]
fn a_window_opens_again_when_it_is_over() {
    let second = Duration::from_secs(1);
    let limiter = limits::Limiter::new(Limits { reads: 1, deploys: 1, writes: 1, window: second });
    let start = std::time::Instant::now();
    let granted = |after: Duration| limiter.take(limits::Bucket::Reads, start + after).granted;
    assert!(granted(Duration::ZERO));
    assert!(!granted(Duration::from_millis(999)));
    assert!(granted(second));
}

#[tokio::test]
async fn only_the_tag_or_digest_may_differ_in_a_deploy() {
    let rig = Rig::start(|_| {}).await;
    rig.push("latest", run_config()).await;
    let refused = async |body: Value| {
        let (status, answer) = rig.service("POST", "/deploys", Some(body)).await;
        (status, answer["message"].as_str().unwrap().to_owned())
    };
    let other = "only the image tag or digest can be updated when creating a deploy".to_owned();
    let image = format!("{}/team/other:latest", rig.registry.address());
    assert_eq!(refused(json!({ "imageUrl": image })).await, (400, other.clone()));
    assert_eq!(refused(json!({ "imageUrl": "docker.io/team/app:latest" })).await, (400, other));
    let unable = "unable to fetch image with provided input".to_owned();
    assert_eq!(refused(json!({ "imageUrl": rig.image(":gone") })).await, (400, unable.clone()));
    assert_eq!(refused(json!({ "imageUrl": rig.image("@") })).await, (400, unable));
    assert_eq!(refused(json!({ "commitId": "abc" })).await.0, 400);
    assert_eq!(refused(json!({ "clearCache": "maybe" })).await.0, 400);
    assert_eq!(rig.get("/deploys").await, json!([]));
}

#[tokio::test]
async fn a_patch_changes_the_image_and_deploys_nothing() {
    let rig = Rig::start(|options| options.image = "docker.io/library/old".into()).await;
    rig.push("v2", run_config()).await;
    let patch = async |image: &str, owner: &str| {
        rig.service("PATCH", "", Some(json!({ "image": { "ownerId": owner, "imagePath": image } }))).await
    };
    let owner = rig.get("").await["ownerId"].as_str().unwrap().to_owned();
    assert_eq!(patch(&rig.image(":v2"), "tea-other").await.0, 400);
    let gone = patch(&rig.image(":gone"), &owner).await;
    assert_eq!(gone, (400, json!({ "message": "unable to fetch image with provided input" })));
    // A rehearsal reaches nothing but loopback.
    assert_eq!(patch("registry.example.com/team/app", &owner).await.0, 400);
    let (status, service) = patch(&rig.image(":v2"), &owner).await;
    assert_eq!((status, &service["imagePath"]), (200, &json!(rig.image(":v2"))));
    assert_eq!(rig.get("/deploys").await, json!([]));
    assert_eq!(rig.service("PATCH", "", Some(json!({ "name": "x" }))).await.0, 400);
}

#[test]
fn references_are_completed_as_render_does() {
    let parse = |text: &str| image::Reference::parse(text).unwrap();
    for (short, full) in [
        ("nginx", "docker.io/library/nginx:latest"),
        ("team/app:v1", "docker.io/team/app:v1"),
        ("localhost/app", "localhost/app:latest"),
        ("127.0.0.1:5000/a/b@sha256:00", "127.0.0.1:5000/a/b:ignored@sha256:00"),
    ] {
        assert_eq!(parse(short), parse(full), "{short}");
    }
    assert_ne!(parse("127.0.0.1:5000/app"), parse("127.0.0.1:5001/app"));
    assert!(parse("a/b:1").same_repository(&parse("a/b@sha256:00")));
    assert!(image::Reference::parse("a/b:").is_err());
}
