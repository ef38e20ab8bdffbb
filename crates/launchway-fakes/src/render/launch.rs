//! What an instance is started with: its program, arguments, environment and address.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;

use super::engine::Engine;
use super::image::{RunConfig, Unpacked};
use super::instance::Launch;
use super::rights::User;
use super::state::Variables;
use super::{Contained, unpack};

/// An engine's own, for an image that sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Engine {
    /// The command line and the complete environment of an instance.
    pub(crate) async fn launch(
        &self,
        image: Unpacked,
        variables: Variables,
        id: &str,
    ) -> anyhow::Result<Launch> {
        let address = match self.options.fixed_port {
            Some(port) => fixed_address(port).await?,
            None => free_address().await?,
        };
        let Unpacked { root, config, rights } = image;
        let RunConfig { env, entrypoint, cmd, working_dir, user } = config;
        let folder = working_dir.filter(|folder| !folder.is_empty()).unwrap_or_else(|| "/".to_owned());
        let port = address.port().to_string();
        let mut words = entrypoint.unwrap_or_default();
        match &self.options.arguments {
            None => words.extend(cmd.unwrap_or_default()),
            Some(arguments) => {
                if words.is_empty() {
                    words.extend(cmd.into_iter().flatten().take(1));
                }
                words.extend(arguments.iter().map(|argument| argument.replace("$PORT", &port)));
            }
        }
        let mut words = words.into_iter();
        let program = words.next().context("the image has neither an entry point nor a command")?;
        let mut environment = BTreeMap::new();
        for pair in env.unwrap_or_default() {
            let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
            environment.insert(name.to_owned(), value.to_owned());
        }
        let program = if !program.contains('/') {
            on_path(&root, environment.get("PATH"), &program)?
        } else if program.starts_with('/') {
            program
        } else {
            format!("{folder}/{program}")
        };
        let command = if let Some(container) = self.options.hooks.container {
            let preparing = move || {
                let user = User::find(&root, user.as_deref().unwrap_or_default())?;
                (container.prepare)(&root)?;
                // Root may do everything.
                if user.uid != 0 {
                    rights.set(&root, &user)?;
                }
                anyhow::Ok((root, user))
            };
            let (root, user) = tokio::task::spawn_blocking(preparing).await??;
            environment.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
            environment.entry("HOME".to_owned()).or_insert(user.home);
            (container.command)(&Contained { root, program, folder, uid: user.uid, gid: user.gid })?
        } else {
            let mut command = (self.options.hooks.command)(&unpack::inside(&root, Path::new(&program))?);
            command.current_dir(unpack::inside(&root, Path::new(&folder))?);
            command
        };
        environment.extend(variables);
        environment.extend(self.platform_variables(id));
        if let Some((name, value)) = &self.options.port_variable {
            environment.insert(name.clone(), value.replace("$PORT", &port));
        }
        environment.insert("PORT".to_owned(), port);
        // Unlike on Render, so that a service that honours it cannot be reached from other machines.
        environment.insert("LISTEN".to_owned(), address.ip().to_string());
        Ok(Launch { command: command.into(), arguments: words.collect(), environment, address })
    }

    /// Render docs, "Default environment variables".
    fn platform_variables(&self, id: &str) -> BTreeMap<String, String> {
        let pairs = [
            ("RENDER", "true".to_owned()),
            ("RENDER_SERVICE_ID", self.options.service_id.clone()),
            ("RENDER_INSTANCE_ID", id.to_owned()),
            ("RENDER_EXTERNAL_HOSTNAME", self.front_address.ip().to_string()),
            ("RENDER_EXTERNAL_URL", format!("http://{}", self.front_address)),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// The path in the image of a program that is given by its name: it is in one of the folders of `PATH`.
fn on_path(root: &Path, path: Option<&String>, name: &str) -> anyhow::Result<String> {
    let folders = path.map_or(DEFAULT_PATH, String::as_str).split(':');
    let mut places = folders.map(|folder| format!("{folder}/{name}"));
    let found = places.find(|place| unpack::inside(root, Path::new(place)).is_ok_and(|file| file.is_file()));
    found.with_context(|| format!("exec: \"{name}\": executable file not found in $PATH"))
}

/// The address of a service that listens on one port only. The previous instance, which has its own machine on Render,
/// must have ended here.
async fn fixed_address(port: u16) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.with_context(|| format!("port {port} is taken on this machine"))?;
    Ok(listener.local_addr()?)
}

/// An address for an instance: free now, and probably until the service listens on it.
///
/// Not chosen by the kernel: it also hands such ports to outgoing connections, any of which could take the port between
/// this test and the service's start. Ports below the kernel's range are only taken by those who ask for them.
async fn free_address() -> anyhow::Result<SocketAddr> {
    const FIRST: u16 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);

    // Several pipelines on one machine start at different ports.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = FIRST + u16::try_from(offset)?;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return Ok(listener.local_addr()?);
        }
    }
    bail!("no free port")
}
