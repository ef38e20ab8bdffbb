use super::*;
use crate::context::Context;

const FILE: &str = ".github/workflows/main.yaml";

use launchway_core::environment::Environment;
use launchway_core::events::Event;

/// A workspace whose workflow is up to date.
fn workspace() -> (tempfile::TempDir, Context) {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::for_test(dir.path(), Environment::default());
    write(&ctx.root, &ctx.config, &ctx.reporter).unwrap();
    (dir, ctx)
}

fn edit(ctx: &Context, from: &str, to: &str) {
    let path = ctx.root.join(FILE);
    let text = fs_err::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    fs_err::write(path, text.replace(from, to)).unwrap();
}

/// The message of a check that fails as a check.
fn failure(ctx: &Context) -> String {
    let error = check(&ctx.root, &ctx.config, &ctx.reporter).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::CheckFailed);
    format!("{error:#}")
}

fn notes(ctx: &Context) -> Vec<String> {
    let notes = ctx.reporter.events().into_iter().filter_map(|event| match event {
        Event::Note { text } => Some(text),
        _ => None,
    });
    notes.collect()
}

#[test]
fn a_workflow_is_written_once() {
    let (_dir, ctx) = workspace();
    check(&ctx.root, &ctx.config, &ctx.reporter).unwrap();
    write(&ctx.root, &ctx.config, &ctx.reporter).unwrap();
    assert_eq!(
        notes(&ctx),
        ["is written", "is up to date"]
            .map(|what| ["main", "main-rollback"].map(|stem| format!(".github/workflows/{stem}.yaml {what}")))
            .concat()
    );
}

#[test]
fn a_missing_workflow_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::for_test(dir.path(), Environment::default());
    assert_eq!(
        failure(&ctx),
        ["main", "main-rollback"]
            .map(|stem| format!(".github/workflows/{stem}.yaml does not exist: run `cargo xtask workflow`"))
            .join("\n")
    );
}

#[test]
fn an_edit_by_hand_is_a_failure_that_shows_it() {
    let (_dir, ctx) = workspace();
    edit(&ctx, "run: cargo xtask push", "run: cargo xtask push || true");
    let message = failure(&ctx);
    assert!(message.contains("run `cargo xtask workflow`"), "{message}");
    assert!(message.contains("\n-        run: cargo xtask push || true\n"), "{message}");
    assert!(message.contains("\n+        run: cargo xtask push\n"), "{message}");
    write(&ctx.root, &ctx.config, &ctx.reporter).unwrap();
    check(&ctx.root, &ctx.config, &ctx.reporter).unwrap();
}

#[test]
fn another_branch_is_another_workflow() {
    let (_dir, mut ctx) = workspace();
    ctx.config.branch = "trunk".to_owned();
    assert!(failure(&ctx).contains("refs/heads/trunk"));
}

#[test]
fn a_runner_compiles_neither_the_fakes_nor_init() {
    let (_dir, ctx) = workspace();
    let lean = |alias: &str| {
        let text = format!("[alias]\nxtask = {alias}\n");
        fs_err::create_dir_all(ctx.root.join(".cargo")).unwrap();
        fs_err::write(ctx.root.join(".cargo/config.toml"), text).unwrap();
        Place::of(&ctx.root).lean_alias()
    };
    let alias = "'run --manifest-path xtask/Cargo.toml --features launchway/default --'";
    assert_eq!(lean(alias).as_deref(), Some("run --manifest-path xtask/Cargo.toml --"));
    assert_eq!(lean("'my-own xtask --'"), None);
    // Cargo would append the variable to a list.
    assert_eq!(lean("['run', '--features', 'launchway/default', '--']"), None);
}

#[test]
fn line_ends_are_no_difference() {
    let (_dir, ctx) = workspace();
    edit(&ctx, "\n", "\r\n");
    check(&ctx.root, &ctx.config, &ctx.reporter).unwrap();
}

#[test]
fn a_long_difference_is_cut() {
    let (_dir, ctx) = workspace();
    fs_err::write(ctx.root.join(FILE), "name: mine\n").unwrap();
    let message = failure(&ctx);
    let (_, last) = message.rsplit_once('\n').unwrap();
    let more: usize =
        last.strip_prefix("… and ").unwrap().strip_suffix(" more lines").unwrap().parse().unwrap();
    assert!(more > 1, "{message}");
    // What is wrong, the shown part, and how much is not shown.
    assert_eq!(message.lines().count(), 1 + SHOWN + 1);
}

#[test]
fn a_bump_by_a_bot_is_kept() {
    let (_dir, ctx) = workspace();
    let bump = format!("actions/checkout@{} # v8.0.0", "a".repeat(40));
    edit(&ctx, "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", &bump);
    check(&ctx.root, &ctx.config, &ctx.reporter).unwrap();
    edit(&ctx, "timeout-minutes: 36", "timeout-minutes: 360");
    write(&ctx.root, &ctx.config, &ctx.reporter).unwrap();
    let text = fs_err::read_to_string(ctx.root.join(FILE)).unwrap();
    assert_eq!(text.matches(&bump).count(), 3);
    assert!(!text.contains("timeout-minutes: 360"));
}

#[test]
fn a_pin_that_cannot_be_kept_is_a_failure() {
    let (_dir, ctx) = workspace();
    edit(&ctx, "@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7");
    let message = failure(&ctx);
    assert!(message.contains("main.yaml cannot be kept"), "{message}");
    assert!(message.contains("`actions/checkout@v7` is not"), "{message}");
    // Writing would lose what was meant.
    write(&ctx.root, &ctx.config, &ctx.reporter).unwrap_err();
}

#[test]
fn a_generated_file_that_nothing_generates_is_reported() {
    let (_dir, ctx) = workspace();
    let text = fs_err::read_to_string(ctx.root.join(FILE)).unwrap();
    for name in ["old.yml", "older.yaml", "notes.txt"] {
        fs_err::write(ctx.root.join(FOLDER).join(name), &text).unwrap();
    }
    fs_err::write(ctx.root.join(FOLDER).join("mine.yaml"), "name: mine\n").unwrap();
    let expected = ["old.yml", "older.yaml"].map(|name| {
        format!(".github/workflows/{name} was generated, but nothing generates it any more: remove it")
    });
    assert_eq!(failure(&ctx), expected.join("\n"));
    write(&ctx.root, &ctx.config, &ctx.reporter).unwrap();
    assert!(notes(&ctx).ends_with(&expected));
}

#[test]
fn the_file_of_rollbacks_is_checked_like_the_other() {
    let (_dir, ctx) = workspace();
    let path = ctx.root.join(".github/workflows/main-rollback.yaml");
    let text = fs_err::read_to_string(&path).unwrap();
    assert_eq!(outdated(&ctx.root, &ctx.config), Vec::<String>::new());
    fs_err::write(&path, text.replace("run: cargo xtask rollback", "run: cargo xtask rollback || true"))
        .unwrap();
    assert!(failure(&ctx).contains("\n-        run: cargo xtask rollback || true\n"));
    assert_eq!(outdated(&ctx.root, &ctx.config), [".github/workflows/main-rollback.yaml"]);
    // A new one gets the pins that a bot has changed in the other.
    fs_err::remove_file(&path).unwrap();
    let bump = format!("actions/checkout@{} # v8.0.0", "a".repeat(40));
    edit(&ctx, "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", &bump);
    write(&ctx.root, &ctx.config, &ctx.reporter).unwrap();
    assert!(fs_err::read_to_string(&path).unwrap().contains(&bump));
    // One of somebody's own is left alone.
    fs_err::write(&path, "name: mine\n").unwrap();
    let error = write(&ctx.root, &ctx.config, &ctx.reporter).unwrap_err();
    assert!(error.to_string().contains("main-rollback.yaml was not generated"), "{error}");
    assert_eq!(fs_err::read_to_string(&path).unwrap(), "name: mine\n");
    assert_eq!(names("ci.x.yml")[1], "ci.x-rollback.yml");
}

#[test]
fn a_workflow_that_cannot_be_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(dir.path().join(FILE)).unwrap();
    let ctx = Context::for_test(dir.path(), Environment::default());
    let message = format!("{:#}", check(&ctx.root, &ctx.config, &ctx.reporter).unwrap_err());
    assert!(message.contains("main.yaml"), "{message}");
}
