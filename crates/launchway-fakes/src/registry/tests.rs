use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::store::digest_of_bytes;
use super::*;
use crate::server::loopback_client;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

struct Rig {
    registry: FakeRegistry,
    client: Client,
    _folder: TempDir,
}

impl Rig {
    async fn start(auth: Auth) -> Self {
        let folder = TempDir::new().unwrap();
        let registry = FakeRegistry::start(folder.path(), auth).await.unwrap();
        Self { registry, client: loopback_client().unwrap(), _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.registry.address())
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().unwrap(), self.url(path))
    }

    async fn status(&self, method: &str, path: &str) -> u16 {
        self.request(method, path).send().await.unwrap().status().as_u16()
    }

    async fn push_blob(&self, name: &str, bytes: &'static [u8]) -> String {
        let digest = digest_of_bytes(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let response = self.request("POST", &path).body(bytes).send().await.unwrap();
        assert_eq!(response.status(), 201);
        digest
    }

    async fn put_manifest(&self, name: &str, reference: &str, manifest: &Value) -> Response {
        let kind = manifest["mediaType"].as_str().unwrap().to_owned();
        let request = self.request("PUT", &format!("/v2/{name}/manifests/{reference}"));
        request.header("content-type", kind).body(manifest.to_string()).send().await.unwrap()
    }

    /// Pushes the smallest possible image.
    async fn push_image(&self, name: &str, tag: &str) -> (String, Value) {
        let manifest = image(&self.push_blob(name, b"{}").await, &self.push_blob(name, b"layer").await);
        assert_eq!(self.put_manifest(name, tag, &manifest).await.status(), 201);
        (digest_of_bytes(manifest.to_string().as_bytes()), manifest)
    }
}

fn image(config: &str, layer: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2 },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 5 }],
    })
}

fn header(headers: &HeaderMap, name: &'static str) -> String {
    headers
        .get(HeaderName::from_static(name))
        .map_or(String::new(), |value| value.to_str().unwrap().to_owned())
}

async fn code(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["errors"][0]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_is_pushed_can_be_pulled() {
    let rig = Rig::start(Auth::Anonymous).await;
    let (digest, manifest) = rig.push_image("team/deep/app", "v1").await;
    assert_eq!(rig.status("GET", "/v2/").await, 200);
    for reference in ["v1", digest.as_str()] {
        let path = format!("/v2/team/deep/app/manifests/{reference}");
        let response = rig.request("GET", &path).header("accept", MANIFEST).send().await.unwrap();
        assert_eq!(header(response.headers(), "docker-content-digest"), digest);
        assert_eq!(header(response.headers(), "content-type"), MANIFEST);
        assert_eq!(response.text().await.unwrap(), manifest.to_string());
        let response = rig.request("HEAD", &path).send().await.unwrap();
        assert_eq!(header(response.headers(), "docker-content-digest"), digest);
        assert_eq!(header(response.headers(), "content-length"), manifest.to_string().len().to_string());
    }
    let blob = format!("/v2/team/deep/app/blobs/{}", digest_of_bytes(b"layer"));
    let head = rig.request("HEAD", &blob).send().await.unwrap();
    assert_eq!((head.status().as_u16(), header(head.headers(), "content-length")), (200, "5".to_owned()));
    assert_eq!(rig.request("GET", &blob).send().await.unwrap().text().await.unwrap(), "layer");
    assert_eq!(rig.registry.digest_of("team/deep/app", "v1"), Some(digest.clone()));
    assert_eq!(rig.registry.digest_of("team/deep/app", &digest), Some(digest));
    assert_eq!(rig.registry.digest_of("team/deep/app", "v2"), None);
}

#[tokio::test]
async fn a_blob_arrives_in_chunks_at_the_last_location() {
    let rig = Rig::start(Auth::Anonymous).await;
    let digest = digest_of_bytes(b"hello world");
    let response = rig.request("POST", "/v2/a/blobs/uploads/").send().await.unwrap();
    assert_eq!(response.status(), 202);
    let first = header(response.headers(), "location");
    let response =
        rig.request("PATCH", &first).header("content-range", "0-5").body("hello ").send().await.unwrap();
    assert_eq!((response.status().as_u16(), header(response.headers(), "range")), (202, "0-5".to_owned()));
    let second = header(response.headers(), "location");
    let status = rig.request("GET", second.split('?').next().unwrap()).send().await.unwrap();
    assert_eq!((status.status().as_u16(), header(status.headers(), "range")), (204, "0-5".to_owned()));
    // The first location is used up, and a chunk must continue the last.
    let stale = rig.request("PATCH", &first).body("x").send().await.unwrap();
    assert_eq!(code(stale).await, (400, "BLOB_UPLOAD_INVALID".to_owned()));
    let gap = rig.request("PATCH", &second).header("content-range", "9-10").body("x").send().await.unwrap();
    assert_eq!(code(gap).await, (416, "BLOB_UPLOAD_INVALID".to_owned()));
    let end = format!("{second}&digest={}", digest.replace(':', "%3A"));
    let response = rig.request("PUT", &end).body("world").send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(header(response.headers(), "docker-content-digest"), digest);
    assert_eq!(header(response.headers(), "location"), format!("/v2/a/blobs/{digest}"));
    let again = rig.request("PUT", &end).send().await.unwrap();
    assert_eq!(code(again).await, (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn wrong_digests_are_refused() {
    let rig = Rig::start(Auth::Anonymous).await;
    let other = digest_of_bytes(b"other");
    let path = format!("/v2/a/blobs/uploads/?digest={other}");
    let response = rig.request("POST", &path).body("this").send().await.unwrap();
    assert_eq!(code(response).await, (400, "DIGEST_INVALID".to_owned()));
    assert_eq!(rig.status("HEAD", &format!("/v2/a/blobs/{other}")).await, 404);
    let manifest = image(&rig.push_blob("a", b"{}").await, &rig.push_blob("a", b"layer").await);
    let response = rig.put_manifest("a", &other, &manifest).await;
    assert_eq!(code(response).await, (400, "DIGEST_INVALID".to_owned()));
    for path in ["/v2/a/blobs/sha256:short", "/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e"] {
        assert_eq!(
            code(rig.request("GET", path).send().await.unwrap()).await,
            (400, "DIGEST_INVALID".to_owned())
        );
    }
}

#[tokio::test]
async fn a_manifest_must_find_its_blobs_in_its_own_repository() {
    let rig = Rig::start(Auth::Anonymous).await;
    let (_, manifest) = rig.push_image("a", "v1").await;
    let refused = rig.put_manifest("b", "v1", &manifest).await;
    assert_eq!(code(refused).await, (400, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    assert_eq!(
        code(rig.request("GET", "/v2/b/tags/list").send().await.unwrap()).await,
        (404, "NAME_UNKNOWN".to_owned())
    );
    for content in [b"{}".as_slice(), b"layer"] {
        let path = format!("/v2/b/blobs/uploads/?mount={}&from=a", digest_of_bytes(content));
        assert_eq!(rig.status("POST", &path).await, 201);
    }
    assert_eq!(rig.put_manifest("b", "v1", &manifest).await.status(), 201);
    // A source without the blob is not an error: the client uploads instead.
    let path = format!("/v2/b/blobs/uploads/?mount={}&from=a", digest_of_bytes(b"elsewhere"));
    assert_eq!(rig.status("POST", &path).await, 202);
}

#[tokio::test]
async fn an_index_must_find_its_manifests() {
    let rig = Rig::start(Auth::Anonymous).await;
    let (digest, _) = rig.push_image("a", "v1").await;
    let index = |digest: &str| {
        let entry = json!({ "mediaType": MANIFEST, "digest": digest, "size": 1 });
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] })
    };
    assert_eq!(rig.put_manifest("a", "index", &index(&digest)).await.status(), 201);
    let refused = rig.put_manifest("a", "index", &index(&digest_of_bytes(b"no"))).await;
    assert_eq!(code(refused).await, (400, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    // A client that does not accept indexes gets a 404.
    let response =
        rig.request("GET", "/v2/a/manifests/index").header("accept", MANIFEST).send().await.unwrap();
    assert_eq!(code(response).await, (404, "MANIFEST_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn malformed_manifests_and_names_are_refused() {
    let rig = Rig::start(Auth::Anonymous).await;
    let put = |path: &str, kind: &str, body: &str| {
        rig.request("PUT", path).header("content-type", kind).body(body.to_owned()).send()
    };
    let invalid = (400, "MANIFEST_INVALID".to_owned());
    assert_eq!(code(put("/v2/a/manifests/v1", MANIFEST, "[").await.unwrap()).await, invalid);
    assert_eq!(
        code(put("/v2/a/manifests/v1", INDEX, &json!({ "mediaType": MANIFEST }).to_string()).await.unwrap())
            .await,
        invalid
    );
    assert_eq!(code(put("/v2/a/manifests/-v1", MANIFEST, "{}").await.unwrap()).await, invalid);
    let large = " ".repeat((4 << 20) + 1);
    assert_eq!(
        code(put("/v2/a/manifests/v1", MANIFEST, &large).await.unwrap()).await,
        (413, "SIZE_INVALID".to_owned())
    );
    for name in ["A", "a__b/c-", "a..b", "a%2Fb_", ""] {
        let response = rig.request("GET", &format!("/v2/{name}/tags/list")).send().await.unwrap();
        assert_eq!(code(response).await, (400, "NAME_INVALID".to_owned()), "{name:?}");
    }
    for name in ["a", "a-b/c__d/e.f", "a--b", "0"] {
        let response = rig.request("GET", &format!("/v2/{name}/tags/list")).send().await.unwrap();
        assert_eq!(code(response).await, (404, "NAME_UNKNOWN".to_owned()), "{name:?}");
    }
    assert_eq!(rig.status("GET", "/").await, 404);
    assert_eq!(rig.status("GET", "/v2/a/nonsense").await, 404);
    assert_eq!(rig.status("GET", "/token").await, 404);
    assert_eq!(rig.status("DELETE", "/v2/a/manifests/v1").await, 405);
}

#[tokio::test]
async fn tags_are_listed_in_pages() {
    let rig = Rig::start(Auth::Anonymous).await;
    for tag in ["c", "a", "b"] {
        rig.push_image("x", tag).await;
    }
    let response = rig.request("GET", "/v2/x/tags/list?n=2").send().await.unwrap();
    assert_eq!(header(response.headers(), "link"), "</v2/x/tags/list?n=2&last=b>; rel=\"next\"");
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "name": "x", "tags": ["a", "b"] }));
    let response = rig.request("GET", "/v2/x/tags/list?n=2&last=b").send().await.unwrap();
    assert_eq!(header(response.headers(), "link"), "");
    assert_eq!(response.json::<Value>().await.unwrap()["tags"], json!(["c"]));
}

#[tokio::test]
async fn referrers_are_found_by_their_subject() {
    let rig = Rig::start(Auth::Anonymous).await;
    let (digest, mut manifest) = rig.push_image("x", "v1").await;
    manifest["subject"] = json!({ "mediaType": MANIFEST, "digest": digest, "size": 1 });
    manifest["artifactType"] = json!("application/vnd.in-toto+json");
    let own = digest_of_bytes(manifest.to_string().as_bytes());
    let response = rig.put_manifest("x", &own, &manifest).await;
    assert_eq!(
        (response.status().as_u16(), header(response.headers(), "oci-subject")),
        (201, digest.clone())
    );
    let list = async |query: &str| {
        let response = rig.request("GET", &format!("/v2/x/referrers/{digest}{query}")).send().await.unwrap();
        let applied = header(response.headers(), "oci-filters-applied");
        (applied, response.json::<Value>().await.unwrap()["manifests"].as_array().unwrap().clone())
    };
    let (applied, all) = list("").await;
    assert_eq!((applied.as_str(), all.len(), all[0]["digest"] == *own), ("", 1, true));
    assert_eq!(all[0]["artifactType"], "application/vnd.in-toto+json");
    assert_eq!(list("?artifactType=application%2Fvnd.in-toto%2Bjson").await.1.len(), 1);
    let (applied, none) = list("?artifactType=other").await;
    assert_eq!((applied.as_str(), none.len()), ("artifactType", 0));
    assert_eq!(rig.status("GET", &format!("/v2/nothing/referrers/{digest}")).await, 200);
}

#[tokio::test]
async fn basic_credentials_are_checked_on_each_request() {
    let rig = Rig::start(Auth::Basic { username: "u".into(), password: "p:q".into() }).await;
    let response = rig.request("GET", "/v2/").send().await.unwrap();
    assert_eq!(header(response.headers(), "www-authenticate"), "Basic realm=\"fake registry\"");
    assert_eq!(code(response).await, (401, "UNAUTHORIZED".to_owned()));
    let status = async |password: &str| {
        rig.request("GET", "/v2/").basic_auth("u", Some(password)).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("wrong").await, 401);
    assert_eq!(status("p:q").await, 200);
    assert_eq!(rig.status("GET", "/token").await, 404);
}

struct Bearer(Rig);

impl Bearer {
    async fn start(lifetime: Duration) -> Self {
        Self(Rig::start(Auth::Bearer { username: "u".into(), password: "p".into(), lifetime }).await)
    }

    async fn token(&self, scopes: &[&str]) -> String {
        let service = self.0.registry.address().to_string();
        let scopes: Vec<_> = scopes.iter().map(|scope| ("scope", *scope)).collect();
        let request = self.0.request("GET", "/token").query(&[("service", &service)]).query(&scopes);
        let answer: Value = request.basic_auth("u", Some("p")).send().await.unwrap().json().await.unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    async fn challenge(&self, method: &str, path: &str, token: &str) -> (u16, String) {
        let response = self.0.request(method, path).bearer_auth(token).send().await.unwrap();
        let challenge = header(response.headers(), "www-authenticate");
        let common = format!("Bearer realm=\"http://{0}/token\",service=\"{0}\"", self.0.registry.address());
        (response.status().as_u16(), challenge.replace(&common, ""))
    }
}

#[tokio::test]
async fn a_token_opens_what_it_was_sold_for() {
    let bearer = Bearer::start(Duration::from_secs(60)).await;
    let pull = bearer.token(&["repository:team/x:pull"]).await;
    assert_eq!(bearer.challenge("GET", "/v2/", &pull).await.0, 200);
    assert_eq!(bearer.challenge("GET", "/v2/team/x/tags/list", &pull).await.0, 404);
    let wanted = ",scope=\"repository:team/x:pull,push\",error=\"insufficient_scope\"";
    assert_eq!(bearer.challenge("POST", "/v2/team/x/blobs/uploads/", &pull).await, (401, wanted.to_owned()));
    let push = bearer.token(&["repository:team/x:pull,push"]).await;
    assert_eq!(bearer.challenge("POST", "/v2/team/x/blobs/uploads/", &push).await.0, 202);
    // A mount also needs pull access to its source.
    let mount = format!("/v2/team/x/blobs/uploads/?mount={}&from=team/y", digest_of_bytes(b""));
    let wanted = ",scope=\"repository:team/x:pull,push repository:team/y:pull\",error=\"insufficient_scope\"";
    assert_eq!(bearer.challenge("POST", &mount, &push).await, (401, wanted.to_owned()));
    let several = ["repository:team/x:pull,push", "repository:team/y:pull"];
    assert_eq!(bearer.challenge("POST", &mount, &bearer.token(&several).await).await.0, 202);
    assert_eq!(bearer.challenge("POST", &mount, &bearer.token(&[&several.join(" ")]).await).await.0, 202);
    assert_eq!(
        bearer.challenge("GET", "/v2/", "made-up").await,
        (401, ",error=\"invalid_token\"".to_owned())
    );
}

#[tokio::test]
async fn tokens_expire_and_are_not_given_away() {
    let bearer = Bearer::start(Duration::ZERO).await;
    let token = bearer.token(&["repository:x:pull"]).await;
    let wanted = ",scope=\"repository:x:pull\",error=\"invalid_token\"";
    assert_eq!(bearer.challenge("GET", "/v2/x/tags/list", &token).await, (401, wanted.to_owned()));
    let service = bearer.0.registry.address().to_string();
    let ask = async |method: &str, service: &str, password: &str| {
        let request = bearer.0.request(method, "/token").query(&[("service", service)]);
        request.basic_auth("u", Some(password)).send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask("GET", &service, "p").await, 200);
    assert_eq!(ask("GET", &service, "wrong").await, 401);
    assert_eq!(ask("GET", "elsewhere", "p").await, 400);
    assert_eq!(ask("POST", &service, "p").await, 405);
    let bare = bearer.0.request("GET", "/v2/").send().await.unwrap();
    assert!(!header(bare.headers(), "www-authenticate").contains("error="));
}

#[tokio::test]
async fn a_fault_happens_once_and_then_no_more() {
    let rig = Rig::start(Auth::Anonymous).await;
    let (digest, manifest) = rig.push_image("a", "v1").await;
    rig.registry.fault(Fault::Unauthorized);
    assert_eq!(rig.status("GET", "/v2/").await, 401);
    assert_eq!(rig.status("GET", "/v2/").await, 200);

    rig.registry.fault(Fault::TooManyRequests { put: 2, retry_after: 7 });
    assert_eq!(rig.put_manifest("a", "v2", &manifest).await.status(), 201);
    let response = rig.put_manifest("a", "v2", &manifest).await;
    assert_eq!(header(response.headers(), "retry-after"), "7");
    assert_eq!(code(response).await, (429, "TOOMANYREQUESTS".to_owned()));
    assert_eq!(rig.put_manifest("a", "v2", &manifest).await.status(), 201);

    rig.registry.fault(Fault::BlobPutFails);
    let start = rig.request("POST", "/v2/a/blobs/uploads/").send().await.unwrap();
    let end = format!("{}&digest={}", header(start.headers(), "location"), digest_of_bytes(b"late"));
    let put = async || rig.request("PUT", &end).body("late").send().await.unwrap().status().as_u16();
    assert_eq!((put().await, put().await), (500, 201));

    rig.registry.fault(Fault::WrongContentDigest);
    let head = async || {
        let response = rig.request("HEAD", "/v2/a/manifests/v1").send().await.unwrap();
        header(response.headers(), "docker-content-digest")
    };
    assert_ne!(head().await, digest);
    assert_eq!(head().await, digest);

    rig.registry.fault(Fault::MountDeclined);
    let mount = format!("/v2/b/blobs/uploads/?mount={}&from=a", digest_of_bytes(b"layer"));
    assert_eq!((rig.status("POST", &mount).await, rig.status("POST", &mount).await), (202, 201));
}

#[tokio::test]
async fn the_transcript_counts_what_was_sent() {
    let rig = Rig::start(Auth::Anonymous).await;
    rig.push_image("a", "v1").await;
    let blobs: u64 =
        rig.registry.transcript().iter().filter(|e| e.method == "POST").map(|e| e.request_bytes).sum();
    assert_eq!(blobs, (b"{}".len() + b"layer".len()) as u64);
    let last = rig.registry.transcript().pop().unwrap();
    assert_eq!((last.path.as_str(), last.status), ("/v2/a/manifests/v1", 201));
}
