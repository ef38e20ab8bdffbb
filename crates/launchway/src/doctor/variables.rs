//! The lines about variables: which are set, never their values.

use super::{Line, State};
use crate::config::Config;
use crate::registry::account;
use crate::table::{self, Job, JobId, PIPELINE};
use launchway_core::environment::Environment;
use launchway_render::api::check_id;

/// One line for each variable of each job.
pub(super) fn lines(
    config: &Config,
    environment: &Environment,
    image: &str,
    by_docker: Option<&str>,
) -> Vec<Line> {
    let account = account(image, environment);
    // The names in both pairs have the same endings.
    let other_name = |name: &str| {
        let end = name.rsplit_once('_').map(|(_, end)| end);
        let both = [&account.username, &account.token].into_iter().filter(|setting| setting.value.is_some());
        let mut both = both.map(|setting| setting.name.as_str()).filter(|_| table::is_login(name));
        both.find(|other| *other != name && other.rsplit_once('_').map(|(_, end)| end) == end)
    };
    // A name that two jobs read is explained once.
    let is_above = |job: JobId, name: &str| {
        let mut before = PIPELINE.iter().take_while(|before| before.id != job);
        before.any(|before| config.required(before).contains(&name))
    };
    let line = |job: JobId, name: &str, needed: bool| {
        let (state, found) = if let Some(login) = by_docker.filter(|_| table::is_login(name)) {
            (State::Good, login.to_owned())
        } else if let Some(value) = environment.get(name) {
            match check_id(value) {
                Err(error) if name == "RENDER_SERVICE_ID" => {
                    (State::NoRelease("a valid `RENDER_SERVICE_ID`"), error.to_string())
                }
                _ => (State::Set, String::new()),
            }
        } else if let Some(other) = other_name(name) {
            (State::Set, format!("as {other}"))
        } else if needed {
            (State::Unset, "needed for a release".to_owned())
        } else if is_above(job, name) {
            (State::Without, "not set, see above".to_owned())
        } else {
            (State::Without, "not set".to_owned())
        };
        let explains = matches!(state, State::Unset | State::Without) && !is_above(job, name);
        let source = config.variable(name).filter(|_| explains);
        Line {
            what: format!("{job}: {name}"),
            state,
            found,
            fix: source.map_or_else(String::new, |variable| variable.hint()),
        }
    };
    let lines = |job: &'static Job| {
        let required = config.required(job).into_iter().map(move |name| line(job.id, name, true));
        required.chain(config.optional(job).into_iter().map(move |name| line(job.id, name, false)))
    };
    PIPELINE.iter().flat_map(lines).collect()
}
