//! `app healthcheck`: checks the server on this machine. For images without a shell.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::http::HEALTH_PATH;

/// Bounds connecting, sending and each read.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Fails unless the server on `port` responds with 200.
pub(crate) fn run(port: u16) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let status = request(address)
        .map_err(|error| io::Error::other(format!("http://{address}{HEALTH_PATH}: {error}")))?;
    if status == *b"HTTP/1.1 200" {
        return Ok(());
    }
    let status = String::from_utf8_lossy(&status);
    Err(io::Error::other(format!("http://{address}{HEALTH_PATH} returned `{}`", status.escape_debug())))
}

/// Requests the health page and returns the HTTP version and status of the response.
fn request(address: SocketAddr) -> io::Result<[u8; 12]> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {HEALTH_PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status)
}
