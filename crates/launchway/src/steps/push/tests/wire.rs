//! A wire to a registry that breaks: what a server cannot do to itself.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What happens to the first request that holds the wire's needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    /// The connection ends while the body is under way.
    Cut,
    /// The same, and no later one gets through either.
    Gone,
    /// The registry responds with 500 before it has read the body.
    EarlyResponse,
    /// The body is not taken any further.
    Stall,
    /// The request arrives, but its response does not.
    ResponseLost,
}

/// A proxy for TCP; it takes no new connections once it is dropped.
pub(super) struct Wire {
    pub(super) host: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the connections of a wire share.
struct Plan {
    to: String,
    needle: Vec<u8>,
    fault: Mutex<Option<Break>>,
    gone: AtomicBool,
}

impl Wire {
    /// A wire to `to` on which `fault` befalls the first request that holds `needle`.
    pub(super) fn to(to: &str, needle: &str, fault: Break) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let plan = Plan {
            to: to.to_owned(),
            needle: needle.as_bytes().to_vec(),
            fault: Mutex::new(Some(fault)),
            gone: AtomicBool::new(false),
        };
        let (plan, stopped) = (Arc::new(plan), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if !plan.gone.load(Ordering::Relaxed) {
                    let plan = Arc::clone(&plan);
                    std::thread::spawn(move || plan.carry(&client));
                }
            }
        });
        Self { host, stop, thread: Some(thread) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(&self.host));
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Plan {
    /// Carries one connection until either side ends it, or the fault does.
    fn carry(&self, mut client: &TcpStream) {
        let Ok(mut server) = TcpStream::connect(&self.to) else { return };
        let (mut back_from, mut back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let silent = Arc::new(AtomicBool::new(false));
        let lost = Arc::clone(&silent);
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(read @ 1..) = back_from.read(&mut bytes) {
                if lost.load(Ordering::Relaxed) || back_to.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
            drop(back_to.shutdown(Shutdown::Both));
        });
        let mut bytes = [0; 8192];
        while let Ok(read @ 1..) = client.read(&mut bytes) {
            let held = bytes[..read].windows(self.needle.len()).any(|window| window == self.needle);
            match held.then(|| self.fault.lock().unwrap().take()).flatten() {
                Some(Break::ResponseLost) => silent.store(true, Ordering::Relaxed),
                Some(fault) => {
                    self.gone.store(fault == Break::Gone, Ordering::Relaxed);
                    if fault == Break::Stall {
                        // Until the client has had enough: what it sends is not read.
                        std::thread::sleep(std::time::Duration::from_secs(1));
                    }
                    if fault == Break::EarlyResponse {
                        let response = "HTTP/1.1 500 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                        client.write_all(response.as_bytes()).ok();
                    }
                    break;
                }
                None => {}
            }
            if self.gone.load(Ordering::Relaxed) || server.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        drop(client.shutdown(Shutdown::Both));
        drop(server.shutdown(Shutdown::Both));
    }
}
