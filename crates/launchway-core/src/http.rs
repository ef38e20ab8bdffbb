//! The one HTTP client: what it may contact, how long it waits, how much it reads.

mod proxy;
mod transport;

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use anyhow::{Result, bail};
use reqwest::blocking::{Client, ClientBuilder, RequestBuilder, Response};
use reqwest::{Method, Url};

use proxy::Proxy;
pub use transport::TransportError;

use crate::environment::Environment;
use crate::exit::{Exit, Failure, OrExit as _};
use crate::secret::Redactor;

/// Which addresses a run may contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkPolicy {
    /// Any `https` address, and plain `http` on loopback.
    Anywhere,
    /// A rehearsal: only these addresses, which it bound itself.
    Only(Vec<SocketAddr>),
}

impl NetworkPolicy {
    /// `XTASK_NETWORK`: the addresses of a drill, whose runs are separate processes under the same policy.
    pub fn of(addresses: Option<&str>) -> Result<Self> {
        let Some(addresses) = addresses else { return Ok(Self::Anywhere) };
        let bound = addresses.split(',').map(str::parse).collect::<Result<_, _>>();
        let hint = "`XTASK_NETWORK` is set by a drill for its own runs and must contain addresses: unset it";
        bound.map(Self::Only).map_err(|_| Failure::new(Exit::Usage, hint).into())
    }
}

/// A blocking client that follows no redirects and enforces the network policy.
#[derive(Clone, Debug)]
pub struct Http {
    /// For plain http: works without a certificate store, which a minimal machine may lack.
    loopback: Client,
    /// For all other addresses: created for the first of them.
    outside: Arc<OnceLock<Client>>,
    network: NetworkPolicy,
    proxy: Proxy,
}

impl Http {
    /// How long the other side may send nothing, unless the caller sets a timeout.
    const IDLE: Duration = Duration::from_secs(60);
    /// The longest response that is read as text, in bytes: manifests and API responses are far smaller.
    pub const LONGEST_TEXT: u64 = 8 << 20;

    /// Without a proxy.
    pub fn new(network: NetworkPolicy) -> Result<Self> {
        Self::through(network, &Environment::default())
    }

    /// With the proxy in these variables, except for loopback addresses, and never in a rehearsal.
    pub fn through(network: NetworkPolicy, environment: &Environment) -> Result<Self> {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // An error means that there is a provider already, which is fine.
            drop(rustls::crypto::ring::default_provider().install_default());
        });
        let proxy =
            if matches!(network, NetworkPolicy::Only(_)) { Proxy::default() } else { Proxy::of(environment) };
        let loopback = Self::builder().tls_certs_only([]).build().or_exit(Exit::Missing)?;
        Ok(Self { loopback, outside: Arc::default(), network, proxy })
    }

    fn builder() -> ClientBuilder {
        Client::builder()
            .user_agent(concat!("launchway-xtask/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            // The client would otherwise read the environment itself, and use a proxy for loopback too.
            .no_proxy()
            .connect_timeout(Duration::from_secs(10))
            .timeout(Self::IDLE)
    }

    /// The client for an address that has been checked.
    fn client(&self, url: &Url) -> Result<&Client> {
        if url.scheme() == "http" || matches!(self.network, NetworkPolicy::Only(_)) {
            return Ok(&self.loopback);
        }
        if let Some(client) = self.outside.get() {
            return Ok(client);
        }
        let builder = Self::builder();
        let builder = match self.proxy.for_client() {
            Some(proxy) => builder.proxy(proxy),
            None => builder,
        };
        let client = builder.build().map_err(|error| {
            let error = format!("{:#}", anyhow::Error::from(error));
            let hint = if error.contains("No CA certificates") {
                ": install the package `ca-certificates`, or set `SSL_CERT_FILE` to a certificate file"
            } else {
                ""
            };
            let host = url.host_str().unwrap_or_default();
            Failure::new(Exit::Missing, format!("`https://{host}` cannot be contacted: {error}{hint}"))
        })?;
        Ok(self.outside.get_or_init(|| client))
    }

    /// A request to an allowed address.
    ///
    /// Fails with [`Exit::Usage`] for plain `http` outside of loopback, and in a rehearsal for any address that it did
    /// not bind itself. The error names the host but not the path, which may contain an upload's state.
    pub fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder> {
        self.check(url).or_exit(Exit::Usage)?;
        if !is_loopback(url) {
            self.proxy.check()?;
        }
        Ok(self.client(url)?.request(method, url.clone()))
    }

    /// Explains why a request of this client got no response.
    pub fn transport_error(&self, error: reqwest::Error) -> TransportError {
        TransportError::of(error, &self.proxy)
    }

    /// Rejects an address that this client may not contact.
    pub fn check(&self, url: &Url) -> Result<()> {
        let host = url.host_str().unwrap_or_default();
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(url) => {}
            "http" => bail!(
                "plain http is accepted for loopback addresses only, and `{host}` is not one: use https"
            ),
            other => bail!("`{other}://{host}` is not an http address"),
        }
        if let NetworkPolicy::Only(bound) = &self.network
            && !bound.iter().any(|address| {
                url.host_str() == Some(address.ip().to_string().as_str())
                    && url.port_or_known_default() == Some(address.port())
            })
        {
            bail!(
                "a rehearsal may contact only the addresses that it bound itself, and `{host}` is not one of them"
            );
        }
        Ok(())
    }
}

/// Whether an address is on this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
pub fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

/// Whether a host name or address without a port is on this machine.
pub fn is_loopback_host(host: &str) -> bool {
    host == "localhost"
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// The body of a response as text, up to [`Http::LONGEST_TEXT`].
pub fn text(response: Response) -> Result<String> {
    let mut bytes = Vec::new();
    response.take(Http::LONGEST_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > Http::LONGEST_TEXT {
        return Err(Failure::new(
            Exit::Usage,
            format!("the response is longer than {} bytes", Http::LONGEST_TEXT),
        )
        .into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `: ` and the first words of a response, for a message; empty if it has none.
///
/// A server may quote the secrets that it received.
pub fn first_words(response: Response, secrets: &Redactor) -> String {
    quoted(&text(response).unwrap_or_default(), secrets)
}

fn quoted(body: &str, secrets: &Redactor) -> String {
    const LONGEST: usize = 200;
    let words = secrets.redact(&body.split_whitespace().collect::<Vec<_>>().join(" "));
    // After redaction: half of a secret would otherwise be shown.
    let words: String = words.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if words.is_empty() { words } else { format!(": {words}") }
}

/// Parses a base address; `name` is its key or variable, for errors.
pub fn base_url(name: &str, text: &str) -> Result<Url> {
    let parsed = Url::parse(text);
    match parsed {
        Ok(url)
            if matches!(url.scheme(), "https" | "http")
                && url.username().is_empty()
                && url.password().is_none() =>
        {
            if url.scheme() == "http" && !is_loopback(&url) {
                return Err(Failure::new(
                    Exit::Usage,
                    format!(
                        "`{name}` is plain http, which is accepted for loopback addresses only: use https"
                    ),
                )
                .into());
            }
            Ok(url)
        }
        Err(error) if !text.is_ascii() => Err(Failure::new(
            Exit::Usage,
            format!("`{name}` is not an address ({error}): write a non-ASCII host name as `xn--…`"),
        )
        .into()),
        _ => Err(Failure::new(
            Exit::Usage,
            format!("`{name}` is not an https address: it must look like `https://host/path`"),
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_host_of_another_alphabet_is_written_in_ascii() {
        assert!(base_url("RENDER_API_URL", "https://xn--bcher-kva.example/v1").is_ok());
        let error = base_url("RENDER_API_URL", "https://bücher.example/v1").unwrap_err().to_string();
        assert!(
            error.starts_with("`RENDER_API_URL` is not an address (") && error.ends_with("as `xn--…`"),
            "{error}"
        );
    }

    #[test]
    fn plain_http_stays_on_loopback() {
        let http = Http::new(NetworkPolicy::Anywhere).unwrap();
        for good in [
            "https://registry-1.docker.io/v2/",
            "http://127.0.0.1:5000/",
            "http://[::1]:1/",
            "http://localhost/",
        ] {
            http.check(&url(good)).unwrap();
        }
        for bad in
            ["http://example.com/", "http://10.0.0.1/", "ftp://127.0.0.1/", "http://localhost.example.com/"]
        {
            http.check(&url(bad)).unwrap_err();
        }
    }

    #[test]
    fn a_rehearsal_reaches_what_it_bound() {
        let http = Http::new(NetworkPolicy::Only(vec!["127.0.0.1:4000".parse().unwrap()])).unwrap();
        http.check(&url("http://127.0.0.1:4000/v2/")).unwrap();
        for bad in ["http://127.0.0.1:4001/", "https://api.render.com/v1", "http://localhost:4000/"] {
            let error = http.request(Method::GET, &url(bad)).unwrap_err();
            assert_eq!(Exit::of(&error), Exit::Usage);
        }
    }

    #[test]
    fn the_run_of_a_drill_contacts_what_it_is_allowed() {
        assert_eq!(NetworkPolicy::of(None).unwrap(), NetworkPolicy::Anywhere);
        let bound = vec!["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()];
        assert_eq!(NetworkPolicy::of(Some("127.0.0.1:1,127.0.0.1:2")).unwrap(), NetworkPolicy::Only(bound));
        for bad in ["", "everywhere", "127.0.0.1"] {
            assert_eq!(Exit::of(&NetworkPolicy::of(Some(bad)).unwrap_err()), Exit::Usage);
        }
    }

    #[test]
    fn a_secret_is_redacted_before_a_quote_is_cut() {
        let body = format!("{}\n you sent hunter2-hunter2", "x".repeat(185));
        let quoted = quoted(&body, &Redactor::new([crate::secret::Secret::new("hunter2-hunter2")]));
        assert_eq!(quoted, format!(": {} you sent <reda", "x".repeat(185)));
    }

    #[test]
    fn a_base_address_is_https_or_loopback() {
        base_url("RENDER_API_URL", "http://127.0.0.1:1/v1").unwrap();
        base_url("RENDER_API_URL", "https://api.render.com/v1").unwrap();
        for bad in ["api.render.com", "http://api.render.com", "https://u:p@api.render.com", ""] {
            let error = base_url("RENDER_API_URL", bad).unwrap_err();
            assert!(error.to_string().contains("`RENDER_API_URL`"), "{error}");
        }
    }
}
