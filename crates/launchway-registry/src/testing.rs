//! Sessions for tests.

use std::time::Duration;

use anyhow::Result;

use crate::{Access, Account, Client, Digest, Logins, Reference, Repository, Session, Setting, Tag};
use launchway_core::environment::Environment;
use launchway_core::events::{Reporter, Sink};
use launchway_core::http::{Http, NetworkPolicy};
use launchway_core::interrupt::Interrupt;
use launchway_core::secret::Secret;
use launchway_fakes::registry::Scripted;
use launchway_fakes::{Reply, Request};

/// A session with these logins, whose reporter records the events.
pub(crate) fn session(logins: Logins) -> Session {
    session_through(logins, &Environment::default())
}

/// A session with the proxy in these variables.
pub(crate) fn session_through(logins: Logins, environment: &Environment) -> Session {
    Session {
        http: Http::through(NetworkPolicy::Anywhere, environment).unwrap(),
        reporter: Reporter::new(Sink::Memory(Vec::new())),
        interrupt: Interrupt::default(),
        logins,
    }
}

/// An account whose variables are `THE_USERNAME` and `THE_TOKEN`.
pub(crate) fn account(registry: &str, username: Option<&str>, token: Option<&str>) -> Account {
    let setting = |name: &str, value: Option<&str>| Setting {
        name: name.to_owned(),
        value: value.map(Secret::new),
        source: "hub.example.com → Tokens".to_owned(),
    };
    Account {
        registry: registry.to_owned(),
        username: setting("THE_USERNAME", username),
        token: setting("THE_TOKEN", token),
    }
}

/// The user name and the token of [`logged_in`].
pub(crate) const USERNAME: &str = "me";
pub(crate) const TOKEN: &str = "hunter2-hunter2";

/// An account for a scripted registry.
pub(crate) fn logged_in(server: &Scripted) -> Logins {
    let account = account(&server.host(), Some(USERNAME), Some(TOKEN));
    Logins { account: Some(account), ..Logins::default() }
}

/// No account, but the settings for one.
pub(crate) fn anonymous() -> Logins {
    Logins { account: Some(account("", None, None)), ..Logins::default() }
}

/// A client that does not wait between tries.
pub(crate) fn quick(session: Session, access: Access) -> Client {
    Client::new(session, access).with_backoff(Duration::from_millis(1))
}

/// A client that may push, does not wait between tries, and has no login.
pub(crate) fn client() -> Client {
    quick(session(anonymous()), Access::Push)
}

/// A registry in which this rule responds first.
pub(crate) fn scripted(rule: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static) -> Scripted {
    Scripted::new(rule).unwrap()
}

/// A registry without a login and without a referrers API.
pub(crate) fn plain() -> Scripted {
    Scripted::plain().unwrap()
}

/// `acme/app` on a scripted registry.
pub(crate) fn repository(server: &Scripted) -> Repository {
    server.repository().parse().unwrap()
}

/// The login of [`logged_in`] as a header.
pub(crate) const BASIC: &str = "Basic bWU6aHVudGVyMi1odW50ZXIy";

/// The reference of the tag `latest`.
pub(crate) fn latest() -> Reference {
    Reference::Tag(Tag::latest())
}

/// The digest that `latest` points to on a server, with these logins.
pub(crate) fn latest_of(server: &Scripted, logins: Logins, access: Access) -> Result<Option<Digest>> {
    quick(session(logins), access).digest(&repository(server), &latest())
}

/// A challenge, unless the request has the login.
pub(crate) fn wants_basic(request: &Request) -> Option<Reply> {
    (request.header("authorization") != BASIC).then(|| Reply::challenge(r#"Basic realm="x, y""#))
}
