//! Debian's `docker-registry` with a password.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use launchway_registry::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{program, skipped, try_program};

pub(crate) const USERNAME: &str = "pusher";
/// Long enough to be found anywhere by its text.
pub(crate) const PASSWORD: &str = "password-of-the-registry-4711";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry on loopback; ended when it is dropped.
pub(crate) struct Registry {
    child: Child,
    host: String,
    dir: TempDir,
}

impl Registry {
    /// Starts one, or says that the test is skipped and why.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        for (name, asked) in [("docker-registry", "--version"), ("htpasswd", "-Bbn")] {
            // Without a name and a password `htpasswd` ends with its usage, and that is enough.
            if try_program(name, &[asked], dir.path()).is_err_and(|why| why.contains("cannot start")) {
                skipped(test, &format!("no {name}"));
                return None;
            }
        }
        let folder = dir.path().display();
        let users = program("htpasswd", &["-Bbn", USERNAME, PASSWORD], dir.path());
        fs_err::write(dir.path().join("users"), users).unwrap();
        // The port is free again when the listener is dropped, at the end of this line.
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {folder}/blobs}}}}\nhttp: {{addr: '{host}'}}\n\
             auth: {{htpasswd: {{realm: registry, path: {folder}/users}}}}\n"
        );
        fs_err::write(dir.path().join("config.yaml"), config).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a server that runs while the test does")]
        let child = Command::new("docker-registry")
            .args(["serve", "config.yaml"])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { child, host, dir };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&registry.host).is_err() {
            assert!(Instant::now() < end, "docker-registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// A repository in it.
    pub(crate) fn image(&self) -> String {
        format!("{}/acme/app", self.host)
    }

    /// The digest that a tag names.
    pub(crate) fn digest(&self, tag: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let login = STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
        write!(
            stream,
            "HEAD /v2/acme/app/manifests/{tag} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nauthorization: Basic {login}\r\n\
             accept: application/vnd.oci.image.manifest.v1+json\r\n\r\n",
            self.host
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let digest = answer.lines().find_map(|line| line.strip_prefix("Docker-Content-Digest: "))?;
        Some(digest.to_owned())
    }

    /// Puts an image of one layer under `acme/<name>`, and returns its name with the digest.
    pub(crate) fn put_image(&self, name: &str, config: &Value, layer: &[u8]) -> String {
        let mut config = config.clone();
        config["rootfs"] = json!({ "type": "layers", "diff_ids": [Digest::of(layer)] });
        let config = config.to_string().into_bytes();
        let blob = |kind: &str, bytes: &[u8]| {
            let digest = Digest::of(bytes);
            let begun = self.request("POST", &format!("/v2/acme/{name}/blobs/uploads/"), "", &[]);
            let place = begun.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
            let path = place.split_once(&self.host).map_or(place, |(_, path)| path);
            let put =
                self.request("PUT", &format!("{path}&digest={digest}"), "application/octet-stream", bytes);
            assert!(put.starts_with("HTTP/1.1 201"), "{put}");
            json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": bytes.len() })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": blob("config.v1+json", &config),
            "layers": [blob("layer.v1.tar", layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = Digest::of(&manifest);
        let put = self.request("PUT", &format!("/v2/acme/{name}/manifests/{digest}"), MANIFEST, &manifest);
        assert!(put.starts_with("HTTP/1.1 201"), "{put}");
        format!("{}/acme/{name}@{digest}", self.host)
    }

    /// The head of the response to a request.
    fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let login = STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
        let (host, length) = (&self.host, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Basic {login}\r\n\
             content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    /// Every byte that it keeps.
    pub(crate) fn everything(&self) -> Vec<u8> {
        super::files(&self.dir.path().join("blobs")).into_iter().flat_map(|(_, bytes)| bytes).collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may be gone, and the test may be failing already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
