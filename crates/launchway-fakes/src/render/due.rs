//! The pending faults, and the calls at which a drill holds the fake or a test acts.

use std::time::Duration;

use super::fault::{Call, Effect, Fault, ImageFault, Seen};
use super::script::Service;
use crate::server::Shared;

/// The pending faults, and the call at which the fake is held.
pub(crate) struct Faults {
    due: Shared<Vec<Fault>>,
    clock: Shared<Clock>,
    hooks: Shared<Vec<Hook>>,
}

/// A test's action at a call.
pub(crate) type Act = Box<dyn FnOnce(&Service) + Send>;

/// The call at which the test acts.
struct Hook {
    call: Call,
    /// How many calls of this kind come before.
    before: usize,
    act: Act,
}

/// The call at which a drill holds the fake.
#[derive(Clone, Copy, Default)]
struct Clock {
    stop: Stop,
    /// Whether a deploy was requested.
    asked: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stop {
    #[default]
    No,
    At(Call),
    Reached,
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self {
            due: Shared::new(Vec::new()),
            clock: Shared::new(Clock::default()),
            hooks: Shared::new(Vec::new()),
        }
    }

    pub(crate) fn add(&self, fault: Fault) {
        self.due.change(|due| due.push(fault));
    }

    /// Has a test act before a call of this kind, after `before` others.
    pub(crate) fn hook(&self, call: Call, before: usize, act: Act) {
        self.hooks.change(|hooks| hooks.push(Hook { call, before, act }));
    }

    /// Takes the test's action before this call.
    pub(crate) fn due_hook(&self, call: Option<Call>) -> Option<Act> {
        self.hooks.change(|hooks| {
            let place = hooks.iter().position(|hook| call == Some(hook.call))?;
            if let Some(less) = hooks[place].before.checked_sub(1) {
                hooks[place].before = less;
                return None;
            }
            Some(hooks.remove(place).act)
        })
    }

    /// The effect of the faults on a request, if any; uses up a fault with a count.
    pub(crate) fn befalling(&self, seen: Seen<'_>) -> Option<Effect> {
        self.due.change(|due| {
            let place = due.iter_mut().position(|fault| fault.strikes(seen))?;
            let fault = due.remove(place);
            let (effect, left) = fault.happens();
            if let Some(left) = left {
                due.insert(place, left);
            }
            effect
        })
    }

    /// The fault of an image.
    pub(crate) fn image_fault(&self, sha: &str) -> Option<ImageFault> {
        let of_image = |fault: &Fault| match fault {
            Fault::Image(image, image_fault) if image == sha => Some(*image_fault),
            _ => None,
        };
        self.due.read(|due| due.iter().find_map(of_image))
    }

    /// Holds the next call of this kind: it gets no response before [`Faults::go_on`].
    pub(crate) fn stop_at(&self, call: Call) {
        self.clock.change(|clock| *clock = Clock { stop: Stop::At(call), asked: false });
    }

    /// Whether the call came in time.
    pub(crate) async fn stopped(&self, timeout: Duration) -> bool {
        let reached = |clock: &Clock| (clock.stop == Stop::Reached).then_some(());
        self.clock.wait_for(timeout, reached).await.is_some()
    }

    pub(crate) fn go_on(&self) {
        self.clock.change(|clock| clock.stop = Stop::No);
    }

    /// Waits while the fake is held.
    pub(crate) async fn pass(&self, call: Option<Call>) {
        /// Longer than a drill takes to send a signal, but not for ever.
        const LONGEST: Duration = Duration::from_secs(10);

        let here = self.clock.change(|clock| {
            clock.asked |= call == Some(Call::Deploy);
            let counts = call != Some(Call::Version) || clock.asked;
            let here = counts && call.is_some_and(|call| clock.stop == Stop::At(call));
            if here {
                clock.stop = Stop::Reached;
            }
            here
        });
        if here {
            self.clock.wait_for(LONGEST, |clock| (clock.stop == Stop::No).then_some(())).await;
        }
    }
}
