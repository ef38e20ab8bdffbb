//! Two runs in one checkout, and a run that is to outlive its terminal.

use crate::support::Fixture;

#[test]
fn two_runs_in_one_checkout_take_turns() {
    let fixture = Fixture::new();
    let rehearse = ["rehearse", "--job", "build", "--job", "deploy"];
    let first = fixture.xtask(&rehearse).start();
    let second = fixture.xtask(&rehearse).start();
    let build = fixture.xtask(&["docker-build"]).start();
    let ended = [first, second, build].map(|run| run.finish().exits(0));
    let waited = ended.iter().filter(|ran| ran.text().contains("waiting for `cargo xtask ")).count();
    assert!(waited >= 2, "{ended:?}");
    fixture.is_left_alone();
}

#[test]
fn a_missing_variable_is_named_without_a_wait_for_another_run() {
    let fixture = Fixture::new();
    fixture.write("target/xtask/run.lock", "1 cargo xtask ci");
    let other = fs_err::File::open(fixture.path("target/xtask/run.lock")).unwrap();
    other.file().lock().unwrap();
    let ran = fixture.run(&["deploy"]).exits(3);
    ran.says(&["`RENDER_API_KEY` is not set"]).says_nothing_of(&["waiting"]);
}

#[test]
fn a_rehearsal_that_stays_lets_others_build() {
    let fixture = Fixture::new();
    let mut staying = fixture.xtask(&["rehearse", "--job", "build", "--job", "deploy", "--stay"]).start();
    staying.wait_for("until Ctrl-C");
    fixture.run(&["docker-build"]).exits(0).says_nothing_of(&["waiting"]);
    let mut waiting = fixture.xtask(&["rehearse", "--job", "build"]).start();
    waiting.wait_for("--stay` in this checkout, process ");
    staying.interrupt();
    staying.finish().exits(0);
    waiting.finish().exits(0);
    fixture.is_left_alone();
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let fixture = Fixture::new();
    let run = || fixture.xtask(&["rehearse", "--job", "build", "--job", "deploy"]);
    let mut ignoring = run().ignoring("HUP INT").start();
    ignoring.wait_for("requesting a deploy of `");
    ignoring.hang_up();
    ignoring.interrupt();
    ignoring.finish().exits(0);
    let mut heeding = run().start();
    heeding.wait_for("docker-build");
    heeding.hang_up();
    heeding.finish().exits(130);
    fixture.is_left_alone();
}
