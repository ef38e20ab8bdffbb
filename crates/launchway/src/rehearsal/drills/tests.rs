use std::collections::BTreeSet;

use super::drill::{Fault, Side, Step};
use super::table::DRILLS;
use super::*;
use launchway_fakes::render::Call;

#[test]
fn every_drill_has_a_name_of_its_own_and_a_fault() {
    let names: BTreeSet<&str> = DRILLS.iter().map(|drill| drill.name).collect();
    assert_eq!(names.len(), DRILLS.len());
    assert!(!names.contains("all") && !names.contains("list"));
    assert!(DRILLS.iter().all(|drill| drill.name == "rollback" || !drill.faults.is_empty()));
}

/// An exit code promises something of the service; a drill must not state the opposite.
#[test]
fn what_a_drill_states_is_what_its_exit_code_means() {
    for drill in DRILLS.iter().filter(|drill| drill.run != Step::Rollback) {
        let as_it_was = drill.after.live == Side::Earlier && drill.after.variables != Side::New;
        let promised = match drill.exit {
            Exit::Done => drill.run == Step::Push || drill.after.live == Side::New,
            Exit::NotRolledBack => !as_it_was,
            // What somebody else has made of it is theirs.
            Exit::Superseded => drill.after.live == Side::Earlier,
            _ => as_it_was,
        };
        assert!(promised, "{}", drill.name);
    }
}

#[test]
fn ctrl_c_comes_in_every_phase() {
    for phase in [Call::Service, Call::Write, Call::Deploy, Call::Watch, Call::Version] {
        let interrupts = |drill: &Drill| {
            drill.faults.iter().any(|fault| matches!(fault, Fault::Interrupted(call) if *call == phase))
        };
        assert!(DRILLS.iter().any(interrupts), "{phase:?}");
    }
}

#[test]
fn a_drill_is_found_by_its_name() {
    assert_eq!(chosen("all").unwrap().len(), DRILLS.len());
    assert_eq!(chosen("crash").unwrap()[0].name, "crash");
    let error = chosen("earthquake").err().unwrap();
    assert_eq!((Exit::of(&error), error.to_string().contains("`earthquake`")), (Exit::Usage, true));
}
