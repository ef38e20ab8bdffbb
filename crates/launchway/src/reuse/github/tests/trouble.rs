//! A GitHub that refuses, breaks off, lies or is slow: the step runs.

use std::time::Instant;

use super::*;

impl Push {
    /// What is said where GitHub cannot be asked.
    fn trouble(&mut self, rule: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static) -> String {
        let github = GitHub::scripted(vec![self.run(7)], rule).unwrap();
        let (found, notes) = self.find(&github);
        assert_eq!(found, None, "{notes:?}");
        let [note] = &notes[..] else { panic!("{notes:?}") };
        assert!(!note.contains(GitHub::TOKEN), "{note}");
        let trouble =
            note.strip_prefix("cannot find out whether another run has tested these files: ").unwrap();
        trouble.replace(&github.url().replace("http://", ""), "<github>")
    }
}

#[test]
fn whatever_goes_wrong_means_test() {
    let mut push = Push::new();
    let at = |part: &'static str, reply: Reply| {
        move |request: &Request, _: usize| request.target.contains(part).then(|| reply.clone())
    };
    let hint = ": the job needs the permission `actions: read`";
    let refused = r#"{"message":"Resource not accessible by integration"}"#;
    for part in ["/workflows/", "/jobs", "/artifacts?", "/zip"] {
        for (reply, words) in [
            (Reply::new(403).body(refused), format!("GitHub responded 403 Forbidden: {refused}{hint}")),
            (Reply::new(404).body("Not Found"), format!("GitHub responded 404 Not Found: Not Found{hint}")),
            (Reply::new(500), "GitHub responded 500 Internal Server Error".to_owned()),
        ] {
            assert_eq!(push.trouble(at(part, reply)), words, "{part}");
        }
        // Not followed.
        let moved = Reply::new(301).header("location", "/elsewhere");
        let trouble = push.trouble(at(part, moved.clone()));
        assert!(trouble.starts_with("GitHub responded 301"), "{part}: {trouble}");
    }
    for part in ["/workflows/", "/jobs", "/artifacts?"] {
        for garbage in ["<html>Sign in", "{}", "[]", r#"{"total_count":1,"jobs":[7],"artifacts":7}"#] {
            let trouble = push.trouble(at(part, Reply::new(200).body(garbage)));
            assert_eq!(trouble, "GitHub's response cannot be read", "{part}: {garbage}");
        }
        let huge = Reply::new(200).body(vec![b' '; (8 << 20) + 1]);
        let trouble = push.trouble(at(part, huge));
        assert_eq!(trouble, "the response is longer than 8388608 bytes", "{part}");
        let cut_short = Reply::new(200).header("content-length", "100");
        assert!(push.trouble(at(part, cut_short)).contains("body"), "{part}");
    }
    // A token that the server quotes is not shown.
    let quoted = Reply::new(401).body(format!("who is {}?", GitHub::TOKEN));
    assert_eq!(push.trouble(at("/jobs", quoted)), "GitHub responded 401 Unauthorized: who is <redacted>?");
    // More jobs than were listed.
    let more = r#"{"total_count":101,"jobs":[]}"#;
    let trouble = push.trouble(at("/jobs", Reply::new(200).body(more)));
    assert_eq!(trouble, "GitHub lists 0 of the 101 jobs of run 7");
    // The server of the artifacts.
    let trouble = push.trouble(at("/artifact-bytes", Reply::new(503)));
    assert_eq!(trouble, "the server of the artifact responded 503 Service Unavailable");
    let trouble = push.trouble(at("/artifact-bytes", Reply::new(200).body(vec![b' '; (1 << 20) + 1])));
    assert_eq!(trouble, "the artifact has more than 1048576 bytes");
    let trouble = push.trouble(at("/artifact-bytes", Reply::new(200).body("{}")));
    assert_eq!(trouble, "the artifact `passed.json` of run 7 is not what was uploaded");
    let inside = Reply::new(302).header("location", "http://169.254.169.254/");
    assert!(push.trouble(at("/zip", inside)).starts_with("plain http is accepted for loopback"));
}

#[test]
fn an_artifact_that_is_large_is_not_requested() {
    let mut push = Push::new();
    let mut run = push.run(7);
    run.artifacts[0].bytes = vec![b' '; (1 << 20) + 1];
    let github = GitHub::start(vec![run]).unwrap();
    let (found, notes) = push.find(&github);
    assert_eq!(found, None);
    assert!(notes[0].ends_with("the artifact `passed.json` of run 7 has 1048577 bytes"), "{notes:?}");
    assert_eq!(github.requests().len(), 3);
}

#[test]
fn a_slow_github_is_not_waited_for() {
    let mut push = Push::new();
    let late = |request: &Request, _: usize| {
        request.target.contains("/jobs").then(|| Reply::new(200).after(Duration::from_secs(60)))
    };
    let github = GitHub::scripted(vec![push.run(7)], late).unwrap();
    push.ctx.environment = Push::environment(&github.url());
    let start = Instant::now();
    let wanted = Wanted::of(&push.ctx, &Trigger::push("main")).unwrap();
    let api = Wanted::api(&push.ctx, Duration::from_millis(300)).unwrap().unwrap();
    let error = wanted.find(&push.ctx, &api, StepId::TestCoverage, &push.key).unwrap_err();
    assert!(error.to_string().ends_with("in time: it is busy, or a firewall is in the way"), "{error}");
    // All requests share the time.
    let error = wanted.find(&push.ctx, &api, StepId::TestCoverage, &push.key).unwrap_err();
    assert!(error.to_string().starts_with("GitHub takes longer than"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(30));
    // Nothing listens.
    drop(github);
    assert!(push.found().1[0].contains("nothing listens there"));
}

#[test]
fn an_address_that_is_none_is_named() {
    let mut push = Push::new();
    for (name, value, words) in [
        ("GITHUB_API_URL", "http://github.example.com", "`GITHUB_API_URL` is plain http"),
        ("GITHUB_API_URL", "api", "`GITHUB_API_URL` is not an https address"),
    ] {
        push.ctx.environment = Push::environment("").with(Environment::of([(name, value)]));
        let (found, notes) = push.found();
        assert!(found.is_none() && notes[0].contains(words), "{notes:?}");
    }
    let environment = Environment::of([("GITHUB_REPOSITORY", "app")]);
    let token = launchway_core::secret::Secret::new("t");
    let error = Api::new(push.ctx.http().unwrap(), &environment, token, Api::TIME).err().unwrap();
    assert_eq!(error.to_string(), "`GITHUB_REPOSITORY` is `app`, and not `owner/name`");
}
