//! Processes that a killed run left behind, which the next run ends.
//!
//! A child ends with us, but the processes that it started may not. So each child leaves a record of itself, which is
//! removed once we have waited for it. A record of a run that is over points to a process group that must be ended.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, getppid, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::file::write_whole;

/// The folder of this run's records.
static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A process group, and the run that started it.
#[derive(Serialize, Deserialize)]
struct Record {
    /// The machine's boot and the namespace of process ids: other ids mean nothing here.
    space: String,
    leader: Process,
    /// The session that all processes of the group belong to.
    session: i32,
    run: Process,
}

/// A process: its id may be reused, but not with the same start time.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    id: i32,
    /// In ticks since boot.
    start: u64,
}

/// The kernel's data about a process.
#[derive(Clone, Copy)]
struct Status {
    process: Process,
    parent: i32,
    group: i32,
    session: i32,
}

impl Status {
    /// Reads `/proc/<id>/stat`; `None` for a process that has ended.
    fn of(id: &str) -> Option<Self> {
        let text = fs_err::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name before it may contain anything.
        let (number, rest) = (text.split_once(' ')?.0, text.rsplit_once(") ")?.1);
        let fields: Vec<&str> = rest.split(' ').collect();
        // A zombie no longer runs.
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        let process = Process { id: number.parse().ok()?, start: fields.get(19)?.parse().ok()? };
        let parent = fields.get(1)?.parse().ok()?;
        Some(Self {
            process,
            parent,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
        })
    }
}

/// Descendants of a process group that are outside it: cargo-nextest starts each test in a separate group, which a signal
/// to its own group does not reach.
#[derive(Default)]
pub(crate) struct Started(Vec<Status>);

impl Started {
    /// The descendants so far, as long as the processes that started them live.
    pub(crate) fn by_group(leader: u32) -> Self {
        Self(i32::try_from(leader).map(|leader| of_group(leader).1).unwrap_or_default())
    }

    /// Kills those that are still running.
    pub(crate) fn end(&self) {
        for Status { process, .. } in &self.0 {
            let is_same = |now: Status| now.process == *process;
            if Status::of(&process.id.to_string()).is_some_and(is_same)
                && let Some(pid) = Pid::from_raw(process.id)
            {
                // An error means that it has just ended.
                kill_process(pid, Signal::KILL).ok();
            }
        }
    }
}

/// The processes of a group, and their descendants outside it.
fn of_group(leader: i32) -> (Vec<Status>, Vec<Status>) {
    let Ok(processes) = fs_err::read_dir("/proc") else { return Default::default() };
    let names = processes.flatten().map(|entry| entry.file_name());
    let all = names.filter_map(|name| Status::of(name.to_str()?));
    let (group, mut others): (Vec<Status>, Vec<Status>) = all.partition(|status| status.group == leader);
    let mut parents: Vec<i32> = group.iter().map(|status| status.process.id).collect();
    let mut started = Vec::new();
    while let Some(parent) = parents.pop() {
        let (children, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|status| status.parent == parent);
        parents.extend(children.iter().map(|status| status.process.id));
        started.extend(children);
        others = rest;
    }
    (group, started)
}

/// Whether this process is that process or one of its descendants.
pub fn is_within(id: i32) -> bool {
    let mut own = Status::of("self");
    while let Some(status) = own.filter(|status| status.process.id > 1) {
        if status.process.id == id {
            return true;
        }
        own = Status::of(&status.parent.to_string());
    }
    false
}

/// Where the records of this run's children are, if they leave any.
pub fn folder() -> Option<PathBuf> {
    FOLDER.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// From now on, children leave records in this folder. Ends what finished runs left there, and returns its names.
pub fn begin(folder: &Path) -> Vec<String> {
    let ended = end(folder);
    *FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.to_owned());
    ended
}

/// Leaves the record of this process, which is about to exec the child. If that fails, the child runs anyway.
pub(crate) fn record(folder: &Path) {
    let record = || {
        let leader = Status::of("self")?;
        let run = Status::of(&getppid()?.as_raw_pid().to_string())?;
        let record =
            Record { space: space()?, leader: leader.process, session: leader.session, run: run.process };
        write_whole(&path(folder, leader.process.id.unsigned_abs()), &serde_json::to_vec(&record).ok()?).ok()
    };
    record();
}

/// Removes the record of a child that has been waited for.
pub fn forget(leader: u32) {
    if let Some(folder) = folder() {
        // A child that could not be started has none.
        drop(fs_err::remove_file(path(&folder, leader)));
    }
}

fn path(folder: &Path, leader: u32) -> PathBuf {
    folder.join(format!("{leader}.json"))
}

fn space() -> Option<String> {
    let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{} {}", boot.trim(), fs_err::read_link("/proc/self/ns/pid").ok()?.display()))
}

fn end(folder: &Path) -> Vec<String> {
    let mut ended = Vec::new();
    let (Some(space), Ok(entries)) = (space(), fs_err::read_dir(folder)) else { return ended };
    for path in entries.flatten().map(|entry| entry.path()) {
        let record: Option<Record> =
            fs_err::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let ours = record.filter(|record| record.space == space);
        if let Some(record) = &ours {
            let run = Status::of(&record.run.id.to_string());
            if run.is_some_and(|run| run.process == record.run) {
                continue;
            }
            ended.extend(record.end());
        }
        drop(fs_err::remove_file(path));
    }
    ended
}

impl Record {
    /// Kills the group, if it is the recorded one, and returns the programs that ran in it.
    fn end(&self) -> Vec<String> {
        let (group, started) = of_group(self.leader.id);
        // As long as a process of the group lives, no other group gets its id. A later group with that id would have
        // another leader, or belong to another session.
        let is_ours = |status: &Status| {
            status.session == self.session
                && (status.process.id != self.leader.id || status.process == self.leader)
        };
        let Some(pid) = Pid::from_raw(self.leader.id).filter(|_| group.iter().all(is_ours)) else {
            return Vec::new();
        };
        let name = |status: &Status| {
            let name = fs_err::read_to_string(format!("/proc/{}/comm", status.process.id)).ok()?;
            Some(format!("{} ({})", name.trim_end(), status.process.id))
        };
        let names = group.iter().chain(&started).filter_map(name).collect();
        // An error means that the group is gone.
        kill_process_group(pid, Signal::KILL).ok();
        Started(started).end();
        names
    }
}
