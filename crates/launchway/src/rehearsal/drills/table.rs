//! The drills, one per row.

use super::drill::{After, Drill, Fault, Side, Step};
use launchway_core::exit::Exit;
use launchway_fakes::registry;
use launchway_fakes::render::{self, Call, ImageFault};
use launchway_fakes::sentry::Mode;

/// All drills, in the order of a release.
pub(super) static DRILLS: [Drill; 43] = [
    push(
        "registry-down",
        "the registry refuses connections",
        &[Fault::RegistryDown],
        Exit::Registry,
        After::UNPUSHED,
    ),
    push(
        "registry-busy",
        "the registry responds 429 and asks for a second's wait",
        &[Fault::Registry(registry::Fault::TooManyRequests { put: 1, retry_after: 1 })],
        Exit::Done,
        After::PUSHED,
    ),
    push(
        "registry-token",
        "the registry rejects the token",
        &[Fault::WrongToken],
        Exit::Registry,
        After::UNPUSHED,
    ),
    push(
        "tag-taken",
        "the commit's tag points to another image",
        &[Fault::TagTaken],
        Exit::Registry,
        After::UNPUSHED,
    ),
    push(
        "referrers-login",
        "the registry redirects the referrers API to a login page",
        &[Fault::Registry(registry::Fault::Referrers(registry::ReferrersResponse::Login))],
        Exit::Done,
        After::PUSHED,
    ),
    push(
        "referrers-refused",
        "the registry forbids this account to list referrers",
        &[Fault::Registry(registry::Fault::Referrers(registry::ReferrersResponse::Status(403)))],
        Exit::Done,
        After::PUSHED,
    ),
    push(
        "referrers-lost",
        "the registry accepts attestations and lists none",
        &[Fault::Registry(registry::Fault::Referrers(registry::ReferrersResponse::Nothing))],
        Exit::Done,
        After::PUSHED,
    ),
    push(
        "subject-unknown",
        "the registry rejects manifests with a subject",
        &[Fault::Registry(registry::Fault::SubjectUnknown)],
        Exit::Done,
        After::PUSHED,
    ),
    push(
        "not-a-registry",
        "the host responds to everything with a web page",
        &[Fault::Registry(registry::Fault::Page)],
        Exit::Registry,
        After::UNPUSHED,
    ),
    deploy(
        "render-key",
        "Render rejects the key",
        &[Fault::Render(render::Fault::Unauthorized)],
        Exit::Missing,
        After::UNTOUCHED,
    ),
    deploy(
        "render-busy",
        "Render responds 429 to the deploy request",
        &[Fault::Render(render::Fault::TooManyRequests(Call::Deploy))],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "render-broken",
        "Render responds 500 from the start",
        &[Fault::Render(render::Fault::Broken(Call::Service))],
        Exit::DeployFailed,
        After::UNTOUCHED,
    ),
    deploy(
        "render-gateway",
        "a proxy responds 502 with HTML while the deploy is watched",
        &[Fault::Render(render::Fault::BadGateway { call: Call::Watch, times: 2 })],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "render-writes-broken",
        "Render responds 500 to every write of a variable",
        &[Fault::Render(render::Fault::Broken(Call::Write))],
        Exit::DeployFailed,
        After::UNTOUCHED,
    ),
    deploy(
        "response-lost",
        "the response to the deploy request breaks off",
        &[Fault::Render(render::Fault::Lost(Call::Deploy))],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "accepted",
        "Render accepts the deploy without returning its id",
        &[Fault::Render(render::Fault::Accepted)],
        Exit::Done,
        After::RELEASED,
    ),
    deploy("queued", "another deploy is already in progress", &[Fault::Queued], Exit::Done, After::RELEASED),
    deploy(
        // The newer deploy uses the values that this one wrote, so they must not be restored.
        "superseded",
        "a newer deploy cancels this one",
        &[Fault::Superseded],
        Exit::Superseded,
        After { variables: Side::New, ..After::AS_BEFORE },
    ),
    deploy(
        "overtaken",
        "a newer deploy goes live while this one is being proved",
        &[Fault::Overtaken],
        Exit::Superseded,
        After { variables: Side::New, ..After::AS_BEFORE },
    ),
    deploy(
        "image-not-pulled",
        "Render cannot pull the image",
        &[Fault::Image(ImageFault::NotPulled)],
        Exit::DeployFailed,
        After::AS_BEFORE,
    ),
    deploy(
        "crash",
        "the service exits as it starts",
        &[Fault::Image(ImageFault::Crashes)],
        Exit::DeployFailed,
        After::AS_BEFORE,
    ),
    deploy(
        "out-of-memory",
        "the service runs out of memory",
        &[Fault::Image(ImageFault::OutOfMemory)],
        Exit::DeployFailed,
        After::AS_BEFORE,
    ),
    deploy(
        "never-healthy",
        "the service never passes its health check",
        &[Fault::Image(ImageFault::NeverHealthy)],
        Exit::DeployFailed,
        After::AS_BEFORE,
    ),
    deploy(
        "wrong-commit",
        "the service is healthy but reports another commit",
        &[Fault::Image(ImageFault::OtherCommit)],
        Exit::DeployFailed,
        After::AS_BEFORE,
    ),
    deploy(
        "fails-in-bake",
        "the service responds 503 once it is proved",
        &[Fault::Image(ImageFault::FailsLater)],
        Exit::DeployFailed,
        After::AS_BEFORE,
    ),
    deploy(
        "variable-changed",
        "a variable changes between plan and write",
        &[Fault::VariableChanged],
        Exit::DeployFailed,
        After { variables: Side::Theirs, ..After::UNTOUCHED },
    ),
    deploy(
        "earlier-gone",
        "the service reports another commit, and the registry has lost the earlier release",
        &[Fault::Image(ImageFault::OtherCommit), Fault::EarlierGone],
        Exit::NotRolledBack,
        After { live: Side::New, ..After::AS_BEFORE },
    ),
    deploy(
        "rollback-fails",
        "the service crashes, and the key can no longer write variables",
        &[Fault::Image(ImageFault::Crashes), Fault::NoWritesAfterDeploy],
        Exit::NotRolledBack,
        After { variables: Side::New, ..After::AS_BEFORE },
    ),
    deploy(
        "sentry-silent",
        "Sentry accepts requests and never responds",
        &[Fault::Sentry(Mode::Silent)],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "sentry-broken",
        "Sentry responds 500",
        &[Fault::Sentry(Mode::Fails)],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "interrupt-plan",
        "Ctrl-C while the service is read",
        &[Fault::Interrupted(Call::Service)],
        Exit::Interrupted,
        After::UNTOUCHED,
    ),
    deploy(
        "interrupt-write",
        "Ctrl-C while the first variable is written",
        &[Fault::Interrupted(Call::Write)],
        Exit::Interrupted,
        After::AS_BEFORE,
    ),
    deploy(
        "interrupt-request",
        "Ctrl-C during the deploy request",
        &[Fault::Interrupted(Call::Deploy)],
        Exit::Interrupted,
        After::AS_BEFORE,
    ),
    deploy(
        "interrupt-watch",
        "Ctrl-C while the deploy is watched",
        &[Fault::Interrupted(Call::Watch)],
        Exit::Interrupted,
        After::AS_BEFORE,
    ),
    deploy(
        "interrupt-prove",
        "Ctrl-C during the request for the running commit",
        &[Fault::Interrupted(Call::Version)],
        Exit::Interrupted,
        After::AS_BEFORE,
    ),
    deploy(
        "interrupt-accepted",
        "Ctrl-C during the deploy request, which Render accepts without returning the deploy's id",
        &[Fault::Interrupted(Call::Deploy), Fault::Render(render::Fault::Accepted)],
        Exit::Interrupted,
        After::AS_BEFORE,
    ),
    deploy(
        "kill-write",
        "kill -9 while the first variable is written, then a deploy",
        &[Fault::Killed(Call::Write)],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "kill-request",
        "kill -9 during the deploy request, then a deploy",
        &[Fault::Killed(Call::Deploy)],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "kill-watch",
        "kill -9 while the deploy is watched, then a deploy",
        &[Fault::Killed(Call::Watch)],
        Exit::Done,
        After::RELEASED,
    ),
    deploy(
        "kill-prove",
        "kill -9 during the request for the running commit, then a deploy",
        &[Fault::Killed(Call::Version)],
        Exit::Done,
        After::RELEASED,
    ),
    rollback("rollback", "none: the rollback succeeds", &[], Exit::Done, After::AS_BEFORE),
    rollback(
        "rollback-gone",
        "the registry has lost the earlier release",
        &[Fault::EarlierGone],
        Exit::DeployFailed,
        After::RELEASED,
    ),
    rollback(
        "rollback-interrupted",
        "Ctrl-C while the rollback is watched",
        &[Fault::Interrupted(Call::Watch)],
        Exit::Interrupted,
        After::RELEASED,
    ),
];

const fn push(
    name: &'static str,
    description: &'static str,
    faults: &'static [Fault],
    exit: Exit,
    after: After,
) -> Drill {
    Drill { name, description, run: Step::Push, faults, exit, after }
}

const fn deploy(
    name: &'static str,
    description: &'static str,
    faults: &'static [Fault],
    exit: Exit,
    after: After,
) -> Drill {
    Drill { name, description, run: Step::Deploy, faults, exit, after }
}

const fn rollback(
    name: &'static str,
    description: &'static str,
    faults: &'static [Fault],
    exit: Exit,
    after: After,
) -> Drill {
    Drill { name, description, run: Step::Rollback, faults, exit, after }
}
