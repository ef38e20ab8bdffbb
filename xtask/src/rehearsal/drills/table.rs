//! The drills, one a row: what is broken, what is run, how that must end and what it must leave.

use std::fmt;

use crate::exit::Exit;
use crate::rehearsal::registry;
use crate::rehearsal::render::{Ailment, Call, Fault};
use crate::rehearsal::sentry::Mode;

/// One drill.
pub(super) struct Drill {
    pub(super) name: &'static str,
    /// For people.
    pub(super) broken: &'static str,
    pub(super) run: Step,
    pub(super) breaks: &'static [Break],
    pub(super) exit: Exit,
    pub(super) after: After,
}

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Push,
    Deploy,
    /// A deploy, and when it is done a rollback, which is the one that is drilled.
    Rollback,
}

impl Step {
    /// Its command.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
        }
    }
}

/// What is broken, or who does it.
pub(super) enum Break {
    /// Nobody listens at the registry's address.
    RegistryDown,
    Registry(registry::Fault),
    /// `DOCKERHUB_TOKEN` is another one.
    WrongToken,
    /// The commit's tag names another image already.
    TagTaken,
    Render(Fault),
    /// Somebody else asks for a deploy of the earlier release just before us.
    Behind,
    /// Somebody else's deploy of the earlier release cancels ours.
    Superseded,
    /// Somebody else's deploy of the earlier release begins as soon as ours is live.
    Overtaken,
    /// Somebody else changes a variable after we have read them.
    Meddled,
    /// From our deploy on no variable can be written.
    NoWritesAfterDeploy,
    /// The new release's image.
    Sick(Ailment),
    /// The registry has lost the earlier release.
    EarlierGone,
    Sentry(Mode),
    /// Ctrl-C at the next call of this kind.
    Interrupted(Call),
    /// SIGKILL at the next call of this kind; then the same is run again, on stand-ins that work.
    Killed(Call),
}

/// What the service and the registry must be like afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct After {
    pub(super) live: Side,
    pub(super) variables: Side,
    /// What `latest` names. A tree with uncommitted changes never moves it.
    pub(super) latest: Side,
    /// Whether anything may have been written on the way.
    pub(super) writes: bool,
}

/// Of which release something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// As the drill found it.
    Earlier,
    /// The release that was pushed or deployed.
    New,
    /// As somebody else made it meanwhile.
    Theirs,
    /// None of these.
    Other,
}

impl After {
    /// A push that failed.
    const UNPUSHED: Self =
        Self { live: Side::Earlier, variables: Side::Earlier, latest: Side::Earlier, writes: false };
    const PUSHED: Self = Self { latest: Side::New, ..Self::UNPUSHED };
    /// A deploy that wrote nothing.
    const UNTOUCHED: Self = Self::PUSHED;
    /// A deploy that was undone.
    const AS_BEFORE: Self = Self { writes: true, ..Self::PUSHED };
    const RELEASED: Self = Self { live: Side::New, variables: Side::New, ..Self::AS_BEFORE };
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "earlier",
            Self::New => "new",
            Self::Theirs => "theirs",
            Self::Other => "another",
        })
    }
}

impl Drill {
    /// How it must end, in the words of how it ended.
    pub(super) fn expected(&self, dirty: bool) -> String {
        let latest = if dirty { Side::Earlier } else { self.after.latest };
        words(Some(self.exit.code().into()), self.after.live, self.after.variables, latest)
    }
}

/// The end of a drill in words.
pub(super) fn words(code: Option<i32>, live: Side, variables: Side, latest: Side) -> String {
    let code = code.map_or_else(|| "killed".to_owned(), |code| format!("exit {code}"));
    format!("{code}: {live} image, {variables} variables, {latest} latest")
}

const fn push(
    name: &'static str,
    broken: &'static str,
    breaks: &'static [Break],
    exit: Exit,
    after: After,
) -> Drill {
    Drill { name, broken, run: Step::Push, breaks, exit, after }
}

const fn deploy(
    name: &'static str,
    broken: &'static str,
    breaks: &'static [Break],
    exit: Exit,
    after: After,
) -> Drill {
    Drill { name, broken, run: Step::Deploy, breaks, exit, after }
}

const fn rollback(
    name: &'static str,
    broken: &'static str,
    breaks: &'static [Break],
    exit: Exit,
    after: After,
) -> Drill {
    Drill { name, broken, run: Step::Rollback, breaks, exit, after }
}

/// All of them, in the order of a release.
pub(super) static DRILLS: [Drill; 38] = [
    push(
        "registry-down",
        "nobody listens at the registry's address",
        &[Break::RegistryDown],
        Exit::Registry,
        After::UNPUSHED,
    ),
    push(
        "registry-busy",
        "the registry asks for a second of patience",
        &[Break::Registry(registry::Fault::TooManyRequests { put: 1, retry_after: 1 })],
        Exit::Done,
        After::PUSHED,
    ),
    push(
        "registry-token",
        "the registry does not know the token",
        &[Break::WrongToken],
        Exit::Registry,
        After::UNPUSHED,
    ),
    push(
        "tag-taken",
        "the commit's tag names another image",
        &[Break::TagTaken],
        Exit::Registry,
        After::UNPUSHED,
    ),
    deploy(
        "render-key",
        "Render does not know the key",
        &[Break::Render(Fault::Unauthorized)],
        Exit::Missing,
        After::UNTOUCHED,
    ),
    deploy(
        "render-busy",
        "Render asks for a second of patience when asked to deploy",
        &[Break::Render(Fault::TooManyRequests(Call::Ask))],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "render-broken",
        "Render answers 500 from the start",
        &[Break::Render(Fault::Broken(Call::Service))],
        Exit::DeployFailed,
        After::UNTOUCHED,
    ),
    deploy(
        "render-gateway",
        "a proxy answers 502 in HTML while the deploy is followed",
        &[Break::Render(Fault::BadGateway { call: Call::Follow, times: 2 })],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "render-writes-broken",
        "Render answers 500 to every write of a variable",
        &[Break::Render(Fault::Broken(Call::Write))],
        Exit::DeployFailed,
        After::UNTOUCHED,
    ),
    deploy(
        "answer-lost",
        "the answer to the deploy request breaks off",
        &[Break::Render(Fault::Lost(Call::Ask))],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "accepted",
        "Render takes the deploy and does not say which it is",
        &[Break::Render(Fault::Accepted)],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "queued",
        "ours waits behind somebody else's deploy",
        &[Break::Behind],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "superseded",
        "somebody else's deploy cancels ours",
        &[Break::Superseded],
        Exit::Superseded,
        After::AS_BEFORE,
    ),
    deploy(
        "overtaken",
        "somebody else's deploy takes over while ours is proved",
        &[Break::Overtaken],
        Exit::Superseded,
        After { variables: Side::New, ..After::AS_BEFORE },
    ),
    deploy(
        "image-not-pulled",
        "Render cannot pull the image",
        &[Break::Sick(Ailment::NotPulled)],
        Exit::DeployFailed,
        After::AS_BEFORE,
    ),
    deploy(
        "crash",
        "the app ends when it starts",
        &[Break::Sick(Ailment::Crashes)],
        Exit::DeployFailed,
        After::AS_BEFORE,
    ),
    deploy(
        "out-of-memory",
        "the app is killed for want of memory",
        &[Break::Sick(Ailment::OutOfMemory)],
        Exit::DeployFailed,
        After::AS_BEFORE,
    ),
    deploy(
        "never-healthy",
        "the app never passes the health check",
        &[Break::Sick(Ailment::NeverHealthy)],
        Exit::DeployFailed,
        After::AS_BEFORE,
    ),
    deploy(
        "wrong-commit",
        "the app is healthy and of another commit",
        &[Break::Sick(Ailment::OtherCommit)],
        Exit::DeployFailed,
        After::AS_BEFORE,
    ),
    deploy(
        "fails-in-bake",
        "the app answers 503 once it was proved",
        &[Break::Sick(Ailment::FailsLater)],
        Exit::DeployFailed,
        After::AS_BEFORE,
    ),
    deploy(
        "meddled",
        "somebody else changes a variable between plan and write",
        &[Break::Meddled],
        Exit::DeployFailed,
        After { variables: Side::Theirs, ..After::UNTOUCHED },
    ),
    deploy(
        "earlier-gone",
        "of another commit, and the registry has lost the earlier release",
        &[Break::Sick(Ailment::OtherCommit), Break::EarlierGone],
        Exit::NotRolledBack,
        After { live: Side::New, ..After::AS_BEFORE },
    ),
    deploy(
        "undo-fails",
        "the app crashes, and no variable can be put back",
        &[Break::Sick(Ailment::Crashes), Break::NoWritesAfterDeploy],
        Exit::NotRolledBack,
        After { variables: Side::New, ..After::AS_BEFORE },
    ),
    deploy(
        "sentry-silent",
        "Sentry takes what is sent and never answers",
        &[Break::Sentry(Mode::Silent)],
        Exit::Done,
        After::RELEASED,
    ),
    deploy("sentry-broken", "Sentry answers 500", &[Break::Sentry(Mode::Fails)], Exit::Done, After::RELEASED),
    deploy(
        "interrupt-plan",
        "Ctrl-C while the service is read",
        &[Break::Interrupted(Call::Service)],
        Exit::Interrupted,
        After::UNTOUCHED,
    ),
    deploy(
        "interrupt-write",
        "Ctrl-C while the first variable is written",
        &[Break::Interrupted(Call::Write)],
        Exit::Interrupted,
        After::AS_BEFORE,
    ),
    deploy(
        "interrupt-ask",
        "Ctrl-C while the deploy is asked for",
        &[Break::Interrupted(Call::Ask)],
        Exit::Interrupted,
        After::AS_BEFORE,
    ),
    deploy(
        "interrupt-follow",
        "Ctrl-C while the deploy is followed",
        &[Break::Interrupted(Call::Follow)],
        Exit::Interrupted,
        After::AS_BEFORE,
    ),
    deploy(
        "interrupt-prove",
        "Ctrl-C while the app is asked for its commit",
        &[Break::Interrupted(Call::Version)],
        Exit::Interrupted,
        After::AS_BEFORE,
    ),
    deploy(
        "interrupt-accepted",
        "Ctrl-C while the deploy is asked for, and Render does not say which it is",
        &[Break::Interrupted(Call::Ask), Break::Render(Fault::Accepted)],
        Exit::Interrupted,
        After::AS_BEFORE,
    ),
    deploy(
        "kill-write",
        "kill -9 while the first variable is written, then a deploy",
        &[Break::Killed(Call::Write)],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "kill-ask",
        "kill -9 while the deploy is asked for, then a deploy",
        &[Break::Killed(Call::Ask)],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "kill-follow",
        "kill -9 while the deploy is followed, then a deploy",
        &[Break::Killed(Call::Follow)],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "kill-prove",
        "kill -9 while the app is asked for its commit, then a deploy",
        &[Break::Killed(Call::Version)],
        Exit::Done,
        After::RELEASED,
    ),
    rollback("rollback", "nothing: the release before comes back", &[], Exit::Done, After::AS_BEFORE),
    rollback(
        "rollback-gone",
        "the registry has lost the release to go back to",
        &[Break::EarlierGone],
        Exit::DeployFailed,
        After::RELEASED,
    ),
    rollback(
        "rollback-interrupted",
        "Ctrl-C while the rollback is followed",
        &[Break::Interrupted(Call::Follow)],
        Exit::Interrupted,
        After::RELEASED,
    ),
];
