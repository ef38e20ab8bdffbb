//! A drill: its faults, the step that meets them, and the expected end.

use std::fmt;

use launchway_core::events::DrillEnd;
use launchway_core::exit::Exit;
use launchway_fakes::registry;
use launchway_fakes::render::{self, Call, ImageFault};
use launchway_fakes::sentry::Mode;

/// One drill.
pub(super) struct Drill {
    pub(super) name: &'static str,
    /// The faults in words.
    pub(super) description: &'static str,
    pub(super) run: Step,
    pub(super) faults: &'static [Fault],
    pub(super) exit: Exit,
    pub(super) after: After,
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Push,
    Deploy,
    /// A deploy, then a rollback, which is the step under test.
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

/// A fault that a drill injects.
pub(super) enum Fault {
    /// The registry refuses connections.
    RegistryDown,
    Registry(registry::Fault),
    /// `REGISTRY_TOKEN` is wrong.
    WrongToken,
    /// The commit's tag already points to another image.
    TagTaken,
    Render(render::Fault),
    /// Another deploy of the earlier release is requested just before this one.
    Queued,
    /// Another deploy of the earlier release cancels this one.
    Superseded,
    /// Another deploy of the earlier release starts as soon as this one is live.
    Overtaken,
    /// A variable is changed right after the pipeline has read the variables.
    VariableChanged,
    /// The key can no longer write variables once the deploy is requested.
    NoWritesAfterDeploy,
    /// The new release's image is faulty.
    Image(ImageFault),
    /// The registry has lost the earlier release.
    EarlierGone,
    Sentry(Mode),
    /// Ctrl-C at the next call of this kind.
    Interrupted(Call),
    /// SIGKILL at the next call of this kind; then the same step runs again without a fault.
    Killed(Call),
}

impl Fault {
    /// Whether the fault needs a variable that the deploy writes.
    pub(super) fn concerns_variables(&self) -> bool {
        matches!(
            self,
            Self::VariableChanged
                | Self::NoWritesAfterDeploy
                | Self::Interrupted(Call::Write)
                | Self::Killed(Call::Write)
                | Self::Render(render::Fault::Broken(Call::Write))
        )
    }
}

/// The expected state of the service and the registry afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct After {
    pub(super) live: Side,
    pub(super) variables: Side,
    /// What `latest` points to. A tree with uncommitted changes never moves it.
    pub(super) latest: Side,
    /// Whether anything may have been written in between.
    pub(super) writes: bool,
}

/// Which release something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// As the drill found it.
    Earlier,
    /// The release that was pushed or deployed.
    New,
    /// As another deploy or person has set it in the meantime.
    Theirs,
    /// None of these.
    Other,
}

impl After {
    /// A push that failed.
    pub(super) const UNPUSHED: Self =
        Self { live: Side::Earlier, variables: Side::Earlier, latest: Side::Earlier, writes: false };
    pub(super) const PUSHED: Self = Self { latest: Side::New, ..Self::UNPUSHED };
    /// A deploy that wrote nothing.
    pub(super) const UNTOUCHED: Self = Self::PUSHED;
    /// A deploy that was rolled back.
    pub(super) const AS_BEFORE: Self = Self { writes: true, ..Self::PUSHED };
    pub(super) const RELEASED: Self = Self { live: Side::New, variables: Side::New, ..Self::AS_BEFORE };
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "earlier",
            Self::New => "new",
            Self::Theirs => "their",
            Self::Other => "another",
        })
    }
}

impl Drill {
    /// The expected end.
    pub(super) fn expected(&self, dirty: bool) -> DrillEnd {
        let earlier_is_gone = self.faults.iter().any(|fault| matches!(fault, Fault::EarlierGone));
        let latest = match dirty {
            // A tree with uncommitted changes does not move `latest`, which is lost together with the image that it
            // points to.
            true if earlier_is_gone => Side::Other,
            true => Side::Earlier,
            false => self.after.latest,
        };
        end(Some(self.exit.code().into()), self.after.live, self.after.variables, latest)
    }
}

/// The end of a drill.
pub(super) fn end(exit: Option<i32>, live: Side, variables: Side, latest: Side) -> DrillEnd {
    let [image, variables, latest] = [live, variables, latest].map(|side| side.to_string());
    DrillEnd { exit, image, variables, latest }
}
