use std::path::Path;

use super::*;
use launchway_core::environment::Environment;
use launchway_core::events::Event;

/// What is wrong with a shard.
type Change = fn(&mut ShardRecord);

/// A folder with shards, and what merges them.
struct Shards {
    dir: tempfile::TempDir,
    ctx: Context,
}

impl Shards {
    /// Three shards of three tests and one that is ignored; each covers a line of its own.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ctx = Context::for_test(dir.path(), Environment::default());
        fs_err::create_dir(dir.path().join("app")).unwrap();
        fs_err::write(dir.path().join("app/Cargo.toml"), "").unwrap();
        let shards = Self { dir, ctx };
        for number in 1..=3 {
            shards.leave(&format!("{number}"), |_| {});
        }
        shards
    }

    fn origin() -> Origin {
        Origin { commit: "c0ffee".to_owned(), files: "f1".to_owned(), toolchain: "rustc 1.95.0".to_owned() }
    }

    /// Leaves the shard with this number, changed by `change`.
    fn leave(&self, number: &str, change: impl FnOnce(&mut ShardRecord)) {
        self.leave_in(number, number, change);
    }

    fn leave_in(&self, folder: &str, number: &str, change: impl FnOnce(&mut ShardRecord)) {
        let covers = |line: &str| u8::from(line == number);
        let lcov =
            format!("SF:app/a.rs\nDA:1,{}\nDA:2,{}\nDA:3,0\nend_of_record\n", covers("1"), covers("2"));
        let mut record = ShardRecord {
            shard: format!("{number}/3").parse().unwrap(),
            origin: Self::origin(),
            tests: Tests { passed: 1, failed: 0, skipped: 3 },
            doctests: (number == "1").then_some(Tests { passed: 2, failed: 0, skipped: 1 }),
            unable: Vec::new(),
            lcov: Digest::of(lcov.as_bytes()).to_string(),
        };
        change(&mut record);
        let folder = self.folder(folder);
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::write(folder.join(LCOV), lcov).unwrap();
        fs_err::write(folder.join(RECORD), serde_json::to_string(&record).unwrap()).unwrap();
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join("shards").join(name)
    }

    fn merge_of(&self, folders: Vec<PathBuf>, needs: Option<&str>) -> Result<Merged> {
        Merge { folders, origin: Self::origin(), needs: needs.map(str::to_owned) }.run(&self.ctx.runner())
    }

    fn merge(&self) -> Result<Merged> {
        self.merge_of(vec![self.dir.path().join("shards")], None)
    }

    /// The message of a merge that fails as a check, without the folder.
    fn error(&self) -> String {
        let error = self.merge().unwrap_err();
        assert_eq!(Exit::of(&error), Exit::CheckFailed);
        format!("{error:#}").replace(self.dir.path().to_str().unwrap(), "")
    }
}

#[test]
fn all_shards_are_one_run() {
    let shards = Shards::new();
    shards.leave("2", |record| record.unable.push(("pushes".to_owned(), "no registry".to_owned())));
    let Merged { tests, lines } = shards.merge().unwrap();
    assert_eq!(lines.to_lcov(), "SF:app/a.rs\nDA:1,1\nDA:2,1\nDA:3,0\nend_of_record\n");
    // Three of four tests ran, of which one lacked a part; three doctests.
    assert_eq!(tests, Tests { passed: 4, failed: 0, skipped: 3 });
    let events = shards.ctx.reporter.events();
    let named = |event: &Event| matches!(event, Event::CheckSkipped { check, .. } if check == "pushes");
    assert!(events.iter().any(named), "{events:?}");
    let folders = ["1", "2", "3"].map(|name| shards.folder(name)).to_vec();
    assert_eq!(shards.merge_of(folders, Some("lint=success shards=success")).unwrap().lines, lines);
}

#[test]
fn a_shard_that_is_missing_is_named() {
    let shards = Shards::new();
    fs_err::remove_dir_all(shards.folder("2")).unwrap();
    assert_eq!(
        shards.error(),
        "the shards cannot be merged\n  shard 2/3 is missing: `cargo xtask test-coverage --shard 2/3` makes it"
    );
    fs_err::remove_dir_all(shards.folder("")).unwrap();
    assert!(shards.error().starts_with("no shard in /shards: "), "{}", shards.error());
}

#[test]
fn a_shard_that_does_not_belong_to_the_others_is_named() {
    let cases: [(Change, &str); 6] = [
        (
            |record| record.origin.commit = "decaf".to_owned(),
            "shard 2/3 in /shards/2 is of commit decaf, and this is c0ffee",
        ),
        (
            |record| record.origin.files = "f2".to_owned(),
            "shard 2/3 in /shards/2 is of this commit with other changes",
        ),
        (
            |record| record.origin.toolchain = "rustc 1.96.0".to_owned(),
            "shard 2/3 in /shards/2 is of toolchain rustc 1.96.0, and this is rustc 1.95.0",
        ),
        (
            |record| record.shard = "2/4".parse().unwrap(),
            "the shards come from different splits: 1/3 in /shards/1, 2/4 in /shards/2, 3/3 in /shards/3",
        ),
        (
            |record| record.shard = "3/3".parse().unwrap(),
            "shard 2/3 is missing: `cargo xtask test-coverage --shard 2/3` makes it\n  \
             shard 3/3 is in more than one folder: /shards/2 and /shards/3",
        ),
        (|record| record.tests.skipped = 4, "shard 2/3 is of 5 tests, and shard 1/3 of 4"),
    ];
    for (change, expected) in cases {
        let shards = Shards::new();
        shards.leave("2", change);
        assert_eq!(shards.error(), format!("the shards cannot be merged\n  {expected}"));
    }
}

#[test]
fn all_problems_are_named_at_once() {
    let shards = Shards::new();
    shards.leave("1", |record| record.origin.commit = "decaf".to_owned());
    shards.leave_in("copy", "3", |_| {});
    fs_err::remove_dir_all(shards.folder("2")).unwrap();
    let error = shards.error();
    assert_eq!(error.lines().count(), 4, "{error}");
}

#[test]
fn what_is_not_what_was_measured_is_an_error() {
    let shards = Shards::new();
    let lcov = shards.folder("2").join(LCOV);
    let whole = fs_err::read_to_string(&lcov).unwrap();
    fs_err::write(&lcov, &whole[..whole.len() / 2]).unwrap();
    let expected = "shard 2/3 cannot be read from /shards/2/lcov.info: it has changed since it was measured";
    assert_eq!(shards.error(), expected);
    fs_err::write(shards.folder("2").join(RECORD), "{}").unwrap();
    let error = shards.error();
    assert!(error.starts_with("/shards/2/shard.json does not describe a shard: missing field"), "{error}");
    fs_err::write(shards.folder("2").join(RECORD), vec![b' '; 5 << 20]).unwrap();
    let error = shards.error();
    assert!(error.ends_with("/shards/2/shard.json is larger than 4194304 bytes"), "{error}");
}

/// What an earlier attempt left is there, too, when a job is run again.
#[test]
fn shards_do_not_stand_for_a_job_that_did_not_succeed() {
    let shards = Shards::new();
    let folders = vec![shards.folder("")];
    let merge = |needs| shards.merge_of(folders.clone(), Some(needs));
    for needs in ["lint=success shards=failure", "lint=cancelled shards=success", "lint=skipped", "lint="] {
        let error = merge(needs).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::CheckFailed);
        assert!(error.to_string().starts_with("not every job that this one needs succeeded: "), "{error}");
    }
    merge("lint=success shards=success").unwrap();
}

#[test]
fn what_a_newer_version_adds_is_ignored() {
    let shards = Shards::new();
    let path = shards.folder("1").join(RECORD);
    let text = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, text.replacen('{', "{\"seed\":7,", 1)).unwrap();
    shards.merge().unwrap();
    assert!(Path::new(&path).is_file());
}
