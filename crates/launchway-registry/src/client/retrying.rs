//! Retries a request as long as its error is transient and the policy allows it.

use anyhow::Result;

use super::Client;
use crate::error::{Error, given_up};

impl Client {
    /// Tries until it succeeds, an error is permanent, or the policy gives up. An interrupt ends a wait at once.
    pub(crate) fn retrying<T>(&self, mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T> {
        let mut tries = self.retry.begin();
        loop {
            self.session.interrupt.check()?;
            let (message, after, hint) = match attempt() {
                Ok(value) => return Ok(value),
                Err(Error::Transient { message, after, hint }) => (message, after, hint),
                Err(permanent) => return Err(permanent.into_error()),
            };
            // An interrupted request looks like a broken connection.
            self.session.interrupt.check()?;
            match tries.next_wait(after) {
                Ok(wait) => {
                    let seconds = wait.as_secs_f64();
                    self.session.reporter.note(format!("{message}; trying again in {seconds:.1} s"));
                    self.session.interrupt.sleep(wait)?;
                }
                Err(why) => return Err(given_up(&message, &format!("; {why}"), hint.as_deref())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use std::time::Duration;

    use super::*;
    use crate::testing::client;
    use launchway_core::exit::Exit;

    fn busy(after: Option<Duration>) -> Error {
        Error::Transient { message: "the registry is busy".to_owned(), after, hint: Some("wait".to_owned()) }
    }

    /// The result of an operation whose tries all fail like this, and the number of tries.
    fn tries(client: &Client, mut fail: impl FnMut(usize) -> Error) -> (usize, anyhow::Error) {
        let mut tries = 0;
        let error = client.retrying(|| -> Result<(), _> {
            tries += 1;
            Err(fail(tries))
        });
        (tries, error.unwrap_err())
    }

    #[test]
    fn five_tries_and_no_more() {
        let client = client();
        let (tries, error) = tries(&client, |_| busy(None));
        assert_eq!((tries, Exit::of(&error)), (5, Exit::Registry));
        assert_eq!(error.to_string(), "the registry is busy; tried 5 times: wait");
        assert_eq!(client.session.reporter.events().len(), 4);
    }

    #[test]
    fn a_permanent_error_is_not_tried_again() {
        let (tries, error) = tries(&client(), |_| Error::refused("no"));
        assert_eq!((tries, error.to_string().as_str()), (1, "no"));
    }

    #[test]
    fn no_wait_lasts_beyond_the_deadline() {
        let client = client().with_deadline(Instant::now() + Duration::from_secs(5));
        let (tries, error) = tries(&client, |tries| busy((tries == 2).then_some(Duration::from_secs(6))));
        assert_eq!((tries, Exit::of(&error)), (2, Exit::Registry));
        assert_eq!(error.to_string(), "the registry is busy; no time is left for another try: wait");
    }

    #[test]
    fn a_wait_of_hours_ends_the_tries() {
        let (tries, error) = tries(&client(), |_| busy(Some(Duration::from_secs(21600))));
        let error = error.to_string();
        assert_eq!((tries, error.as_str()), (1, "the registry is busy; it asks for a wait of 6h: wait"));
    }

    #[test]
    fn an_interrupt_ends_the_wait() {
        let client = client();
        let (_, error) = tries(&client, |_| {
            client.session.interrupt.set();
            busy(Some(Duration::from_secs(60)))
        });
        assert_eq!(Exit::of(&error), Exit::Interrupted);
    }
}
