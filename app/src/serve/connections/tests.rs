//! The limits on clients.

use std::net::SocketAddr;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::stream::WRITE_TIMEOUT;
use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const LARGE: usize = 64 << 20;

/// The two ends of a request for `/slow`.
#[derive(Default)]
struct Slow {
    begun: Notify,
    release: Notify,
}

/// A server that responds at once at `/`, and with more than any buffer holds at `/large`.
async fn start() -> (Arc<Connections>, SocketAddr) {
    let (connections, address, _) = start_with(1024).await;
    (connections, address)
}

/// Starts a server for at most `most` clients. It responds at `/slow` once that is released.
async fn start_with(most: usize) -> (Arc<Connections>, SocketAddr, Arc<Slow>) {
    let both = Arc::new(Slow::default());
    let ends = Arc::clone(&both);
    let slow = async move || {
        ends.begun.notify_one();
        ends.release.notified().await;
        "done"
    };
    let router = Router::new().route("/", get(async || "ok")).route("/slow", get(slow));
    let router = router.route("/large", get(async || vec![0_u8; LARGE]));
    let connections = Arc::new(Connections::at_most(most, router));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = Arc::clone(&connections);
    tokio::spawn(async move { accepting.accept(&listener).await });
    (connections, address, both)
}

/// Sends `request` and reads until the server closes. Returns the response and the time that took.
async fn exchange(address: SocketAddr, request: &[u8]) -> (String, Duration) {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = Vec::new();
    // The server may reset the connection: it did not read all that was sent.
    stream.read_to_end(&mut response).await.ok();
    (String::from_utf8(response).unwrap(), start.elapsed())
}

/// With a paused clock, which advances when every task waits.
#[tokio::test(start_paused = true)]
async fn an_incomplete_head_times_out() {
    let (_connections, address) = start().await;
    for half in ["", "GET", "GET / HTTP/1.1\r\nHost: loc"] {
        let (response, time) = exchange(address, half.as_bytes()).await;
        assert_eq!((response.as_str(), time.as_secs()), ("", 10), "{half:?}");
    }
    // Between two requests as well.
    let (response, time) = exchange(address, REQUEST).await;
    assert!(response.starts_with("HTTP/1.1 200 OK") && response.ends_with("ok"), "{response}");
    assert_eq!(time.as_secs(), 10);
}

#[tokio::test]
async fn a_head_has_a_maximum_size() {
    let (_connections, address) = start().await;
    let wide = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(HEAD_LIMIT));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(HEADERS + 1));
    for (request, status) in [(wide, 431), (many, 431), ("nonsense\r\n\r\n".to_owned(), 400)] {
        let (response, _) = exchange(address, request.as_bytes()).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response:?}");
        // No body, so there is nothing that security headers would protect.
        assert!(response.contains("content-length: 0\r\n") && response.ends_with("\r\n\r\n"), "{response:?}");
        assert!(response.contains("connection: close\r\n"), "{response:?}");
    }
}

/// The clock is paused only while nothing is sent: the kernel takes real time to deliver.
#[tokio::test]
async fn an_unread_response_times_out() {
    let (connections, address) = start().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let almost = async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        tokio::time::pause();
        tokio::time::sleep(WRITE_TIMEOUT * 9 / 10).await;
        tokio::time::resume();
    };
    almost().await;
    assert_eq!(connections.closing.receiver_count(), 1);
    // Reading a part restarts the timeout.
    stream.read_exact(&mut vec![0; LARGE / 4]).await.unwrap();
    almost().await;
    assert_eq!(connections.closing.receiver_count(), 1);
    almost().await;
    assert_eq!(connections.closing.receiver_count(), 0);
}

#[tokio::test]
async fn shutdown_waits_for_responses_and_not_for_requests() {
    let (connections, address, ends) = start_with(1024).await;
    let slow = tokio::spawn(async move { exchange(address, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await });
    ends.begun.notified().await;
    let half = tokio::spawn(async move { exchange(address, b"GET / HTTP/1.1\r\nHos").await });
    let silent = tokio::spawn(async move { exchange(address, b"").await });
    let idle = tokio::spawn(async move { exchange(address, REQUEST).await });
    while connections.closing.receiver_count() < 4 {
        tokio::task::yield_now().await;
    }

    connections.close();
    // While one is busy, new connections get a single response.
    let (response, _) = exchange(address, REQUEST).await;
    assert!(response.contains("connection: close"), "{response}");
    for waiting in [half, silent, idle] {
        waiting.await.unwrap();
    }
    assert_eq!(connections.closing.receiver_count(), 1);
    let (slow, ()) = tokio::join!(slow, async {
        let closed = connections.closed();
        tokio::pin!(closed);
        assert!(futures_util::poll!(&mut closed).is_pending());
        ends.release.notify_one();
        closed.await;
    });
    let (response, _) = slow.unwrap();
    assert!(response.ends_with("done"), "{response}");
    // Without connections, shutdown is immediate.
    connections.closed().await;
}

#[test]
fn a_client_that_disconnects_is_not_an_error() {
    assert!(is_client_error(&io::ErrorKind::ConnectionAborted.into()));
    assert!(!is_client_error(&io::Error::other("no more files")));
}

#[tokio::test]
async fn a_new_connection_evicts_one_that_keeps_the_server_waiting() {
    let (_connections, address, ends) = start_with(3).await;
    let slow = tokio::spawn(async move {
        exchange(address, b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await
    });
    ends.begun.notified().await;
    // Clients that send nothing, half a head, half a body, and one whole request.
    let half = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx";
    let kinds: [&[u8]; 4] = [b"", b"GET / HT", half, REQUEST];
    let idle: Vec<_> =
        (0..20).map(|n| tokio::spawn(async move { exchange(address, kinds[n % 4]).await })).collect();
    for waiting in idle.into_iter().take(18) {
        waiting.await.unwrap();
    }
    // The one being served stayed.
    ends.release.notify_one();
    assert!(slow.await.unwrap().0.ends_with("done"));
}

#[tokio::test]
async fn clients_that_pipeline_requests_are_closed_too() {
    let (_connections, address, _) = start_with(2).await;
    let greedy: Vec<_> = (0..2)
        .map(|_| {
            tokio::spawn(async move {
                let (mut responses, mut requests) = TcpStream::connect(address).await.unwrap().into_split();
                let many = REQUEST.repeat(1000);
                tokio::spawn(async move { while requests.write_all(&many).await.is_ok() {} });
                tokio::io::copy(&mut responses, &mut tokio::io::sink()).await.ok();
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let request = exchange(address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let (response, _) = tokio::time::timeout(Duration::from_secs(60), request).await.unwrap();
    assert!(response.ends_with("ok"), "{response}");
    drop(greedy);
}

#[test]
fn the_limit_of_open_files_is_raised() {
    assert!(descriptors() > 0);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    assert_eq!(current, maximum);
}
