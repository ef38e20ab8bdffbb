//! Debian's `docker-registry` with a password.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::{program, skipped, try_program};

pub(crate) const USERNAME: &str = "pusher";
/// Long enough to be found anywhere by its text.
pub(crate) const PASSWORD: &str = "password-of-the-registry-4711";

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
