//! The proxy in the environment: one for `https`, because plain `http` never leaves this machine.

use std::fmt;
use std::sync::Arc;

use anyhow::{Result, ensure};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{NoProxy, Url};

use crate::environment::Environment;
use crate::exit::{Exit, OrExit as _};

/// Never uses a proxy, whatever `NO_PROXY` says.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The proxy of a run, if it has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxy(Option<Arc<Named>>);

struct Named {
    /// The variable that sets it.
    variable: &'static str,
    /// Including its password.
    address: String,
    /// `NO_PROXY` and loopback.
    except: String,
    matcher: Matcher,
}

impl Proxy {
    /// `HTTPS_PROXY`, or `ALL_PROXY`, with the exceptions in `NO_PROXY`; lower-case names count too.
    pub(crate) fn of(environment: &Environment) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| Some((*name, environment.get(name)?.trim().to_owned())))
        };
        let Some((variable, address)) = first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
        else {
            return Self::default();
        };
        let (_, no_proxy) = first(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
        let except = format!("{no_proxy},{LOOPBACK}");
        let matcher = Matcher::builder().https(address.clone()).no(except.clone()).build();
        Self(Some(Arc::new(Named { variable, address, except, matcher })))
    }

    /// The proxy for the HTTP client; [`Proxy::check`] reports one that cannot be used.
    pub(super) fn for_client(&self) -> Option<reqwest::Proxy> {
        let named = self.0.as_ref()?;
        let proxy = reqwest::Proxy::https(&named.address).ok()?;
        Some(proxy.no_proxy(NoProxy::from_string(&named.except)))
    }

    /// Fails with [`Exit::Usage`] if an address on another machine would need a proxy that cannot be used. Does not
    /// quote the proxy's address, which may contain a password.
    pub(super) fn check(&self) -> Result<()> {
        let Some(named) = &self.0 else { return Ok(()) };
        let variable = named.variable;
        let check = || {
            ensure!(
                !named.address.to_ascii_lowercase().starts_with("socks"),
                "`{variable}` is a SOCKS proxy, which is not supported: use an http proxy, as in `http://host:port`"
            );
            let of_any = Matcher::builder().https(named.address.clone()).build();
            let is_http = of_any.intercept(&::http::Uri::from_static("https://example.com")).is_some();
            ensure!(
                is_http && reqwest::Proxy::https(&named.address).is_ok(),
                "`{variable}` is not the address of a proxy: it must look like `http://host:port`"
            );
            Ok(())
        };
        check().or_exit(Exit::Usage)
    }

    /// The `host:port` of the proxy for an address, and the variable that sets it.
    pub(super) fn between(&self, url: &Url) -> Option<(String, &'static str)> {
        let named = self.0.as_ref()?;
        let proxy = named.matcher.intercept(&url.as_str().parse().ok()?)?;
        Some((proxy.uri().authority()?.to_string(), named.variable))
    }

    /// Whether the proxy has a user name.
    pub(super) fn has_login(&self) -> bool {
        self.0.as_ref().is_some_and(|named| named.address.contains('@'))
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.variable)
    }
}
