//! `cargo xtask rollback`: it leaves what every other run leaves, and it redeploys what is live.

use std::path::PathBuf;

use launchway_fakes::Reply;
use launchway_fakes::registry::Scripted as Registry;
use launchway_fakes::render::{Look, Options, Script, ScriptedImage, ScriptedRender, Somebodys};

use crate::schema;
use crate::support::{Fixture, Ran};

const NEW: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const EARLIER: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// What [`EARLIER`] reports.
const COMMIT: &str = "beef5678beef5678beef5678beef5678beef5678";
const KEY: &str = "rnd_key-of-the-test";

/// A service on which [`EARLIER`] is live, a registry that shows no image, and the workspace that deploys [`NEW`].
struct Service {
    fixture: Fixture,
    registry: Registry,
    render: ScriptedRender,
    page: PathBuf,
}

impl Service {
    fn start() -> Self {
        let fixture = Fixture::new();
        let head = fixture.head();
        let registry = Registry::new(move |request, _| {
            let is_image = [NEW, EARLIER, &head].iter().any(|digest| request.target.contains(digest));
            is_image.then(|| Reply::new(403))
        });
        let registry = registry.unwrap();
        let image = |commit: &str, digest: &str| {
            (
                digest.to_owned(),
                ScriptedImage {
                    looks: ["live"].map(Look::Status).into(),
                    ..ScriptedImage::new(commit, digest)
                },
            )
        };
        let images = [image(&fixture.head(), NEW), image(COMMIT, EARLIER)].into();
        let script = Script { images, ..Script::default() };
        let options = Options::new("srv-1", KEY, &format!("{}:latest", registry.repository()));
        let render = ScriptedRender::start(options, script, &std::env::temp_dir()).unwrap();
        let before =
            Somebodys { id: "dep-before", status: "live", manual: false, digest: EARLIER.to_owned() };
        render.service().add_deploy(&before);
        let page = fixture.tools().join("page");
        Self { fixture, registry, render, page }
    }

    /// A run on GitHub with the key of the API and these variables.
    fn run(&self, command: &str, id: &str, variables: &[(&str, &str)]) -> Ran {
        let front = self.render.url();
        let addresses = [
            self.render.address().to_string(),
            front.trim_start_matches("http://").to_owned(),
            self.registry.host(),
        ];
        let run = self.fixture.xtask(&[command]).envs(&[
            ("RENDER_API_KEY", KEY),
            ("RENDER_SERVICE_ID", "srv-1"),
            ("RENDER_API_URL", &self.render.api_url()),
            ("PIPELINE_IMAGE", &self.registry.repository()),
            ("XTASK_NETWORK", &addresses.join(",")),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", if command == "rollback" { "workflow_dispatch" } else { "push" }),
            ("GITHUB_REF", "refs/heads/main"),
            ("GITHUB_RUN_ID", id),
            ("GITHUB_STEP_SUMMARY", self.page.to_str().unwrap()),
        ]);
        run.envs(variables).finish().says_nothing_of(&[KEY])
    }

    fn deploy(&self) {
        let variables = [
            ("PIPELINE_DIGEST", NEW),
            ("SERVER_MODE", "PROD"),
            ("ALIAS", "alias-of-the-release"),
            ("CIPHER_KEY", "key-of-all-signing-0123456789-0123456789"),
            ("ERRORS_DSN", "https://0123456789abcdef0123456789abcdef@sentry.example.com/1"),
        ];
        self.run("deploy", "1", &variables).exits(0);
    }

    /// The requested digests, oldest first.
    fn requested(&self) -> Vec<String> {
        let deploys = self.render.service().deploys().into_iter();
        deploys.map(|(_, reference)| reference.rsplit_once('@').unwrap().1.to_owned()).collect()
    }
}

#[test]
fn a_rollback_leaves_what_every_run_leaves() {
    let service = Service::start();
    service.deploy();
    let Service { fixture, page, .. } = &service;
    fs_err::remove_file(page).unwrap();
    let ran = service.run("rollback", "2", &[("XTASK_RELEASE", "")]).exits(0);
    ran.says(&["::group::rollback\n", "\n::endgroup::\n", "  rollback passed in "]);
    assert_eq!(service.requested(), [EARLIER, NEW, EARLIER]);

    assert_eq!(fixture.outcomes(), [("rollback".to_owned(), "passed".to_owned())]);
    let record = fixture.record();
    schema::is_record(&record);
    assert_eq!((&record["jobs"][0]["job"], &record["exit"]), (&"rollback".into(), &"done".into()));
    assert_eq!(
        (&record["deployment"]["digest"], &record["deployment"]["commit"]),
        (&EARLIER.into(), &COMMIT.into())
    );
    assert_eq!(record["deployment_report"]["kind"], "rollback");
    // The report has the step once, as long as the record.
    let report = |run: u8| fixture.json(&format!("target/xtask/rehearsal/history/github-{run}-1.json"));
    assert_eq!(report(1)["deployment"]["kind"], "deploy", "the deploy has a report of its own");
    let report = report(2);
    let step = &record["jobs"][0]["steps"][0];
    let steps = serde_json::json!([{ "name": "rollback", "outcome": "passed", "milliseconds": step["milliseconds"] }]);
    assert_eq!(report["steps"], steps);
    let log = fixture.read("target/xtask/logs/rollback.log");
    assert!(
        log.contains(&format!("requesting a deploy of `{}@{EARLIER}`", service.registry.repository())),
        "{log}"
    );
    let written = fs_err::read_to_string(page).unwrap();
    assert!(written.starts_with("### rollback passed\n\n| job | step |"), "{written}");
    assert!(written.contains("| rollback | rollback | passed | "), "{written}");
    assert!(written.contains("- ALIAS removed"), "{written}");
    fixture.is_left_alone();
}

#[test]
fn a_rollback_that_fails_ends_like_a_deploy() {
    let service = Service::start();
    service.deploy();
    let fails = |script: &mut Script| script.images.get_mut(EARLIER).unwrap().looks(["update_failed"]);
    service.render.service().script(fails);
    let ran = service.run("rollback", "2", &[("XTASK_RELEASE", "dep-before")]).exits(5);
    let head = &service.fixture.head()[..12];
    let ran = ran.says(&["::error title=rollback::", "exit 5: the rollback failed and was undone"]);
    ran.says(&[&format!("site   up on commit {head}"), "cargo xtask rehearse --drill rollback"]);
    assert_eq!(service.fixture.outcomes(), [("rollback".to_owned(), "failed".to_owned())]);
    let written = fs_err::read_to_string(&service.page).unwrap();
    assert!(written.contains("### rollback failed\n") && written.contains("#### rollback: "), "{written}");
}

#[test]
fn the_live_release_is_deployed_again_with_the_environment_kept_for_it() {
    let service = Service::start();
    service.deploy();
    let head = service.fixture.head();
    service.render.service().set_variable("ALIAS", "set-by-somebody");
    let ran = service.run("rollback", "2", &[("XTASK_RELEASE", &head)]).exits(0);
    ran.says(&["this release is already live: deploying it again"]);
    assert_eq!(service.requested(), [EARLIER, NEW, NEW]);
    assert_eq!(service.render.variables()["ALIAS"], "alias-of-the-release");
    let record = service.fixture.record();
    assert_eq!(
        (&record["deployment"]["id"], &record["deployment"]["commit"]),
        (&"dep-2".into(), &head.into())
    );
}
