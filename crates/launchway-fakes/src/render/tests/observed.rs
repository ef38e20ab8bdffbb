//! Logs and metrics: what can be seen of the app from outside.

use super::*;

#[tokio::test]
async fn lines_come_in_pages_in_both_directions() {
    let rig = Rig::start(|_| {}).await;
    let script = b"#!/bin/sh\ni=0\nwhile [ $i -lt 25 ]; do echo line $i; i=$((i+1)); done\nexit 1\n";
    let tar = layer(&[("app/app", Some(script))]);
    rig.push_layer("latest", run_config(), &tar, &digest_of(&tar)).await;
    rig.until_over(&rig.deploy(json!({})).await).await;
    let all = |logs: &state::Logs| (logs.len() == 25).then_some(());
    rig.render.engine.logs.wait_for(Duration::from_secs(10), all).await.unwrap();
    let owner = rig.get("").await["ownerId"].as_str().unwrap().to_owned();
    let expected: Vec<String> = (0..25).map(|number| format!("line {number}")).collect();
    for direction in ["forward", "backward"] {
        let (mut seen, mut span) = (Vec::new(), String::new());
        loop {
            let path = format!(
                "/logs?ownerId={owner}&resource={SERVICE}&type=app&limit=10&direction={direction}{span}"
            );
            let page: Value = rig.call("GET", &path, None).await.json().await.unwrap();
            let lines = page["logs"].as_array().unwrap();
            seen.extend(lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()));
            if page["hasMore"] == false {
                break;
            }
            let time = |name: &str| page[name].as_str().unwrap().to_owned();
            span = format!("&startTime={}&endTime={}", time("nextStartTime"), time("nextEndTime"));
        }
        if direction == "backward" {
            seen.reverse();
        }
        assert_eq!(seen, expected, "{direction}");
    }
    let path = format!("/logs?ownerId={owner}&resource={SERVICE}&type=request");
    let none: Value = rig.call("GET", &path, None).await.json().await.unwrap();
    assert_eq!(none["logs"], json!([]));
}

#[tokio::test]
async fn the_front_counts_its_answers_by_status() {
    let rig = Rig::start(|_| {}).await;
    let digest = rig.push("latest", run_config()).await;
    rig.until(&rig.deploy(json!({})).await, &["live"]).await;
    rig.render.fault(Fault::Image(digest, ImageFault::FailsLater));
    rig.front("/").await;
    for _ in 0..6 {
        rig.front("/version").await;
    }
    rig.front("/").await;
    let metrics = async |query: &str| {
        let response = rig.call("GET", &format!("/metrics/http-requests?{query}"), None).await;
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let by_status = format!("resource={SERVICE}&resolutionSeconds=3600&aggregateBy=statusCode");
    let (status, series) = metrics(&by_status).await;
    let sum = |series: &Value| -> u64 {
        series["values"].as_array().unwrap().iter().map(|value| value["value"].as_u64().unwrap()).sum()
    };
    assert_eq!((status, series.as_array().unwrap().len()), (200, 2), "{series}");
    for (place, (code, count)) in [("200", 7), ("503", 1)].into_iter().enumerate() {
        assert_eq!(series[place]["labels"], json!([{ "field": "statusCode", "value": code }]));
        assert_eq!((series[place]["unit"].as_str(), sum(&series[place])), (Some("requests"), count));
    }
    let (_, all) = metrics(&format!("resource={SERVICE}&resolutionSeconds=3600")).await;
    assert_eq!((all.as_array().unwrap().len(), sum(&all[0]), &all[0]["labels"]), (1, 8, &json!([])));
    assert_eq!(metrics(&format!("{by_status}&endTime=2020-01-01T00:00:00Z")).await, (200, json!([])));
    assert_eq!(metrics("aggregateBy=statusCode").await.0, 400);
    assert_eq!(metrics(&format!("resource={SERVICE}&resolutionSeconds=0")).await.0, 400);
}
