//! `HOSTS`: the hosts that a request may name.
//!
//! The patterns are those of Django's `ALLOWED_HOSTS`: `example.com` matches itself, `.example.com` also all names below
//! it, `*` any host, an IP address itself. Letter case, one final dot and the port are ignored.
//!
//! Differences from Django:
//! - A pattern that could never match (with a port, a scheme, an underscore) is an error.
//! - A pattern's final dot and the spaces around it are dropped.
//! - IP addresses are compared as addresses, so any spelling of an IPv6 address matches.
//! - A request's port is at most 65535, and its host has no empty label: `.example.com` is a pattern, not a host.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The hosts that a request may name.
#[derive(Clone, Debug)]
pub struct AllowedHosts(Vec<HostPattern>);

impl AllowedHosts {
    /// Drops repeated patterns.
    #[must_use]
    pub fn new(patterns: Vec<HostPattern>) -> Self {
        let mut unique = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            if !unique.contains(&pattern) {
                unique.push(pattern);
            }
        }
        Self(unique)
    }

    /// `localhost` and the loopback addresses.
    #[must_use]
    pub fn local_patterns() -> Vec<HostPattern> {
        vec![
            HostPattern::Exact(HostName("localhost".to_owned())),
            HostPattern::Ip(Ipv4Addr::LOCALHOST.into()),
            HostPattern::Ip(Ipv6Addr::LOCALHOST.into()),
        ]
    }

    /// Whether a request may name this authority: a host, with or without a port.
    #[must_use]
    pub fn allow(&self, authority: &str) -> bool {
        Host::of_authority(authority).is_some_and(|host| self.0.iter().any(|pattern| pattern.matches(&host)))
    }
}

/// One entry of `HOSTS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// `*`: any well-formed host.
    Any,
    /// `example.com`: that name.
    Exact(HostName),
    /// `.example.com`: that name and all names below it.
    Suffix(HostName),
    /// `127.0.0.1` or `[::1]`: that address, in any spelling.
    Ip(IpAddr),
}

impl HostPattern {
    fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Exact(pattern), Host::Name(name)) => pattern == name,
            (Self::Suffix(pattern), Host::Name(name)) => {
                let above = name.0.strip_suffix(&pattern.0);
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            (Self::Ip(pattern), Host::Ip(address)) => pattern == address,
            _ => false,
        }
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.contains("://") || text.contains('/') {
            return Err(PatternError::Url);
        }
        if text.contains('*') {
            return Err(PatternError::Wildcard);
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(PatternError::BareIpv6);
        }
        if let Some(suffix) = text.strip_prefix('.') {
            return match Host::new(suffix) {
                Some(Host::Name(name)) => Ok(Self::Suffix(name)),
                _ => Err(PatternError::Name),
            };
        }
        match Host::new(text) {
            Some(Host::Name(name)) => Ok(Self::Exact(name)),
            Some(Host::Ip(address)) => Ok(Self::Ip(address)),
            None if Host::of_authority(text).is_some() => Err(PatternError::Port),
            None if text.contains('_') => Err(PatternError::Underscore),
            None => Err(PatternError::Name),
        }
    }
}

/// Why an entry of `HOSTS` would never match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// A scheme or a path.
    Url,
    /// `*` as a part of a name.
    Wildcard,
    /// An IPv6 address without brackets.
    BareIpv6,
    /// A port.
    Port,
    /// An underscore.
    Underscore,
    /// Not a host name for another reason.
    Name,
}

impl PatternError {
    /// How to fix it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Url => "write the host alone, such as `example.com`",
            Self::Wildcard => "write `.example.com` for a name and all names below it",
            Self::BareIpv6 => "write it in brackets, such as `[::1]`",
            Self::Port => "leave the port out: it is ignored",
            Self::Underscore | Self::Name => {
                "use letters, digits, hyphens and dots, and `xn--…` for other alphabets"
            }
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "it is a URL, not a host",
            Self::Wildcard => "`*` matches a whole host only",
            Self::BareIpv6 => "an IPv6 address needs brackets",
            Self::Port => "it has a port",
            Self::Underscore => "host names contain no underscore",
            Self::Name => "it is not a host name",
        })
    }
}

/// A host name in lower case, without a final dot: labels of 1 to 63 of `[a-z0-9-]`, at most 253 in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// The host in a request or a DSN.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(HostName),
    Ip(IpAddr),
}

impl Host {
    /// Parses a name, an IPv4 address, or an IPv6 address in brackets.
    pub(crate) fn new(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Ip(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Some(Self::Ip(address.into()));
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        (name.len() <= 253 && name.split('.').all(is_label))
            .then(|| Self::Name(HostName(name.to_ascii_lowercase())))
    }

    /// Parses a host with an optional port of 0 to 65535.
    pub(crate) fn of_authority(text: &str) -> Option<Self> {
        match text.rsplit_once(':') {
            // The colon is inside the brackets.
            Some((_, rest)) if rest.ends_with(']') => Self::new(text),
            Some((host, port)) if is_port(port) => Self::new(host),
            Some(_) => None,
            None => Self::new(text),
        }
    }

    /// Whether this is the local machine, by name or by address.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name.0 == "localhost",
            Self::Ip(address) => address.is_loopback(),
        }
    }
}

/// `parse` alone would accept `+80`.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}
