//! The drills, one a row.

use super::drill::{After, Break, Drill, Side, Step};
use launchway_core::exit::Exit;
use launchway_fakes::registry;
use launchway_fakes::render::{Ailment, Call, Fault};
use launchway_fakes::sentry::Mode;

/// All of them, in the order of a release.
pub(super) static DRILLS: [Drill; 43] = [
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
    push(
        "referrers-login",
        "the registry sends who asks for referrers to a login page",
        &[Break::Registry(registry::Fault::Referrers(registry::Odd::Login))],
        Exit::Done,
        After::PUSHED,
    ),
    push(
        "referrers-refused",
        "the registry does not let this account list referrers",
        &[Break::Registry(registry::Fault::Referrers(registry::Odd::Status(403)))],
        Exit::Done,
        After::PUSHED,
    ),
    push(
        "referrers-lost",
        "the registry takes attestations and lists none",
        &[Break::Registry(registry::Fault::Referrers(registry::Odd::Nothing))],
        Exit::Done,
        After::PUSHED,
    ),
    push(
        "subject-unknown",
        "the registry refuses a manifest with a subject",
        &[Break::Registry(registry::Fault::SubjectUnknown)],
        Exit::Done,
        After::PUSHED,
    ),
    push(
        "not-a-registry",
        "the host answers everything with a web page",
        &[Break::Registry(registry::Fault::Page)],
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
        // The newer deploy has taken up what ours wrote: that is no longer ours to put back.
        "superseded",
        "somebody else's deploy cancels ours",
        &[Break::Superseded],
        Exit::Superseded,
        After { variables: Side::New, ..After::AS_BEFORE },
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
        "the app is of another commit, and the registry has lost the earlier release",
        &[Break::Sick(Ailment::OtherCommit), Break::EarlierGone],
        Exit::NotRolledBack,
        After { live: Side::New, ..After::AS_BEFORE },
    ),
    deploy(
        "undo-fails",
        "the app crashes, and the key may not write variables any more",
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
    rollback("rollback", "nothing: the earlier release comes back", &[], Exit::Done, After::AS_BEFORE),
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
