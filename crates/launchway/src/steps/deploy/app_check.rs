//! The image's own program checks the environment that it will run with, before any of it is written.
//!
//! It gets the arguments of `deploy.check` and nothing from this machine's environment. On standard output it prints
//! `[{"id": "…", "severity": "error" | "warning", "message": "…", "hint": "…"}]`; it exits with 0 if it found no error,
//! and with 1 if it did.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use launchway_core::command::{Group, Namespace, bare, contained, ended};
use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, Failure};
use launchway_core::interrupt::Interrupt;
use launchway_core::plain::send_lines;
use launchway_core::secret::Secret;
use launchway_image::layer_reader::{Bounds, LayerReader};
use launchway_image::layout::Layout;
use launchway_image::unpack::{
    Unpacked, engine_variables, find, program, program_path, unpack, unpack_for, user,
};
use launchway_image::user::User;
use launchway_registry::oci::{Descriptor, ImageManifest, LONGEST_CONFIG};
use launchway_registry::{Client, Digest, Repository};

use super::release::Release;
use super::watch::line;

const NAME: &str = "environment check";

/// How long the program may take: it serves no requests and starts nothing.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest output that is read, in bytes.
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

/// The check of one run, with its inputs.
pub(super) struct AppCheck<'a> {
    /// The program's environment.
    pub(super) arguments: &'a [String],
    /// `target/xtask`, which contains the image that was built here, and into which an image is unpacked.
    pub(super) output: &'a Path,
    /// The repository that the pipeline ships.
    pub(super) image: &'a str,
    /// For that repository.
    pub(super) registry: &'a Client,
    pub(super) reporter: &'a Reporter,
    pub(super) interrupt: &'a Interrupt,
}

impl AppCheck<'_> {
    /// Runs the release's program with these variables. If it finds an error, fails with [`Exit::DeployFailed`].
    ///
    /// Skipped if the image cannot be pulled or unpacked here, or is for another platform.
    pub(super) fn run(&self, release: &Release, variables: &BTreeMap<String, Secret>) -> Result<()> {
        let folder = Unpacked::new(&self.output.join("check"))?;
        let image = match self.find(release, &folder.path().join("layers")) {
            Ok(image) => image,
            Err(error) if Exit::of(&error) == Exit::Interrupted => return Err(error),
            Err(error) => {
                self.reporter
                    .skipped(NAME, format!("the image was not built here and cannot be pulled: {error:#}"));
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
            self.reporter.skipped(NAME, format!("the image is for {platform}, not for this machine"));
            return Ok(());
        }
        let root = folder.path().join("root");
        let container = Namespace::check();
        let user = match image.unpack(&root, container.is_ok(), self.interrupt) {
            Ok(user) => user,
            Err(error) => {
                self.interrupt.check()?;
                self.reporter.skipped(NAME, format!("the image cannot be unpacked here: {error:#}"));
                return Ok(());
            }
        };
        if let Err(reason) = container {
            self.reporter
                .note(format!("{NAME}: with the files and rights of this machine, because {reason}"));
        }
        let (status, output) = self.start(&image, &root, user.as_ref(), variables)?;
        judge(self.reporter, status, &output)?;
        // If the deploy fails now, the service's own lines say why.
        self.reporter.drop_tail();
        Ok(())
    }

    /// The image that was built here if it is the release, else the registry's, whose layers are stored in a folder.
    fn find(&self, release: &Release, folder: &Path) -> Result<Image> {
        if let Ok(layout) = Layout::open(&self.output.join("image"))
            && release.is(layout.manifest.digest.as_str())
        {
            let config = serde_json::from_slice(&fs_err::read(layout.blob(&layout.config.digest))?)?;
            let layers = layout.layers.iter().map(|layer| layout.blob(&layer.digest)).collect();
            return Ok(Image { config, layers });
        }
        let (client, repository) = (self.registry, self.image.parse::<Repository>()?);
        let digest: Digest = release.platform.as_ref().unwrap_or(&release.digest).parse()?;
        let bytes = client.manifest(&repository, &digest)?.context("the registry does not have it")?;
        let ImageManifest { config, layers, .. } =
            serde_json::from_slice(&bytes).context("its manifest is not valid")?;
        let size = layers.iter().fold(0, |sum: u64, blob| sum.saturating_add(blob.size));
        ensure!(
            size <= Bounds::PACKED && config.size <= LONGEST_CONFIG,
            "it has {size} bytes and a configuration of {}, which is too large to read here",
            config.size
        );
        let config = serde_json::from_slice(&client.blob(&repository, &config)?)
            .context("its configuration is not JSON")?;
        fs_err::create_dir_all(folder)?;
        let download = |blob: &Descriptor| {
            let path = folder.join(blob.digest.hex());
            client.download(&repository, blob, &path).map(|()| path)
        };
        Ok(Image { config, layers: layers.iter().map(download).collect::<Result<_>>()? })
    }

    /// Runs the entry point, with the image's files alone if it gets a user; returns its exit status and output.
    fn start(
        &self,
        image: &Image,
        root: &Path,
        user: Option<&User>,
        variables: &BTreeMap<String, Secret>,
    ) -> Result<(ExitStatus, Vec<u8>)> {
        let Self { arguments, reporter, .. } = self;
        let (env, words) = (image.list("Env"), image.list("Entrypoint"));
        let working_dir = image.config["config"]["WorkingDir"].as_str().unwrap_or("/");
        let (name, before) =
            words.split_first().context("the image has no `ENTRYPOINT` to give arguments to")?;
        let mut command = if let Some(User { owner, .. }) = user {
            let (root, folder) = (root.to_owned(), working_dir.to_owned());
            let path = program_path(&root, working_dir, &env, name)?;
            let namespace = Namespace { root, folder, uid: owner.uid, gid: owner.gid };
            contained(&namespace, &path).context("this program cannot start itself again")?
        } else {
            let mut command = bare(program(root, working_dir, &env, name)?);
            command.current_dir(find(root, working_dir)?);
            command
        };
        command.args(before).args(*arguments).env_clear();
        command.envs(user.into_iter().flat_map(engine_variables));
        command.envs(env.iter().filter_map(|pair| pair.split_once('=')));
        // Render's own default if the service sets none.
        command.env("PORT", "10000");
        command.envs(variables.iter().map(|(name, value)| (name, value.expose())));
        command.env("RENDER", "true");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        reporter.action(&format!("{name} {}", arguments.join(" ")));
        let mut group = Group::spawn(command).with_context(|| format!("cannot start `{name}`"))?;
        let (sender, output) = mpsc::channel();
        if let Some(stdout) = group.child.stdout.take() {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                // A broken pipe shows in the status.
                drop(stdout.take(LONGEST + 1).read_to_end(&mut bytes));
                drop(sender.send(bytes));
            });
        }
        let (sender, lines) = mpsc::channel();
        if let Some(stderr) = group.child.stderr.take() {
            send_lines(stderr, sender);
        }
        let end = Instant::now() + TIMEOUT;
        let status = loop {
            for text in lines.try_iter() {
                reporter.output(&line(reporter, &text));
            }
            if let Some(status) = group.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                let timeout = humantime::format_duration(TIMEOUT);
                return Err(failed(format!("`{}` did not end within {timeout}", arguments.join(" "))));
            }
            self.interrupt.sleep(Interrupt::TICK / 5)?;
        };
        // A grandchild may keep the pipe open.
        let output = output.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        while let Ok(text) = lines.recv_timeout(Interrupt::TICK) {
            reporter.output(&line(reporter, &text));
        }
        Ok((status, output))
    }
}

/// An image whose layers are files.
struct Image {
    config: Value,
    layers: Vec<PathBuf>,
}

impl Image {
    /// Unpacks it; for a container, with the rights of its user.
    fn unpack(&self, root: &Path, container: bool, interrupt: &Interrupt) -> Result<Option<User>> {
        fs_err::create_dir_all(root)?;
        let layers = self.layers.iter().map(fs_err::File::open).collect::<std::io::Result<Vec<_>>>()?;
        let reader = LayerReader::new(interrupt, Bounds::IMAGE);
        if !container {
            return unpack(root, layers, reader).map(|()| None);
        }
        let named = self.config["config"]["User"].as_str().unwrap_or_default();
        unpack_for(root, layers, reader, |root| user(root, named), Namespace::prepare).map(Some)
    }

    fn text(&self, name: &str) -> &str {
        self.config[name].as_str().unwrap_or_default()
    }

    fn list(&self, name: &str) -> Vec<String> {
        let words = self.config["config"][name].as_array().into_iter().flatten();
        words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
    }
}

/// Reports the warnings, and turns the errors into one error.
fn judge(reporter: &Reporter, status: ExitStatus, output: &[u8]) -> Result<()> {
    let found: Option<Vec<Found>> =
        if output.len() as u64 > LONGEST { None } else { serde_json::from_slice(output).ok() };
    let Some(found) = found.filter(|_| matches!(status.code(), Some(0 | 1))) else {
        return Err(failed(format!(
            "the service's own check {} and printed no list of findings: nothing was written",
            ended(status)
        )));
    };
    let words = |found: &Found| {
        let hint =
            if found.hint.is_empty() { String::new() } else { format!(": {}", line(reporter, &found.hint)) };
        format!("{} ({}){hint}", line(reporter, &found.message), line(reporter, &found.id))
    };
    let (errors, warnings): (Vec<&Found>, Vec<&Found>) =
        found.iter().partition(|found| found.severity == Severity::Error);
    for warning in warnings {
        reporter.note(format!("warning: {}", words(warning)));
    }
    if errors.is_empty() && status.success() {
        reporter.note("the service's own check found no errors in this environment");
        return Ok(());
    }
    let lines: Vec<String> = errors.into_iter().map(words).collect();
    Err(failed(format!(
        "the service's own check found errors in this environment, and nothing was written:\n- {}",
        if lines.is_empty() { "it gave no reason".to_owned() } else { lines.join("\n- ") }
    )))
}

fn failed(message: String) -> anyhow::Error {
    Failure::new(Exit::DeployFailed, message).into()
}

#[cfg(test)]
mod tests;
