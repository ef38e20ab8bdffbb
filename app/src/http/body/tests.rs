//! Bodies that arrive slowly, not at all, or too large.

use futures_util::stream::{self, StreamExt};

use super::*;

/// With a paused clock, which advances when every task waits.
#[tokio::test(start_paused = true)]
async fn a_body_has_a_timeout_and_a_maximum_size() {
    let chunks = |size: usize, count: usize, pause: Duration| {
        let chunk = move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, std::io::Error>(vec![b'x'; size])
        };
        Body::from_stream(stream::iter(0..count).then(chunk))
    };
    let second = Duration::from_secs(1);
    let limit = launchway_report::MAX_BYTES;
    for (mut body, outcome) in [
        (Body::from("all"), Ok(3)),
        (chunks(1, 4, second), Ok(4)),
        // A byte a second is too slow.
        (chunks(1, 100, second), Err(Error::Timeout)),
        (chunks(8192, 8, second), Ok(65_536)),
        (chunks(8192, 9, Duration::ZERO), Err(Error::TooLarge)),
        (Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>()), Err(Error::Timeout)),
    ] {
        let start = Instant::now();
        let read = whole(&mut body, limit, None).await.map(|bytes| bytes.len());
        assert_eq!(read, outcome);
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}
