use std::collections::BTreeMap;
use std::sync::LazyLock;

use reqwest::{Client, Response};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::registry::{Auth, FakeRegistry};
use crate::server::{hex, loopback_client};

mod api;
mod deploy;
mod faults;
mod generations;
mod observed;
mod processes;

const SERVICE: &str = "srv-test";
const KEY: &str = "rnd_secret";

/// A program that can serve, refuse to be healthy, and end, whichever its variables say. It is std only, so that it
/// runs with nothing around it, like the app in its image.
const PROGRAM: &str = r#"
    use std::io::{Read, Write};
    fn main() {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        println!("starting {}", variable("MODE"));
        if variable("MODE") == "exit" {
            eprintln!("giving up");
            std::process::exit(3);
        }
        if variable("MODE") == "leave" {
            return;
        }
        let listener = std::net::TcpListener::bind(format!("0.0.0.0:{}", variable("PORT"))).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let status = if variable("MODE") == "unhealthy" && request.starts_with("GET /healthz") { 503 } else { 200 };
            if request.starts_with("GET /slow") {
                std::thread::sleep(std::time::Duration::from_millis(400));
            }
            let mut body = String::new();
            if request.starts_with("GET /env") {
                for (name, value) in std::env::vars() {
                    body += &format!("{name}={value}\n");
                }
            } else if request.starts_with("GET /cwd") {
                body = std::env::current_dir().unwrap().display().to_string();
            } else if request.starts_with("GET /args") {
                body = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
            } else {
                body += &request;
            }
            let length = body.len();
            // A probe of the port alone is gone before the answer.
            write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").ok();
        }
    }
"#;

/// Compiled once; no test needs another.
static BINARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    fs_err::write(folder.path().join("app.rs"), PROGRAM).unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "a compiler for a fixture: no secret and no cargo is near it"
    )]
    let status = std::process::Command::new("rustc")
        .args(["--edition=2024", "-Copt-level=1", "-Cstrip=symbols", "app.rs"])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    fs_err::read(folder.path().join("app")).unwrap()
});

/// A registry with one image in it, and a Render that is configured with it.
struct Rig {
    registry: FakeRegistry,
    render: FakeRender,
    client: Client,
    folder: TempDir,
}

impl Rig {
    async fn start(adapt: impl FnOnce(&mut Options)) -> Self {
        Self::with_auth(Auth::Anonymous, adapt).await
    }

    async fn with_auth(auth: Auth, adapt: impl FnOnce(&mut Options)) -> Self {
        let folder = TempDir::new().unwrap();
        let registry = FakeRegistry::start(&folder.path().join("registry"), auth).await.unwrap();
        let mut options = Options::new(SERVICE, KEY, &format!("{}/team/app:latest", registry.address()));
        options.health_deadline = Duration::from_secs(20);
        options.retire_after = Duration::ZERO;
        options.limits = Limits { reads: 10_000, ..Limits::default() };
        adapt(&mut options);
        let render = FakeRender::start(options, &folder.path().join("render")).await.unwrap();
        Self { registry, render, client: loopback_client().unwrap(), folder }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        let url = format!("{}{path}", self.render.api_url());
        let mut request = self.client.request(method.parse().unwrap(), url).bearer_auth(KEY);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    /// A call on the service: its status and its body, null when there is none.
    async fn service(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let response = self.call(method, &format!("/services/{SERVICE}{path}"), body).await;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap();
        (status, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.service("GET", path, None).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Asks for a deploy that must be created at once.
    async fn deploy(&self, body: Value) -> Value {
        let (status, deploy) = self.service("POST", "/deploys", Some(body)).await;
        assert_eq!(status, 201, "{deploy}");
        deploy
    }

    async fn set(&self, key: &str, value: &str) {
        self.service("PUT", &format!("/env-vars/{key}"), Some(json!({ "value": value }))).await;
    }

    /// Waits until a deploy has one of the states.
    async fn until(&self, deploy: &Value, states: &[&str]) -> Value {
        let id = deploy["id"].as_str().unwrap();
        let reached = |state: &state::State| {
            let deploy = state.deploy(id)?;
            states.contains(&deploy.status.name()).then(|| deploy.json())
        };
        let found = self.render.engine.state.wait_for(Duration::from_secs(60), reached).await;
        found.unwrap_or_else(|| panic!("the deploy did not become {states:?}"))
    }

    async fn until_over(&self, deploy: &Value) -> Value {
        self.until(deploy, &["live", "update_failed", "canceled", "deactivated"]).await
    }

    async fn front(&self, path: &str) -> (u16, String) {
        let response = self.client.get(format!("{}{path}", self.render.url())).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn until_pids(&self, wanted: usize) -> Vec<u32> {
        let pids =
            self.render.engine.processes.until(Duration::from_secs(30), |pids| pids.len() == wanted).await;
        let lines = || {
            self.render
                .engine
                .logs
                .read(|logs| logs.iter().map(|line| line.message.clone()).collect::<Vec<_>>())
        };
        pids.unwrap_or_else(|| {
            panic!("there are {:?}, which said {:?}", self.render.instance_pids(), lines())
        })
    }

    /// Pushes the program as an image, in the way of any client: blobs first.
    async fn push(&self, tag: &str, config: Value) -> String {
        let tar = layer(&[("app/", None), ("app/app", Some(&BINARY))]);
        self.push_layer(tag, config, &tar, &digest_of(&tar)).await
    }

    async fn push_layer(&self, tag: &str, config: Value, tar: &[u8], diff_id: &str) -> String {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, tar).unwrap();
        let layer = gzip.finish().unwrap();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer)],
        });
        self.push_blob(config).await;
        self.push_blob(layer).await;
        self.push_manifest(tag, &manifest).await
    }

    async fn push_blob(&self, bytes: Vec<u8>) {
        let url = format!("http://{}/v2/team/app/blobs/uploads/", self.registry.address());
        let request = self.client.post(url).query(&[("digest", digest_of(&bytes))]).body(bytes);
        let request = request.header("authorization", self.authorization().await);
        assert_eq!(request.send().await.unwrap().status(), 201);
    }

    async fn push_manifest(&self, tag: &str, manifest: &Value) -> String {
        let url = format!("http://{}/v2/team/app/manifests/{tag}", self.registry.address());
        let bytes = manifest.to_string();
        let digest = digest_of(bytes.as_bytes());
        let request = self.client.put(url).header("content-type", manifest["mediaType"].as_str().unwrap());
        let request = request.header("authorization", self.authorization().await);
        assert_eq!(request.body(bytes).send().await.unwrap().status(), 201);
        digest
    }

    /// A token where the registry sells them, else the credential itself.
    async fn authorization(&self) -> String {
        let address = self.registry.address().to_string();
        let query = [("service", address.as_str()), ("scope", "repository:team/app:pull,push")];
        let request = self.client.get(format!("http://{address}/token")).query(&query);
        let answer: Value = request.basic_auth("u", Some("p")).send().await.unwrap().json().await.unwrap();
        answer["token"].as_str().map_or("Basic dTpw".to_owned(), |token| format!("Bearer {token}"))
    }

    fn image(&self, version: &str) -> String {
        format!("{}/team/app{version}", self.registry.address())
    }
}

/// How the program's image is run, unless a test says otherwise.
fn run_config() -> Value {
    json!({ "Entrypoint": ["/app/app"], "Env": ["FROM_IMAGE=yes", "SHADOWED=image"], "WorkingDir": "/app" })
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest_of(bytes), "size": bytes.len() })
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(digest(&SHA256, bytes).as_ref()))
}

/// A tar archive of executables and, where there is no content, folders.
fn layer(files: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        header.set_size(content.map_or(0, <[u8]>::len) as u64);
        header.set_entry_type(if content.is_some() {
            tar::EntryType::Regular
        } else {
            tar::EntryType::Directory
        });
        tar.append_data(&mut header, path, content.unwrap_or_default()).unwrap();
    }
    tar.into_inner().unwrap()
}
