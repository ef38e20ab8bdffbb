//! A way to a server that can be closed in the middle of a request.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is held back from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Nothing,
    /// The second half of a request that begins with this, and all that follows.
    Request(&'static str),
    /// The answer to a request that begins with this.
    Answer(&'static str),
    /// Somebody waits: it was held back.
    Held,
}

/// An address on loopback behind which another server answers, as long as nothing is held back.
pub(crate) struct Gate {
    pub(crate) host: String,
    hold: Arc<Mutex<Hold>>,
}

impl Gate {
    pub(crate) fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let hold = Arc::new(Mutex::new(Hold::Nothing));
        let (server, shared) = (server.to_owned(), Arc::clone(&hold));
        // It ends with the test's process, like every thread here.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&server).unwrap();
                let (to_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let muted = Arc::new(Mutex::new(false));
                let (one, other) = ((Arc::clone(&shared), Arc::clone(&muted)), (Arc::clone(&shared), muted));
                std::thread::spawn(move || requests(client, to_server, &one.0, &one.1));
                std::thread::spawn(move || answers(server, to_client, &other.0, &other.1));
            }
        });
        Self { host, hold }
    }

    pub(crate) fn set(&self, hold: Hold) {
        *self.hold.lock().unwrap() = hold;
    }

    pub(crate) fn holds(&self) -> bool {
        *self.hold.lock().unwrap() == Hold::Held
    }
}

fn requests(mut client: TcpStream, mut server: TcpStream, hold: &Mutex<Hold>, muted: &Mutex<bool>) {
    let mut piece = [0; 16 << 10];
    while let Ok(read @ 1..) = client.read(&mut piece) {
        let now = *hold.lock().unwrap();
        let begins = |text: &str| piece[..read].starts_with(text.as_bytes());
        match now {
            Hold::Request(text) if begins(text) => {
                drop(server.write_all(&piece[..read / 2]));
                *hold.lock().unwrap() = Hold::Held;
                // Until the client is gone.
                while let Ok(1..) = client.read(&mut piece) {}
                break;
            }
            Hold::Answer(text) if begins(text) => *muted.lock().unwrap() = true,
            _ => {}
        }
        if server.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    drop(server.shutdown(Shutdown::Both));
}

fn answers(mut server: TcpStream, mut client: TcpStream, hold: &Mutex<Hold>, muted: &Mutex<bool>) {
    let mut piece = [0; 16 << 10];
    while let Ok(read @ 1..) = server.read(&mut piece) {
        if *muted.lock().unwrap() {
            *hold.lock().unwrap() = Hold::Held;
        } else if client.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    drop(client.shutdown(Shutdown::Both));
}
