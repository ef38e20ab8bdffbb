//! `cargo xtask lint` on a workspace with something wrong: each place is named, and what is mended is not named again.

use crate::support::Fixture;

/// A place with something wrong, and how it is reported.
struct Fault {
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
    /// In the output: where it is, and what.
    reported: &'static [&'static str],
    /// The check, as the end of the step lists it.
    check: &'static str,
}

const FAULTS: [Fault; 5] = [
    Fault {
        file: "app/src/lib.rs",
        right: "let length = ",
        wrong: "let length   = ",
        reported: &["  at app/src/lib.rs:26: not formatted: run `cargo fmt --all`"],
        check: "  cargo fmt --all --check\n",
    },
    Fault {
        file: "app/src/main.rs",
        right: "    let listener",
        wrong: "    assert!(port.len() != 0);\n    let listener",
        reported: &[
            "  at app/src/main.rs:8: length comparison to zero [clippy::len_zero]; help: using `!is_empty` is clearer",
        ],
        check: "cargo clippy --workspace",
    },
    Fault {
        file: "app/src/lib.rs",
        right: "/// Answers one request.",
        wrong: "/// Answers one request, unlike [`nobody`].",
        reported: &["  at app/src/lib.rs:6: unresolved link to `nobody`"],
        check: "cargo doc --workspace",
    },
    Fault {
        file: ".github/workflows/main.yaml",
        right: "timeout-minutes: 45",
        wrong: "timeout-minutes: 46",
        reported: &["-    timeout-minutes: 46\n", "+    timeout-minutes: 45\n", "run `cargo xtask workflow`"],
        check: "compare .github/workflows/main.yaml and .github/workflows/main-rollback.yaml with the pipeline table",
    },
    Fault {
        file: "Dockerfile",
        right: "EXPOSE 8000",
        wrong: "RUN true\nEXPOSE 8000",
        reported: &["Dockerfile:13: ", "RUN"],
        check: "check that the builtin engine can follow the Dockerfile's final stage",
    },
];

#[test]
fn every_fault_is_named_with_its_place() {
    let fixture = Fixture::new();
    for Fault { file, right, wrong, .. } in &FAULTS {
        fixture.replace(file, right, wrong);
    }
    for (mended, fault) in FAULTS.iter().enumerate() {
        let ran = fixture.run(&["lint"]).exits(1);
        let (gone, left) = FAULTS.split_at(mended);
        let ran = ran.says(&[
            // Of how many depends on the tools of this machine.
            &format!("lint: {} of ", left.len()),
            " checks failed:\n",
            "target/xtask/logs/lint.log",
            "  again  cargo xtask lint\n",
        ]);
        let end = ran.err.split_once("checks failed:").unwrap().1.to_owned();
        let mut ran = ran;
        for Fault { reported, check, .. } in left {
            ran = ran.says(reported);
            assert!(end.contains(check), "no `{check}` in {end}");
        }
        for Fault { reported, check, .. } in gone {
            ran = ran.says_nothing_of(&reported[..1]);
            assert!(!end.contains(check), "`{check}` in {end}");
        }
        assert_eq!(fixture.outcomes(), [("lint".to_owned(), "failed".to_owned())]);
        assert!(fixture.read("target/xtask/run.json").contains("checks failed:\\n"));
        fixture.replace(fault.file, fault.wrong, fault.right);
    }
    fixture.run(&["lint"]).exits(0);
    assert_eq!(fixture.git(&["status", "--porcelain"]), "", "what was mended is what was committed");
}

#[test]
fn an_image_that_cannot_be_made_is_not_compiled_for() {
    let fixture = Fixture::new();
    fixture.replace("Dockerfile", "EXPOSE 8000", "RUN true\nEXPOSE 8000");
    fixture.run(&["docker-build"]).exits(2).says(&["nothing was run: 1 problem\n", "Dockerfile:13"]);
    assert!(!fixture.exists("target/image"));
    // A copy of what is not there.
    fixture.git(&["checkout", "--quiet", "Dockerfile"]);
    fixture.replace("Dockerfile", "COPY motd", "COPY mode");
    fixture.run(&["docker-build"]).exits(2).says(&["Dockerfile:8", "`mode`"]);
    assert!(!fixture.exists("target/image"));
}
