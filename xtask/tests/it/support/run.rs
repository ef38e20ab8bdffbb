//! The pipeline's program as a child: what it printed, how it ended, and a hold on it while it runs.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes on a busy machine, so that a test that waits for nothing ends.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often a wait looks.
const TICK: Duration = Duration::from_millis(10);

/// A run to be.
pub(crate) struct Run {
    command: Command,
}

/// A run that ended.
#[derive(Debug)]
pub(crate) struct Ran {
    code: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

/// A run under way; ended when it is dropped.
pub(crate) struct Running {
    child: Child,
    out: Stream,
    err: Stream,
}

/// What a stream has brought so far, and its reader.
type Stream = (Arc<Mutex<String>>, JoinHandle<()>);

impl Run {
    /// The program in `root`, with `tools` in front of what is on `PATH`.
    #[expect(clippy::disallowed_methods, reason = "the environment is cleared here")]
    pub(crate) fn new(root: &Path, tools: &Path, arguments: &[&str]) -> Self {
        // A test runner in the background ignores SIGINT, and with it whatever it starts.
        let mut command = Command::new("/usr/bin/env");
        command.args(["--default-signal=INT,HUP,TERM", env!("CARGO_BIN_EXE_xtask")]);
        command.args(arguments).current_dir(root).env_clear().env("PATH", path(tools));
        // What the toolchain needs, and where a coverage run collects what the child executed. Nothing else: not the
        // variables of the cargo that runs this test, nor those of the machine that it runs on.
        for name in ["HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "TMPDIR", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // Nothing is fetched by a test, and nobody's login is used.
        command.env("XTASK_INSTALL", "never").env("CARGO_NET_OFFLINE", "true").env("DOCKER_CONFIG", tools);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn envs(mut self, variables: &[(&str, &str)]) -> Self {
        self.command.envs(variables.iter().copied());
        self
    }

    /// In another folder than the root.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// With its standard output elsewhere, where the test does not read it.
    pub(crate) fn printing_to(mut self, output: impl Into<Stdio>) -> Self {
        self.command.stdout(output);
        self
    }

    /// With files of at most 64 KiB: a longer one fails as on a full disk.
    pub(crate) fn with_short_files(self) -> Self {
        self.after("trap '' XFSZ; ulimit -f 64")
    }

    /// As `nohup` or a shell's `&` starts it.
    pub(crate) fn ignoring(self, signals: &str) -> Self {
        self.after(&format!("trap '' {signals}"))
    }

    /// After a shell has done something.
    #[expect(clippy::disallowed_methods, reason = "the variables are those of the run")]
    fn after(self, script: &str) -> Self {
        let mut command = Command::new("bash");
        let script = format!("{script}; exec \"$@\"");
        command.args(["-c", &script, "bash"]).args(self.command.get_args().skip(1));
        command.env_clear().envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.command.get_current_dir().unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command }
    }

    pub(crate) fn start(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        let out = child.stdout.take().map_or_else(|| collect(std::io::empty()), collect);
        let err = collect(child.stderr.take().unwrap());
        Running { child, out, err }
    }

    pub(crate) fn finish(self) -> Ran {
        self.start().finish()
    }
}

impl Running {
    /// Waits until standard output has this text.
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |out| out.contains(text));
    }

    /// Waits until standard output is as it must be; `what` is for the message when it never is.
    fn wait_until(&mut self, what: &str, holds: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(&self.out.0.lock().unwrap()) {
            let over = self.child.try_wait().unwrap().is_some() || Instant::now() > end;
            // What came in between must be looked at too.
            assert!(!over || holds(&self.out.0.lock().unwrap()), "never {what}: {}", self.shown());
            std::thread::sleep(TICK);
        }
    }

    /// Waits for something that the run brings about outside.
    pub(crate) fn wait_while(&mut self, mut goes_on: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while goes_on() {
            let over = self.child.try_wait().unwrap().is_some() || Instant::now() > end;
            assert!(!over, "ended or waited for too long: {}", self.shown());
            std::thread::sleep(TICK);
        }
    }

    /// What a terminal sends on Ctrl-C, here to the program alone.
    pub(crate) fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// What a terminal sends that goes away.
    pub(crate) fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// Ends the program as nothing can prepare for.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn finish(mut self) -> Ran {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "does not end: {}", self.shown());
            std::thread::sleep(TICK);
        };
        // A process that was left behind may hold the streams open: their ends are not waited for without an end.
        while !(self.out.1.is_finished() && self.err.1.is_finished()) {
            assert!(Instant::now() < end, "something holds the output open: {}", self.shown());
            std::thread::sleep(TICK);
        }
        let text = |stream: &Stream| stream.0.lock().unwrap().clone();
        Ran { code: status.code(), out: text(&self.out), err: text(&self.err) }
    }

    fn shown(&self) -> String {
        format!("{}\n-- standard error\n{}", self.out.0.lock().unwrap(), self.err.0.lock().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended by itself unless the test failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ran {
    /// Fails with everything that was printed unless the run ended with this code.
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.text());
        self
    }

    /// The code that the run ended with; nothing where a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.code
    }

    /// Fails unless every one of these stands somewhere in the output.
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        let text = self.text();
        for part in parts {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
        self
    }

    /// Fails if one of these stands somewhere in the output.
    pub(crate) fn says_nothing_of(self, parts: &[&str]) -> Self {
        let text = self.text();
        for part in parts {
            assert!(!text.contains(part), "`{part}` in\n{text}");
        }
        self
    }

    /// Standard output, then standard error.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// The line of standard output that begins with this word.
    pub(crate) fn line(&self, word: &str) -> &str {
        let line = self.out.lines().find(|line| line.trim_start().starts_with(word));
        line.unwrap_or_else(|| panic!("no line begins with `{word}` in\n{}", self.text()))
    }
}

fn collect(stream: impl Read + Send + 'static) -> Stream {
    let text = Arc::new(Mutex::new(String::new()));
    let thread = std::thread::spawn({
        let text = Arc::clone(&text);
        move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        }
    });
    (text, thread)
}

/// The test's own programs, those that the pipeline installed for this workspace, then `PATH`.
fn path(tools: &Path) -> String {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/xtask/tools/bin");
    let machine = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        [tools.to_owned(), installed].into_iter().chain(std::env::split_paths(&machine)).collect();
    std::env::join_paths(folders).unwrap().into_string().unwrap()
}
