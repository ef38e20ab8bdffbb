use super::*;

fn service(json: &str) -> Service {
    serde_json::from_str(json).unwrap()
}

const GOOD: &str = r#"{"id":"srv-1","ownerId":"tea-1","name":"app","type":"web_service","suspended":"not_suspended",
    "imagePath":"docker.io/acme/app:latest","serviceDetails":{"runtime":"image","healthCheckPath":"/healthz",
    "maintenanceMode":{"enabled":false,"uri":""},"url":"https://app.onrender.com"}}"#;

#[test]
fn a_good_service_has_no_problems() {
    let good = service(GOOD);
    assert_eq!(problems(&good, "acme/app"), Vec::<String>::new());
    assert_eq!(remarks(&good, "/healthz"), Vec::<String>::new());
    assert_eq!(address(&good).unwrap().as_str(), "https://app.onrender.com/");
}

#[test]
fn all_problems_are_found_at_once() {
    let bad = service(
        r#"{"name":null,"type":"cron_job","suspended":"suspended","imagePath":"ghcr.io/o/app:1",
        "serviceDetails":{"runtime":"image","healthCheckPath":null,"maintenanceMode":{"enabled":true},
        "url":"http://app.example.com"}}"#,
    );
    let found = problems(&bad, "docker.io/acme/app");
    insta::assert_snapshot!(found.join("\n"), @"
    its type is `cron_job`, not `web_service`: set `RENDER_SERVICE_ID` to a web service
    it runs `ghcr.io/o/app`, but the pipeline ships `docker.io/acme/app`: change the service's image in its settings
    it is suspended: resume it in its settings
    it is in maintenance mode: turn it off in its settings
    it has no health check path, so Render would consider any open port healthy: set one in its settings
    Render does not name its workspace (`ownerId`), which its logs and its image need
    `serviceDetails.url` is plain http, which is accepted for loopback addresses only: use https
    ");
}

#[test]
fn an_empty_response_is_not_a_service_to_deploy_to() {
    let found = problems(&service("{}"), "acme/app");
    insta::assert_snapshot!(found.join("\n"), @"
    its type is ``, not `web_service`: set `RENDER_SERVICE_ID` to a web service
    its runtime is ``, not `image`: create it from an existing image
    it has no health check path, so Render would consider any open port healthy: set one in its settings
    Render does not name its workspace (`ownerId`), which its logs and its image need
    `serviceDetails.url` is not an https address: it must look like `https://host/path`
    ");
}

#[test]
fn another_health_path_and_a_disk_are_worth_a_remark() {
    let mut odd = service(GOOD);
    odd.details.disk = Some(serde::de::IgnoredAny);
    insta::assert_snapshot!(remarks(&odd, "/up").join("\n"), @"
    the service's health check path is `/healthz`, but `deploy.health` is `/up`
    the service has a disk: Render stops the old instance before the new one starts
    ");
}
