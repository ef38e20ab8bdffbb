//! A headless Chromium, controlled through its debugging protocol over pipes.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const PROGRAM: &str = "/usr/bin/chromium";

/// One browser with one page.
pub(super) struct Chromium {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    profile: PathBuf,
    session: Value,
    sent: u64,
    /// Events received so far.
    events: Vec<Value>,
}

impl Chromium {
    /// `None` if Chromium is not installed.
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    pub(super) fn start() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            return None;
        }
        let profile = std::env::temp_dir().join(format!("launchway-chromium-{}", std::process::id()));
        fs_err::create_dir_all(&profile).unwrap();
        // It reads commands from descriptor 3 and writes to 4, which only a shell can set up.
        let script = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;
        let mut child = Command::new("sh")
            .args([
                "-c",
                script,
                PROGRAM,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(["--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars"])
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.display()))
            // It leaves files there.
            .env("TMPDIR", &profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut chromium =
            Self { child, input, output, profile, session: Value::Null, sent: 0, events: Vec::new() };
        let target = chromium.call("Target.createTarget", &json!({"url": "about:blank"}))["targetId"].take();
        let attached = chromium.call("Target.attachToTarget", &json!({"targetId": target, "flatten": true}));
        chromium.session = attached["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            chromium.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(chromium)
    }

    /// Sets the width and the colour scheme.
    pub(super) fn look(&mut self, width: u32, scheme: &str) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// Opens a URL and waits until it has loaded.
    pub(super) fn open(&mut self, url: &str) {
        // Answered once the new document has replaced the old one, whose load event may arrive later still.
        let response = self.call("Page.navigate", &json!({"url": url}));
        assert_eq!(response["errorText"], Value::Null, "{url}");
        while self.evaluate("document.readyState") != "complete" {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Evaluates a script on the page.
    pub(super) fn evaluate(&mut self, script: &str) -> Value {
        let mut response =
            self.call("Runtime.evaluate", &json!({"expression": script, "returnByValue": true}));
        assert_eq!(response["exceptionDetails"], Value::Null);
        response["result"]["value"].take()
    }

    /// A screenshot of the whole page as PNG.
    pub(super) fn picture(&mut self, width: u32) -> Vec<u8> {
        let height = self.evaluate("document.documentElement.scrollHeight");
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let response = self.call(
            "Page.captureScreenshot",
            &json!({"format": "png", "captureBeyondViewport": true, "clip": clip}),
        );
        STANDARD.decode(response["data"].as_str().unwrap()).unwrap()
    }

    /// Console messages since the last call, and requests to other servers than `there`.
    pub(super) fn noticed(&mut self, there: &str) -> (Vec<String>, Vec<String>) {
        // All earlier events arrive before this response.
        self.evaluate("1");
        let events = std::mem::take(&mut self.events);
        let of = |methods: &[&str]| -> Vec<Value> {
            events
                .iter()
                .filter(|event| methods.iter().any(|method| event["method"] == *method))
                .cloned()
                .collect()
        };
        // For an image or a feed, Chromium may request an icon by default.
        let is_icon = |url: &str| url.ends_with("/favicon.ico");
        let mut messages = of(&["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"]);
        messages.retain(|event| !event["params"]["entry"]["url"].as_str().is_some_and(is_icon));
        let requests = of(&["Network.requestWillBeSent"]);
        assert!(!requests.is_empty());
        let urls =
            requests.iter().map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned());
        let external = urls.filter(|url| !url.starts_with(there) && !is_icon(url)).collect();
        (messages.iter().map(|event| event["params"].to_string()).collect(), external)
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": parameters});
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        write!(self.input, "{message}\0").unwrap();
        loop {
            let mut message = self.receive();
            if message["id"] == self.sent {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    fn receive(&mut self) -> Value {
        let mut message = Vec::new();
        self.output.read_until(0, &mut message).unwrap();
        assert_eq!(message.pop(), Some(0), "the browser ended");
        serde_json::from_slice(&message).unwrap()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its own children exit with it.
        self.child.kill().ok();
        self.child.wait().ok();
        fs_err::remove_dir_all(&self.profile).ok();
    }
}
