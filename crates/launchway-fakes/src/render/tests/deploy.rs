use super::*;

#[tokio::test]
async fn a_deploy_runs_the_image_and_gets_the_traffic() {
    let variables = vec![("SHADOWED".into(), "service".into()), ("PORT".into(), "1".into())];
    let rig = Rig::start(|options| options.variables = variables).await;
    let digest = rig.push("v1", run_config()).await;
    assert_eq!(rig.front("/").await.0, 502);

    let image = rig.image(&format!("@{digest}"));
    let deploy = rig.deploy(json!({ "imageUrl": image, "clearCache": "do_not_clear" })).await;
    assert_eq!(deploy["commit"], Value::Null);
    assert_eq!(deploy["image"], json!({ "ref": image, "sha": digest }));
    assert_eq!(deploy["trigger"], "api");
    let live = rig.until_over(&deploy).await;
    assert_eq!(live["status"], "live");
    assert!(live["startedAt"].is_string() && live["finishedAt"].is_string());
    assert_eq!(rig.get(&format!("/deploys/{}", deploy["id"].as_str().unwrap())).await, live);

    let (status, environment) = rig.front("/env").await;
    let environment: BTreeMap<&str, &str> =
        environment.lines().filter_map(|line| line.split_once('=')).collect();
    let host = rig.render.front.address();
    let names: Vec<&str> = environment.keys().copied().collect();
    assert_eq!(status, 200);
    assert_eq!(
        names,
        [
            "FROM_IMAGE",
            "LISTEN",
            "PORT",
            "RENDER",
            "RENDER_EXTERNAL_HOSTNAME",
            "RENDER_EXTERNAL_URL",
            "RENDER_INSTANCE_ID",
            "RENDER_SERVICE_ID",
            "SHADOWED",
        ]
    );
    assert_eq!(environment["SHADOWED"], "service");
    assert_ne!(environment["PORT"], "1");
    assert_eq!(environment["RENDER_EXTERNAL_HOSTNAME"], "127.0.0.1");
    assert_eq!(environment["RENDER_EXTERNAL_URL"], format!("http://{host}"));
    assert!(rig.front("/cwd").await.1.ends_with("/rootfs/app"));
    let (_, request) = rig.front("/echo?a=b").await;
    assert!(request.starts_with("GET /echo?a=b HTTP/1.1"));
    assert!(request.contains(&format!("host: {host}\r\n")) && request.contains("x-forwarded-proto: https"));
    // Whether a deploy moves the service's image is an option; by default it does not.
    assert_eq!(rig.get("").await["imagePath"], rig.image(":latest"));
}

#[tokio::test]
async fn the_image_is_pulled_with_the_credential() {
    let (username, password) = ("u".to_owned(), "p".to_owned());
    let basic = Auth::Basic { username: username.clone(), password: password.clone() };
    let bearer = Auth::Bearer { username, password, lifetime: Duration::from_secs(60) };
    for auth in [basic, bearer] {
        let with = |password: Option<&str>| {
            let pull =
                password.map(|password| PullCredential { username: "u".into(), password: password.into() });
            Rig::with_auth(auth.clone(), |options| options.pull = pull)
        };
        for password in [None, Some("wrong")] {
            let rig = with(password).await;
            rig.push("latest", run_config()).await;
            assert_eq!(rig.service("POST", "/deploys", Some(json!({}))).await.0, 400);
        }
        let rig = with(Some("p")).await;
        rig.push("latest", run_config()).await;
        assert_eq!(rig.until_over(&rig.deploy(json!({})).await).await["status"], "live");
    }
}

#[tokio::test]
async fn the_entry_point_gets_its_arguments() {
    let rig = Rig::start(|options| options.health_path = String::new()).await;
    let config = json!({ "Entrypoint": ["./app", "--from", "/etc"], "Cmd": ["serve"], "WorkingDir": "/app" });
    rig.push("latest", config).await;
    assert_eq!(rig.until_over(&rig.deploy(json!({})).await).await["status"], "live");
    assert_eq!(rig.front("/args").await.1, "--from /etc serve");
}

#[tokio::test]
async fn the_docker_command_takes_the_place_of_the_images_own() {
    for (config, expected) in [
        (json!({ "Entrypoint": ["/app/app", "--from"], "Cmd": ["old"] }), "--from serve"),
        (json!({ "Cmd": ["/app/app", "old"] }), "serve"),
    ] {
        let arguments = Some(vec!["serve".to_owned(), "--port=$PORT".to_owned()]);
        let rig = Rig::start(|options| options.arguments = arguments).await;
        rig.push("latest", config).await;
        let deploy = rig.deploy(json!({})).await;
        assert_eq!(rig.until_over(&deploy).await["status"], "live");
        let (_, given) = rig.front("/args").await;
        let (words, port) = given.split_once(" --port=").unwrap();
        assert_eq!(words, expected);
        assert!(port.parse::<u16>().unwrap() > 1024);
    }
}

#[tokio::test]
async fn the_next_deploy_takes_over_and_the_old_process_ends() {
    let rig = Rig::start(|options| options.image_sticks = true).await;
    rig.push("v1", run_config()).await;
    let first = rig.deploy(json!({ "imageUrl": rig.image(":v1") })).await;
    rig.until(&first, &["live"]).await;
    let old = rig.render.instance_pids();
    assert_eq!(rig.get("").await["imagePath"], rig.image(":v1"));
    rig.set("RELEASE", "2").await;
    // Variables reach the app with the next deploy only.
    assert!(!rig.front("/env").await.1.contains("RELEASE"));
    let second = rig.deploy(json!({})).await;
    rig.until(&second, &["live"]).await;
    assert!(rig.front("/env").await.1.contains("RELEASE=2"));
    assert_eq!(rig.until(&first, &["deactivated"]).await["status"], "deactivated");
    assert_ne!(rig.until_pids(1).await, old);
    let ids = |list: &Value| {
        list.as_array().unwrap().iter().map(|item| item["deploy"]["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&rig.get("/deploys").await), [second["id"].clone(), first["id"].clone()]);
    assert_eq!(ids(&rig.get("/deploys?status=live").await), [second["id"].clone()]);
    let after = first["createdAt"].as_str().unwrap();
    assert_eq!(ids(&rig.get(&format!("/deploys?createdAfter={after}")).await), [second["id"].clone()]);
    assert_eq!(ids(&rig.get(&format!("/deploys?createdBefore={after}")).await), [] as [Value; 0]);
    assert_eq!(rig.service("GET", "/deploys?createdAfter=yesterday", None).await.0, 400);
    // What is over cannot be cancelled.
    let path = format!("/deploys/{}/cancel", second["id"].as_str().unwrap());
    assert_eq!(rig.service("POST", &path, None).await.0, 400);
}

#[tokio::test]
async fn a_rollback_brings_back_image_and_variables() {
    let rig = Rig::start(|_| {}).await;
    let digest = rig.push("v1", run_config()).await;
    let first = rig.deploy(json!({ "imageUrl": rig.image(&format!("@{digest}")) })).await;
    rig.until(&first, &["live"]).await;
    rig.set("BROKEN", "yes").await;
    rig.push("latest", json!({ "Entrypoint": ["/app/app", "v2"] })).await;
    let second = rig.deploy(json!({})).await;
    rig.until(&second, &["live"]).await;
    let back = json!({ "deployId": first["id"] });
    let (status, third) = rig.service("POST", "/rollback", Some(back)).await;
    assert_eq!((status, &third["trigger"], &third["image"]), (201, &json!("rollback"), &first["image"]));
    rig.until(&third, &["live"]).await;
    assert!(!rig.front("/env").await.1.contains("BROKEN"));
    // The settings stay: the next deploy has the variable again.
    assert_eq!(rig.get("/env-vars/BROKEN").await["value"], "yes");
    let events = rig.get("/events?type=deploy_started&limit=1").await;
    assert_eq!(events[0]["event"]["details"]["trigger"]["rollbackTargetDeployId"], first["id"]);
    assert_eq!(rig.service("POST", "/rollback", Some(json!({ "deployId": "dep-other" }))).await.0, 404);
}

#[tokio::test]
async fn a_rollback_to_a_tag_gets_what_the_tag_names_now() {
    let rig = Rig::start(|_| {}).await;
    let first_digest = rig.push("latest", run_config()).await;
    let first = rig.deploy(json!({})).await;
    rig.until(&first, &["live"]).await;
    let moved = rig.push("latest", json!({ "Entrypoint": ["/app/app", "v2"] })).await;
    let back = async || rig.service("POST", "/rollback", Some(json!({ "deployId": first["id"] }))).await;
    let (_, second) = back().await;
    assert_eq!((&first["image"]["sha"], &second["image"]["sha"]), (&json!(first_digest), &json!(moved)));
    assert_eq!(rig.until_over(&second).await["status"], "live");
    assert_eq!(rig.front("/args").await.1, "v2");
    // Render keeps no copy: what the registry has lost cannot be brought back.
    assert!(rig.registry.forget("team/app", &moved));
    assert_eq!(back().await, (400, json!({ "message": "unable to fetch image with provided input" })));
}

#[tokio::test]
async fn an_app_that_ends_at_once_fails_its_deploy_and_says_why() {
    let rig = Rig::start(|options| options.variables = vec![("MODE".into(), "exit".into())]).await;
    rig.push("latest", run_config()).await;
    let deploy = rig.deploy(json!({})).await;
    assert_eq!(rig.until_over(&deploy).await["status"], "update_failed");
    assert_eq!(rig.front("/").await.0, 502);
    let events = rig.get("/events").await;
    let events: Vec<&Value> = events.as_array().unwrap().iter().map(|item| &item["event"]).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["deploy_ended", "server_failed", "deploy_started"]);
    let ended = &events[0]["details"];
    assert_eq!(
        (&ended["deployStatus"], &ended["reason"]["failure"]["nonZeroExit"]),
        (&json!("failed"), &json!(3))
    );
    assert_eq!(events[1]["details"]["reason"]["nonZeroExit"], 3);
    // The lines are read by another task than the one that saw the process end.
    let both = |logs: &state::Logs| (logs.len() == 2).then_some(());
    rig.render.engine.logs.wait_for(Duration::from_secs(10), both).await.unwrap();
    let owner = rig.get("").await["ownerId"].as_str().unwrap().to_owned();
    let logs = async |query: &str| {
        let path = format!("/logs?ownerId={owner}&resource={SERVICE}{query}");
        rig.call("GET", &path, None).await.json::<Value>().await.unwrap()
    };
    let lines = logs("&direction=forward").await;
    let mut messages: Vec<&str> =
        lines["logs"].as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap()).collect();
    messages.sort_unstable();
    assert_eq!((messages, &lines["hasMore"]), (vec!["giving up", "starting exit"], &json!(false)));
    let newest = logs("&limit=1").await;
    assert_eq!((&newest["logs"][0], &newest["hasMore"]), (&lines["logs"][1], &json!(true)));
    assert_eq!(logs("&endTime=2020-01-01T00:00:00Z").await["logs"], json!([]));
    assert_eq!(rig.call("GET", "/logs", None).await.status(), 400);
    rig.set("MODE", "leave").await;
    rig.until_over(&rig.deploy(json!({})).await).await;
    assert_eq!(
        rig.get("/events?limit=1").await[0]["event"]["details"]["reason"]["failure"]["earlyExit"],
        true
    );
}

#[tokio::test]
async fn an_app_that_stays_unhealthy_fails_and_the_old_one_stays() {
    let rig = Rig::start(|options| options.health_deadline = Duration::from_secs(2)).await;
    rig.push("latest", run_config()).await;
    let first = rig.deploy(json!({})).await;
    rig.until(&first, &["live"]).await;
    rig.set("MODE", "unhealthy").await;
    let second = rig.deploy(json!({})).await;
    assert_eq!(rig.until_over(&second).await["status"], "update_failed");
    let events = rig.get("/events?type=deploy_ended&limit=1").await;
    assert_eq!(events[0]["event"]["details"]["reason"]["failure"]["timedOutSeconds"], 2);
    assert_eq!(rig.until(&first, &["live"]).await["status"], "live");
    assert_eq!(rig.front("/").await.0, 200);
    rig.until_pids(1).await;
}

#[tokio::test]
async fn an_image_that_cannot_be_unpacked_or_started_fails() {
    let rig = Rig::start(|_| {}).await;
    let tar = layer(&[("app/app", Some(&BINARY))]);
    rig.push_layer("latest", run_config(), &tar, &digest_of(b"another")).await;
    assert_eq!(rig.until_over(&rig.deploy(json!({})).await).await["status"], "update_failed");
    let events = rig.get("/events?type=image_pull_failed").await;
    let message = events[0]["event"]["details"]["message"].as_str().unwrap();
    assert!(message.contains("but the config says"), "{message}");
    for config in [json!({ "Entrypoint": ["/app/absent"] }), json!({ "Cmd": ["../app"] }), json!({})] {
        rig.push("latest", config).await;
        assert_eq!(rig.until_over(&rig.deploy(json!({})).await).await["status"], "update_failed");
        let event = rig.get("/events?type=server_failed&limit=1").await;
        assert_eq!(event[0]["event"]["details"]["reason"]["nonZeroExit"], 127);
    }
}

#[tokio::test]
async fn an_index_stands_for_its_amd64_image() {
    let rig = Rig::start(|_| {}).await;
    let digest = rig.push("v1", run_config()).await;
    let entry = |architecture: &str, digest: &str| {
        let platform = json!({ "os": "linux", "architecture": architecture });
        json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1, "platform": platform })
    };
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [entry("arm64", &digest), entry("amd64", &digest)] });
    let own = rig.push_manifest("latest", &index).await;
    let deploy = rig.deploy(json!({})).await;
    assert_ne!(own, digest);
    assert_eq!(deploy["image"]["sha"], digest);
    rig.until(&deploy, &["live"]).await;
    let arm = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [entry("arm64", &digest)] });
    rig.push_manifest("latest", &arm).await;
    assert_eq!(rig.service("POST", "/deploys", Some(json!({}))).await.0, 400);
}

#[tokio::test]
async fn a_cancelled_deploy_leaves_no_process() {
    let rig = Rig::start(|options| options.variables = vec![("MODE".into(), "unhealthy".into())]).await;
    rig.push("latest", run_config()).await;
    let deploy = rig.deploy(json!({})).await;
    rig.until_pids(1).await;
    let path = format!("/deploys/{}/cancel", deploy["id"].as_str().unwrap());
    let (status, cancelled) = rig.service("POST", &path, None).await;
    assert_eq!((status, &cancelled["status"]), (200, &json!("canceled")));
    rig.until_pids(0).await;
    assert_eq!(rig.service("POST", &path, None).await.0, 400);
    let ended = rig.get("/events?type=deploy_ended").await;
    assert_eq!(ended[0]["event"]["details"]["deployStatus"], "canceled");
}

#[tokio::test]
async fn while_one_runs_the_latest_waits_and_those_between_are_skipped() {
    let rig = Rig::start(|options| options.variables = vec![("MODE".into(), "unhealthy".into())]).await;
    rig.push("latest", run_config()).await;
    let first = rig.deploy(json!({})).await;
    rig.until(&first, &["update_in_progress"]).await;
    assert_eq!(rig.service("POST", "/deploys", Some(json!({}))).await, (202, Value::Null));
    assert_eq!(rig.service("POST", "/deploys", Some(json!({}))).await, (202, Value::Null));
    let list = rig.get("/deploys").await;
    let deploy = |n: usize| list[n]["deploy"].clone();
    assert_eq!((&deploy(0)["status"], &deploy(1)["status"]), (&json!("queued"), &json!("canceled")));
    let ended = rig.get("/events?type=deploy_ended").await;
    assert_eq!(ended[0]["event"]["details"]["reason"]["newDeploy"]["id"], deploy(0)["id"]);
    rig.set("MODE", "").await;
    let cancel = async |deploy: &Value| {
        rig.service("POST", &format!("/deploys/{}/cancel", deploy["id"].as_str().unwrap()), None).await.0
    };
    assert_eq!(cancel(&first).await, 200);
    // The one that waited starts as soon as the place is free.
    rig.until(&deploy(0), &["live"]).await;
}

#[tokio::test]
async fn a_waiting_deploy_can_be_cancelled() {
    let rig = Rig::start(|options| options.variables = vec![("MODE".into(), "unhealthy".into())]).await;
    rig.push("latest", run_config()).await;
    let first = rig.deploy(json!({})).await;
    rig.until(&first, &["update_in_progress"]).await;
    rig.service("POST", "/deploys", Some(json!({}))).await;
    let waiting = rig.get("/deploys?limit=1").await[0]["deploy"].clone();
    let path = format!("/deploys/{}/cancel", waiting["id"].as_str().unwrap());
    assert_eq!(rig.service("POST", &path, None).await.1["status"], "canceled");
    assert_eq!(rig.until(&first, &["update_in_progress"]).await["status"], "update_in_progress");
}

#[tokio::test]
async fn under_override_a_new_deploy_cancels_the_running_one() {
    let rig = Rig::start(|options| {
        options.overlap = Overlap::Override;
        options.variables = vec![("MODE".into(), "unhealthy".into())];
    })
    .await;
    rig.push("latest", run_config()).await;
    let first = rig.deploy(json!({})).await;
    rig.until(&first, &["update_in_progress"]).await;
    rig.set("MODE", "").await;
    let second = rig.deploy(json!({})).await;
    assert_eq!(rig.until_over(&first).await["status"], "canceled");
    assert_eq!(rig.until_over(&second).await["status"], "live");
    rig.until_pids(1).await;
}

#[tokio::test]
async fn a_deploy_may_be_accepted_without_a_word() {
    let rig = Rig::start(|_| {}).await;
    rig.render.fault(Fault::Accepted);
    rig.push("latest", run_config()).await;
    assert_eq!(rig.service("POST", "/deploys", Some(json!({}))).await, (202, Value::Null));
    let deploy = rig.get("/deploys").await[0]["deploy"].clone();
    rig.until(&deploy, &["live"]).await;
}
