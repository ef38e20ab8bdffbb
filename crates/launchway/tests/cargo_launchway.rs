//! The installed program.
#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use std::process::Command;

/// Its exit code and what it printed, outside of any repository.
#[expect(clippy::disallowed_methods, reason = "the program under test")]
fn launchway(arguments: &[&str]) -> (Option<i32>, String) {
    let nowhere = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_cargo-launchway"));
    let output = program.args(arguments).current_dir(nowhere.path()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn init_is_run_as_a_subcommand_of_cargo() {
    let (code, version) = launchway(&["launchway", "-V"]);
    assert_eq!((code, version.starts_with("cargo launchway 0.")), (Some(0), true), "{version}");
    let (code, said) = launchway(&["launchway"]);
    assert_eq!((code, said.contains("or set one up with `init`")), (Some(2), true), "{said}");
    let (code, said) = launchway(&["launchway", "init", "../nowhere"]);
    assert_eq!((code, said.contains("../nowhere does not exist")), (Some(2), true), "{said}");
    let (code, help) = launchway(&["launchway", "init", "--help"]);
    assert_eq!((code, help.contains("--explain")), (Some(0), true), "{help}");
    for arguments in [&["launchway", "init", "."][..], &["launchway", "init", ".", "--explain"]] {
        let (code, said) = launchway(arguments);
        assert_eq!((code, said.contains("is not in a git repository")), (Some(2), true), "{said}");
    }
}
