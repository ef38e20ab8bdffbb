//! `PUT /api/v1/reports/{id}`: what is stored, and how the rest is rejected.

use app::http::router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::board::{demo, get, put, send, site};
use crate::support::{COMMIT, now, sign_for};

fn body() -> (String, Vec<u8>) {
    let report = demo(1).remove(0);
    (report.id.clone(), serde_json::to_vec(&report).unwrap())
}

#[tokio::test]
async fn a_report_is_stored_once() {
    let (id, body) = body();
    let router = router(site(COMMIT));
    let spaced = [body.as_slice(), b" "].concat();
    for (body, status) in [(&body, 201), (&body, 200), (&spaced, 409), (&body, 200)] {
        assert_eq!(send(&router, put(&id, body.clone())).await.status, status);
    }
    let list: Value = serde_json::from_str(&get(&router, "/api/v1/reports").await.body).unwrap();
    assert_eq!((&list["reports"][0]["sequence"], &list["reports"][0]["id"]), (&1.into(), &id.into()));
    assert_eq!(list["reports"].as_array().unwrap().len(), 1);
    assert_eq!(list["reports"][0]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(get(&router, "/api/v1/reports?after=1&limit=1000").await.body, r#"{"reports":[]}"#);
    for query in ["after=-1", "limit=0", "limit=1001", "after=x", "limit=99999999999"] {
        assert_eq!(get(&router, &format!("/api/v1/reports?{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_rejected_signature_reveals_nothing() {
    let (id, body) = body();
    let router = router(site(COMMIT));
    let signed = |purpose, id: &str, time| sign_for(purpose, id, time, &body);
    let purpose = "launchway/report/v1";
    let mut responses = Vec::new();
    for (address, signed) in [
        (id.as_str(), signed("launchway/test-error/v1", &id, now())),
        (&id, signed(purpose, &id, now() - 301)),
        (&id, signed(purpose, &id, now() + 302)),
        ("other", signed(purpose, &id, now())),
        (&id, signed(purpose, "other", now())),
        (&id, sign_for(purpose, &id, now(), b"other")),
        (&id, sign_for(purpose, "", 0, b"")),
    ] {
        let mut request = Request::put(format!("/api/v1/reports/{address}"))
            .header("host", "localhost")
            .header("content-type", "application/json");
        for (name, value) in signed.each() {
            request = request.header(name, value);
        }
        responses.push(send(&router, request.body(Body::from(body.clone())).unwrap()).await);
    }
    let bare = Request::put("/api/v1/reports/x")
        .header("host", "localhost")
        .header("content-type", "application/json");
    responses.push(send(&router, bare.body(Body::from("nonsense")).unwrap()).await);
    let mut twice = put(&id, body.clone());
    twice.headers_mut().append("webhook-id", id.parse().unwrap());
    responses.push(send(&router, twice).await);
    for response in &responses {
        assert_eq!((response.status, &response.body), (StatusCode::UNAUTHORIZED, &responses[0].body));
    }
    assert_eq!(get(&router, "/api/v1/reports").await.body, r#"{"reports":[]}"#);
}

#[tokio::test]
async fn an_invalid_report_is_rejected_with_its_fields() {
    let (id, body) = body();
    let router = router(site(COMMIT));
    let mut wrong = put(&id, body.clone());
    wrong.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(send(&router, wrong).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(send(&router, put(&id, vec![b' '; 65_537])).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    // Exactly the maximum size.
    let filled = [body.as_slice(), &vec![b' '; 65_536 - body.len()]].concat();
    assert_eq!(send(&router, put(&id, filled)).await.status, StatusCode::CREATED);

    let problems = |response: crate::board::Response| -> Value {
        assert_eq!(
            (response.status, &response.headers["content-type"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &"application/json".parse().unwrap())
        );
        serde_json::from_str(&response.body).unwrap()
    };
    let mut report: Value = serde_json::from_slice(&body).unwrap();
    report["commit"]["sha"] = "x".into();
    report["coverage"]["threshold"] = 101.into();
    report["steps"][0]["name"] = "".into();
    let response = send(&router, put("else", serde_json::to_vec(&report).unwrap())).await;
    assert_eq!(
        problems(response),
        json!({"problems": [
            {"field": "commit.sha", "must": "be 40 lower-case hexadecimal digits"},
            {"field": "steps[0].name", "must": "be 1 to 40 of `[a-z-]`"},
            {"field": "coverage.threshold", "must": "be 0 to 100"},
            {"field": "id", "must": "match the path and `webhook-id`"},
        ]})
    );
    // The reader is older than the writer.
    let mut newer: Value = serde_json::from_slice(&body).unwrap();
    newer["schema"] = 2.into();
    let response = problems(send(&router, put(&id, serde_json::to_vec(&newer).unwrap())).await);
    let must = "be 1; a newer schema needs a newer version of this program";
    assert_eq!(response, json!({"problems": [{"field": "schema", "must": must}]}));
}

#[tokio::test]
async fn a_report_of_a_newer_version_is_stored_and_shown() {
    let (id, body) = body();
    let router = router(site(COMMIT));
    let mut newer: Value = serde_json::from_slice(&body).unwrap();
    newer["added"] = json!({"by": ["a newer version"]});
    newer["steps"][0]["cached"] = true.into();
    newer["steps"][0]["outcome"] = "reused".into();
    newer["deployment"]["outcome"] = "paused-half-way".into();
    newer["deployment"]["kind"] = "canary".into();
    let body = serde_json::to_vec(&newer).unwrap();
    for status in [201, 200] {
        assert_eq!(send(&router, put(&id, body.clone())).await.status, status);
    }
    let page = get(&router, &format!("/runs/{id}")).await.body;
    assert!(page.contains("canary paused-half-way") && page.contains("reused"), "{page}");
    assert!(get(&router, "/").await.body.contains("canary paused-half-way"));
}

#[tokio::test]
async fn a_report_with_impossible_times_is_rejected() {
    let (id, body) = body();
    let router = router(site(COMMIT));
    for (field, time) in [
        ("finished", "2100-01-01T00:00:00Z"),
        ("finished", "9999-12-31T23:59:59.999Z"),
        ("started", "2014-12-31T23:59:59Z"),
    ] {
        let mut report: Value = serde_json::from_slice(&body).unwrap();
        report[field] = time.into();
        let response = send(&router, put(&id, serde_json::to_vec(&report).unwrap())).await;
        assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY, "{time}");
        let problem = json!({"field": field, "must": "be between 2015 and now, by the reader's clock"});
        assert_eq!(serde_json::from_str::<Value>(&response.body).unwrap(), json!({"problems": [problem]}));
    }
    // A clock that is slightly ahead is accepted.
    let mut report: Value = serde_json::from_slice(&body).unwrap();
    report["finished"] =
        humantime::format_rfc3339_millis(std::time::SystemTime::now() + launchway_report::SKEW / 2)
            .to_string()
            .into();
    assert_eq!(send(&router, put(&id, serde_json::to_vec(&report).unwrap())).await.status, 201);
}

/// Signed garbage is stored or rejected, and the board keeps working.
#[tokio::test]
async fn ten_thousand_bad_reports_do_no_harm() {
    let router = router(site(COMMIT));
    let bodies: Vec<Vec<u8>> = demo(20).iter().map(|report| serde_json::to_vec(report).unwrap()).collect();
    let mut state = 7_u64;
    let mut chance = move |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % limit
    };
    let (deep, deep_object) = ("[".repeat(300), r#"{"id":"#.repeat(300));
    let pieces: [&[u8]; 17] = [
        b"9007199254740991",
        b"18446744073709551615",
        b"-1",
        b"1e400",
        b"null",
        b"\"9999-12-31T23:59:59.999Z\"",
        b"\"1970-01-01T00:00:00Z\"",
        b"[[[[[[[[",
        deep.as_bytes(),
        deep_object.as_bytes(),
        // Duplicate keys.
        br#""schema":1,"#,
        br#""deployment":null,"#,
        b"1234567890123456789012345678901234567890.5e-7",
        b"\xff\xfe",
        b"\"\"",
        b"{}",
        b"\\u0000",
    ];
    let [early, late] = [now() - 1000, now() + 1000].map(|time| time.to_string());
    let headers = [
        ("webhook-signature", "v1,AAAA v1,"),
        ("webhook-signature", "v1,=== v2,AAAA v1a,AAAA"),
        ("webhook-signature", ""),
        ("webhook-timestamp", &early),
        ("webhook-timestamp", &late),
        ("webhook-timestamp", "99999999999999999999"),
        ("webhook-timestamp", "-1"),
        ("webhook-id", "another"),
        ("webhook-id", "../../x"),
    ];
    let mut statuses = std::collections::BTreeMap::new();
    for number in 0..10_000 {
        let mut body = bodies[chance(bodies.len())].clone();
        let id = format!("bad-{number}");
        if chance(4) > 0 {
            // With the right id, so that it gets further.
            let text = String::from_utf8(body).unwrap();
            let at = text.find("demo-").unwrap();
            body = [&text.as_bytes()[..at], id.as_bytes(), &text.as_bytes()[at + 10..]].concat();
        }
        for _ in 0..=chance(3) {
            let at = chance(body.len());
            let piece = pieces[chance(pieces.len())];
            match chance(6) {
                0 => body[at] ^= 1 << chance(8),
                1 => body.truncate(at.max(1)),
                2 => drop(body.splice(at..at, piece.iter().copied())),
                // Before the first key.
                3 => drop(body.splice(1.min(body.len())..1.min(body.len()), piece.iter().copied())),
                // In place of the value after a colon.
                _ => {
                    let Some(colon) = body[at..].iter().position(|byte| *byte == b':') else { continue };
                    let start = at + colon + 1;
                    let end = body[start..]
                        .iter()
                        .position(|byte| b",}]".contains(byte))
                        .map_or(body.len(), |end| start + end);
                    body.splice(start..end, piece.iter().copied());
                }
            }
        }
        let mut request = put(&id, body);
        // Any change to the signed headers means rejection.
        let tampered = number % 10 == 0;
        if tampered {
            let (name, value) = headers[chance(headers.len())];
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let status = send(&router, request).await.status.as_u16();
        assert_eq!(status == 401, tampered, "report {number}");
        *statuses.entry(status).or_insert(0) += 1;
    }
    assert!(statuses.keys().all(|status| [201, 401, 422].contains(status)), "{statuses:?}");
    assert!(statuses[&201] > 50 && statuses[&422] > 1000 && statuses[&401] == 1000, "{statuses:?}");
    for path in ["/", "/api/board.json", "/feed.atom", "/badge/coverage.svg"] {
        assert_eq!(get(&router, path).await.status, StatusCode::OK, "{path}");
    }
    let list: Value = serde_json::from_str(&get(&router, "/api/v1/reports?limit=1000").await.body).unwrap();
    for entry in list["reports"].as_array().unwrap() {
        let path = format!("/runs/{}", entry["id"].as_str().unwrap());
        assert_eq!(get(&router, &path).await.status, StatusCode::OK, "{path}");
    }
}
