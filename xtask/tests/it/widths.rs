//! What people read fits 80 columns.

use crate::support::Fixture;

#[test]
fn what_people_read_fits_80_columns() {
    let fixture = Fixture::new();
    let commands: [&[&str]; 19] = [
        &[],
        &["--help"],
        &["deploy", "--help"],
        &["rehearse", "-h"],
        &["doctor"],
        &["workflow", "--check"],
        &["history"],
        &["history", "--explain"],
        &["doctor", "--explain"],
        &["rehearse", "--drill", "list"],
        &["rehearse", "--explain"],
        &["ci", "--explain"],
        &["lint", "--explain"],
        &["test-coverage", "--explain"],
        &["docker-build", "--explain"],
        &["push", "--explain"],
        &["deploy", "--explain"],
        &["rollback", "--explain"],
        &["rehearse", "--drill", "earthquake"],
    ];
    for arguments in commands {
        // A registry that nobody runs.
        let variables = [("COLUMNS", "80"), ("PIPELINE_IMAGE", "127.0.0.1:1/acme/app")];
        let ran = fixture.xtask(arguments).envs(&variables).finish();
        for line in ran.text().lines() {
            // A word that is longer than a line is left whole, so that it can be copied.
            let is_one_word = line.trim().split(' ').any(|word| word.chars().count() > 70);
            assert!(line.chars().count() <= 80 || is_one_word, "{arguments:?}: {line}");
        }
    }
}
