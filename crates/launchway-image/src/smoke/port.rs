//! The port that a service listens on, and how it learns about it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use launchway_core::command::Namespace;

/// How a service learns the port to listen on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a port, or a table with `variable` and `value`, or one with `arguments`")]
pub enum Port {
    /// From the variable `PORT`.
    #[default]
    Standard,
    /// It always listens on this port.
    Fixed(u16),
    /// From another variable, in addition to `PORT`.
    Variable {
        /// The variable's name.
        variable: String,
        /// Its value, in which `$PORT` stands for the port.
        value: String,
    },
    /// From arguments, in addition to `PORT`.
    Arguments {
        /// They replace the image's `CMD`, as in `docker run IMAGE ARGUMENT…`; if the image has only a `CMD`, they
        /// replace its arguments. `$PORT` stands for the port.
        arguments: Vec<String>,
    },
}

impl Port {
    /// An address on loopback for one run of the service.
    ///
    /// If something else has a fixed port, that is an error: its responses would pass for the service's.
    pub(super) fn address(&self) -> Result<SocketAddr> {
        let (port, words) = match self {
            Self::Fixed(port) => {
                (*port, "the port that the service always listens on is taken on this machine")
            }
            Self::Standard | Self::Variable { .. } | Self::Arguments { .. } => (0, "no free port"),
        };
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("{words}: {port}"))?;
        Ok(listener.local_addr()?)
    }

    /// Whether this machine can run the service as in a container; the error says why not.
    pub fn in_container(&self) -> Result<(), String> {
        match self {
            // A container may; a namespace that shares the machine's network may not.
            Self::Fixed(port) if *port < 1024 => Err(format!("it listens on port {port}")),
            Self::Standard | Self::Fixed(_) | Self::Variable { .. } | Self::Arguments { .. } => {
                Namespace::check()
            }
        }
    }

    /// The port in a container whose port can be chosen.
    pub(super) fn inside(&self, chosen: u16) -> u16 {
        match self {
            Self::Fixed(port) => *port,
            Self::Standard | Self::Variable { .. } | Self::Arguments { .. } => chosen,
        }
    }

    /// The variables that tell the service its port.
    pub fn variables(&self, port: u16) -> Vec<(&str, String)> {
        let standard = ("PORT", port.to_string());
        match self {
            Self::Variable { variable, value } => {
                vec![standard, (variable, value.replace("$PORT", &port.to_string()))]
            }
            Self::Standard | Self::Fixed(_) | Self::Arguments { .. } => vec![standard],
        }
    }

    /// The arguments that tell the service its port, if any.
    pub(super) fn arguments(&self, port: u16) -> Option<Vec<String>> {
        match self {
            Self::Arguments { arguments } => {
                Some(arguments.iter().map(|word| word.replace("$PORT", &port.to_string())).collect())
            }
            Self::Standard | Self::Fixed(_) | Self::Variable { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_gets_the_variable_that_it_reads() {
        let port = Port::Variable { variable: "LISTEN_ON".to_owned(), value: "0.0.0.0:$PORT".to_owned() };
        assert_eq!(port.variables(81), [("PORT", "81".to_owned()), ("LISTEN_ON", "0.0.0.0:81".to_owned())]);
        assert_eq!(Port::Standard.variables(81), [("PORT", "81".to_owned())]);
        let port = Port::Arguments { arguments: vec!["--listen=[::1]:$PORT".to_owned()] };
        assert_eq!(port.variables(81), [("PORT", "81".to_owned())]);
        assert_eq!(port.arguments(81).unwrap(), ["--listen=[::1]:81"]);
        assert_eq!(Port::Fixed(80).inside(8000), 80);
    }

    #[test]
    fn a_fixed_port_that_is_taken_is_an_error() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Port::Fixed(port).address().unwrap_err().to_string();
        assert!(error.ends_with(&format!("is taken on this machine: {port}")), "{error}");
        drop(taken);
        assert_eq!(Port::Fixed(port).address().unwrap().port(), port);
    }
}
