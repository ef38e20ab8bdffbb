use std::time::{Duration, Instant};

use super::environment::is_added_by_cargo;
use super::*;

fn here() -> &'static Path {
    Path::new(".")
}

#[test]
fn lines_come_in_the_order_in_which_they_are_printed() {
    let script = "for number in $(seq 200); do echo out $number; echo err $number >&2; done";
    let mut printed = Vec::new();
    let read = |line: &str| printed.push(line.to_owned());
    Call::new("sh").args(["-c", script]).run(here(), &Interrupt::default(), read).unwrap();
    let expected = (1..=200).flat_map(|number| [format!("out {number}"), format!("err {number}")]);
    assert_eq!(printed, expected.collect::<Vec<_>>());
}

#[test]
fn a_call_is_shown_as_a_line_to_paste() {
    let call = crate::call!("cargo fmt --all").arg("it's").arg("").env("A", "b c");
    assert_eq!(call.to_string(), r"A='b c' cargo fmt --all 'it'\''s' ''");
    let call = Call::new("x").env("FLAGS", "-a\u{1f}it's\\");
    assert_eq!(call.to_string(), r"FLAGS=$'-a\x1fit\'s\\' x");
    assert_eq!(Call::new("x").input("/a b").to_string(), "x < '/a b'");
}

#[test]
fn a_call_is_short_as_a_person_would_type_it() {
    let call = Call::new("/w/target/xtask/tools/bin/cargo-llvm-cov").arg("llvm-cov").arg("--no-report");
    assert_eq!(call.env("A", "b").short(Path::new("/w")), "cargo llvm-cov --no-report");
    let call = Call::new("/usr/bin/cargo").arg("--config").arg("/w/a b").arg("/x").input("/w/in");
    assert_eq!(call.short(Path::new("/w")), "cargo --config 'a b' /x < in");
}

#[test]
fn every_line_is_handed_over_and_the_status_kept() {
    let mut lines = Vec::new();
    let call = Call::new("sh").arg("-c").arg("echo out; echo err >&2; printf tail; exit 3");
    let status = call.run(here(), &Interrupt::default(), |line| lines.push(line.to_owned())).unwrap();
    lines.sort();
    assert_eq!(lines, ["err", "out", "tail"]);
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_child_sees_nothing_of_cargo_run() {
    // The test runner, like `cargo run`, sets these for us.
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
    let seen = Call::new("env").read(here()).unwrap();
    let names: Vec<&str> = seen.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert!(!names.iter().any(|name| is_added_by_cargo(name)), "{names:?}");
    assert!(names.contains(&"PATH"));
}

#[test]
fn a_child_inherits_what_is_named() {
    let names = |call: Call| -> Vec<String> {
        let seen = call.read(here()).unwrap();
        seen.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect()
    };
    let mut seen = names(Call::new("env").inherit_only(&["PATH", "CARGO_MANIFEST_*", "HOM*"]).env("X", "1"));
    seen.sort();
    // What cargo adds is still removed.
    assert_eq!(seen, ["CARGO_TERM_COLOR", "HOME", "PATH", "X"]);
}

#[test]
fn an_interrupt_ends_the_child_and_what_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let interrupt = Interrupt::default();
    let call = Call::new("sh").arg("-c").arg("sleep 600 & echo $!; wait");
    let mut grandchild = String::new();
    let error = call
        .run(dir.path(), &interrupt, |line| {
            line.clone_into(&mut grandchild);
            interrupt.set();
        })
        .unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Interrupted);
    let gone = || {
        let stat = fs_err::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    // It has been killed, but the kernel takes a moment to finish.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !gone() {
        assert!(Instant::now() < deadline, "process {grandchild} is left");
        std::thread::sleep(Interrupt::TICK);
    }
}

#[test]
fn a_file_can_be_the_input() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("input");
    fs_err::write(&file, "from a file").unwrap();
    assert_eq!(Call::new("cat").input(&file).read(here()).unwrap(), "from a file");
    assert_eq!(Call::new("cat").read(here()).unwrap(), "");
}

#[test]
fn a_missing_program_is_named() {
    let error = Call::new("no-such-program").run(here(), &Interrupt::default(), |_| {}).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Missing);
    assert!(format!("{error:#}").contains("`no-such-program`"));
    let error = Call::new("false").read(here()).unwrap_err();
    assert!(format!("{error:#}").contains("`false` exited with 1"));
}
