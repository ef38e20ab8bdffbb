//! Names of images: repositories, tags and digests, valid by construction.
//!
//! The grammar is that of <https://github.com/distribution/reference>, which every client and registry shares; the
//! OCI distribution spec ("Pulling manifests") allows the same names and tags.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::Digest;
use launchway_core::http::is_loopback_host;

/// The full name of an image: `docker.io/acme/app:1.2` or `docker.io/acme/app@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// The part without tag and digest.
    pub repository: Repository,
    /// If there are both a tag and a digest, the digest counts, as in Docker.
    pub reference: Option<Reference>,
}

/// A repository on a registry, without a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository {
    registry: String,
    name: String,
}

/// A manifest in a repository; `<reference>` in the OCI distribution spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// What a tag points to.
    Tag(Tag),
    /// The manifest with this digest.
    Digest(Digest),
}

/// A tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

impl Repository {
    /// Docker Hub's canonical name, whichever of its three names was written.
    const HUB: &str = "docker.io";
    /// The longest name in bytes, including the host.
    const LONGEST: usize = 255;

    /// `host[:port]`, as people write it: `docker.io`, `ghcr.io`, `127.0.0.1:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The part after the host: `library/debian`, `acme/app`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `host[:port]` of the registry's API, which on Docker Hub is another host.
    pub fn api_host(&self) -> &str {
        if self.is_hub() { "registry-1.docker.io" } else { &self.registry }
    }

    /// Whether the registry is on this machine; only then TLS is not required, as in Docker.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(host_without_port(&self.registry))
    }

    /// Whether the registry is Docker Hub.
    pub fn is_hub(&self) -> bool {
        self.registry == Self::HUB
    }
}

impl Reference {
    /// The tag or the digest, as in a URL.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Tag(tag) => &tag.0,
            Self::Digest(digest) => digest.as_str(),
        }
    }
}

impl Tag {
    /// The tag that always points to the newest image.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    /// The tag of the index that lists the referrers of a manifest, for registries without a referrers API (OCI
    /// distribution spec, "Referrers Tag Schema").
    pub fn of_referrers(subject: &Digest) -> Self {
        Self(format!("sha256-{}", subject.hex()))
    }
}

impl FromStr for ImageName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the port.
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => (rest, Some(tag.parse()?)),
            _ => (rest, None),
        };
        let reference = digest.map(Reference::Digest).or(tag.map(Reference::Tag));
        Ok(Self { repository: repository(rest)?, reference })
    }
}

impl FromStr for Repository {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let ImageName { repository, reference } = text.parse()?;
        if let Some(reference) = reference {
            bail!("`{text}` must name a repository only, without `{reference}`");
        }
        Ok(repository)
    }
}

impl FromStr for Tag {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        ensure!(
            text.starts_with(word)
                && text.len() <= 128
                && text.chars().all(|c| word(c) || c == '.' || c == '-'),
            "`{text}` is not a tag: at most 128 letters, digits, `_`, `.` and `-`, the first a letter, digit or `_`"
        );
        Ok(Self(text.to_owned()))
    }
}

fn repository(text: &str) -> Result<Repository> {
    ensure!(!text.is_empty(), "an image needs a name, such as `docker.io/acme/app`");
    ensure!(text.len() <= Repository::LONGEST, "`{text}` is longer than {} bytes", Repository::LONGEST);
    let (registry, name) = match text.split_once('/') {
        Some((first, rest)) if is_host(first) => (first.to_ascii_lowercase(), rest),
        _ => (Repository::HUB.to_owned(), text),
    };
    if let Some(hint) = website(&registry, name) {
        bail!("`{text}` is the address of a web page, not of an image: write `{hint}`");
    }
    if !is_valid_host(&registry) {
        bail!("`{registry}` in `{text}` is not a registry's `host` or `host:port`");
    }
    if let Some(wrong) = name.split('/').find(|component| !is_component(component)) {
        bail!(
            "`{wrong}` in `{text}` is not part of a repository's name: lower-case letters and digits, separated by `.`, `_`, `__` or `-`"
        );
    }
    let registry = match registry.as_str() {
        "index.docker.io" | "registry-1.docker.io" => Repository::HUB.to_owned(),
        _ => registry,
    };
    let name = if registry == Repository::HUB && !name.contains('/') {
        format!("library/{name}")
    } else {
        name.to_owned()
    };
    Ok(Repository { registry, name })
}

/// The image that was probably meant by the URL of its web page, with or without `https://`.
fn website(registry: &str, name: &str) -> Option<String> {
    let (host, name) = match (registry, name) {
        ("https:" | "http:", name) => return name.strip_prefix('/').map(website_or),
        ("hub.docker.com", name) => (Repository::HUB, name),
        ("github.com", name) => ("ghcr.io", name),
        ("gitlab.com", name) => ("registry.gitlab.com", name),
        ("quay.io", name) => ("quay.io", name.strip_prefix("repository/")?),
        ("gallery.ecr.aws", name) => ("public.ecr.aws", name),
        _ => return None,
    };
    let name = match host {
        Repository::HUB => {
            let pages = ["r/", "_/", "repository/docker/"];
            pages.iter().find_map(|page| name.strip_prefix(page)).unwrap_or(name)
        }
        _ => name,
    };
    Some(format!("{host}/{}", name.trim_end_matches('/')))
}

fn website_or(address: &str) -> String {
    let page = address.split_once('/').and_then(|(host, name)| website(host, name));
    page.unwrap_or_else(|| address.to_owned())
}

/// Whether the first component of a name is a host: Docker's rule.
fn is_host(component: &str) -> bool {
    component == "localhost" || component.contains(['.', ':'])
}

fn is_valid_host(text: &str) -> bool {
    let host = host_without_port(text);
    let port = &text[host.len()..];
    let valid_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let valid_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let valid_host = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(valid_label),
    };
    valid_host && valid_port
}

/// `[::1]:5000` → `[::1]`, `ghcr.io` → `ghcr.io`.
fn host_without_port(text: &str) -> &str {
    let after_address = text.find(']').map_or(0, |end| end + 1);
    text[after_address..].find(':').map_or(text, |colon| &text[..after_address + colon])
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = |text: &str| {
        text.split(plain).all(|s| matches!(s, "" | "." | "_" | "__") || s.chars().all(|c| c == '-'))
    };
    text.starts_with(plain) && text.ends_with(plain) && separators(text)
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        match &self.reference {
            Some(Reference::Tag(tag)) => write!(f, ":{tag}"),
            Some(Reference::Digest(digest)) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Types that are serialised as strings and parsed with `FromStr`.
macro_rules! as_string {
    ($($name:ident),+) => {$(
        impl TryFrom<String> for $name {
            type Error = anyhow::Error;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )+};
}

as_string!(Repository, Tag);

#[cfg(test)]
mod tests;
