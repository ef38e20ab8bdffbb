//! Addresses: of a registry's API, and the targets of its redirects.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use reqwest::Url;
use reqwest::blocking::Response;
use reqwest::header::LOCATION;

use crate::Repository;
use crate::error::Error;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_core::http::is_loopback_host;

/// The address of a repository's API.
pub(crate) fn base(repository: &Repository) -> Result<Url> {
    let scheme = if repository.is_loopback() { "http" } else { "https" };
    Url::parse(&format!("{scheme}://{}/v2/{}/", repository.api_host(), repository.name()))
        .with_context(|| format!("`{repository}` has no valid address"))
        .or_exit(Exit::Usage)
}

/// The target of a response's `Location`, which may be relative.
///
/// Another origin is fine, such as a storage service. But a registry must not make us contact an address inside our own
/// network (server-side request forgery; go-containerregistry rejects the same), or send anything in the clear.
pub(crate) fn location(repository: &Repository, from: &Url, response: &Response) -> Result<Url, Error> {
    let registry = repository.registry();
    let header = response.headers().get(LOCATION).and_then(|header| header.to_str().ok());
    target(from, header.unwrap_or_default())
        .map_err(|error| Error::refused(format!("the registry at {registry} {error}")))
}

pub(crate) fn target(from: &Url, location: &str) -> Result<Url> {
    ensure!(!location.is_empty(), "sent no `Location`");
    let target = from.join(location).ok().filter(Url::has_host);
    let target = target.context("redirects to an invalid address")?;
    if target.origin() != from.origin() {
        let host = target.host_str().unwrap_or_default();
        ensure!(target.scheme() == "https", "redirects to `{host}` without https");
        ensure!(!is_inside(host), "redirects to `{host}`, an address inside this network");
    }
    Ok(target)
}

/// Whether a host is an address or a name that cannot be reached from the internet.
fn is_inside(host: &str) -> bool {
    let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else {
        return is_loopback_host(host);
    };
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local()
        }
    }
}

/// Whether an address is the registry's own: credentials are sent nowhere else.
pub(crate) fn is_registry(repository: &Repository, url: &Url) -> Result<bool> {
    Ok(base(repository)?.origin() == url.origin())
}

/// The `host:port` of an address: the only part that a message may contain.
pub(crate) fn url_host(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_may_be_anywhere_but_inside() {
        let from = Url::parse("https://r.io/v2/acme/app/blobs/uploads/").unwrap();
        for (location, expected) in [
            ("/v2/x?state=1", "https://r.io/v2/x?state=1"),
            ("1", "https://r.io/v2/acme/app/blobs/uploads/1"),
            ("https://r.io/y", "https://r.io/y"),
            ("//storage.example.com/z", "https://storage.example.com/z"),
            ("https://storage.example.com/z?sig=a", "https://storage.example.com/z?sig=a"),
            ("https://9.9.9.9/z", "https://9.9.9.9/z"),
        ] {
            assert_eq!(target(&from, location).unwrap().as_str(), expected);
        }
        for (location, expected) in [
            ("", "sent no `Location`"),
            ("http://r.io/y", "without https"),
            ("http://storage.example.com/y", "without https"),
            ("https://127.0.0.1/y", "inside this network"),
            ("https://localhost/y", "inside this network"),
            ("https://10.1.2.3/y", "inside this network"),
            ("https://192.168.0.1/y", "inside this network"),
            ("https://169.254.169.254/latest/meta-data", "inside this network"),
            ("https://[::1]/y", "inside this network"),
            ("https://[fd00::1]/y", "inside this network"),
            ("https://[::ffff:127.0.0.1]/y", "inside this network"),
            ("https://0/y", "inside this network"),
            ("mailto:me", "an invalid address"),
        ] {
            let error = target(&from, location).unwrap_err().to_string();
            assert!(error.contains(expected), "{location}: {error}");
        }
        // A registry on this machine may redirect to itself.
        let from = Url::parse("http://127.0.0.1:5000/v2/").unwrap();
        target(&from, "http://127.0.0.1:5000/x").unwrap();
        target(&from, "http://127.0.0.1:5001/x").unwrap_err();
        target(&from, "https://127.0.0.1:5000/x").unwrap_err();
    }

    #[test]
    fn credentials_stay_at_the_registry() {
        let repository: Repository = "acme/app".parse().unwrap();
        let is = |url: &str| is_registry(&repository, &Url::parse(url).unwrap()).unwrap();
        assert!(is("https://registry-1.docker.io/v2/acme/app/blobs/x"));
        for other in
            ["https://docker.io/", "https://registry-1.docker.io:444/", "http://registry-1.docker.io/"]
        {
            assert!(!is(other), "{other}");
        }
    }
}
