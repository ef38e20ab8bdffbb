//! One running instance of the service: a process group, its port and its output.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::server::{Shared, random_hex};

use super::GroupHooks;
use super::state::{LogLine, Logs, MAX_LINE, MAX_LINES, now};

/// What to start, and how.
pub(crate) struct Launch {
    /// The program, in its folder.
    pub(crate) command: Command,
    pub(crate) arguments: Vec<String>,
    /// The complete environment: the service inherits none of ours.
    pub(crate) environment: BTreeMap<String, String>,
    /// The loopback port to listen on.
    pub(crate) address: SocketAddr,
}

/// A started process; dropping it kills the whole group.
pub(crate) struct Instance {
    /// `srv-…-xxxxx`.
    pub(crate) id: String,
    pub(crate) created_at: SystemTime,
    pub(crate) address: SocketAddr,
    pid: u32,
    processes: Arc<Processes>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Instance {
    /// Starts the process as the leader of its own group, so that its children can be ended with it.
    pub(crate) async fn start(
        id: String,
        launch: Launch,
        processes: &Arc<Processes>,
        logs: &Arc<Shared<Logs>>,
    ) -> anyhow::Result<Self> {
        let address = launch.address;
        let mut child = spawn(launch).await.context("failed to start the entry point")?;
        let pid = child.id().context("the entry point ended before it had a process id")?;
        processes.add(pid);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(keep_lines(output, id.clone(), Arc::clone(logs)));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(keep_lines(output, id.clone(), Arc::clone(logs)));
        }
        let (exited, exit) = watch::channel(None);
        tokio::spawn(watch_over(child, pid, Arc::clone(processes), exited));
        Ok(Self { id, created_at: now(), address, pid, processes: Arc::clone(processes), exit })
    }

    /// When and how the process ended; `None` if that can no longer be determined.
    pub(crate) async fn exited(&self) -> Option<ExitStatus> {
        self.exit.clone().wait_for(Option::is_some).await.ok().and_then(|status| *status)
    }

    /// Sends SIGTERM, then SIGKILL after `grace`.
    pub(crate) async fn stop(&self, grace: Duration) {
        self.processes.signal(self.pid, Signal::TERM);
        if tokio::time::timeout(grace, self.exited()).await.is_err() {
            self.processes.signal(self.pid, Signal::KILL);
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.processes.signal(self.pid, Signal::KILL);
    }
}

/// The process groups that are alive.
pub(crate) struct Processes {
    groups: Shared<Groups>,
    hooks: GroupHooks,
}

struct Groups {
    leaders: BTreeSet<u32>,
    /// Forbids any further start.
    closed: bool,
}

impl Processes {
    pub(crate) fn new(hooks: GroupHooks) -> Self {
        Self { groups: Shared::new(Groups { leaders: BTreeSet::new(), closed: false }), hooks }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.groups.read(|groups| groups.leaders.iter().copied().collect())
    }

    /// Waits until the leaders satisfy the condition.
    #[cfg(test)]
    pub(crate) async fn until(&self, timeout: Duration, wanted: impl Fn(&[u32]) -> bool) -> Option<Vec<u32>> {
        let pids = |groups: &Groups| groups.leaders.iter().copied().collect::<Vec<_>>();
        self.groups.wait_for(timeout, |groups| Some(pids(groups)).filter(|pids| wanted(pids))).await
    }

    /// Ends all groups, waiting at most `grace` before it kills them.
    pub(crate) async fn stop_all(&self, grace: Duration) {
        self.signal_all(Signal::TERM);
        let none_left = |groups: &Groups| groups.leaders.is_empty().then_some(());
        if self.groups.wait_for(grace, none_left).await.is_none() {
            self.kill_all();
            // A killed process ends as soon as the kernel gets to it; this waits for its entry in the process table.
            self.groups.wait_for(Duration::from_secs(1), none_left).await;
        }
    }

    /// Kills all groups without waiting.
    pub(crate) fn kill_all(&self) {
        self.signal_all(Signal::KILL);
    }

    fn signal_all(&self, signal: Signal) {
        self.groups.change(|groups| {
            groups.closed = true;
            groups.leaders.iter().for_each(|pid| send(*pid, signal));
        });
    }

    /// Only for a leader that has not been waited for: afterwards, another process could have its id.
    fn signal(&self, pid: u32, signal: Signal) {
        self.groups.read(|groups| {
            if groups.leaders.contains(&pid) {
                send(pid, signal);
            }
        });
    }

    fn add(&self, pid: u32) {
        (self.hooks.started)(pid);
        self.groups.change(|groups| {
            groups.leaders.insert(pid);
            if groups.closed {
                send(pid, Signal::KILL);
            }
        });
    }

    fn remove(&self, pid: u32) {
        self.groups.change(|groups| {
            // Processes that the leader left behind; the group keeps its id as long as it has members.
            send(pid, Signal::KILL);
            groups.leaders.remove(&pid);
        });
        (self.hooks.ended)(pid);
    }
}

/// The only possible failure is that the group is gone, which is the purpose of the signal.
fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process_group(pid, signal).ok();
    }
}

/// Starts the process, retrying while its file is busy: a process that another thread forks briefly inherits the
/// descriptor with which we are writing the program.
async fn spawn(launch: Launch) -> std::io::Result<Child> {
    const TRIES: usize = 100;

    let mut command = launch.command;
    command.args(&launch.arguments).env_clear().envs(&launch.environment);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    for _ in 1..TRIES {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
    command.spawn()
}

async fn watch_over(
    mut child: Child,
    pid: u32,
    processes: Arc<Processes>,
    exited: watch::Sender<Option<ExitStatus>>,
) {
    let status = child.wait().await;
    processes.remove(pid);
    exited.send_replace(status.ok());
}

/// Keeps the latest lines; splits one that is too long.
async fn keep_lines(output: impl AsyncRead + Unpin, instance: String, logs: Arc<Shared<Logs>>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut output).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let message = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
        logs.change(|logs| {
            if logs.len() == MAX_LINES {
                logs.pop_front();
            }
            // All times differ: a client pages by the time of the last line that it got.
            let timestamp = logs
                .back()
                .map_or(SystemTime::UNIX_EPOCH, |last| last.timestamp + Duration::from_micros(1))
                .max(now());
            let (id, instance) = (random_hex::<8>(), instance.clone());
            logs.push_back(LogLine { id, timestamp, instance, message });
        });
    }
}
