//! Explains requests that got no response: the reason in one sentence, with a hint.

use std::error::Error;
use std::{fmt, io};

use reqwest::Url;
use rustls::CertificateError;

use super::proxy::Proxy;

/// A request that got no response.
#[derive(Debug)]
pub struct TransportError {
    /// One sentence. It quotes neither the path of the address, which may contain an upload's state, nor a proxy's
    /// password.
    pub message: String,
    /// Whether a retry would fail the same way.
    pub permanent: bool,
}

impl TransportError {
    pub(super) fn of(error: reqwest::Error, proxy: &Proxy) -> Self {
        let url = error.url().cloned();
        let error = error.without_url();
        let host = url.as_ref().map(host_and_port).unwrap_or_default();
        let between = url.and_then(|url| proxy.between(&url));
        if let Some(tls) = find::<rustls::Error>(&error) {
            let behind = between.map(|(proxy, _)| format!(" (through the proxy at {proxy})"));
            return Self { message: of_tls(&host, tls) + &behind.unwrap_or_default(), permanent: true };
        }
        let words = words(&error);
        if error.is_builder() {
            return Self { message: format!("{host} cannot be contacted: {words}"), permanent: true };
        }
        if let Some((at, variable)) = between.filter(|_| error.is_connect()) {
            return of_proxy(&host, &at, variable, proxy.has_login(), &error);
        }
        if error.is_dns() || words.contains("dns error") {
            let permanent = !words.contains("Temporary failure");
            let hint = "check its spelling, and that this machine is online";
            return Self { message: format!("the name of {host} cannot be resolved: {hint}"), permanent };
        }
        let is_refused =
            find::<io::Error>(&error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        let message = match () {
            () if is_refused => format!("no response from {host}: {}: nothing listens there", root(&error)),
            () if error.is_timeout() => {
                format!("no response from {host} in time: it is busy, or a firewall is in the way")
            }
            () => format!("no response from {host}: {}", root(&error)),
        };
        Self { message, permanent: false }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for TransportError {}

fn of_tls(host: &str, error: &rustls::Error) -> String {
    let certificate = match error {
        rustls::Error::InvalidMessage(_) => {
            return format!(
                "{host} does not speak TLS: check the port; plain http is accepted for loopback addresses only"
            );
        }
        rustls::Error::InvalidCertificate(certificate) => certificate,
        other => return format!("TLS with {host} failed: {other}"),
    };
    let (wrong, hint) = match certificate {
        CertificateError::UnknownIssuer => (
            "was issued by an authority that this machine does not trust".to_owned(),
            "add the authority's certificate to the system's, or set `SSL_CERT_FILE` to a file that contains it",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("has expired".to_owned(), "renew it there, unless this machine's clock is wrong")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("is not valid yet".to_owned(), "check this machine's clock")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ("is another host's".to_owned(), "use the name in the certificate")
        }
        // `webpki` has a name for it, but does not export it.
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            ("is self-signed".to_owned(), "use one that an authority has issued for that host")
        }
        other => (format!("is not valid ({other})"), "replace it there"),
    };
    format!("the certificate of {host} {wrong}: {hint}")
}

/// An account is never to blame for these.
fn of_proxy(host: &str, at: &str, variable: &str, has_login: bool, error: &dyn Error) -> TransportError {
    let (words, root) = (words(error), root(error));
    let (permanent, wrong) = if words.contains("proxy authorization required") {
        let wrong = if has_login {
            format!("rejected the user name or password in `{variable}`")
        } else {
            format!(
                "requires a user name and password: set them in `{variable}`, as in `http://user:password@host:port`"
            )
        };
        (true, wrong)
    } else if words.contains("tunnel error: unsuccessful") {
        (true, format!("refuses to connect to {host}: allow it there, or list the host in `NO_PROXY`"))
    } else {
        (false, format!("cannot be reached ({root}): check `{variable}`"))
    };
    TransportError { message: format!("the proxy at {at} {wrong}"), permanent }
}

/// The first cause of this type.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error does not return the error that it wraps from `source`.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|wrapped| find(wrapped)) {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The last of an error's causes, which is the most specific.
fn root(mut error: &dyn Error) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

/// An error and its causes.
fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

fn host_and_port(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests;
