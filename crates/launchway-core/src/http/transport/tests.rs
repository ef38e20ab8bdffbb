use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::command::Call;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::http::{Http, NetworkPolicy};

/// A server that treats each connection like this, and counts them.
struct Listener {
    at: String,
    connections: Arc<AtomicUsize>,
}

impl Listener {
    fn new(serve: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                serve(stream);
            }
        });
        Self { at, connections }
    }

    /// A server, or a proxy, with the same response to every request.
    fn responding(response: &'static str) -> Self {
        Self::new(move |mut stream| {
            read_head(&stream);
            stream.write_all(response.as_bytes()).unwrap();
        })
    }

    fn count(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn read_head(stream: &TcpStream) {
    let lines = BufReader::new(stream).lines();
    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
}

/// A server with a certificate that nobody knows.
fn tls(test: &str, is_authority: bool) -> Option<impl Fn(TcpStream) + Send + 'static> {
    let Ok(version) = Call::new("openssl").arg("version").read(std::path::Path::new("/")) else {
        // Not with `eprintln!`, which the test runner swallows.
        writeln!(std::io::stderr(), "SKIPPED: {test}: openssl is not installed").unwrap();
        return None;
    };
    assert!(version.contains("SSL"), "{version}");
    let dir = tempfile::tempdir().unwrap();
    let constraint = if is_authority { "TRUE" } else { "FALSE" };
    let line = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -subj /CN=test \
         -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:{constraint} -days 2"
    );
    Call::new("openssl").args(line.split_whitespace()).read(dir.path()).unwrap();
    let certificate = CertificateDer::from_pem_file(dir.path().join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.path().join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let config = Arc::new(config);
    Some(move |mut stream| {
        let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        // The client breaks it off.
        connection.complete_io(&mut stream).ok();
    })
}

/// The error of a request to this address, with these variables.
fn failure(url: &str, variables: &[(&str, &str)]) -> TransportError {
    let http = Http::through(NetworkPolicy::Anywhere, &Environment::of(variables.iter().copied())).unwrap();
    let error = http.request(Method::GET, &url.parse().unwrap()).unwrap().send().unwrap_err();
    http.transport_error(error)
}

#[test]
fn a_connection_that_fails_is_explained() {
    let plain = Listener::new(|mut stream| {
        // As much of the greeting as is there.
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    for (at, words, permanent) in [
        (&plain.at, "does not speak TLS: check the port", true),
        (&nobody, "refused (os error 111): nothing listens there", false),
        (&"registry.invalid".to_owned(), "the name of registry.invalid cannot be resolved: check its", true),
    ] {
        let error = failure(&format!("https://{at}/v2/?state=secret"), &[]);
        let TransportError { message, .. } = &error;
        assert!(message.contains(words) && message.contains(at), "{message}");
        assert!(!message.contains("/v2/") && !message.contains("secret"), "{message}");
        // A machine without a resolver cannot tell a name that does not exist from one that it cannot look up.
        assert!(error.permanent == permanent || words.contains("resolved"), "{message}");
    }
}

#[test]
fn a_certificate_of_an_unknown_authority_is_named() {
    for (is_authority, words) in [
        (
            false,
            "was issued by an authority that this machine does not trust: add the authority's certificate",
        ),
        (true, "is self-signed: use one that an authority has issued"),
    ] {
        let serve = tls("a_certificate_of_an_unknown_authority_is_named", is_authority);
        let Some(unknown) = serve.map(Listener::new) else { return };
        let TransportError { message, permanent } = failure(&format!("https://{}/v2/", unknown.at), &[]);
        assert!(message.contains(words) && message.contains(&unknown.at) && permanent, "{message}");
    }
}

#[test]
fn each_fault_of_a_certificate_has_its_sentence() {
    for (certificate, words) in [
        (CertificateError::Expired, "has expired: renew it there"),
        (CertificateError::NotValidYet, "is not valid yet: check this machine's clock"),
        (CertificateError::NotValidForName, "is another host's: use the name in the certificate"),
        (CertificateError::BadSignature, "is not valid ("),
    ] {
        let message = of_tls("ghcr.io", &rustls::Error::InvalidCertificate(certificate));
        assert!(message.starts_with(&format!("the certificate of ghcr.io {words}")), "{message}");
    }
}

#[test]
fn a_proxy_that_refuses_is_named_and_the_account_is_not_blamed() {
    let wants = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
    let forbids = "HTTP/1.1 403 Forbidden\r\n\r\n";
    for (response, login, words, permanent) in [
        (wants, "", "requires a user name and password: set them in `HTTPS_PROXY`, as in", true),
        (wants, "me:hunter2-hunter2@", "rejected the user name or password in `HTTPS_PROXY`", true),
        (
            forbids,
            "",
            "refuses to connect to registry.test: allow it there, or list the host in `NO_PROXY`",
            true,
        ),
        ("", "", "cannot be reached (", false),
    ] {
        let proxy = Listener::responding(response);
        let address = format!("http://{login}{}", proxy.at);
        let error = failure("https://registry.test/v2/", &[("HTTPS_PROXY", &address)]);
        let message = &error.message;
        assert!(message.starts_with(&format!("the proxy at {} {words}", proxy.at)), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        assert_eq!(error.permanent, permanent, "{message}");
    }
}

#[test]
fn loopback_bypasses_the_proxy_whatever_the_variables_say() {
    let proxy = Listener::responding("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    let address = format!("http://{}", proxy.at);
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    for name in names {
        let server = Listener::responding("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let http =
            Http::through(NetworkPolicy::Anywhere, &Environment::of([(name, address.as_str())])).unwrap();
        let url = format!("http://{}/v2/", server.at).parse().unwrap();
        http.request(Method::GET, &url).unwrap().send().unwrap();
        assert_eq!(server.count(), 1, "{name}");
        let message = failure("https://127.0.0.1:1/", &[(name, &address)]).message;
        assert!(message.starts_with("no response from 127.0.0.1:1: "), "{message}");
    }
    assert_eq!(proxy.count(), 0);
}

#[test]
fn no_proxy_lists_what_bypasses_the_proxy() {
    let proxy = Listener::responding("HTTP/1.1 403 Forbidden\r\n\r\n");
    let variables = [("ALL_PROXY", proxy.at.as_str()), ("no_proxy", "registry.invalid,10.0.0.0/8")];
    let message = failure("https://registry.invalid/", &variables).message;
    assert!(message.contains("cannot be resolved"), "{message}");
    assert_eq!(proxy.count(), 0);
}

#[test]
fn a_proxy_that_cannot_be_used_is_named_without_its_address() {
    for (address, words) in [
        ("socks5h://me:hunter2@127.0.0.1:1", "`ALL_PROXY` is a SOCKS proxy"),
        ("ftp://me:hunter2@127.0.0.1:1", "`ALL_PROXY` is not the address of a proxy"),
        ("hunter2 hunter2", "`ALL_PROXY` is not the address of a proxy"),
    ] {
        let http =
            Http::through(NetworkPolicy::Anywhere, &Environment::of([("ALL_PROXY", address)])).unwrap();
        let error = http.request(Method::GET, &"https://registry.test/".parse().unwrap()).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        let shown = format!("{error:#} {http:?}");
        assert!(shown.contains(words) && !shown.contains("hunter2"), "{shown}");
        drop(http.request(Method::GET, &"http://127.0.0.1:1/".parse().unwrap()).unwrap());
    }
}
