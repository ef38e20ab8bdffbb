//! Uploads the blobs that a repository lacks, four at once, in constant memory.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::blocking::{Body, RequestBuilder, Response};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};

use crate::address::{base, location};
use crate::client::{Client, Request};
use crate::error::Error;
use crate::{Digest, Repository};
use launchway_core::events::Reporter;
use launchway_core::file::write_whole;
use launchway_core::interrupt::Interrupt;
use launchway_core::size;

/// A layer or a configuration in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The digest of the file's bytes.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// The file.
    pub path: PathBuf,
    /// A repository that has it, from which a registry may mount it.
    pub source: Option<Repository>,
}

impl Blob {
    /// Writes bytes to a file, to be uploaded from there.
    pub(crate) fn keep(folder: &Path, name: &str, bytes: &[u8]) -> Result<Self> {
        let path = folder.join(name);
        write_whole(&path, bytes)?;
        Ok(Self { digest: Digest::of(bytes), size: bytes.len() as u64, path, source: None })
    }

    /// The repository from which the registry of `repository` may mount it.
    pub fn source_on(&self, repository: &Repository) -> Option<&Repository> {
        self.source.as_ref().filter(|source| source.registry() == repository.registry())
    }
}

/// What was done with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was sent.
    Uploaded,
    /// The registry mounted it from another of its repositories.
    Mounted,
    /// The registry had it already.
    Present,
}

/// How many blobs are uploaded at once: more gains nothing on a home connection, and registries limit it.
const AT_ONCE: usize = 4;

impl Client {
    /// Uploads the blobs that the repository lacks, and returns what was done with each, in the given order.
    ///
    /// The first error stops it. Blobs uploaded by then stay, and the next push finds them.
    pub fn upload(&self, repository: &Repository, blobs: &[Blob]) -> Result<Vec<Outcome>> {
        let progress = Arc::new(Progress::of(blobs, &self.session.reporter));
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || {
            let mut done = Vec::new();
            while !failed.load(Ordering::Relaxed) {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(blob) = blobs.get(place) else { break };
                let outcome = self.upload_one(repository, blob, &progress);
                failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
                done.push((place, outcome));
            }
            done
        };
        let mut done: Vec<(usize, Result<Outcome>)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE.min(blobs.len())).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        done.sort_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// Sends a HEAD, then a POST for a location and a PUT of the whole blob (OCI distribution spec, "POST then PUT").
    /// If another repository of the registry has the blob, the POST requests a mount.
    ///
    /// A retry starts over: an upload that broke off cannot be continued, and the registry may have the blob after all.
    fn upload_one(&self, repository: &Repository, blob: &Blob, progress: &Arc<Progress>) -> Result<Outcome> {
        let mut outcome = Outcome::Present;
        self.retrying(|| {
            if self.has(repository, blob)? {
                return Ok(());
            }
            let Some(location) = self.start_or_mount(repository, blob)? else {
                outcome = Outcome::Mounted;
                return Ok(());
            };
            outcome = Outcome::Uploaded;
            self.put(repository, location, blob, progress)
        })?;
        if outcome != Outcome::Uploaded {
            progress.present(blob);
        }
        Ok(outcome)
    }

    /// Whether the repository has a blob, without retries: for information that is not worth a wait.
    pub fn has_blob(&self, repository: &Repository, blob: &Blob) -> Result<bool> {
        self.has(repository, blob).map_err(Error::into_error)
    }

    fn has(&self, repository: &Repository, blob: &Blob) -> Result<bool, Error> {
        let url = base(repository)?.join(&format!("blobs/{}", blob.digest)).map_err(anyhow::Error::from)?;
        let action = format!("look for {}", blob.digest.short());
        let (method, prepare) = (Method::HEAD, &|request| Ok(request));
        let request = Request { repository, source: None, method, url, action, prepare };
        Ok(self.send(&request)?.status() != StatusCode::NOT_FOUND)
    }

    /// Where to upload a blob; `None` if the registry mounted it (OCI distribution spec, "Mounting a blob from another
    /// repository").
    ///
    /// A registry may ignore the request for a mount and send a location. If it refuses, the reason does not matter: the
    /// blob can be uploaded.
    fn start_or_mount(&self, repository: &Repository, blob: &Blob) -> Result<Option<Url>, Error> {
        if let Some(source) = blob.source_on(repository) {
            match self.start(repository, Some(source), blob) {
                Err(Error::Permanent(_)) => {}
                done => return done,
            }
        }
        self.start(repository, None, blob)
    }

    /// Opens an upload, or mounts the blob from `source`.
    fn start(
        &self,
        repository: &Repository,
        source: Option<&Repository>,
        blob: &Blob,
    ) -> Result<Option<Url>, Error> {
        let mut url = base(repository)?.join("blobs/uploads/").map_err(anyhow::Error::from)?;
        if let Some(source) = source {
            let query = [("mount", blob.digest.as_str()), ("from", source.name())];
            url.query_pairs_mut().extend_pairs(query);
        }
        let action = format!("upload {}", blob.digest.short());
        let start = |request: RequestBuilder| Ok(request.body(Vec::new()));
        let response: Response = self.send(&Request {
            repository,
            source,
            method: Method::POST,
            url: url.clone(),
            action,
            prepare: &start,
        })?;
        if source.is_some() && response.status() == StatusCode::CREATED {
            return Ok(None);
        }
        location(repository, &url, &response).map(Some)
    }

    fn put(
        &self,
        repository: &Repository,
        mut url: Url,
        blob: &Blob,
        progress: &Arc<Progress>,
    ) -> Result<(), Error> {
        let action = format!("upload {}", blob.digest.short());
        // It may already have a query with the upload's state.
        url.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        let send = |request: RequestBuilder| {
            let file = fs_err::File::open(&blob.path)?;
            let body = Counted {
                file,
                sent: 0,
                digest: blob.digest.clone(),
                progress: Arc::clone(progress),
                interrupt: self.session.interrupt.clone(),
            };
            Ok(request
                .header(CONTENT_TYPE, "application/octet-stream")
                .timeout(self.time_for(blob.size))
                .body(Body::sized(body, blob.size)))
        };
        self.send(&Request { repository, source: None, method: Method::PUT, url, action, prepare: &send })?;
        Ok(())
    }
}

/// The additional time for a body, one second per 100 kB: the client's timeout is for a whole request, and a layer
/// takes longer on a slow connection.
pub(crate) fn time_to_send(size: u64) -> Duration {
    Duration::from_secs(size / 100_000)
}

/// The progress of all blobs: bytes sent, total, and per second.
struct Progress {
    reporter: Reporter,
    /// In bytes.
    total: u64,
    started: Instant,
    state: Mutex<Sent>,
}

struct Sent {
    /// By blob, so that a repeated upload counts once.
    blobs: BTreeMap<Digest, u64>,
    /// The bytes of blobs that were already there, which took no time.
    present: u64,
    /// When the progress was last shown.
    shown: Instant,
}

impl Progress {
    /// How often the progress is shown.
    const TICK: Duration = Duration::from_millis(100);

    fn of(blobs: &[Blob], reporter: &Reporter) -> Self {
        let total = blobs.iter().map(|blob| blob.size).sum();
        let started = Instant::now();
        let sent = Sent { blobs: BTreeMap::new(), present: 0, shown: started };
        Self { reporter: reporter.clone(), total, started, state: Mutex::new(sent) }
    }

    /// Counts a blob that was already there.
    fn present(&self, blob: &Blob) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).present += blob.size;
    }

    fn now_at(&self, digest: &Digest, bytes: u64) {
        let mut sent = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        sent.blobs.insert(digest.clone(), bytes);
        if sent.shown.elapsed() >= Self::TICK {
            sent.shown = Instant::now();
            let moved: u64 = sent.blobs.values().sum();
            let rate = moved * 1000 / u64::try_from(self.started.elapsed().as_millis()).unwrap_or(1).max(1);
            let (there, total) = (size(moved + sent.present), size(self.total));
            self.reporter.progress(format!("{there} of {total}, {}/s", size(rate)));
        }
    }
}

/// A file that counts the bytes read from it, and breaks off when the run is interrupted.
struct Counted {
    file: fs_err::File,
    sent: u64,
    digest: Digest,
    progress: Arc<Progress>,
    interrupt: Interrupt,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.interrupt.is_set() {
            return Err(std::io::Error::other("interrupted"));
        }
        let read = self.file.read(buffer)?;
        self.sent += read as u64;
        self.progress.now_at(&self.digest, self.sent);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
