use super::*;

const OLD: &str = "1111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222";

#[test]
fn the_committed_pin_wins_over_the_default() {
    let text = format!("steps:\n  - name: a\n    uses: actions/checkout@{NEW} # v8.0.0\n");
    let pins = Pins::read(&text).unwrap();
    assert_eq!(pins.uses(CHECKOUT), Commented(format!("actions/checkout@{NEW}"), "v8.0.0".to_owned()));
    let default = format!("{}@{}", UPLOAD.action, UPLOAD.commit);
    assert_eq!(pins.uses(UPLOAD), Commented(default, UPLOAD.version.to_owned()));
}

#[test]
fn an_action_may_be_used_twice_at_one_commit() {
    let line = format!("- uses: actions/checkout@{OLD} # v7\n");
    assert_eq!(Pins::read(&line.repeat(2)).unwrap().0.len(), 1);
}

#[test]
fn two_pins_of_one_action_are_an_error_that_names_both() {
    for (commit, version) in [(NEW, "v8"), (NEW, "v7"), (OLD, "v8")] {
        let text =
            format!("- uses: a/b@{OLD} # v7\n- uses: c/d@{OLD} # v1\n- uses: a/b@{commit} # {version}\n");
        let error = Pins::read(&text).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "line 3: `a/b` is pinned to `{commit} # {version}` here and to `{OLD} # v7` above: keep one of them"
            )
        );
    }
}

#[test]
fn what_is_not_a_pin_is_an_error_that_names_the_line() {
    for reference in [
        "actions/checkout@v7",
        "actions/checkout@v7 # v7.0.1",
        "actions/checkout@main # v7.0.1",
        &format!("actions/checkout@{OLD}"),
        &format!("actions/checkout@{OLD} #"),
        &format!("actions/checkout@{OLD}1 # v7"),
        &format!("actions/checkout@{} # v7", "g".repeat(40)),
        &format!("actions/checkout@{} # v7", "A".repeat(40)),
        &format!("\"actions/checkout@{OLD}\" # v7"),
        "./local",
        "",
    ] {
        let error = format!("{:#}", Pins::read(&format!("steps:\n- uses: {reference}\n")).unwrap_err());
        assert!(error.starts_with(&format!("line 2: `{reference}` is not")), "{error}");
    }
}

#[test]
fn the_defaults_are_pins() {
    for default in [CHECKOUT, CACHE, INSTALL, UPLOAD, DOWNLOAD] {
        let Pin { action, commit, version } = default;
        let line = format!("uses: {action}@{commit} # {version}");
        assert_eq!(Pins::read(&line).unwrap().0, [default]);
    }
}
