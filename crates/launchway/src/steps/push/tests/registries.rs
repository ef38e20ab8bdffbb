//! Registries with a login: the fake, and Debian's `docker-registry` with passwords and with tokens.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::context::Context;
use crate::testing::registry::scripted;
use launchway_core::command::Call;
use launchway_core::environment::Environment;
use launchway_fakes::registry::{Auth, Scripted};
use launchway_fakes::{Reply, Request};

pub(crate) const USERNAME: &str = "pusher";
pub(crate) const PASSWORD: &str = "a-real-password";
/// What `docker login` gets instead of a password where people log in with a browser.
pub(crate) const IDENTITY: &str = "an-identity-token";

const SERVICE: &str = "the registry of a test";
const ISSUER: &str = "the token server of a test";

/// Says that a test did not run: not with `eprintln!`, which the test runner swallows.
pub(crate) fn skipped(test: &str, reason: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {test}: {reason}").unwrap();
}

/// A context that pushes `acme/app` to a registry with the variables' login.
pub(crate) fn context(host: &str, root: &std::path::Path, password: &str) -> Context {
    let image = format!("{host}/acme/app");
    let variables = [
        ("PIPELINE_IMAGE", image.as_str()),
        ("DOCKERHUB_USERNAME", USERNAME),
        ("DOCKERHUB_TOKEN", password),
        ("DOCKER_CONFIG", "/nonexistent"),
    ];
    Context::for_test(root, Environment::of(variables))
}

/// The fake registry, with a user name and a password on each request.
pub(crate) fn basic() -> Scripted {
    Scripted::with_login(Auth::Basic { username: USERNAME.into(), password: PASSWORD.into() }).unwrap()
}

/// The fake registry, with tokens that are good for so long.
pub(crate) fn bearer(lifetime: Duration) -> Scripted {
    let (username, password) = (USERNAME.into(), PASSWORD.into());
    Scripted::with_login(Auth::Bearer { username, password, lifetime }).unwrap()
}

/// How a `docker-registry` authenticates.
pub(crate) enum Login {
    Htpasswd,
    Token,
}

/// A `docker-registry` that is killed when it is dropped.
pub(crate) struct DockerRegistry {
    child: Child,
    pub(crate) host: String,
    pub(crate) dir: TempDir,
    _tokens: Option<Scripted>,
}

impl DockerRegistry {
    /// Starts one, or says that the test is skipped and why.
    pub(crate) fn start(test: &str, login: &Login) -> Option<Self> {
        let maker = match login {
            Login::Htpasswd => "htpasswd",
            Login::Token => "openssl",
        };
        for program in ["docker-registry", maker] {
            let path = std::env::var_os("PATH").unwrap_or_default();
            if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
                skipped(test, &format!("{program} is not installed"));
                return None;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().display();
        let (auth, tokens) = match login {
            Login::Htpasswd => {
                let users = Call::new(maker).args(["-Bbn", USERNAME, PASSWORD]).read(dir.path()).unwrap();
                fs_err::write(dir.path().join("users"), users).unwrap();
                (format!("{{htpasswd: {{realm: 'a, b', path: {folder}/users}}}}"), None)
            }
            Login::Token => {
                let tokens = token_server(dir.path());
                let realm = format!("http://{}/token", tokens.host());
                let auth = format!(
                    "{{token: {{realm: '{realm}', service: '{SERVICE}', issuer: '{ISSUER}', rootcertbundle: {folder}/cert.pem}}}}"
                );
                (auth, Some(tokens))
            }
        };
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {folder}/blobs}}}}\n\
             http: {{addr: '{host}'}}\nauth: {auth}\n"
        );
        fs_err::write(dir.path().join("config.yaml"), config).unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "a server that runs while the test does; `Call` waits for its child"
        )]
        let child = Command::new("docker-registry")
            .args(["serve", "config.yaml"])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { child, host, dir, _tokens: tokens };
        for _ in 0..1000 {
            if TcpStream::connect(&registry.host).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("docker-registry does not listen");
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A token server as `docker-registry` trusts it: ES256 tokens, signed with a key whose certificate is in `cert.pem`.
///
/// <https://distribution.github.io/distribution/spec/auth/jwt/>
fn token_server(dir: &std::path::Path) -> Scripted {
    let line = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem \
                -subj /CN=tokens -days 2";
    Call::new("openssl").args(line.split_whitespace()).read(dir).unwrap();
    let random = SystemRandom::new();
    let key = STANDARD.decode(pem(&dir.join("key.pem"))).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &random).unwrap();
    let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [pem(&dir.join("cert.pem"))] });
    scripted(move |request, _| {
        let Some(scopes) = scopes(request) else {
            return Some(Reply::new(401).body(r#"{"details":"incorrect username or password"}"#));
        };
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let claims = json!({
            "iss": ISSUER, "sub": USERNAME, "aud": SERVICE, "jti": "1",
            "nbf": now - 10, "iat": now, "exp": now + 300,
            "access": scopes.iter().map(|scope| access(scope)).collect::<Vec<_>>(),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(&random, signed.as_bytes()).unwrap());
        Some(Reply::new(200).body(json!({ "access_token": format!("{signed}.{signature}") }).to_string()))
    })
}

/// The base64 of the one thing in a PEM file.
fn pem(path: &std::path::Path) -> String {
    let text = fs_err::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.starts_with("-----")).collect()
}

/// The scopes of a request for a token, or `None` where the login is wrong: a password by GET, an identity token by POST.
fn scopes(request: &Request) -> Option<Vec<String>> {
    let basic = format!("Basic {}", STANDARD.encode(format!("{USERNAME}:{PASSWORD}")));
    let form = String::from_utf8_lossy(&request.body);
    let (target, allowed) = match request.method.as_str() {
        "GET" => (format!("http://t{}", request.target), request.header("authorization") == basic),
        _ => (
            format!("http://t/?{form}"),
            form.contains("grant_type=refresh_token")
                && form.contains(&format!("refresh_token={IDENTITY}"))
                && form.contains("client_id=")
                && !request.target.contains('?'),
        ),
    };
    let url = reqwest::Url::parse(&target).unwrap();
    let right = url.query_pairs().any(|(name, value)| name == "service" && value == SERVICE);
    let scopes = url.query_pairs().filter(|(name, _)| name == "scope");
    let scopes = scopes.flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>());
    (allowed && right).then(|| scopes.collect())
}

fn access(scope: &str) -> Value {
    let (resource, actions) = scope.rsplit_once(':').unwrap();
    let (kind, name) = resource.split_once(':').unwrap();
    json!({ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() })
}
