//! The image's own program judges the environment that it is to run with, before any of it is written.
//!
//! It is started with the arguments of `deploy.check` and nothing of this machine's environment, and answers on standard
//! output with `[{"id": "…", "severity": "error" | "warning", "message": "…", "hint": "…"}]`; it ends with 0 when it
//! found no error and with 1 when it did.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Value;

use crate::command::Group;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::image::config::{Descriptor, Manifest};
use crate::image::digest::Digest;
use crate::image::layout::Layout;
use crate::image::unpack::{Bounds, Unpacked, find, program, unpack};
use crate::interrupt::Interrupt;
use crate::plain::send_lines;
use crate::registry::reference::Repository;
use crate::registry::{Access, Client};
use crate::secret::Secret;

use super::remote::Release;
use super::watch::line;

const NAME: &str = "check of the environment";

/// How long the program may take: it answers nobody and starts nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest answer that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// What the program found.
#[derive(Debug, Deserialize)]
struct Found {
    #[serde(default)]
    id: String,
    severity: Severity,
    #[serde(default)]
    message: String,
    #[serde(default)]
    hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Error,
    Warning,
}

/// Runs the program of the release with these variables; an error that it finds is one with [`Exit::DeployFailed`].
///
/// Where the image cannot be had, or is for another machine, that is said and nothing is judged.
pub(super) fn run(
    ctx: &Context,
    release: &Release,
    variables: &BTreeMap<String, Secret>,
    arguments: &[String],
) -> Result<()> {
    let image = match Image::find(ctx, release) {
        Ok(image) => image,
        Err(error) if Exit::of(&error) == Exit::Interrupted => return Err(error),
        Err(error) => {
            ctx.reporter.skipped(NAME, format!("the image is neither here nor to be had: {error:#}"));
            return Ok(());
        }
    };
    let here = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    if (std::env::consts::OS, image.text("os"), image.text("architecture")) != ("linux", "linux", here) {
        let platform = format!("{}/{}", image.text("os"), image.text("architecture"));
        ctx.reporter.skipped(NAME, format!("the image is for {platform}, not for this machine"));
        return Ok(());
    }
    let folder = Unpacked::new(&ctx.output().join("check"))?;
    unpack(
        &folder.0,
        image.layers.iter().map(|layer| MultiGzDecoder::new(layer.as_slice())),
        Bounds::default(),
    )?;
    let (status, answer) = image.start(ctx, &folder, variables, arguments)?;
    judge(ctx, status, &answer)
}

/// An image with its layers' bytes.
struct Image {
    config: Value,
    layers: Vec<Vec<u8>>,
}

impl Image {
    /// The one that was built here when it is the one to deploy, or else the registry's.
    fn find(ctx: &Context, release: &Release) -> Result<Self> {
        if let Ok(layout) = Layout::open(&ctx.output().join("image"))
            && release.is(layout.manifest.digest.as_str())
        {
            let read = |blob: &Descriptor| Ok(fs_err::read(layout.blob(&blob.digest))?);
            return Self::read(&layout.config, &layout.layers, read);
        }
        let repository: Repository = ctx.image().parse()?;
        let client = Client::new(ctx, Access::Pull)?;
        let digest: Digest = release.platform.as_ref().unwrap_or(&release.digest).parse()?;
        let bytes = client.manifest(&repository, &digest)?.context("the registry does not have it")?;
        let Manifest { config, layers, .. } = serde_json::from_slice(&bytes).context("it has no manifest")?;
        Self::read(&config, &layers, |blob| client.blob(&repository, blob))
    }

    fn read(
        config: &Descriptor,
        layers: &[Descriptor],
        read: impl Fn(&Descriptor) -> Result<Vec<u8>>,
    ) -> Result<Self> {
        let size = layers.iter().chain([config]).fold(0, |sum: u64, blob| sum.saturating_add(blob.size));
        if size > Bounds::default().bytes {
            bail!("it has {size} bytes, too many to unpack here");
        }
        let config = serde_json::from_slice(&read(config)?).context("its configuration is not JSON")?;
        Ok(Self { config, layers: layers.iter().map(read).collect::<Result<_>>()? })
    }

    fn text(&self, name: &str) -> &str {
        self.config[name].as_str().unwrap_or_default()
    }

    fn list(&self, name: &str) -> Vec<String> {
        let words = self.config["config"][name].as_array().into_iter().flatten();
        words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
    }

    /// Starts the entry point, and returns how it ended and what it answered.
    #[expect(
        clippy::disallowed_methods,
        reason = "the child gets the service's environment and nothing of ours"
    )]
    fn start(
        &self,
        ctx: &Context,
        folder: &Unpacked,
        variables: &BTreeMap<String, Secret>,
        arguments: &[String],
    ) -> Result<(ExitStatus, Vec<u8>)> {
        let (env, words) = (self.list("Env"), self.list("Entrypoint"));
        let working_dir = self.config["config"]["WorkingDir"].as_str().unwrap_or("/");
        let (name, before) =
            words.split_first().context("the image has no `ENTRYPOINT` to give arguments to")?;
        let mut command = Command::new(program(&folder.0, working_dir, &env, name)?);
        command.args(before).args(arguments).current_dir(find(&folder.0, working_dir)?).env_clear();
        command.envs(env.iter().filter_map(|pair| pair.split_once('=')));
        // Render's own default, where the service sets none.
        command.env("PORT", "10000");
        command.envs(variables.iter().map(|(name, value)| (name, value.expose())));
        command.env("RENDER", "true");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ctx.reporter.command(&format!("{name} {}", arguments.join(" ")));
        let mut group = Group::spawn(command).with_context(|| format!("cannot start `{name}`"))?;
        let (sender, answer) = mpsc::channel();
        if let Some(stdout) = group.child.stdout.take() {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                // What could be read is judged; a broken pipe shows in the status.
                drop(stdout.take(LONGEST + 1).read_to_end(&mut bytes));
                drop(sender.send(bytes));
            });
        }
        let (sender, lines) = mpsc::channel();
        if let Some(stderr) = group.child.stderr.take() {
            send_lines(stderr, sender);
        }
        let end = Instant::now() + PATIENCE;
        let status = loop {
            for told in lines.try_iter() {
                ctx.reporter.output(&line(&told));
            }
            if let Some(status) = group.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                let patience = humantime::format_duration(PATIENCE);
                return Err(failed(format!("`{}` does not end within {patience}", arguments.join(" "))));
            }
            ctx.interrupt.sleep(Interrupt::TICK / 5)?;
        };
        // A child of the child may hold the pipe open.
        let answer = answer.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        while let Ok(told) = lines.recv_timeout(Interrupt::TICK) {
            ctx.reporter.output(&line(&told));
        }
        Ok((status, answer))
    }
}

/// Tells the warnings, and makes one error of the errors.
fn judge(ctx: &Context, status: ExitStatus, answer: &[u8]) -> Result<()> {
    let found: Option<Vec<Found>> =
        if answer.len() as u64 > LONGEST { None } else { serde_json::from_slice(answer).ok() };
    let Some(found) = found.filter(|_| matches!(status.code(), Some(0 | 1))) else {
        return Err(failed(format!(
            "the app's own check ended with {status} and not with the list of what it found: nothing was written"
        )));
    };
    let words = |found: &Found| {
        let hint = if found.hint.is_empty() { String::new() } else { format!(": {}", line(&found.hint)) };
        format!("{} ({}){hint}", line(&found.message), line(&found.id))
    };
    let (errors, warnings): (Vec<&Found>, Vec<&Found>) =
        found.iter().partition(|found| found.severity == Severity::Error);
    for warning in warnings {
        ctx.reporter.note(format!("warning: {}", words(warning)));
    }
    if errors.is_empty() && status.success() {
        ctx.reporter.note("the app's own check finds no error in this environment");
        return Ok(());
    }
    let lines: Vec<String> = errors.into_iter().map(words).collect();
    Err(failed(format!(
        "the app would not run well with this environment, and nothing was written:\n- {}",
        if lines.is_empty() { "it does not say why".to_owned() } else { lines.join("\n- ") }
    )))
}

fn failed(message: String) -> anyhow::Error {
    Failure::new(Exit::DeployFailed, message).into()
}

#[cfg(test)]
mod tests;
