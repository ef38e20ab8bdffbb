//! What a base image changes in the plan of the builtin engine.

use anyhow::Result;

use super::{Action, created, service};
use crate::context::Context;
use crate::registry;
use launchway_image::base_image::files::Files;
use launchway_image::base_image::{self, BaseImage};
use launchway_image::binary::Platform;
use launchway_image::dockerfile::Dockerfile;
use launchway_image::final_stage::{Arguments, BaseName};
use launchway_image::smoke::Smoke;
use launchway_image::tree::Tree;
use launchway_registry::Access;
use launchway_registry::oci::Settings;

/// The base image of the final stage, the settings that the stage begins with, and the files of the base.
pub(super) fn start(
    ctx: &Context,
    file: &Dockerfile,
    arguments: &Arguments,
    platform: Platform,
) -> Result<(Option<BaseImage>, Settings, Files)> {
    let find = |name: &BaseName| {
        let client = registry::client(ctx, Access::Pull)?;
        base_image::find(&client, &ctx.runner(), ctx.output().join("base"), name, platform)
    };
    let found = BaseName::find(file, arguments)?.as_ref().map(find).transpose()?;
    let (base, mut settings, files) = match found {
        Some(found) => (Some(found.image), found.settings, found.files),
        None => (None, Settings::default(), Files::default()),
    };
    let own = [
        ("org.opencontainers.image.revision", ctx.git.tag()),
        ("org.opencontainers.image.created", created(ctx)),
    ];
    let labels = own.into_iter().chain(base.iter().flat_map(BaseImage::labels));
    // Over those of the base, whose revision is not this image's; a `LABEL` of the final stage wins over these.
    settings.labels.extend(labels.map(|(label, value)| (label.to_owned(), value)));
    Ok((base, settings, files))
}

/// The smoke run. Of an image with a base only what the final stage adds is unpacked, so the image must start the binary
/// itself, in a folder that the stage names.
pub(super) fn smoke(
    ctx: &Context,
    platform: Platform,
    settings: &Settings,
    tree: &Tree,
    has_base: bool,
) -> Action {
    let mut settings = settings.clone();
    if has_base {
        let program =
            settings.entrypoint.as_mut().or(settings.cmd.as_mut()).and_then(|words| words.first_mut());
        let Some(program) = program.filter(|program| tree.is_binary(program)) else {
            let reason = "the image starts something of its base, which is not unpacked here";
            return Action::Skip { check: "smoke run", reason: reason.to_owned() };
        };
        *program = format!("/{}", tree.binary);
        // A static binary finds nothing there that it needs.
        if !tree.entries.contains_key(settings.working_dir.trim_matches('/')) {
            "/".clone_into(&mut settings.working_dir);
        }
    }
    Action::Smoke(Box::new(Smoke::of_layers(service(ctx), ctx.output().join("smoke"), platform, settings)))
}
