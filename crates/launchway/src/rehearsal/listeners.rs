//! Finds out whether other machines can reach the service of a rehearsal while it runs.
//!
//! Render runs a service in a container; a rehearsal runs it on this machine, where it may listen on any interface.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The ports on which the process groups with these leaders listen on all interfaces.
pub(super) fn open_to_others(leaders: &[u32]) -> BTreeSet<u16> {
    let listening = members(leaders).into_iter().flat_map(listening);
    listening.filter(|(address, _)| address.is_unspecified()).map(|(_, port)| port).collect()
}

/// The processes of these groups: the entry point may have started the service.
fn members(leaders: &[u32]) -> Vec<u32> {
    let Ok(entries) = fs_err::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| group(*pid).is_some_and(|leader| leaders.contains(&leader))).collect()
}

/// The leader of a process's group: the third field after the name, which may itself contain spaces and brackets
/// (proc(5)).
fn group(pid: u32) -> Option<u32> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

/// The addresses on which a process accepts connections; empty for another user's process.
fn listening(pid: u32) -> Vec<(IpAddr, u16)> {
    let of_process = Path::new("/proc").join(pid.to_string());
    let Ok(files) = fs_err::read_dir(of_process.join("fd")) else { return Vec::new() };
    let links = files.flatten().filter_map(|file| fs_err::read_link(file.path()).ok());
    let sockets: BTreeSet<String> = links
        .filter_map(|link| {
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let tables = ["net/tcp", "net/tcp6"].map(|table| fs_err::read_to_string(of_process.join(table)));
    let entries = tables.iter().flatten().flat_map(|table| table.lines());
    entries.filter_map(|entry| listener(entry, &sockets)).collect()
}

/// A line of `/proc/net/tcp` or `tcp6` (proc(5)), if it is a listener with one of these inodes.
fn listener(line: &str, sockets: &BTreeSet<String>) -> Option<(IpAddr, u16)> {
    /// `TCP_LISTEN` in the kernel's `include/net/tcp_states.h`.
    const LISTEN: &str = "0A";

    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != LISTEN || !sockets.contains(*inode) {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    // 32-bit words in the machine's byte order, each in hexadecimal.
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes()).into(),
        32 => {
            let mut bytes = [0; 16];
            for (place, word) in bytes.chunks_exact_mut(4).enumerate() {
                let hex = address.get(place * 8..place * 8 + 8)?;
                word.copy_from_slice(&u32::from_str_radix(hex, 16).ok()?.to_ne_bytes());
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_listeners_of_a_process_are_found() {
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = here.local_addr().unwrap().port();
        let pid = std::process::id();
        assert!(listening(pid).contains(&(Ipv4Addr::LOCALHOST.into(), port)));
        let leader = group(pid).unwrap();
        assert!(members(&[leader]).contains(&pid));
        assert!(!open_to_others(&[leader]).contains(&port), "loopback is not open to others");
        drop(here);
        assert!(!listening(pid).contains(&(Ipv4Addr::LOCALHOST.into(), port)));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_line_of_the_kernel_is_an_address() {
        let sockets = BTreeSet::from(["42".to_owned()]);
        let line = |local: &str, state: &str, inode: &str| {
            let line = format!("0: {local} 00000000:0000 {state} 0:0 00:0 0 1000 0 {inode} 1 0 100");
            listener(&line, &sockets)
        };
        let any = |port| Some((IpAddr::from(Ipv4Addr::UNSPECIFIED), port));
        assert_eq!(line("00000000:1F40", "0A", "42"), any(8000));
        assert_eq!(line("0100007F:1F40", "0A", "42"), Some((Ipv4Addr::LOCALHOST.into(), 8000)));
        let six = "00000000000000000000000000000000:0050";
        assert_eq!(line(six, "0A", "42"), Some((Ipv6Addr::UNSPECIFIED.into(), 80)));
        let mapped = "0000000000000000FFFF00000100007F:0050";
        assert_eq!(line(mapped, "0A", "42"), Some((Ipv4Addr::LOCALHOST.into(), 80)));
        assert_eq!(line("00000000:1F40", "01", "42"), None, "a connection");
        assert_eq!(line("00000000:1F40", "0A", "43"), None, "another process");
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue", &sockets), None);
    }
}
