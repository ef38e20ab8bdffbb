//! The connected clients, and which of them to disconnect when there are too many.
//!
//! A connection is either being served, or the server waits for its client: for a request, for the rest of a body, for a
//! response to be read. When the limit is reached, a new connection evicts the one that has kept the server waiting
//! longest. Bytes of a body count against that wait, so a client that sends outlasts one that only holds a connection.
//! If the server waits for none of them, because each pipelines its requests, those with the most requests are closed
//! after their current response.
//!
//! IP addresses play no part. Behind a proxy all clients share a few, and anybody can write `X-Forwarded-For`: a limit
//! per address would lock out the pipeline together with the attackers.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The rate at which a client must send a body, in bytes a second.
pub(crate) const RATE: usize = 16 * 1024;

/// The share of connections that is evicted at a time: one in `SHARE`.
const SHARE: usize = 64;

/// All connected clients.
#[derive(Debug)]
pub(crate) struct Clients {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    clients: HashMap<u64, Arc<Client>>,
    next: u64,
}

impl Clients {
    /// Allows at most `most` clients.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// Admits one more client. `None` when the limit is reached and all clients are being served.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Seat> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.clients.len() >= self.most && !open.evict() {
            open.dismiss();
            return None;
        }
        let (key, client) = (open.next, Arc::new(Client::default()));
        open.next += 1;
        open.clients.insert(key, Arc::clone(&client));
        Some(Seat { key, client, clients: Arc::clone(self) })
    }

    /// Disconnects the clients that have kept the server waiting longest. Returns whether there were any.
    pub(crate) fn evict(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).evict()
    }
}

impl Open {
    /// Evicts several at once: the search costs more than the eviction.
    fn evict(&mut self) -> bool {
        let waiting = self.clients.iter().filter_map(|(key, client)| Some((client.since()?, *key)));
        let mut waiting: Vec<_> = waiting.collect();
        let several = self.clients.len().div_ceil(SHARE).min(waiting.len());
        if several < waiting.len() {
            waiting.select_nth_unstable(several);
        }
        for (_, key) in &waiting[..several] {
            if let Some(client) = self.clients.remove(key) {
                client.leave.notify_one();
            }
        }
        several > 0
    }

    /// Closes those with the most requests after their current response.
    fn dismiss(&self) {
        let requests = |client: &&Arc<Client>| client.requests.load(Ordering::Relaxed);
        let mut served: Vec<_> = self.clients.values().filter(|client| requests(client) > 1).collect();
        let several = self.clients.len().div_ceil(SHARE).min(served.len());
        if several < served.len() {
            served.select_nth_unstable_by_key(several, |client| Reverse(requests(client)));
        }
        for client in &served[..several] {
            client.requests.store(0, Ordering::Relaxed);
            client.last.notify_one();
        }
    }
}

/// A client's place among all; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Seat {
    key: u64,
    clients: Arc<Clients>,
    pub(crate) client: Arc<Client>,
}

impl Seat {
    /// Returns when the client must disconnect.
    pub(crate) async fn evicted(&self) {
        self.client.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.clients.open.lock().unwrap_or_else(PoisonError::into_inner).clients.remove(&self.key);
    }
}

/// The state of one connection.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Since when the server waits for the client. `None` while it serves the client, and before it has read a new
    /// client's first request: under load, new clients would otherwise evict each other before any was served.
    since: Mutex<Option<Instant>>,
    requests: AtomicU64,
    leave: Notify,
    last: Notify,
}

impl Client {
    /// Marks that the server waits for the client from now on.
    pub(crate) fn wait(&self) {
        self.set(Some(Instant::now()));
    }

    /// Marks that the server serves the client.
    pub(crate) fn work(&self) {
        self.set(None);
    }

    /// Counts a request.
    pub(crate) fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns when the current response must be the last.
    pub(crate) async fn dismissed(&self) {
        self.last.notified().await;
    }

    /// Shortens the wait by what `bytes` are worth, never below zero: sending a lot buys no credit.
    pub(crate) fn sent(&self, bytes: usize) {
        self.set(self.since().map(|since| (since + worth(bytes)).min(Instant::now())));
    }

    fn since(&self) -> Option<Instant> {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<Instant>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// How long `bytes` may take to arrive.
pub(crate) fn worth(bytes: usize) -> Duration {
    Duration::from_secs(1) * u32::try_from(bytes).unwrap_or(u32::MAX) / u32::try_from(RATE).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_upload_buys_no_credit() {
        let clients = Clients::new(2);
        let [sender, newcomer] = [clients.enter().unwrap(), clients.enter().unwrap()];
        sender.client.wait();
        sender.client.sent(64 * RATE);
        newcomer.client.wait();
        assert!(clients.evict());
        let open = |seat: &Seat| clients.open.lock().unwrap().clients.contains_key(&seat.key);
        assert_eq!([open(&sender), open(&newcomer)], [false, true]);
    }

    #[test]
    fn the_client_that_kept_the_server_waiting_longest_is_evicted() {
        let clients = Clients::new(3);
        let seats: Vec<_> = (0..3).map(|_| clients.enter().unwrap()).collect();
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        seats[0].client.work();
        seats[1].client.set(ago(3));
        seats[2].client.set(ago(4));
        // 64 kB are worth four seconds.
        seats[2].client.sent(4 * RATE);
        let open = |seat: &Seat| clients.open.lock().unwrap().clients.contains_key(&seat.key);
        let newest = clients.enter().unwrap();
        newest.client.work();
        assert_eq!(
            [open(&seats[0]), open(&seats[1]), open(&seats[2]), open(&newest)],
            [true, false, true, true]
        );
        assert!(clients.evict());
        assert!(!open(&seats[2]));
        // Clients being served stay, so there is room for one more only.
        let last = clients.enter().unwrap();
        last.client.work();
        assert!(clients.enter().is_none() && !clients.evict());
        drop(newest);
        assert!(clients.enter().is_some());
    }
}
