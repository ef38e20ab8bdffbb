//! How instances end, what is kept of what they print, and a program that is not there yet.

use super::*;

/// Whether the process is there, as a zombie or alive.
fn exists(pid: u32) -> bool {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::test_kill_process(pid).is_ok()
}

#[tokio::test]
async fn stopping_leaves_no_process() {
    let rig = Rig::start(|_| {}).await;
    rig.push("latest", run_config()).await;
    rig.until(&rig.deploy(json!({})).await, &["live"]).await;
    rig.set("MODE", "unhealthy").await;
    rig.deploy(json!({})).await;
    let pids = rig.until_pids(2).await;
    assert!(pids.iter().all(|pid| exists(*pid)));
    rig.render.stop().await;
    assert!(!pids.iter().any(|pid| exists(*pid)));
}

#[tokio::test]
async fn dropping_kills_even_what_ignores_signals() {
    let rig = Rig::start(|options| options.health_path = String::new()).await;
    // Its child is in the same group, so it goes too.
    let script = b"#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1000; done\n";
    let tar = layer(&[("app/app", Some(script))]);
    rig.push_layer("latest", run_config(), &tar, &digest_of(&tar)).await;
    rig.deploy(json!({})).await;
    let pids = rig.until_pids(1).await;
    let processes = Arc::clone(&rig.render.engine.processes);
    drop(rig.render);
    processes.until(Duration::from_secs(10), <[u32]>::is_empty).await.unwrap();
    assert!(!exists(pids[0]));
}

#[tokio::test]
async fn what_does_not_end_in_time_is_killed() {
    let rig = Rig::start(|_| {}).await;
    let script = b"#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 1000; done\n";
    let tar = layer(&[("app/app", Some(script))]);
    rig.push_layer("latest", run_config(), &tar, &digest_of(&tar)).await;
    rig.deploy(json!({})).await;
    let pids = rig.until_pids(1).await;
    // Before the trap is set, SIGTERM would end it.
    let ready = |logs: &state::Logs| logs.iter().any(|line| line.message == "ready").then_some(());
    rig.render.engine.logs.wait_for(Duration::from_secs(10), ready).await.unwrap();
    rig.render.engine.processes.stop_all(Duration::from_millis(50)).await;
    assert!(!exists(pids[0]));
}

#[tokio::test]
async fn only_the_latest_lines_are_kept_and_long_ones_are_cut() {
    let rig = Rig::start(|_| {}).await;
    let script = b"#!/bin/sh\ni=0\nwhile [ $i -lt 250 ]; do echo line $i; i=$((i+1)); done\nprintf '%05000d\\n' 7\nexit 1\n";
    let tar = layer(&[("app/app", Some(script))]);
    rig.push_layer("latest", run_config(), &tar, &digest_of(&tar)).await;
    rig.until_over(&rig.deploy(json!({})).await).await;
    let last =
        |logs: &state::Logs| logs.back().filter(|line| line.message.ends_with('7')).map(|_| logs.clone());
    let logs = rig.render.engine.logs.wait_for(Duration::from_secs(10), last).await.unwrap();
    assert_eq!(logs.len(), 200);
    assert_eq!(logs[0].message, "line 52");
    assert_eq!((logs[198].message.len(), logs[199].message.len()), (4096, 904));
    assert!(rig.folder.path().join("render").is_dir());
}

#[tokio::test]
async fn a_program_that_is_still_being_written_starts_a_moment_later() {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("app");
    fs_err::write(&program, &*BINARY).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(&program, executable).unwrap();
    let writing = fs_err::OpenOptions::new().append(true).open(&program).unwrap();
    let launch = instance::Launch {
        command: plain_command(&program).into(),
        arguments: Vec::new(),
        environment: [("MODE".to_owned(), "leave".to_owned())].into(),
        address: ([127, 0, 0, 1], 1).into(),
    };
    let processes = Arc::new(instance::Processes::new(GroupHooks::default()));
    let logs = Arc::new(crate::server::Shared::new(state::Logs::new()));
    let written = async {
        // Polled after the first try, which finds the file busy.
        tokio::task::yield_now().await;
        drop(writing);
    };
    let (started, ()) =
        tokio::join!(instance::Instance::start("one".to_owned(), launch, &processes, &logs), written);
    assert!(started.unwrap().exited().await.unwrap().success());
}
