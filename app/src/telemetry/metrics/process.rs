//! The metrics of the process itself, from `/proc`, under the names that all Prometheus clients use.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};

/// Reads the process's metrics at each scrape.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds since 1970.
    started: f64,
}

impl Process {
    /// For a process that starts now.
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: since.as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut write = |name, help, unit: Option<&Unit>, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
        };
        let seconds = Some(&Unit::Seconds);
        write("process_start_time", "Start time since 1970", seconds, &ConstGauge::new(self.started))?;
        if let Some(cpu) = cpu_seconds() {
            write("process_cpu", "CPU time, user and system", seconds, &ConstCounter::new(cpu))?;
        }
        if let Some(bytes) = resident_bytes() {
            write("process_resident_memory", "Resident memory", Some(&Unit::Bytes), &ConstGauge::new(bytes))?;
        }
        if let Some(open) = open_files() {
            write("process_open_fds", "Open file descriptors", None, &ConstGauge::new(open))?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            write("process_max_fds", "Limit of open file descriptors", None, &ConstGauge::new(most))?;
        }
        Ok(())
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs_err::read_to_string("/proc/self/stat").ok()?;
    // The second field, the program's name in parentheses, may contain spaces. Fields 14 and 15 are the times.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map_while(|field| field.parse::<u32>().ok());
    let ticks = f64::from(times.next()?) + f64::from(times.next()?);
    Some(ticks / f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).ok()?))
}

fn resident_bytes() -> Option<i64> {
    let statm = fs_err::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = statm.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(i64::try_from(rustix::param::page_size()).ok()?)
}

fn open_files() -> Option<i64> {
    let files = fs_err::read_dir("/proc/self/fd").ok()?;
    i64::try_from(files.count()).ok()
}
